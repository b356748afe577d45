"""When an experiment is analysed, over which days: the calendar of spec metric_hub §9.2, as pure arithmetic."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from tallystick.definitions.metric_hub.nouns import Period
from tallystick.errors import UsageError

LENGTHS = {Period.DAY: 1, Period.WEEK: 7, Period.DAYS_28: 28}
BEFORE = {Period.PREENROLLMENT_WEEK: 7, Period.PREENROLLMENT_DAYS_28: 28}


@dataclass(frozen=True, slots=True)
class Window:
    """Inclusive days since a client's enrollment, and the number of the window within its series (from 1)."""

    start: int
    end: int
    index: int = 1

    @property
    def length(self) -> int:
        """Return the number of days."""
        return self.end - self.start + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrollment:
    """The days on which clients enroll: the first one and how many follow (both ends inclusive)."""

    start: dt.date
    period: int

    @property
    def last(self) -> dt.date:
        """Return the last day of enrollment."""
        return self.start + dt.timedelta(days=self.period)

    @property
    def dates(self) -> int:
        """Return the number of enrollment days."""
        return self.period + 1


def completed(period: Period, enrollment: Enrollment, on: dt.date) -> int:
    """Return how many windows of a series the last enrolled client has completed by a day."""
    return max(0, ((on - enrollment.last).days + 1) // LENGTHS[period])


def due(period: Period, enrollment: Enrollment, run: dt.date, end: dt.date | None) -> Window | None:
    """Return the window that a run on a day computes, if any (data through the day before the run).

    Raises `UsageError` if an experiment ends before its enrollment does.
    """
    if period in BEFORE:
        days = BEFORE[period]
        return Window(-days, -1) if run == enrollment.start + dt.timedelta(days=enrollment.period + 1) else None
    if period is Period.OVERALL:
        return overall(enrollment, end) if end is not None and run == end else None
    through = run - dt.timedelta(days=1)
    count = completed(period, enrollment, through)
    if count == 0 or count == completed(period, enrollment, through - dt.timedelta(days=1)):
        return None
    length = LENGTHS[period]
    return Window((count - 1) * length, count * length - 1, count)


def overall(enrollment: Enrollment, end: dt.date) -> Window:
    """Return the one window over the whole observation time; raises `UsageError` if that is empty."""
    length = (end - enrollment.start).days - enrollment.dates + 1
    if length < 0:
        raise UsageError(
            f"the experiment ends on {end}, before enrollment does ({enrollment.last})",
            hint="set experiment.enrollment_period or experiment.end_date",
        )
    return Window(0, max(length, 1) - 1)


def windows(period: Period, enrollment: Enrollment, end: dt.date | None) -> Iterator[Window]:
    """Yield every window of a period until an experiment ends; without an end, the first one."""
    if period in BEFORE:
        yield Window(-BEFORE[period], -1)
    elif period is Period.OVERALL:
        if end is not None:
            yield overall(enrollment, end)
    else:
        length = LENGTHS[period]
        count = completed(period, enrollment, end - dt.timedelta(days=1)) if end else 1
        for index in range(1, count + 1):
            yield Window((index - 1) * length, index * length - 1, index)
