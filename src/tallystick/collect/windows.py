"""Which buckets are read: windows of whole buckets, where they begin and how they are cut (tripl §7.2).

Everything here is a pure function of instants. A window never reaches beyond the last bucket that has ended, never
skips ahead of what was collected, and begins early enough to read again what may have changed since.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from tallystick.definitions.collect_settings import CollectSettings
from tallystick.sql.calendar import Calendar, floor, shift, widen
from tallystick.sql.grain import Grain

_MANUAL = {
    Grain.FIVE_MINUTES: 48,
    Grain.FIFTEEN_MINUTES: 48,
    Grain.HOUR: 48,
    Grain.SIX_HOURS: 48,
    Grain.DAY: 30,
    Grain.WEEK: 4,
    Grain.MONTH: 1,
    Grain.QUARTER: 1,
    Grain.HALF: 1,
    Grain.YEAR: 1,
}
"""How many buckets are read when somebody asks: 48, but no more than thirty days of them (tripl §7.2)."""


@dataclass(frozen=True, slots=True, order=True)
class Stretch:
    """Instants `[start, end)` at which buckets begin; equal ones are an empty stretch."""

    start: datetime
    end: datetime

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing in between."""
        return self.start >= self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruler:
    """The buckets of a series: their grain and calendar, when its history begins, and how long a bucket settles."""

    grain: Grain
    calendar: Calendar
    since: datetime | None = None
    settle: timedelta = timedelta()

    def floor(self, instant: datetime) -> datetime:
        """Return the start of the bucket an instant is in."""
        return floor(instant, self.grain, self.calendar)

    def shift(self, start: datetime, n: int) -> datetime:
        """Return the start of the n-th bucket after the one that starts at `start`."""
        return shift(start, self.grain, n, self.calendar)

    def not_before_history(self, start: datetime) -> datetime:
        """Return a start, or where the history begins if that is later."""
        return start if self.since is None else max(start, self.floor(self.since))


def resume(progress: datetime, ruler: Ruler, settings: CollectSettings) -> datetime:
    """Return where reading begins again: so many buckets before the progress, and all that were still settling then."""
    reached = ruler.floor(progress)
    overlap = ruler.shift(reached, -settings.lookback)
    return ruler.not_before_history(min(overlap, ruler.floor(reached - ruler.settle)))


def beginning(end: datetime, ruler: Ruler, settings: CollectSettings) -> datetime:
    """Return where a series that was never collected begins: with its history, else some buckets before the end."""
    if ruler.since is not None:
        return ruler.floor(ruler.since)
    return ruler.shift(end, -settings.first)


def regular(progress: datetime | None, now: datetime, ruler: Ruler, settings: CollectSettings) -> Stretch:
    """Return what a series lacks at a moment, together with what may have changed; empty if the clock went back."""
    end = ruler.floor(now)
    start = beginning(end, ruler, settings) if progress is None else resume(progress, ruler, settings)
    if progress is not None and progress > end:
        return Stretch(end, end)
    return Stretch(min(start, end), end)


def far_back(progress: datetime | None, now: datetime, ruler: Ruler, settings: CollectSettings) -> Stretch:
    """Return what is read once a week for rows that came late: the regular window and so many buckets more."""
    usual = regular(progress, now, ruler, settings)
    start = ruler.not_before_history(ruler.shift(usual.end, -settings.sweep))
    return Stretch(min(start, usual.start), usual.end)


def by_hand(progress: datetime | None, now: datetime, ruler: Ruler, settings: CollectSettings) -> Stretch:
    """Return what is read when somebody asks for a series: its regular window or more, never less."""
    due = regular(progress, now, ruler, settings)
    if due.is_empty:
        return due
    start = ruler.not_before_history(ruler.shift(due.end, -_MANUAL[ruler.grain]))
    return Stretch(min(start, due.start), due.end)


def asked(
    start: datetime | None,
    end: datetime | None,
    progress: datetime | None,
    now: datetime,
    ruler: Ruler,
    settings: CollectSettings,
) -> Stretch:
    """Return the whole buckets around `[start, end)` that have ended; an open side is as it would be by hand.

    Where it reaches beyond the progress it begins no later than a regular window, so that no bucket is skipped.
    """
    usual = by_hand(progress, now, ruler, settings)
    last = ruler.floor(now)
    if end is not None:
        _, whole = widen(end - timedelta(microseconds=1), end, ruler.grain, ruler.calendar)
        last = min(last, whole)
    first = ruler.floor(start) if start is not None else min(usual.start, last)
    if progress is not None and last > progress:
        first = min(first, resume(progress, ruler, settings))
    return Stretch(min(first, last), last)


def chunks(stretch: Stretch, ruler: Ruler, size: int) -> Iterator[Stretch]:
    """Yield a stretch in pieces of at most so many buckets, oldest first; together they are the whole, once."""
    start = stretch.start
    while start < stretch.end:
        end = min(ruler.shift(start, size), stretch.end)
        yield Stretch(start, end)
        start = end
