"""The time a query covers: half-open instants, or parameters where dates are not bound yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from sqlglot import exp

from tallystick.sql import buckets
from tallystick.sql.calendar import UTC_CALENDAR, Calendar, local_date, start_of_day, window_start
from tallystick.sql.grain import Window


@dataclass(frozen=True, slots=True)
class Span:
    """Instants `[start, end)` in UTC and the calendar their days are counted in; without an end, parameters."""

    start: datetime | None = None
    end: datetime | None = None
    calendar: Calendar = UTC_CALENDAR

    @property
    def is_bound(self) -> bool:
        """Tell whether dates are written into the SQL."""
        return self.end is not None

    @property
    def first_day(self) -> date | None:
        """Return the local day the span starts in."""
        return None if self.start is None else local_date(self.start, self.calendar)

    @property
    def last_day(self) -> date | None:
        """Return the last local day the span touches: the sample date of an all-time value."""
        return None if self.end is None else local_date(self.end - timedelta(microseconds=1), self.calendar)

    def on(self, calendar: Calendar) -> Span:
        """Return the same instants with days counted on another calendar."""
        return replace(self, calendar=calendar)

    def first_tick(self, dialect: str) -> exp.Expr:
        """Return the first day that is sampled."""
        if self.first_day is None:
            return exp.cast(parameter("start"), "date")
        return buckets.date_literal(self.first_day, dialect=dialect)

    def end_tick(self, dialect: str) -> exp.Expr:
        """Return the day after the last one that is sampled; a day that has begun is sampled."""
        if self.last_day is None:
            return exp.cast(parameter("end"), "date")
        return buckets.date_literal(self.last_day + timedelta(days=1), dialect=dialect)

    def sample_day(self, dialect: str) -> exp.Expr:
        """Return the sample date of an all-time value."""
        return (
            buckets.add_days(self.end_tick(dialect), -1, dialect=dialect)
            if self.last_day is None
            else (buckets.date_literal(self.last_day, dialect=dialect))
        )

    def before_end(self, column: exp.Expr, *, is_date: bool, dialect: str) -> exp.Expr:
        """Return the predicate that keeps rows before the end, on the raw column so that engines can prune."""
        if self.end is None:
            bound: exp.Expr = parameter("end")
        elif is_date:
            bound = self.end_tick(dialect)
        else:
            bound = buckets.literal_instant(self.end, is_date=False, dialect=dialect)
        return exp.LT(this=column.copy(), expression=bound)

    def from_start(
        self, column: exp.Expr, *, is_date: bool, dialect: str, window: Window | None = None
    ) -> exp.Expr | None:
        """Return the predicate that keeps rows from the start, or from as far back as a window reaches."""
        if self.is_bound and self.start is None:
            return None
        return exp.GTE(this=column.copy(), expression=self._lower_bound(is_date, dialect, window))

    def _lower_bound(self, is_date: bool, dialect: str, window: Window | None) -> exp.Expr:
        if self.start is None:
            start = parameter("start")
            return start if window is None else buckets.window_start(self.first_tick(dialect), window, dialect=dialect)
        day, instant = local_date(self.start, self.calendar), self.start
        if window is not None:
            day = window_start(day, window)
            instant = start_of_day(day, self.calendar)
        if is_date:
            return buckets.date_literal(day, dialect=dialect)
        return buckets.literal_instant(instant, is_date=False, dialect=dialect)


def parameter(name: str) -> exp.Parameter:
    """Return a named query parameter."""
    return exp.Parameter(this=exp.var(name))
