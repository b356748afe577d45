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
from tallystick.compiler.model import Model
from tallystick.compiler.one_pass.days import number
from tallystick.compiler.one_pass.family import families
from tallystick.compiler.one_pass.names import Schema
from tallystick.compiler.one_pass.views import Reach, model_view
from tallystick.compiler.plan import plan
from tallystick.definitions.project import Project
from tallystick.engines.adapter import Engine
from tallystick.sql.calendar import Calendar, local_date


def read_model(
    engine: Engine,
    project: Project,
    model: Model,
    *,
    first: date | None = None,
    last: date | None = None,
    ids: Sequence[str | int] = (),
    limit: int | None = None,
) -> pa.Table:
    """Return rows of a built model, oldest bucket first: buckets `first` to `last` (inclusive), some entities or all.

    Raise MissingTableError where the model was never built.
    """
    return engine.run(model_query(engine, project, model, first=first, last=last, ids=ids, limit=limit))


def model_query(
    engine: Engine,
    project: Project,
    model: Model,
    *,
    first: date | None = None,
    last: date | None = None,
    ids: Sequence[str | int] = (),
    limit: int | None = None,
) -> str:
    """Return the query that reads rows of a built model; see `read_model`."""
    schema = Schema(engine.schema)
    target = publication(engine, project, model)
    query = exp.select("*")
    if target is not None and not model.time.is_all_time:
        reach = _reach(project, target, first, last)
        text = model_view(model, target.family, target.member, target.stored.layout, project, schema, reach)
        query = query.from_(f"({text}) AS model", dialect=engine.dialect)
    else:
        query = query.from_(exp.to_table(schema.table(model.name), dialect=engine.dialect), copy=False)
        bucket = exp.column("bucket")
        bounds = [(exp.GTE, first), (exp.LTE, last)]
        for test, day in bounds:
            if day is not None:
                query = query.where(test(this=bucket.copy(), expression=_literal(day)), copy=False)
    if ids and model.has_entity:
        key = exp.column(project.entities[model.entity].key, quoted=True)
        query = query.where(key.isin(*ids), copy=False)
    query = query.order_by("1", copy=False)
    return (query.limit(limit, copy=False) if limit is not None else query).sql(engine.dialect)


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


def _literal(day: date) -> exp.Expr:
    return exp.cast(exp.Literal.string(day.isoformat()), "date")
