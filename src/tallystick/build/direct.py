"""Building one model by its direct query: portable to every engine, incremental by whole buckets."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlglot import exp

from tallystick.build import relations, state
from tallystick.build.extent import first_instant
from tallystick.build.state import BuiltState
from tallystick.compiler.aggregate_model import BUCKET, VALUE, N
from tallystick.compiler.contract import contracted
from tallystick.compiler.definition_context import definition_context
from tallystick.compiler.lower import bucket_column, key_columns, lower, lower_from_parts, to_text
from tallystick.compiler.metric_calendar import calendar_of
from tallystick.compiler.model import Model
from tallystick.compiler.order import parts
from tallystick.compiler.span import Span
from tallystick.definitions.metric import Formula, Metric, SqlQuery
from tallystick.definitions.project import Project
from tallystick.engines.adapter import Engine
from tallystick.errors import TooManyDaysError
from tallystick.sql.buckets import date_literal, literal_instant
from tallystick.sql.calendar import Calendar, floor, local_date, shift
from tallystick.sql.grain import Grain

if TYPE_CHECKING:
    import pyarrow as pa

DENSE = "dense"


@dataclass(frozen=True, slots=True)
class Target:
    """A model to be built up to `end` (UTC), from `start` or from the beginning of its source.

    `built` names the models that are up to date already and may be read instead of their sources, `look` runs the
    small questions that many models of a build ask alike.
    """

    model: Model
    definition_hash: str
    start: datetime | None
    end: datetime
    built: Collection[str] = ()
    look: Callable[[str], pa.Table] | None = None


def calendar(project: Project, model: Model) -> Calendar:
    """Return the calendar a model's days are counted on."""
    return calendar_of(project, project.metrics[model.metric])


def refresh_from(model: Model, covered_end: datetime, project: Project) -> datetime | None:
    """Return where an incremental refresh starts: whole buckets, `lookback` of them before the covered end.

    None stands for the beginning: of all time, and of more buckets than the calendar has.
    """
    if model.time.is_all_time:
        return None
    grain = model.time.grain or Grain.DAY
    days = calendar(project, model)
    try:
        return shift(floor(covered_end, grain, days), grain, -project.settings.lookback, days)
    except (ValueError, OverflowError):
        return None


def create(engine: Engine, project: Project, target: Target, now: datetime) -> BuiltState:
    """Build a model from nothing beside what is there, then swap it in; what it replaces is kept and dated."""
    beside = f"_next_{target.model.name}"
    start = (
        target.start or first_instant(target.look or engine.run, project, target.model, engine.dialect) or target.end
    )
    # Where every row comes later there is still one day to look at, which has none.
    days = calendar(project, target.model)
    start = min(floor(start, Grain.DAY, days), floor(target.end - timedelta(microseconds=1), Grain.DAY, days))
    first, *more = _queries(engine, project, target, start)
    engine.create_as(beside, first)
    for query in more:
        engine.execute(f"INSERT INTO {state.table(engine, beside)} {query}")
    with engine.transaction():
        relations.publish(engine, beside, target.model.name, target.definition_hash, now)
        return record(engine, target, start, now)


def refresh(
    engine: Engine, project: Project, target: Target, old: BuiltState, since: datetime, now: datetime
) -> BuiltState:
    """Recompute the buckets from `since` on, in one transaction with the state; all of them if types have changed.

    Where the engine has no transactions, old and new rows are put together beside and swapped in.
    """
    name = state.table(engine, target.model.name)
    queries = _queries(engine, project, target, since)
    if _has_other_types(engine, queries[0], name):
        return create(engine, project, target, now)
    kept = _from_bucket(target.model, since, project, engine.dialect).sql(engine.dialect)
    if not engine.capabilities.transactions:
        beside = f"_next_{target.model.name}"
        first, *more = queries
        engine.create_as(beside, f"SELECT * FROM {name} WHERE NOT ({kept}) UNION ALL SELECT * FROM ({first}) AS fresh")
        for query in more:
            engine.execute(f"INSERT INTO {state.table(engine, beside)} {query}")
        relations.publish(engine, beside, target.model.name, target.definition_hash, now)
        return record(engine, target, old.covered_start, now)
    with engine.transaction():
        engine.execute(f"DELETE FROM {name} WHERE {kept}")
        for query in queries:
            engine.execute(f"INSERT INTO {name} {query}")
        return record(engine, target, old.covered_start, now)


def _has_other_types(engine: Engine, query: str, table: str) -> bool:
    """Tell whether a query's columns are of other types than those of the table it is to go into.

    Asked of embedded engines only, whose tables have exactly the types of the query that made them.
    """
    if not engine.capabilities.one_pass:
        return False
    fresh, held = engine.columns(f"({query}) AS fresh"), engine.columns(table)
    return any(kind != held.get(name) for name, kind in fresh.items() if kind.strip('"') != "NULL")


def _queries(engine: Engine, project: Project, target: Target, start: datetime) -> list[str]:
    """Return the queries that compute a model's rows from `start` on: one, or a few where it takes many days each."""
    model, days = target.model, calendar(project, target.model)
    try:
        return [model_query(engine, project, model, Span(start, target.end, days), target.built)]
    except TooManyDaysError as error:
        found: list[str] = []
        while start < target.end:
            stop = min(shift(floor(start, Grain.DAY, days), Grain.DAY, error.days, days), target.end)
            found.append(model_query(engine, project, model, Span(start, stop, days), target.built))
            start = stop
        return found


def model_query(engine: Engine, project: Project, model: Model, span: Span, built: Collection[str] = ()) -> str:
    """Return the text that computes a model's rows, without the row count that queries show.

    A derived model is computed from the rows of its operands where all of them are among the `built` models.
    """
    query = _from_built(engine, project, model, span, built) or lower(model, project, span, engine.dialect)
    if isinstance(project.metrics[model.metric].definition, SqlQuery):
        query = contracted(query, model, definition_context(project, engine.dialect))
    if N not in query.named_selects:
        return to_text(query, engine.dialect, reads=project.dialect, pretty=False)
    names = [name for name in query.named_selects if name != N]
    without_n = exp.select(*map(exp.column, names)).from_(query.subquery("model"))
    return to_text(without_n, engine.dialect, reads=project.dialect, pretty=False)


def _from_built(engine: Engine, project: Project, model: Model, span: Span, built: Collection[str]) -> exp.Query | None:
    if not isinstance(project.metrics[model.metric].definition, Formula):
        return None
    operands = {part.metric: part for part in parts(model, project, definition_context(project))}
    if not all(part.name in built for part in operands.values()):
        return None

    def rows(operand: Metric) -> exp.Query:
        part = operands[operand.name]
        columns = [exp.column(name) for name in (BUCKET, *key_columns(part, project), VALUE)]
        table = exp.Table(this=exp.to_identifier(part.name), db=exp.to_identifier(engine.schema))
        query = exp.select(*columns, exp.Literal.number(0).as_(N)).from_(table)
        if span.start is not None and not model.time.is_all_time:
            query = query.where(_from_bucket(part, span.start, project, engine.dialect), copy=False)
        return query

    return lower_from_parts(model, project, rows)


def _from_bucket(model: Model, since: datetime, project: Project, dialect: str) -> exp.Expr:
    """Return the predicate over the buckets that hold `since` or come later."""
    days = calendar(project, model)
    since = floor(since, model.time.grain or Grain.DAY, days)
    if model.time.grain is not None and model.time.grain.is_sub_day:
        bound = literal_instant(since, is_date=False, dialect=dialect)
    else:
        bound = date_literal(local_date(since, days), dialect=dialect)
    return exp.GTE(this=exp.column(bucket_column(project.metrics[model.metric])), expression=bound)


def record(engine: Engine, target: Target, start: datetime | None, now: datetime) -> BuiltState:
    """Write the state of a model whose rows were just written."""
    name = state.table(engine, target.model.name)
    rows = engine.run(f"SELECT COUNT(*) AS n FROM {name}").to_pylist()[0]["n"]
    found = BuiltState(
        model=target.model.name,
        metric=target.model.metric,
        definition_hash=target.definition_hash,
        storage=DENSE,
        covered_start=start,
        covered_end=target.end,
        row_count=rows,
        built_at=now,
    )
    state.write(engine, found)
    return found
