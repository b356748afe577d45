"""Building one model by its direct query: portable to every engine, incremental by whole buckets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlglot import exp

from tallystick.build import state
from tallystick.build.extent import first_instant
from tallystick.build.state import BuiltState
from tallystick.compiler.aggregate_model import N
from tallystick.compiler.lower import bucket_column, lower
from tallystick.compiler.model import Model
from tallystick.compiler.span import Span
from tallystick.definitions.project import Project
from tallystick.engines.adapter import Engine
from tallystick.sql.buckets import date_literal, literal_instant
from tallystick.sql.calendar import Calendar, floor, local_date, shift
from tallystick.sql.grain import Grain

DENSE = "dense"


@dataclass(frozen=True, slots=True)
class Target:
    """A model to be built up to `end` (UTC), from `start` or from the beginning of its source."""

    model: Model
    definition_hash: str
    start: datetime | None
    end: datetime


def calendar(project: Project) -> Calendar:
    """Return the project's calendar."""
    return Calendar(project.settings.time_zone, project.settings.week_start)


def refresh_from(model: Model, covered_end: datetime, project: Project) -> datetime | None:
    """Return where an incremental refresh starts: whole buckets, `lookback` of them before the covered end."""
    if model.time.is_all_time:
        return None
    grain = model.time.grain or Grain.DAY
    return shift(floor(covered_end, grain, calendar(project)), grain, -project.settings.lookback, calendar(project))


def create(engine: Engine, project: Project, target: Target, now: datetime) -> BuiltState:
    """Build a model from nothing beside what is there, then swap it in; what it replaces is kept and dated."""
    beside = state.table(engine, f"_next_{target.model.name}")
    start = target.start or first_instant(engine.run, project, target.model, engine.dialect) or target.end
    query = model_query(engine, project, target.model, Span(start, target.end, calendar(project)))
    engine.execute(f"CREATE OR REPLACE TABLE {beside} AS {query}")
    with engine.transaction():
        keep_old(engine, target.model.name, target.definition_hash, now)
        engine.execute(f"ALTER TABLE {beside} RENAME TO {quoted(engine, target.model.name)}")
        return record(engine, target, start, now)


def refresh(
    engine: Engine, project: Project, target: Target, old: BuiltState, since: datetime, now: datetime
) -> BuiltState:
    """Recompute the buckets from `since` on, in one transaction with the state."""
    name = state.table(engine, target.model.name)
    query = model_query(engine, project, target.model, Span(since, target.end, calendar(project)))
    with engine.transaction():
        engine.execute(f"DELETE FROM {name} WHERE {_from_bucket(target.model, since, project, engine.dialect)}")
        engine.execute(f"INSERT INTO {name} {query}")
        return record(engine, target, old.covered_start, now)


def model_query(engine: Engine, project: Project, model: Model, span: Span) -> str:
    """Return the text that computes a model's rows, without the row count that queries show."""
    query = lower(model, project, span, engine.dialect)
    names = [name for name in query.named_selects if name != N]
    return exp.select(*names).from_(query.subquery("model")).sql(engine.dialect)


def _from_bucket(model: Model, since: datetime, project: Project, dialect: str) -> str:
    """Return the predicate over buckets that start at `since` or later."""
    if model.time.grain is not None and model.time.grain.is_sub_day:
        bound = literal_instant(since, is_date=False, dialect=dialect)
    else:
        bound = date_literal(local_date(since, calendar(project)), dialect=dialect)
    return exp.GTE(this=exp.column(bucket_column(project.metrics[model.metric])), expression=bound).sql(dialect)


def record(engine: Engine, target: Target, start: datetime | None, now: datetime, storage: str = DENSE) -> BuiltState:
    """Write the state of a model whose rows were just written."""
    name = state.table(engine, target.model.name)
    rows = engine.run(f"SELECT COUNT(*) AS n FROM {name}").to_pylist()[0]["n"] if storage == DENSE else 0
    found = BuiltState(
        model=target.model.name,
        metric=target.model.metric,
        definition_hash=target.definition_hash,
        storage=storage,
        covered_start=start,
        covered_end=target.end,
        row_count=rows,
        built_at=now,
    )
    state.write(engine, found)
    return found


def keep_old(engine: Engine, name: str, new_hash: str, now: datetime) -> None:
    """Move a model's present rows aside under the hash they were built with; drop them if it is the same."""
    old = state.read(engine).get(name)
    if name not in engine.tables():
        return
    if old is None or old.definition_hash == new_hash:
        engine.execute(f"DROP TABLE {state.table(engine, name)}")
        return
    kept = f"_old_{name}_{old.definition_hash[:8]}"
    engine.execute(f"DROP TABLE IF EXISTS {state.table(engine, kept)}")
    engine.execute(f"ALTER TABLE {state.table(engine, name)} RENAME TO {quoted(engine, kept)}")
    state.retire(engine, old, kept, now)


def quoted(engine: Engine, name: str) -> str:
    """Return a quoted name without its schema."""
    return exp.to_identifier(name, quoted=True).sql(engine.dialect)
