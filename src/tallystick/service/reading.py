"""Reading built models: a range of buckets is looked up in the stored intervals, never in expanded rows.

A rolling model is stored as change points. Asking its view for one day would first write out every day there is; the
query here asks for the points with `day <= D AND nxt > D`, which is as fast as a dense table (performance spec §6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import pyarrow as pa
from sqlglot import exp

from tallystick.build import one_pass_state
from tallystick.build.one_pass_publish import Publication
from tallystick.compiler.aggregate_model import BUCKET
from tallystick.compiler.model import Model
from tallystick.compiler.one_pass.days import number
from tallystick.compiler.one_pass.family import families
from tallystick.compiler.one_pass.names import Schema
from tallystick.compiler.one_pass.views import Reach, model_view
from tallystick.compiler.plan import plan
from tallystick.definitions.project import Project
from tallystick.engines.adapter import Engine
from tallystick.sql.calendar import Calendar, local_date


class Reader:
    """Reads built models of one project; how each is stored is looked up once, so make a new one after a build."""

    def __init__(self, engine: Engine, project: Project) -> None:
        self.engine = engine
        self.project = project
        self._targets: dict[Model, Publication | None] = {}

    def read(
        self,
        model: Model,
        *,
        first: date | None = None,
        last: date | None = None,
        ids: Sequence[str | int] = (),
        limit: int | None = None,
    ) -> pa.Table:
        """Return rows of a model, oldest bucket first: buckets `first` to `last` (inclusive), some entities or all.

        Raise MissingTableError where the model was never built.
        """
        return self.engine.run(self.query(model, first=first, last=last, ids=ids, limit=limit))

    def query(
        self,
        model: Model,
        *,
        first: date | None = None,
        last: date | None = None,
        ids: Sequence[str | int] = (),
        limit: int | None = None,
    ) -> str:
        """Return the query behind `read`."""
        if model not in self._targets:
            self._targets[model] = publication(self.engine, self.project, model)
        target, schema = self._targets[model], Schema(self.engine.schema)
        where: list[str] = []
        if target is not None and not model.time.is_all_time:
            reach = _reach(self.project, target, first, last)
            layout = target.stored.layout
            rows = model_view(model, target.family, target.member, layout, self.project, schema, reach)
        else:
            rows = f"SELECT * FROM {schema.table(model.name)}"
            bounds = ((">=", first), ("<=", last))
            where += [f"{BUCKET} {test} DATE '{day.isoformat()}'" for test, day in bounds if day is not None]
        if ids and model.has_entity:
            key = exp.column(self.project.entities[model.entity].key, quoted=True)
            where.append(key.isin(*ids).sql(self.engine.dialect))
        condition = f" WHERE {' AND '.join(where)}" if where else ""
        bound = f" LIMIT {limit}" if limit is not None else ""
        return f"SELECT * FROM ({rows}) AS model{condition} ORDER BY {BUCKET}{bound}"


def publication(engine: Engine, project: Project, model: Model) -> Publication | None:
    """Return how a model is stored if it is kept as change points of its present definition."""
    known = one_pass_state.read(engine)
    mine = [other for other in plan(project) if other.metric == model.metric]
    for family in families(project, mine)[0]:
        for member in family.members:
            stored = known.get(member.prefix)
            if stored is not None and model.name in stored.models and model in member.models:
                # Another metric may have added entities to the family: what counts is where this one was stored.
                return Publication(replace(family, prefix=stored.family), member, stored, None)
    return None


def _reach(project: Project, target: Publication, first: date | None, last: date | None) -> Reach:
    start = project.settings.start
    calendar = Calendar(project.settings.time_zone, project.settings.week_start)
    end = target.stored.last if last is None else min(number(last), target.stored.last)
    begin = None if start is None else number(local_date(start, calendar))
    return Reach(None if first is None else number(first), end, begin)
