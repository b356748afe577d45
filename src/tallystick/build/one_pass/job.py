"""One build of one family: where, of what, up to when, and the days it goes back to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from tallystick.build import pending, state
from tallystick.build.one_pass import known
from tallystick.build.one_pass import state as one_pass_state
from tallystick.build.one_pass.known import Known
from tallystick.build.state import BuiltState
from tallystick.compiler.one_pass.days import day_of, number
from tallystick.compiler.one_pass.family import Family, Member
from tallystick.compiler.one_pass.marks import Marks
from tallystick.compiler.one_pass.names import Schema
from tallystick.compiler.one_pass.readable import readable
from tallystick.compiler.span import Span
from tallystick.compiler.sweep.calendar import DayTable, day_table
from tallystick.definitions.project import Project
from tallystick.engines.adapter import Engine
from tallystick.sql.calendar import Calendar, floor_date, local_date, shift_date, start_of_day
from tallystick.sql.grain import Grain

_TABLES = frozenset(
    {
        state.TABLE,
        state.HISTORY,
        pending.PENDING,
        one_pass_state.STORED,
        one_pass_state.FAMILIES,
        known.KNOWN,
    }
)


@dataclass(frozen=True, slots=True)
class Found:
    """What is in a warehouse before a build: its relations and the states of its models."""

    relations: frozenset[str]
    states: Mapping[str, BuiltState]


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
    known: Mapping[str, Known] = field(default_factory=dict)
    """What is known of settled days, by the prefixes of metrics."""
    changed: Mapping[str, int] = field(default_factory=dict)
    """The first settled day that has other rows than were counted, by the prefixes of metrics."""
    marks: Mapping[str, Marks] = field(default_factory=dict)
    """The marks of the days that the next build looks at again, by the prefixes of metrics."""
    copied: Span | None = None
    """The time of which the rows of the source are copied."""

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

    def read_until(self, span: Span, members: Sequence[Member]) -> Span:
        """Return a span that ends where what metrics read does: their own queries read whole buckets."""
        after = max((_after(self, member) for member in members), default=self.last + 1)
        return replace(span, end=start_of_day(day_of(after), self.calendar)) if after > self.last + 1 else span

    def has_copied(self, span: Span) -> bool:
        """Tell whether all rows of a span are copied."""
        first = None if self.copied is None else self.copied.start
        return self.copied is not None and (first is None or (span.start is not None and first <= span.start))


def _after(job: Job, member: Member) -> int:
    """Return the number of the day after the last one that a metric's own queries read."""
    grains = member.grains if member.query is not None else ()
    nexts = (shift_date(floor_date(day_of(job.last), grain, job.calendar), grain, 1) for grain in grains)
    return max(map(number, nexts), default=job.last + 1)


def look(engine: Engine) -> Found:
    """Return what is in a warehouse; create the tables of states where they are missing."""
    there = engine.tables()
    if not there >= _TABLES:
        state.prepare(engine)
        one_pass_state.prepare(engine)
        known.prepare(engine)
        pending.prepare(engine)
    return Found(there, state.read(engine))


def days(job: Job, first: int, members: Sequence[Member]) -> DayTable:
    """Return the working calendar from a first day to the end of the build."""
    grains = {grain for member in members for grain in member.grains}
    windows = {window for member in members for window in member.windows}
    return day_table(first, job.last, job.calendar, [g for g in Grain if g in grains], sorted(windows))


def settled(job: Job) -> int:
    """Return the first day the next build reads again: the lookback, and a day that has not ended."""
    whole = start_of_day(day_of(job.last + 1), job.calendar) <= job.end
    return (job.last + 1 if whole else job.last) - job.project.settings.lookback


def execute(engine: Engine, statements: Sequence[str]) -> None:
    """Run statements in order."""
    for statement in statements:
        engine.execute(statement)
