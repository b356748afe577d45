"""Extending metrics of a family by the days that are new or read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from tallystick.build.one_pass import append as in_memory
from tallystick.build.one_pass import state as one_pass_state
from tallystick.build.one_pass.arrays import write_days
from tallystick.build.one_pass.changes import gathered_types
from tallystick.build.one_pass.job import Job, days, execute, settled
from tallystick.build.one_pass.late import kept_from, remember
from tallystick.build.one_pass.source import number_entities, read_source
from tallystick.build.one_pass.state import Stored
from tallystick.compiler.one_pass import append, interning, measures
from tallystick.compiler.one_pass.days import day_of, number
from tallystick.compiler.one_pass.family import Member
from tallystick.compiler.one_pass.gather import Stream, streams
from tallystick.compiler.one_pass.measures import Measured
from tallystick.compiler.one_pass.tables import Extent, Plan
from tallystick.compiler.span import Span
from tallystick.compiler.sweep.calendar import DayTable
from tallystick.engines.adapter import Engine, embedded
from tallystick.sql.calendar import local_date, start_of_day

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


def reread_from(job: Job, member: Member, stored: Stored, since: datetime | None) -> int | None:
    """Return the first day that is read again, late rows apart; None where the metric has to be built anew."""
    if stored.family != job.family.prefix:
        # Its entities were numbered in dictionaries of another family.
        return None
    if job.end < stored.end or stored.models != tuple(sorted(model.name for model in member.models)):
        return None
    if since is None:
        return stored.settled
    return min(number(local_date(since, job.calendar)), stored.settled)


def can_count_from(job: Job, stored: Stored, day: int) -> bool:
    """Tell whether days can be counted anew: it has to be known when each key of distinct counts was seen."""
    return day >= _kept(job, stored) or not stored.layout.distinct


def _kept(job: Job, stored: Stored) -> int:
    known = job.known.get(stored.prefix)
    return stored.settled if known is None else known.kept


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
    calendar = days(job, first, [member for member, _ in members])
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
    before, now = _kept(job, stored), max(settled(job), since)
    kept = min(now, max(before, kept_from(job, member))) if stored.layout.distinct else now
    extent = Extent(first, job.last, now, job.start(member), kept)
    plan = Plan(job.family, member, stored.layout, job.schema, extent, {}, frozenset(stored.raw_keys))
    rows = sum(facts[stream.table].rows for stream in mine)
    is_small = plan.layout.is_narrow and rows <= in_memory.MOST
    if not (is_small and in_memory.append(job.engine, plan, mine, calendar, since, stored, before)):
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
    remember(job, member, kept)
    return moved


def _tidy(engine: Engine, plan: Plan) -> None:
    """Put the tables of a metric in the order in which they are read fastest."""
    if plan.layout.views:
        engine.execute(append.close_gaps(plan))
    for key in plan.layout.keys:
        if engine.rows(append.has_much_later(plan, key))[0]["is_much"]:
            execute(engine, append.put_in_order(plan, key))
