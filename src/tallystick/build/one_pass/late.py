"""Late rows: settled days are looked at again, as far back as `lookback` buckets of every grain reach.

Sums are counted anew from the first day on that has other rows by now. So are distinct counts where it is known what was
counted then: for `KEPT_DAYS`, and no longer than is looked back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from tallystick.build.one_pass import known
from tallystick.build.one_pass.job import Job, execute, settled
from tallystick.build.one_pass.known import Known
from tallystick.build.one_pass.state import Stored
from tallystick.compiler.one_pass.days import day_of, number
from tallystick.compiler.one_pass.family import Member
from tallystick.compiler.one_pass.gather import DAY, ROWS, copy_rows, streams
from tallystick.compiler.one_pass.marks import Marks, first_change, looked_at_from, mark, marking, marks_of
from tallystick.compiler.one_pass.names import create_work, work
from tallystick.compiler.span import Span
from tallystick.engines.adapter import embedded
from tallystick.sql.calendar import local_date, start_of_day

KEPT_DAYS = 100
"""For so many days presences of distinct counts are kept: three months, and a week."""


@dataclass(frozen=True, slots=True)
class _Glance:
    """The settled days `[first, until)` of a metric that are compared, and the first of those the next build compares."""

    member: Member
    first: int
    until: int
    following: int


def look_again(job: Job, stored: Mapping[str, Stored], first: int | None) -> Job:
    """Return a job that knows of late rows of metrics as they are `stored`, and holds the marks for the next build.

    A table is read for it from the first day on that is looked at. Of what costs more to read than a table, the rows
    that the build needs are copied: those from day `first` on, all of them if it is None.
    """
    if not job.project.settings.lookback:
        return job
    glances = [_glance(job, member, stored.get(member.prefix)) for member in job.family.members]
    glances = [glance for glance in glances if glance.first < glance.until or glance.following < settled(job)]
    if not glances:
        return job
    since = min(min(glance.first, glance.following) for glance in glances)
    if job.reads.sources[job.family.source].table is None:
        job = _copied(job, None if first is None else min(first, since))
    marks = _marks(job, glances, since)
    days = {glance.member.prefix: _changed(job, glance, marks[glance.member.prefix]) for glance in glances}
    changed = {prefix: day for prefix, day in days.items() if day is not None}
    following = {glance.member.prefix: marks[glance.member.prefix].since(glance.following) for glance in glances}
    return replace(job, changed=changed, marks=following)


def _changed(job: Job, glance: _Glance, now: Marks) -> int | None:
    before = job.known.get(glance.member.prefix)
    return first_change(None if before is None else before.marks, now, glance.first, glance.until)


def kept_from(job: Job, member: Member) -> int:
    """Return the first day of which it has to be known what was counted when the build is done."""
    if not member.distinct or not job.project.settings.lookback:
        return settled(job)
    return min(settled(job), max(_looked_at_from(job, member, job.end), settled(job) - KEPT_DAYS))


def reaches_back(job: Job, stored: Stored, day: int) -> bool:
    """Tell whether a day lies before those that models of days are worked out from again with every build."""
    return day < number(local_date(stored.end, job.calendar)) - job.project.settings.lookback


def remember(job: Job, member: Member, kept: int) -> None:
    """Write what the next build has to know of the settled days of a metric."""
    marks = job.marks.get(member.prefix)
    now = None if marks is None else Known(kept, marks)
    known.write(job.engine, member.prefix, now, is_new=member.prefix not in job.known)


def _looked_at_from(job: Job, member: Member, end: datetime) -> int:
    return looked_at_from(member, end, job.calendar, job.project.settings.lookback)


def _glance(job: Job, member: Member, stored: Stored | None) -> _Glance:
    following = _looked_at_from(job, member, job.end)
    if stored is None:
        return _Glance(member, following, following, following)
    return _Glance(member, _looked_at_from(job, member, stored.end), stored.settled, following)


def _copied(job: Job, first: int | None) -> Job:
    """Copy the rows of all metrics of a family from a day on."""
    start = None if first is None else start_of_day(day_of(first), job.calendar)
    span = job.read_until(Span(start, job.end, job.calendar), job.family.members)
    query = copy_rows(job.family, job.reads, streams(job.family.members), span)
    embedded(job.engine).use_threads(None)
    execute(job.engine, [create_work(ROWS, query)])
    return replace(job, copied=span)


def _marks(job: Job, glances: list[_Glance], first: int) -> dict[str, Marks]:
    """Return the marks of all days from `first` on, by the prefix of metrics."""
    found = streams([glance.member for glance in glances])
    # The source is not asked for days by their number: that costs as much as to print its rows.
    rows = f"(FROM {work(ROWS)} WHERE {DAY} BETWEEN {first} AND {job.last})"
    if job.copied is None:
        span = Span(start_of_day(day_of(first), job.calendar), job.end, job.calendar)
        rows = f"({copy_rows(job.family, job.reads, found, span)})"
    columns = embedded(job.engine).arrays(marking(job.family, job.reads, found, rows))
    return {
        glance.member.prefix: marks_of(columns[DAY], columns[mark(job.family, glance.member.metric)], first, job.last)
        for glance in glances
    }
