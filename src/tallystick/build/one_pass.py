"""Building families: one reading of the source, every model of its metrics, one transaction with the state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from tallystick.build import one_pass_state, relations, state
from tallystick.build.one_pass_state import Stored
from tallystick.build.state import BuiltState
from tallystick.compiler.definition_hash import definition_hash
from tallystick.compiler.one_pass import interning, measures, tables, views
from tallystick.compiler.one_pass.days import Days, create_days, day_of, number
from tallystick.compiler.one_pass.family import Family, Member
from tallystick.compiler.one_pass.gather import Stream, gather, streams
from tallystick.compiler.one_pass.layout import layout
from tallystick.compiler.one_pass.measures import Measured
from tallystick.compiler.one_pass.names import WORK, Schema, quoted, work
from tallystick.compiler.one_pass.presence import packing
from tallystick.compiler.one_pass.tables import Extent, Plan
from tallystick.compiler.span import Span
from tallystick.definitions.project import Project
from tallystick.engines.adapter import Engine
from tallystick.sql.calendar import Calendar, local_date
from tallystick.sql.grain import Grain, Window

CHANGE_POINTS = "change_points"
DENSE = "dense"


@dataclass(frozen=True, slots=True)
class Job:
    """One build of one family: where, of what, up to when."""

    engine: Engine
    project: Project
    family: Family
    schema: Schema
    end: datetime
    now: datetime

    @property
    def calendar(self) -> Calendar:
        """Return the project's calendar."""
        return Calendar(self.project.settings.time_zone, self.project.settings.week_start)

    @property
    def last(self) -> int:
        """Return the number of the last local day the build touches."""
        day = Span(None, self.end, self.calendar).last_day
        assert day is not None  # noqa: S101 - the span has an end
        return number(day)

    @property
    def start(self) -> int | None:
        """Return the number of the project's first day."""
        start = self.project.settings.start
        return None if start is None else number(local_date(start, self.calendar))


def build_family(
    engine: Engine,
    project: Project,
    family: Family,
    *,
    end: datetime,
    now: datetime,
    progress: Callable[[str], None] | None = None,
) -> list[BuiltState]:
    """Bring every model of a family up to `end` in one transaction; return their states. Raise EngineError.

    What was built before is extended by its new days and the lookback; what cannot be extended is built anew.
    """
    job = Job(engine, project, family, Schema(engine.schema), end, now)
    try:
        with engine.transaction():
            return _build(job, progress)
    finally:
        _drop_work(engine)


def _build(job: Job, progress: Callable[[str], None] | None) -> list[BuiltState]:
    state.prepare(job.engine)
    one_pass_state.prepare(job.engine)
    _create(job, job.family.members)
    states: list[BuiltState] = []
    for member in job.family.members:
        states += publish(job, member)
        if progress is not None:
            progress(member.metric)
    return states


def _create(job: Job, members: Sequence[Member]) -> None:
    """Build metrics from nothing."""
    engine, family, schema = job.engine, job.family, job.schema
    found = streams(members)
    execute(engine, gather(family, job.project, found, Span(None, job.end, job.calendar)))
    facts = {stream.table: measure(engine, stream) for stream in found}
    fresh = not has_dictionaries(engine, family)
    if fresh:
        execute(engine, interning.dictionaries(family, job.project, schema, found[0]))
    execute(engine, interning.intern_base(family, schema, found))
    execute(engine, interning.intern_entities(family, job.project, schema))
    if fresh:
        one_pass_state.write_family(engine, family, membership_mark(job))
    firsts = [f.first for f in facts.values() if f.first is not None]
    first = min(firsts, default=job.last)
    grains = {grain for member in members for grain in member.grains}
    windows = {window for member in members for window in member.windows}
    write_days(job, first, grains, windows)
    settled = job.last + 1 - job.project.settings.lookback
    extent = Extent(first, job.last, settled, job.start)
    for member in members:
        mine = tuple(stream for stream in found if stream.member is member)
        _create_member(job, member, mine, {s.table: facts[s.table] for s in mine}, extent)


def _create_member(
    job: Job, member: Member, mine: tuple[Stream, ...], facts: dict[str, Measured], extent: Extent
) -> None:
    engine, family, schema = job.engine, job.family, job.schema
    for name in sorted(engine.tables()):
        if name.startswith(f"{member.prefix}_"):
            relations.drop(engine, name)
    merged = {name: found for stream in mine for name, found in facts[stream.table].facts.items()}
    types: dict[str, str] = {}
    for stream in mine:
        types |= dict(engine.columns(work(stream.table)))
    stored = layout(member, types, merged)
    raw: set[str] = set()
    for stream in mine:
        if stream.measure is None:
            continue
        keys = facts[stream.table].keys
        if keys is not None and keys[0] >= 0 and not tables.keeps_missing(stored, stream.measure.name):
            raw.add(stream.measure.name)
        else:
            execute(engine, interning.intern_keys(family, schema, stream, create=True))
    packings = {
        stream.measure.name: packing(
            extent.first, extent.last, max_uid(job, stream, facts[stream.table], raw), max_eid(job)
        )
        for stream in mine
        if stream.measure is not None
    }
    plan = Plan(family, member, stored, schema, extent, packings, frozenset(raw))
    execute(engine, tables.create_tables(plan, mine))
    one_pass_state.write(
        engine,
        Stored(
            prefix=member.prefix,
            family=family.prefix,
            metric=member.metric,
            layout=stored,
            models=tuple(sorted(model.name for model in member.models)),
            first=extent.first,
            last=extent.last,
            settled=extent.settled,
            end=job.end,
            magnitudes={name: found.magnitude for name, found in merged.items()},
            raw_keys=tuple(sorted(raw)),
        ),
    )


def publish(job: Job, member: Member) -> list[BuiltState]:
    """Put the models of a metric in place as views over its tables, and write their states."""
    engine = job.engine
    stored = one_pass_state.read(engine)[member.prefix]
    reach = views.Reach(None, stored.last, job.start)
    covered = job.project.settings.start or _midnight(job, stored.first)
    found: list[BuiltState] = []
    for model in member.models:
        query = views.model_view(model, job.family, member, stored.layout, job.project, job.schema, reach)
        digest = definition_hash(model, job.project)
        relations.keep_old(engine, model.name, digest, job.now)
        engine.execute(f"CREATE VIEW {job.schema.table(model.name)} AS {query}")
        built = BuiltState(
            model=model.name,
            metric=model.metric,
            definition_hash=digest,
            storage=CHANGE_POINTS,
            covered_start=covered,
            covered_end=job.end,
            row_count=0,
            built_at=job.now,
        )
        state.write(engine, built)
        found.append(built)
    return found


def write_days(job: Job, first: int, grains: set[Grain], windows: set[Window]) -> None:
    """Write the working calendar from a first day to the end of the build."""
    ordered = sorted(windows)
    statement = create_days(Days(job.calendar), first, job.last, [g for g in Grain if g in grains], ordered)
    job.engine.execute(statement)


def measure(engine: Engine, stream: Stream) -> Measured:
    """Measure a gathered stream."""
    types = engine.columns(work(stream.table))
    return measures.measured(stream, engine.run(measures.measuring(stream, types)).to_pylist()[0])


def max_uid(job: Job, stream: Stream, facts: Measured, raw: set[str]) -> int:
    """Return the largest number a key of a distinct count has."""
    assert stream.measure is not None  # noqa: S101 - only distinct counts have keys
    if stream.measure.name in raw:
        return 0 if facts.keys is None else facts.keys[1]
    table = job.schema.table(interning.keys_table(job.family, stream))
    return int(job.engine.run(f"SELECT coalesce(max(uid), 0) AS top FROM {table}").to_pylist()[0]["top"])


def max_eid(job: Job) -> int:
    """Return the largest number an entity has."""
    table = job.schema.table(interning.closure_table(job.family))
    return int(job.engine.run(f"SELECT coalesce(max(eid), 0) AS top FROM {table}").to_pylist()[0]["top"])


def has_dictionaries(engine: Engine, family: Family) -> bool:
    """Tell whether the dictionaries of a family are there."""
    return interning.base_table(family) in engine.tables()


def membership_mark(job: Job) -> str | None:
    """Return the print of the memberships a family relies on, as they are now."""
    query = interning.membership_print(job.family, job.project)
    return None if query is None else str(job.engine.run(query).to_pylist()[0]["mark"])


def execute(engine: Engine, statements: Sequence[str]) -> None:
    """Run statements in order."""
    for statement in statements:
        engine.execute(statement)


def _midnight(job: Job, day: int) -> datetime:
    from tallystick.sql.calendar import start_of_day

    return start_of_day(day_of(day), job.calendar)


def _drop_work(engine: Engine) -> None:
    """Drop working tables, also those a failed build left."""
    rows = engine.run(
        f"SELECT table_name AS name FROM duckdb_tables() WHERE temporary AND starts_with(table_name, '{WORK}')"
    )
    for row in rows.to_pylist():
        engine.execute(f"DROP TABLE IF EXISTS temp.{quoted(row['name'])}")
