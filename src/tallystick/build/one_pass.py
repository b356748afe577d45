"""Building families: one reading of the source, every model of its metrics, one transaction with the state."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from tallystick.build import one_pass_append, one_pass_state, one_pass_sweep, state
from tallystick.build.one_pass_arrays import write_days
from tallystick.build.one_pass_changes import (
    drop_dictionaries,
    forget_dictionaries,
    gathered_types,
    keep_history,
    retire_views,
)
from tallystick.build.one_pass_publish import DENSE, Publication, publish
from tallystick.build.one_pass_state import Stored
from tallystick.build.state import BuiltState
from tallystick.compiler.definition_hash import definition_hashes
from tallystick.compiler.one_pass import append, interning, measures, tables
from tallystick.compiler.one_pass.days import day_of, number
from tallystick.compiler.one_pass.family import Family, Member
from tallystick.compiler.one_pass.gather import ROWS, Stream, gather, streams
from tallystick.compiler.one_pass.layout import layout
from tallystick.compiler.one_pass.measures import Measured
from tallystick.compiler.one_pass.names import WORK, Schema, work
from tallystick.compiler.one_pass.presence import Packing, packing
from tallystick.compiler.one_pass.readable import readable
from tallystick.compiler.one_pass.tables import Extent, Plan
from tallystick.compiler.span import Span
from tallystick.compiler.sweep.calendar import DayTable, day_table
from tallystick.definitions.project import Project
from tallystick.engines.adapter import Engine, embedded
from tallystick.errors import EngineError, NotTogetherError
from tallystick.sql.calendar import Calendar, floor_date, local_date, shift_date, start_of_day
from tallystick.sql.grain import Grain

EPOCH = 0
"""The day number of 1970-01-01, where all time begins for queries (spec oso §7.3)."""
FEW = 100_000
"""Gathered rows that one thread appends for less than it would cost two to wait for each other."""
FEW_DAYS = 7
TIDIES_EVERY = 8
"""Of so many builds one writes small tables again whose rows are replaced, and puts in order what was appended, where
that has become much: both cost as much as half an appended day or more, and without either every build costs more."""
CLOSES_GAPS_EVERY = 8 * TIDIES_EVERY
"""Of so many builds one lets DuckDB join the small parts of tables that each has appended."""
SMALL = 50_000_000
"""Rows of a table of which one thread reads few days in no time, or all in half a second where they are not sorted."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is in a warehouse before a build: its relations and the states of its models."""

    relations: frozenset[str]
    states: Mapping[str, BuiltState]


@dataclass(frozen=True, slots=True)
class Together:
    """What models of a family are now, and whether rows were replaced whose gaps may stay in the file for a while.

    `anew` are the metrics that were there and were built from nothing.
    """

    states: list[BuiltState]
    leaves_gaps: bool
    anew: frozenset[str]


@dataclass(frozen=True, slots=True)
class Job:
    """One build of one family: where, of what, up to when."""

    engine: Engine
    project: Project
    family: Family
    schema: Schema
    end: datetime
    now: datetime
    by_statements: set[str] = field(default_factory=set)
    """The prefixes of metrics that were built or extended by statements over working tables of their own."""

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
    def reads(self) -> Project:
        """Return the project with what its queries stand for."""
        return readable(self.project, [member.metric for member in self.family.members]).project

    def start(self, member: Member) -> int | None:
        """Return the number of the first day a metric counts; a query's views begin later than what is counted."""
        start = self.project.settings.start
        return None if start is None or member.query is not None else number(local_date(start, self.calendar))


def build_family(
    engine: Engine,
    project: Project,
    family: Family,
    *,
    end: datetime,
    now: datetime,
    since: datetime | None = None,
    before: Found | None = None,
) -> Together:
    """Bring every model of a family up to `end` in one transaction; return what they are now. Raise EngineError.

    What was built before is extended by its new days and the lookback, or by all days from `since` on (a
    restatement); what cannot be extended is built anew. `before` need not be known.
    """
    job = Job(engine, project, family, Schema(engine.schema), end, now)
    made: Collection[str] | None = None
    try:
        with engine.transaction():
            built = _build(job, since, before)
        # To ask for their names takes longer than to drop them.
        made = None if job.by_statements else _working_tables(family)
    finally:
        _drop(engine, _every_working_table(engine) if made is None else made)
    return built


def look(engine: Engine) -> Found:
    """Return what is in a warehouse; create the tables of states where they are missing."""
    there = engine.tables()
    if not {state.TABLE, state.HISTORY, one_pass_state.STORED, one_pass_state.FAMILIES} <= there:
        state.prepare(engine)
        one_pass_state.prepare(engine)
    return Found(there, state.read(engine))


def _build(job: Job, since: datetime | None, before: Found | None) -> Together:
    before = before or look(job.engine)
    is_new = interning.base_table(job.family) not in before.relations
    is_current = is_new or _has_current_memberships(job)
    groups: dict[int, list[tuple[Member, Stored]]] = {}
    anew: list[Member] = []
    known = one_pass_state.read(job.engine)
    hashes = {member.prefix: definition_hashes(member.models, job.project) for member in job.family.members}
    for member in job.family.members:
        stored = known.get(member.prefix)
        keep_history(job.engine, hashes[member.prefix], before.states)
        day = None if stored is None or not is_current else reread_from(job, member, stored, since)
        if stored is None or day is None:
            anew.append(member)
        else:
            groups.setdefault(day, []).append((member, stored))
    targets: dict[str, Publication] = {}
    for day, found in groups.items():
        extended = extend(job, found, day)
        targets |= {
            stored.prefix: Publication(job.family, member, stored, day, hashes[stored.prefix])
            for member, stored in extended
        }
        anew += [member for member, _ in found if member.prefix not in targets]
    if anew:
        embedded(job.engine).use_threads(None)
        for member in anew:
            retire_views(job.engine, member, known.get(member.prefix))
        targets |= {
            stored.prefix: Publication(job.family, member, stored, None, hashes[stored.prefix])
            for member, stored in _create(job, anew, is_new=is_new)
        }
    states = _publish_all(job, [targets[member.prefix] for member in job.family.members], before)
    leaves_gaps = all(target.stored.gaps for target in targets.values())
    return Together(states, leaves_gaps, frozenset(member.metric for member in anew if member.prefix in known))


def _publish_all(job: Job, targets: Sequence[Publication], before: Found) -> list[BuiltState]:
    """Put the models of every member in place and write their states."""
    if job.project.warehouse.storage == DENSE:
        embedded(job.engine).use_threads(None)
    states: list[BuiltState] = []
    for target in targets:
        states += publish(job.engine, job.project, target, before.states, before.relations, job.now)
    state.write_all(job.engine, states, before.states)
    return states


def _has_current_memberships(job: Job) -> bool:
    """Tell whether entities have the members they were counted with; bring the pairs up to date where not."""
    mark = membership_mark(job)
    if mark == one_pass_state.families(job.engine).get(job.family.prefix):
        return True
    one_pass_state.write_family(job.engine, job.family, mark)
    embedded(job.engine).use_threads(None)
    query = interning.membership_changed(job.family, job.reads, job.schema)
    try:
        if not job.engine.rows(query)[0]["changed"]:
            return True
    except EngineError:
        # Keys of another type by now cannot be compared with those that are numbered.
        drop_dictionaries(job.engine, job.family)
        return False
    numbers = job.engine.rows(interning.next_numbers(job.family, job.schema))[0]
    one_pass_state.spoil_family(job.engine, job.family)
    execute(job.engine, interning.forget_pairs(job.family, job.schema))
    pair_up(job, numbers["eid"])
    return False


def _create(job: Job, members: Sequence[Member], *, is_new: bool) -> list[tuple[Member, Stored]]:
    """Build metrics from nothing, the dictionaries of a new family too; return how each is stored."""
    engine, family = job.engine, job.family
    created: list[tuple[Member, Stored]] = []
    found = streams(members)
    facts = read_source(job, found, Span(None, job.end, job.calendar))
    types = facts[found[0].table].types
    number_entities(job, found, is_new=is_new or forget_dictionaries(engine, job.schema, family, types))
    firsts = [f.first for f in facts.values() if f.first is not None]
    first = min(firsts, default=job.last)
    calendar = _days(job, first, members)
    for member in members:
        mine = tuple(stream for stream in found if stream.member is member)
        for name in sorted(engine.tables()):
            if name.startswith(f"{member.prefix}_"):
                engine.drop(name)
        plan = _plan(job, member, mine, facts, Extent(first, job.last, settled(job), job.start(member)))
        if one_pass_sweep.is_for_memory(engine, plan, mine):
            one_pass_sweep.create_tables(engine, plan, mine, calendar)
        else:
            job.by_statements.add(member.prefix)
            write_days(engine, calendar)
            execute(engine, tables.create_tables(plan, mine))
        sizes = {name: f.magnitude for stream in mine for name, f in facts[stream.table].facts.items()}
        created.append((member, write_stored(job, plan, family, sizes, gathered_types(mine, facts))))
    return created


def read_source(job: Job, found: Sequence[Stream], span: Span) -> dict[str, Measured]:
    """Gather streams and measure them; raise NotTogetherError where a query says something else about their rows."""
    after = max((_after(job, stream.member) for stream in found), default=job.last + 1)
    if after > job.last + 1:
        span = replace(span, end=start_of_day(day_of(after), job.calendar))
    execute(job.engine, gather(job.family, job.reads, found, span))
    facts = {stream.table: measure(job.engine, stream) for stream in found}
    for stream in found:
        first, last = facts[stream.table].first, facts[stream.table].last
        if last is not None and last > job.last:
            raise NotTogetherError(f"'{stream.member.metric}' has rows of days after the build in its last bucket")
        if stream.member.query is not None and stream.member.has_all_time and first is not None and first < EPOCH:
            raise NotTogetherError(f"'{stream.member.metric}' has rows from before all time, which begins in 1970")
    return facts


def _after(job: Job, member: Member) -> int:
    """Return the number of the day after the last one that a metric's own queries read: they read whole buckets."""
    grains = member.grains if member.query is not None else ()
    nexts = (shift_date(floor_date(day_of(job.last), grain, job.calendar), grain, 1) for grain in grains)
    return max(map(number, nexts), default=job.last + 1)


def number_entities(job: Job, found: Sequence[Stream], *, is_new: bool) -> None:
    """Intern the base keys and entities of gathered streams; the dictionaries of a new family are created."""
    engine, family, schema = job.engine, job.family, job.schema
    if is_new:
        execute(engine, interning.dictionaries(family, job.reads, schema, found[0]))
        one_pass_state.write_family(engine, family, membership_mark(job))
    numbers = engine.rows(interning.next_numbers(family, schema))[0]
    execute(engine, interning.intern_base(family, schema, found, numbers["bid"], numbers["eid"]))
    fresh = engine.rows(f"SELECT count(*) AS n FROM {work(interning.NEW_BASE)}")[0]["n"]
    if fresh:
        pair_up(job, numbers["eid"] + fresh)


def pair_up(job: Job, eid: int) -> None:
    """Pair new base keys with their entities; those not met before are numbered from `eid` on."""
    execute(job.engine, interning.reach_entities(job.family, job.reads, job.schema))
    query = interning.without_number(job.family)
    fresh = {} if query is None else job.engine.rows(query)[0]
    execute(job.engine, interning.intern_entities(job.family, job.schema, fresh, eid))


def settled(job: Job) -> int:
    """Return the first day the next build reads again: the lookback, and a day that has not ended."""
    whole = start_of_day(day_of(job.last + 1), job.calendar) <= job.end
    return (job.last + 1 if whole else job.last) - job.project.settings.lookback


def _plan(job: Job, member: Member, mine: tuple[Stream, ...], facts: dict[str, Measured], extent: Extent) -> Plan:
    """Decide how a metric is stored, and number its keys."""
    engine = job.engine
    types: dict[str, str] = {}
    for stream in mine:
        types |= dict(engine.columns(work(stream.table)))
    stored = layout(member, types, {n: f for stream in mine for n, f in facts[stream.table].facts.items()})
    raw: set[str] = set()
    packings: dict[str, Packing] = {}
    for stream in mine:
        if stream.measure is None:
            continue
        keys = facts[stream.table].keys
        if measures.is_raw(keys) and not tables.keeps_missing(stored, stream.measure.name):
            raw.add(stream.measure.name)
        else:
            execute(engine, interning.intern_keys(job.schema, stream, create=True))
        top = max_uid(job, stream, facts[stream.table], raw)
        packings[stream.measure.name] = packing(extent.first, extent.last, top, max_eid(job))
    return Plan(job.family, member, stored, job.schema, extent, packings, frozenset(raw))


def write_stored(
    job: Job, plan: Plan, family: Family, sizes: dict[str, float], types: dict[str, dict[str, str]]
) -> Stored:
    """Write the state of a metric whose tables were just written, and return it."""
    stored = Stored(
        prefix=plan.member.prefix,
        family=family.prefix,
        metric=plan.member.metric,
        layout=plan.layout,
        models=tuple(sorted(model.name for model in plan.member.models)),
        first=plan.extent.first,
        last=plan.extent.last,
        settled=plan.extent.settled,
        end=job.end,
        magnitudes=sizes,
        raw_keys=tuple(sorted(plan.raw_keys)),
        types=types,
    )
    one_pass_state.write(job.engine, stored)
    return stored


# -- extending --------------------------------------------------------------------------------------------------------


def reread_from(job: Job, member: Member, stored: Stored, since: datetime | None) -> int | None:
    """Return the first day that must be read again, None where the metric has to be built anew."""
    if stored.family != job.family.prefix:
        # Its entities were numbered in dictionaries of another family.
        return None
    if job.end < stored.end or stored.models != tuple(sorted(model.name for model in member.models)):
        return None
    if since is None:
        return stored.settled
    day = number(local_date(since, job.calendar))
    if day < stored.settled and stored.layout.distinct:
        # Where each key was seen is known for the days that may be read again only.
        return None
    return min(day, stored.settled)


def extend(job: Job, members: Sequence[tuple[Member, Stored]], since: int) -> list[tuple[Member, Stored]]:
    """Extend metrics by the days from `since` on; return how they are stored now, but those whose new rows do not fit."""
    begin = start_of_day(day_of(since), job.calendar)
    found = streams([member for member, _ in members])
    embedded(job.engine).use_threads(1 if _reads_little(job, since) else None)
    facts = read_source(job, found, Span(begin, job.end, job.calendar))
    of = {member.prefix: tuple(stream for stream in found if stream.member is member) for member, _ in members}
    alike = {stored.prefix for _, stored in members if gathered_types(of[stored.prefix], facts) == stored.types}
    if not alike:
        return []
    few = sum(measured.rows for measured in facts.values()) <= FEW
    embedded(job.engine).use_threads(1 if few else None)
    number_entities(job, found, is_new=False)
    first = append.reread_from(since, [window for member, _ in members for window in member.windows])
    calendar = _days(job, first, [member for member, _ in members])
    extended: list[tuple[Member, Stored]] = []
    for member, stored in members:
        mine = of[member.prefix]
        if member.prefix in alike and all(
            measures.fits(stored.layout, s, facts[s.table], stored.bounds, stored.raw_keys) for s in mine
        ):
            extended.append((member, _append(job, stored, mine, facts, calendar, since)))
    return extended


def _reads_little(job: Job, since: int) -> bool:
    """Tell whether reading a source from a day on is too little for more than one thread."""
    source = job.reads.sources[job.family.source]
    if job.last - since >= FEW_DAYS or source.table is None:
        return False
    rows = embedded(job.engine).estimated_rows(source.table)
    return rows is not None and rows <= SMALL


def _append(
    job: Job,
    stored: Stored,
    mine: tuple[Stream, ...],
    facts: dict[str, Measured],
    calendar: DayTable,
    since: int,
) -> Stored:
    """Bring the tables of a metric up to date with its gathered rows; return how it is stored now."""
    member = mine[0].member
    for stream in mine:
        if stream.measure is not None and stream.measure.name not in stored.raw_keys:
            execute(job.engine, interning.intern_keys(job.schema, stream, create=False))
    firsts = [f.first for s in mine if (f := facts[s.table]).first is not None]
    first = min([stored.first, *firsts])
    extent = Extent(first, job.last, max(settled(job), since), job.start(member))
    plan = Plan(job.family, member, stored.layout, job.schema, extent, {}, frozenset(stored.raw_keys))
    rows = sum(facts[stream.table].rows for stream in mine)
    is_small = plan.layout.is_narrow and rows <= one_pass_append.MOST
    if not (is_small and one_pass_append.append(job.engine, plan, mine, calendar, since, stored)):
        job.by_statements.add(member.prefix)
        write_days(job.engine, calendar)
        execute(job.engine, append.append(plan, mine, since, stored.settled))
    most = max((f.magnitude for s in mine for f in facts[s.table].facts.values()), default=0.0)
    moved = replace(
        stored,
        first=first,
        last=extent.last,
        settled=extent.settled,
        end=job.end,
        grown=stored.grown + most,
        gaps=(stored.gaps + 1) % CLOSES_GAPS_EVERY,
    )
    if moved.gaps % TIDIES_EVERY == 0:
        _tidy(job.engine, plan)
    one_pass_state.move_on(job.engine, moved)
    return moved


def _tidy(engine: Engine, plan: Plan) -> None:
    """Put the tables of a metric in the order in which they are read fastest."""
    if plan.layout.views:
        engine.execute(append.close_gaps(plan))
    for key in plan.layout.keys:
        if engine.rows(append.has_much_later(plan, key))[0]["is_much"]:
            execute(engine, append.put_in_order(plan, key))


def _days(job: Job, first: int, members: Sequence[Member]) -> DayTable:
    """Return the working calendar from a first day to the end of the build."""
    grains = {grain for member in members for grain in member.grains}
    windows = {window for member in members for window in member.windows}
    return day_table(first, job.last, job.calendar, [g for g in Grain if g in grains], sorted(windows))


def measure(engine: Engine, stream: Stream) -> Measured:
    """Measure a gathered stream."""
    types = engine.columns(work(stream.table))
    return measures.measured(stream, engine.rows(measures.measuring(stream, types))[0], types)


def max_uid(job: Job, stream: Stream, facts: Measured, raw: set[str]) -> int:
    """Return the largest number a key of a distinct count has."""
    assert stream.measure is not None  # noqa: S101 - only distinct counts have keys
    if stream.measure.name in raw:
        return 0 if facts.keys is None else facts.keys[1]
    table = job.schema.table(interning.keys_table(stream))
    return int(job.engine.rows(f"SELECT coalesce(max(uid), 0) AS top FROM {table}")[0]["top"])


def max_eid(job: Job) -> int:
    """Return the largest number an entity has."""
    table = job.schema.table(interning.closure_table(job.family))
    return int(job.engine.rows(f"SELECT coalesce(max(eid), 0) AS top FROM {table}")[0]["top"])


def membership_mark(job: Job) -> str | None:
    """Return the print of the memberships a family relies on, as they are now."""
    query = interning.membership_print(job.family, job.reads)
    return None if query is None else str(job.engine.rows(query)[0]["mark"])


def execute(engine: Engine, statements: Sequence[str]) -> None:
    """Run statements in order."""
    for statement in statements:
        engine.execute(statement)


def _working_tables(family: Family) -> list[str]:
    """Return the working tables of a family whose metrics were all built in memory."""
    found = streams(family.members)
    return [ROWS, *(stream.table for stream in found), *interning.working_tables(family)]


def _every_working_table(engine: Engine) -> list[str]:
    """Return all working tables there are, those a failed build left too."""
    query = f"SELECT table_name AS name FROM duckdb_tables() WHERE temporary AND starts_with(table_name, '{WORK}')"
    return [row["name"].removeprefix(WORK) for row in engine.rows(query)]


def _drop(engine: Engine, names: Collection[str]) -> None:
    if names:
        engine.execute("; ".join(f"DROP TABLE IF EXISTS temp.{work(name)}" for name in names))
