"""Reading built models: what is asked for is looked up in the stored intervals, never in expanded rows.

A rolling model is stored as change points. Asking its view for one day would first write out every day there is; the
query here asks for the points with `day <= D AND nxt > D`, which is as fast as a dense table. The series of some
entities is fetched as intervals by their numbers, and totals weigh each interval by its days (performance spec §6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial

import numpy as np
import pyarrow as pa
from sqlglot import exp

from tallystick.build.one_pass import state as one_pass_state
from tallystick.build.one_pass.publish import Publication, reach_of
from tallystick.compiler.aggregate_model import BUCKET, VALUE
from tallystick.compiler.contract import entity_column
from tallystick.compiler.definition_context import definition_context
from tallystick.compiler.lower import bucket_column, key_columns
from tallystick.compiler.model import Model
from tallystick.compiler.one_pass.days import number
from tallystick.compiler.one_pass.family import families
from tallystick.compiler.one_pass.held import Reach
from tallystick.compiler.one_pass.names import Schema, quoted
from tallystick.compiler.one_pass.spans import FUNCTIONS, Totals, numbers_of, series_rows, span_rows, total_rows
from tallystick.compiler.one_pass.views import model_view
from tallystick.compiler.plan import plan
from tallystick.definitions.diagnostics import nearest
from tallystick.definitions.metric import SqlQuery
from tallystick.definitions.project import Project
from tallystick.engines.adapter import Engine
from tallystick.errors import UnknownNameError, UsageError
from tallystick.sql import buckets
from tallystick.sql.calendar import Calendar, start_of_day
from tallystick.sql.grain import Grain

Id = str | int
KEPT = 8
"""Models whose rows that may still change are kept in memory: one or two for each entity, a few MB for 100,000."""


@dataclass(frozen=True, slots=True)
class Range:
    """Buckets from a first to a last day, both inside; None is the beginning or the end of what was built."""

    first: date | None = None
    last: date | None = None


class Reader:
    """Reads built models of one project; how each is stored is looked up once, so make a new one after a build."""

    def __init__(self, engine: Engine, project: Project) -> None:
        self.engine = engine
        self.project = project
        self._targets: dict[Model, Publication | None] = {}
        self._numbers: dict[tuple[str, str, Id], pa.Table] = {}
        self._plans: dict[Model, tuple[str, str | None]] = {}
        self._open: dict[Model, pa.Table] = {}

    def read(
        self,
        model: Model,
        *,
        first: date | None = None,
        last: date | None = None,
        ids: Sequence[Id] = (),
        limit: int | None = None,
    ) -> pa.Table:
        """Return rows of a model, oldest bucket first: buckets `first` to `last` (inclusive), some entities or all.

        Raise MissingTableError where the model was never built.
        """
        target, reach = self._target(model), Range(first, last)
        if target is not None and ids and model.has_entity and not model.time.is_all_time:
            found = self._series(target, model, reach, ids)
            if found is not None:
                return found if limit is None else found.slice(0, limit)
        return self.engine.run(self.query(model, first=first, last=last, ids=ids, limit=limit))

    def query(
        self,
        model: Model,
        *,
        first: date | None = None,
        last: date | None = None,
        ids: Sequence[Id] = (),
        limit: int | None = None,
    ) -> str:
        """Return a query of the rows that `read` returns."""
        target, schema = self._target(model), Schema(self.engine.schema)
        where: list[str] = []
        if target is not None and not model.time.is_all_time:
            reach = _reach(self.project, target, Range(first, last))
            layout = target.stored.layout
            rows = model_view(model, target.family, target.member, layout, self.project, schema, reach)
        else:
            rows = f"SELECT * FROM {self.engine.qualified(model.name)}"
            where += self._between(model, Range(first, last))
        where += self._among(model, ids)
        condition = f" WHERE {' AND '.join(where)}" if where else ""
        bound = f" LIMIT {limit}" if limit is not None else ""
        return f"SELECT * FROM ({rows}) AS model{condition} ORDER BY {self._bucket(model)}{bound}"

    def totals(
        self,
        model: Model,
        functions: Sequence[str],
        *,
        per: Grain | None = None,
        by_entity: bool = False,
        first: date | None = None,
        last: date | None = None,
        ids: Sequence[Id] = (),
    ) -> pa.Table:
        """Return `count`, `sum`, `avg`, `min` or `max` of the values of a model's rows, as asked for.

        One row over everything, or one per bucket of a coarser grain, per entity, and always per breakdown the model
        has. Raise UnknownNameError for another function, UsageError for a grain finer than the model's, and
        MissingTableError where the model was never built.
        """
        check_totals(model, functions, per)
        target, within = self._target(model), Range(first, last)
        heads = [*([BUCKET] if per is not None else []), *self._keys(model, by_entity=by_entity)]
        if target is None or model.time.is_all_time or self._is_sql(model):
            return self.engine.run(self._plain_totals(model, functions, per, within, ids, heads))
        reach, layout, schema = _reach(self.project, target, within), target.stored.layout, Schema(self.engine.schema)
        days = reach.last - target.stored.first + 1
        wide = sum(target.stored.bounds.values()) * max(days, 1) >= 2**62
        ask = Totals(tuple(functions), _calendar(self.project), per, by_entity and model.has_entity, wide)
        spans = span_rows(model, target.member, layout, schema, reach)
        found = self.engine.run(total_rows(model, target.family, spans, schema, ask, ids if model.has_entity else ()))
        return found.rename_columns([*heads, *functions])

    def _target(self, model: Model) -> Publication | None:
        if model not in self._targets:
            self._targets[model] = publication(self.engine, self.project, model)
        return self._targets[model]

    # -- series of some entities --------------------------------------------------------------------------------------

    def _series(self, target: Publication, model: Model, within: Range, ids: Sequence[Id]) -> pa.Table | None:
        """Return rows of some entities from their intervals, None where there are none and types must be asked for."""
        numbers = [self._number(target, model, one) for one in dict.fromkeys(ids)]
        mine = numbers[0] if len(numbers) == 1 else pa.concat_tables(numbers).combine_chunks()
        if not mine.num_rows:
            return None
        if model not in self._plans:
            layout, schema = target.stored.layout, Schema(self.engine.schema)
            self._plans[model] = series_rows(model, target.member, layout, schema)
        settled, recent = self._plans[model]
        eids = mine.column("eid").to_pylist()
        some = f"= {eids[0]}" if len(eids) == 1 else f"IN ({', '.join(map(str, eids))})"
        rows = self.engine.run(f"{settled} AND c.eid {some}")
        if recent is not None:
            rows = pa.concat_tables([rows, *self._recent(model, recent, eids)])
        reach = _reach(self.project, target, within)
        if target.member.query is None:
            return _unfolded(rows, mine, self._keys(model, by_entity=True), reach.since(model.time), reach.last)
        names = [name for name, _ in target.member.query.columns[model.entity]]
        series = _unfolded(rows.select(range(4)), mine, names[1:-1], reach.since(model.time), reach.last)
        return series.rename_columns(names)

    def _recent(self, model: Model, query: str, eids: Sequence[int]) -> list[pa.Table]:
        """Return the rows of some entities that may still change; those of the models last read are kept at hand."""
        if model not in self._open:
            while len(self._open) >= KEPT:
                del self._open[next(iter(self._open))]
            self._open[model] = self.engine.run(query)
        table = self._open[model]
        known = table.column("eid").to_numpy()
        # Numbers of another type would make a copy of all that are known.
        places = (np.searchsorted(known, np.array([eid, eid + 1], known.dtype)) for eid in eids)
        return [table.slice(start, end - start) for start, end in places if end > start]

    def _number(self, target: Publication, model: Model, one: Id) -> pa.Table:
        """Return the numbers of an entity, with what tells its rows apart; they never change."""
        kind = model.entity if target.member.query is None else model.name
        key = (target.family.prefix, kind, one)
        if key not in self._numbers:
            query = numbers_of(model, target.family, target.member, Schema(self.engine.schema), (one,))
            self._numbers[key] = self.engine.run(query)
        return self._numbers[key]

    # -- models stored row by row -------------------------------------------------------------------------------------

    def _plain_totals(
        self,
        model: Model,
        functions: Sequence[str],
        per: Grain | None,
        within: Range,
        ids: Sequence[Id],
        heads: Sequence[str],
    ) -> str:
        dialect = self.engine.dialect
        keys = [exp.column(name, quoted=True).sql(dialect) for name in heads]
        if per is not None:
            column, is_date = exp.column(self._bucket(model), quoted=True), not _is_sub_day(model)
            cut = buckets.bucket(column, per, _calendar(self.project), is_date=is_date, dialect=dialect)
            keys[0] = exp.alias_(cut, BUCKET, quoted=True).sql(dialect)
        value = exp.column("amount" if self._is_sql(model) else VALUE, quoted=True).sql(dialect)
        where = [*self._between(model, within), *self._among(model, ids)]
        condition = f" WHERE {' AND '.join(where)}" if where else ""
        columns = ", ".join([*keys, *(f"{name}({value}) AS {quoted(name)}" for name in functions)])
        places = ", ".join(str(place + 1) for place in range(len(keys)))
        tail = f" GROUP BY {places} ORDER BY {places}" if keys else ""
        return f"SELECT {columns} FROM {self.engine.qualified(model.name)} AS model{condition}{tail}"

    def _between(self, model: Model, within: Range) -> list[str]:
        column, dialect = exp.column(self._bucket(model), quoted=True), self.engine.dialect
        found: list[exp.Expr] = []
        if _is_sub_day(model):
            first, after = (_midnight(self.project, day) for day in (within.first, _next(within.last)))
            bound = partial(buckets.literal_instant, is_date=False, dialect=dialect)
            found += [] if first is None else [exp.GTE(this=column, expression=bound(first))]
            found += [] if after is None else [exp.LT(this=column.copy(), expression=bound(after))]
        else:
            for kind, day in ((exp.GTE, within.first), (exp.LTE, within.last)):
                if day is not None:
                    found.append(kind(this=column.copy(), expression=buckets.date_literal(day, dialect=dialect)))
        return [tree.sql(dialect) for tree in found]

    def _among(self, model: Model, ids: Sequence[Id]) -> list[str]:
        if not ids or not model.has_entity:
            return []
        key = exp.column(self._keys(model, by_entity=True)[0], quoted=True)
        return [key.isin(*ids).sql(self.engine.dialect)]

    def _bucket(self, model: Model) -> str:
        return bucket_column(self.project.metrics[model.metric])

    def _is_sql(self, model: Model) -> bool:
        return isinstance(self.project.metrics[model.metric].definition, SqlQuery)

    def _keys(self, model: Model, *, by_entity: bool) -> list[str]:
        if by_entity and model.has_entity and self._is_sql(model):
            return [entity_column(model, definition_context(self.project)), *model.by]
        return key_columns(model, self.project) if by_entity else [*model.by]


def publication(engine: Engine, project: Project, model: Model) -> Publication | None:
    """Return how a model is stored if it is kept as change points of its present definition."""
    if not engine.capabilities.one_pass or one_pass_state.STORED not in engine.tables():
        return None
    known = one_pass_state.read(engine)
    mine = [other for other in plan(project) if other.metric == model.metric]
    for family in families(project, mine)[0]:
        for member in family.members:
            stored = known.get(member.prefix)
            if stored is not None and stored.family and model.name in stored.models and model in member.models:
                # Another metric may have added entities to the family: what counts is where this one was stored.
                return Publication(replace(family, prefix=stored.family), member, stored, None)
    return None


def _unfolded(rows: pa.Table, numbers: pa.Table, keys: Sequence[str], since: int | None, last: int) -> pa.Table:
    """Return one row per day of every interval between two days, with the keys of its entity put back, oldest first.

    `rows` are (eid, first, until, values…), `numbers` (eid, keys…).
    """
    first, until = (rows.column(name).to_numpy() for name in ("first", "until"))
    first = first if since is None else np.maximum(first, since)
    lengths = np.maximum(np.minimum(until, last + 1) - first, 0)
    row = np.repeat(np.arange(len(first)), lengths)
    day = np.arange(len(row)) + np.repeat(first - np.cumsum(lengths) + lengths, lengths)
    if np.any(day[1:] < day[:-1]):
        order = np.argsort(day, kind="stable")
        row, day = row[order], day[order]
    columns: dict[str, pa.Array | pa.ChunkedArray] = {BUCKET: pa.array(day.astype(np.int32)).view(pa.date32())}
    if numbers.num_rows == 1:
        columns |= {name: pa.repeat(numbers.column(index + 1)[0], len(row)) for index, name in enumerate(keys)}
    else:
        known = numbers.column("eid").to_numpy()
        place = np.argsort(known)
        entity = pa.array(place[np.searchsorted(known[place], rows.column("eid").to_numpy()[row])])
        columns |= {name: numbers.column(index + 1).take(entity) for index, name in enumerate(keys)}
    columns |= {name: rows.column(name).take(pa.array(row)) for name in rows.column_names[3:]}
    return pa.table(columns)


def check_totals(model: Model, functions: Sequence[str], per: Grain | None) -> None:
    """Raise UnknownNameError or UsageError where totals of a model's rows cannot be what is asked for."""
    for name in functions:
        if name not in FUNCTIONS:
            raise UnknownNameError(f"'{name}' is not a function of values", hint=nearest(name, FUNCTIONS))
    if not functions:
        raise UsageError("totals of nothing were asked for", hint=f"name one of {', '.join(FUNCTIONS)}")
    own = model.time.grain or Grain.DAY
    if per is not None and (per.is_sub_day or list(Grain).index(per) < list(Grain).index(own)):
        raise UsageError(f"{model.name} has no values per {per.value}", hint=f"ask for {own.value} or longer")


def _reach(project: Project, target: Publication, within: Range) -> Reach:
    first, last = (None if day is None else number(day) for day in (within.first, within.last))
    return reach_of(project, target, first, last)


def _calendar(project: Project) -> Calendar:
    return Calendar(project.settings.time_zone, project.settings.week_start)


def _is_sub_day(model: Model) -> bool:
    return model.time.grain is not None and model.time.grain.is_sub_day


def _next(day: date | None) -> date | None:
    return None if day is None else day + timedelta(days=1)


def _midnight(project: Project, day: date | None) -> datetime | None:
    return None if day is None else start_of_day(day, _calendar(project))
