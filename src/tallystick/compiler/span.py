"""The time a query covers: half-open instants, or parameters where dates are not bound yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlglot import exp

from tallystick.sql.buckets import date_literal, literal_instant
from tallystick.sql.buckets import window_start as window_start_expression
from tallystick.sql.calendar import window_start
from tallystick.sql.grain import Window


@dataclass(frozen=True, slots=True)
class Span:
    """Instants `[start, end)` in UTC and the zone their days are counted in; None stands for a parameter."""

    start: datetime | None = None
    end: datetime | None = None
    zone: str = "UTC"

    @property
    def is_bound(self) -> bool:
        """Tell whether dates are written into the SQL."""
        return self.end is not None

    @property
    def first_day(self) -> date | None:
        """Return the local day the span starts in."""
        return None if self.start is None else self.start.astimezone(ZoneInfo(self.zone)).date()

    @property
    def last_day(self) -> date | None:
        """Return the last local day the span touches: the sample date of an all-time value."""
        return None if self.end is None else (self.end - timedelta(microseconds=1)).astimezone(ZoneInfo(self.zone)).date()

    def from_day(self, day: date) -> Span:
        """Return the span with its start moved to the beginning of a local day."""
        return Span(datetime.combine(day, time(), ZoneInfo(self.zone)).astimezone(UTC), self.end, self.zone)

    def first_tick(self) -> exp.Expression:
        """Return the first day that is sampled."""
        return exp.cast(parameter("start"), "date") if self.first_day is None else date_literal(self.first_day)

    def end_tick(self) -> exp.Expression:
        """Return the day after the last one that is sampled; a day that has begun is sampled."""
        if self.last_day is None:
            return exp.cast(parameter("end"), "date")
        return date_literal(self.last_day + timedelta(days=1))

    def sample_day(self) -> exp.Expression:
        """Return the sample date of an all-time value."""
        return exp.cast(parameter("end"), "date") - 1 if self.last_day is None else date_literal(self.last_day)

    def before_end(self, column: exp.Expression, *, is_date: bool, dialect: str) -> exp.Expression:
        """Return the predicate that keeps rows before the end, on the raw column so that engines can prune."""
        if self.end is None:
            return exp.LT(this=column.copy(), expression=parameter("end"))
        bound = self.end_tick() if is_date else literal_instant(self.end, is_date=False, dialect=dialect)
        return exp.LT(this=column.copy(), expression=bound)

    def from_start(
        self, column: exp.Expression, *, is_date: bool, dialect: str, window: Window | None = None
    ) -> exp.Expression | None:
        """Return the predicate that keeps rows from the start, or from as far back as a window reaches."""
        if self.is_bound and self.first_day is None:
            return None
        if self.first_day is None:
            bound: exp.Expression = parameter("start")
            if window is not None:
                bound = window_start_expression(exp.cast(bound, "date"), window, dialect=dialect)
        else:
            reach = self if window is None else self.from_day(window_start(self.first_day, window))
            assert reach.start is not None and reach.first_day is not None  # noqa: S101, PT018
            bound = date_literal(reach.first_day) if is_date else literal_instant(reach.start, is_date=False, dialect=dialect)
        return exp.GTE(this=column.copy(), expression=bound)


def parameter(name: str) -> exp.Parameter:
    """Return a named query parameter."""
    return exp.Parameter(this=exp.var(name))
