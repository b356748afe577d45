"""Looking at a source before anything is defined on it: columns and roles, sample, freshness, and what is odd."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any

from sqlglot import exp

from tallystick.compiler.lower import to_text
from tallystick.compiler.relations import Scope, scope
from tallystick.definitions.column_kind import bucketed
from tallystick.definitions.fragment import check_query
from tallystick.definitions.project import Project
from tallystick.definitions.read_source import check_table
from tallystick.definitions.source import Source
from tallystick.engines.adapter import Engine
from tallystick.errors import UsageError
from tallystick.service.dependants import Dependants, dependants
from tallystick.service.guess import Guess, Profile, guess, quoted
from tallystick.service.profile import profile
from tallystick.service.unpivot import Unpivot, unpivot
from tallystick.sql import buckets
from tallystick.sql.calendar import Calendar
from tallystick.sql.grain import Grain

SHOWN_ROWS = 20
SAMPLE_ROWS = 100
DAYS = 14
SLOW_SECONDS = 30.0
"""A source whose sample takes longer is slow for everything that is computed from it (spec anchors §1.1)."""

ADVICE = (
    'partition the table by day and name the column: partition = "ds"',
    "read only the days that are asked for: write the source as a table, or filter on time inside its sql",
    "compute the query ahead into a table, and use that",
    "give the warehouse more power",
)
"""What helps against a slow source, in the order it should be tried."""

AD_HOC = "preview"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceColumn:
    """A column: its kind, the type as the warehouse spells it, and the role it has or seems to have."""

    name: str
    kind: str
    type: str
    role: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What there is to see of a source; `warnings` is empty where nothing is odd."""

    name: str
    reads: str
    columns: tuple[SourceColumn, ...]
    rows: tuple[Mapping[str, Any], ...]
    seconds: float
    latest: datetime | None = None
    age_seconds: float | None = None
    rows_per_day: tuple[tuple[date, int], ...] = ()
    used_by: Dependants = field(default_factory=Dependants)
    warnings: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    unpivot: Unpivot | None = None


def ad_hoc_source(project: Project, *, sql: str | None = None, table: str | None = None) -> Source:
    """Return a source that is written nowhere; raise DefinitionError where the query or the name does not do."""
    if (sql is None) == (table is None):
        raise UsageError("name either a query or a table")
    if sql is not None:
        check_query(sql, project.dialect, project.settings.allow_functions)
        return Source(name=AD_HOC, sql=sql)
    return Source(name=AD_HOC, table=check_table(table))


def preview_file(path: Path, now: datetime, **settings: Any) -> Preview:
    """Look at a file of rows on disk."""
    from tallystick.engines.duckdb import DuckDBEngine

    engine = DuckDBEngine(files={AD_HOC: path.resolve()})
    try:
        return preview(engine, Project(root="."), Source(name=AD_HOC, file=str(path)), now, **settings)
    finally:
        engine.close()


def preview(
    engine: Engine,
    project: Project,
    source: Source,
    now: datetime,
    *,
    slow_after: float = SLOW_SECONDS,
    clock: Callable[[], float] = perf_counter,
) -> Preview:
    """Look at a source: types, a sample, freshness, rows per day, who uses it, and what is odd. Raise EngineError."""
    rows = scope(source, project, engine.dialect)
    relation = to_text(rows.relation(), engine.dialect, reads=project.dialect, pretty=False)
    types = engine.columns(relation)
    started = clock()
    sample = engine.rows(f"SELECT * FROM {relation} LIMIT {SAMPLE_ROWS}")
    seconds = clock() - started
    is_slow = seconds > slow_after
    profiles = _from_sample(types, sample) if is_slow else profile(engine, relation)
    guessed = guess(source.name, profiles)
    timed = _with_time(source, guessed)
    latest = None if timed.time is None else _latest(engine, scope(timed, project, engine.dialect), project)
    days = () if latest is None or is_slow else _rows_per_day(engine, timed, project, min(latest, now))
    stacked = unpivot(timed.table or relation, profiles, dialect=engine.dialect)
    return Preview(
        name=source.name,
        reads=source.table or source.file or source.sql or source.name,
        columns=tuple(_columns(types, source, guessed)),
        rows=tuple({name: json_safe(value) for name, value in row.items()} for row in sample[:SHOWN_ROWS]),
        seconds=seconds,
        latest=latest,
        age_seconds=None if latest is None else (now - latest).total_seconds(),
        rows_per_day=days,
        used_by=dependants(project, source.name) if source.name in project.sources else Dependants(),
        warnings=tuple(_warnings(source, sample, seconds, stacked, is_slow=is_slow)),
        advice=ADVICE if is_slow else (),
        unpivot=stacked,
    )


def _warnings(
    source: Source, sample: Sequence[Mapping[str, Any]], seconds: float, stacked: Unpivot | None, *, is_slow: bool
) -> Iterator[str]:
    if is_slow:
        yield f"slow: a sample of {SAMPLE_ROWS} rows took {seconds:.0f} s"
    if not sample:
        yield "no rows"
    if stacked is not None and source.time is None:
        columns = ", ".join(stacked.columns)
        yield f"several date columns and none that says what happened: {columns}; a source has one time"


def _with_time(source: Source, guessed: Guess) -> Source:
    if source.time is not None or guessed.time is None:
        return source
    return replace(source, time=quoted(guessed.time.name), time_is_date=bucketed(guessed.time.type) == "date")


def _columns(types: Mapping[str, str], source: Source, guessed: Guess) -> Iterator[SourceColumn]:
    written = {column: f"identifier of {name}" for name, column in source.entities.items()}
    seen = {column: f"identifier of {name}" for name, column in guessed.entities}
    roles = dict.fromkeys(guessed.numbers, "number") | dict.fromkeys(guessed.dimensions, "dimension")
    roles |= dict.fromkeys((n for n, c in source.columns.items() if c.is_dimension), "dimension")
    roles |= seen | written
    moment = source.time or (guessed.time.name if guessed.time else None)
    if moment is not None:
        roles[moment] = "time"
    if source.partition is not None and source.partition != moment:
        roles[source.partition] = "partition"
    for name, native in types.items():
        kind = bucketed(native)
        yield SourceColumn(
            name=name, kind="timestamp" if kind == "date" else kind.value, type=native, role=roles.get(name)
        )


def _from_sample(types: Mapping[str, str], sample: Sequence[Mapping[str, Any]]) -> tuple[Profile, ...]:
    """Profile columns from the sample alone, where reading more would take too long."""
    found = []
    for name, native in types.items():
        values = [row[name] for row in sample if row[name] is not None]
        found.append(Profile(name, native, len(values), len(sample) - len(values), len(set(map(str, values)))))
    return tuple(found)


# -- freshness --------------------------------------------------------------------------------------------------------


def _latest(engine: Engine, rows: Scope, project: Project) -> datetime | None:
    query = exp.select(exp.Max(this=rows.time()).as_("latest")).from_(rows.relation())
    return _instant(engine.rows(to_text(query, engine.dialect, reads=project.dialect))[0]["latest"])


def _instant(value: object) -> datetime | None:
    """Return a value of a time column as an instant; a date is its midnight, a time without a zone is UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime.combine(value, time(), UTC) if isinstance(value, date) else None


def _rows_per_day(engine: Engine, source: Source, project: Project, until: datetime) -> tuple[tuple[date, int], ...]:
    """Count rows of the last days up to an instant; a day without rows counts 0."""
    rows = scope(source, project, engine.dialect)
    last = until.date()
    first = last - timedelta(days=DAYS - 1)
    start = datetime.combine(first, time(), UTC)
    day = buckets.bucket(rows.time(), Grain.DAY, Calendar("UTC"), is_date=source.time_is_date, dialect=engine.dialect)
    bound = buckets.literal_instant(start, is_date=source.time_is_date, dialect=engine.dialect)
    query = (
        exp.select(day.as_("day"), exp.Count(this=exp.Star()).as_("n"))
        .from_(rows.relation())
        .where(exp.GTE(this=rows.time(), expression=bound))
        .group_by(exp.Literal.number(1))
    )
    counted = {}
    for row in engine.rows(to_text(query, engine.dialect, reads=project.dialect)):
        if found := _instant(row["day"]):
            counted[found.date()] = int(row["n"])
    days = (first + timedelta(days=index) for index in range(DAYS))
    return tuple((one, counted.get(one, 0)) for one in days)


def json_safe(value: object) -> object:
    """Return a value as JSON can say it: numbers that are none become NULL, whatever is unknown becomes text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if isfinite(value) else None
        case Decimal():
            return float(value) if value.is_finite() else None
        case datetime() | date() | time():
            return value.isoformat()
        case bytes():
            return value.hex()
        case Mapping():
            return {str(key): json_safe(item) for key, item in value.items()}
        case list() | tuple() | set():
            return [json_safe(item) for item in value]
        case _:
            return str(value)
