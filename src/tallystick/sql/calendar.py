"""The calendar: when buckets start and end, as plain Python. Every engine's SQL is tested against this module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from tallystick.errors import DefinitionError
from tallystick.sql.grain import Grain, Window, WindowUnit

MONDAY, SUNDAY = 1, 7
_UTC_NAMES = frozenset({"UTC", "Etc/UTC", "Etc/UCT", "Etc/Universal", "Etc/Zulu", "UCT", "Universal", "Zulu"})
_MICROSECOND = timedelta(microseconds=1)
_LENGTHS = {
    Grain.FIVE_MINUTES: timedelta(minutes=5),
    Grain.FIFTEEN_MINUTES: timedelta(minutes=15),
    Grain.HOUR: timedelta(hours=1),
    Grain.SIX_HOURS: timedelta(hours=6),
}
_MONTHS = {Grain.MONTH: 1, Grain.QUARTER: 3, Grain.HALF: 6, Grain.YEAR: 12}
_WINDOW_MONTHS = {WindowUnit.MONTH: 1, WindowUnit.QUARTER: 3, WindowUnit.YEAR: 12}


@dataclass(frozen=True, slots=True)
class Calendar:
    """A time zone (IANA name) and the ISO number of the day weeks start on: 1 for Monday, 7 for Sunday.

    Raises DefinitionError for a zone that does not exist or another first day of the week.
    """

    zone: str = "UTC"
    week_start: int = MONDAY

    def __post_init__(self) -> None:
        zone_info(self.zone)
        if self.week_start not in (MONDAY, SUNDAY):
            raise DefinitionError(
                f"weeks cannot start on day {self.week_start!r}", hint="week_start is 1 for Monday or 7 for Sunday"
            )

    @property
    def is_utc(self) -> bool:
        """Tell whether local time is UTC, so that no conversion is needed."""
        return self.zone in _UTC_NAMES


class BucketState(StrEnum):
    """How far the value of a bucket can be trusted."""

    SETTLING = "settling"
    FINAL = "final"
    RESTATED = "restated"


@lru_cache(maxsize=64)
def zone_info(name: str) -> ZoneInfo:
    """Look a time zone up by its IANA name; raise DefinitionError with the nearest name if there is none."""
    if name in _UTC_NAMES or name in available_timezones():
        return ZoneInfo(name)
    raise DefinitionError(f"'{name}' is not a time zone", hint=_zone_hint(name))


def _zone_hint(name: str) -> str:
    zones = {zone.lower(): zone for zone in sorted(available_timezones())}
    cities = {key.rsplit("/", 1)[-1]: zone for key, zone in zones.items()}
    wanted = name.lower().replace(" ", "_")
    for names in (zones, cities):
        close = get_close_matches(wanted, names, n=1, cutoff=0.7)
        if close:
            return f"did you mean '{names[close[0]]}'?"
    return "use an IANA name such as Europe/Berlin"


UTC_CALENDAR = Calendar()


def floor(instant: datetime, grain: Grain, calendar: Calendar = UTC_CALENDAR) -> datetime:
    """Return the UTC instant at which the bucket holding `instant` starts; a naive `instant` is UTC.

    A local hour that happens twice when clocks go back is two buckets, since buckets shorter than six hours are
    cut by the time elapsed on the local clock; six-hour and longer buckets start at a local time of day, and hold
    an hour more or less on such days.
    """
    instant = _utc(instant)
    local = instant.astimezone(zone_info(calendar.zone)).replace(tzinfo=None)
    if not grain.is_sub_day:
        return start_of_day(floor_date(local.date(), grain, calendar), calendar)
    elapsed = (local - datetime.combine(local.date(), time())) % _LENGTHS[grain]
    if grain is Grain.SIX_HOURS:
        return _first_instant(local - elapsed, calendar)
    return instant - elapsed


def floor_date(day: date, grain: Grain, calendar: Calendar = UTC_CALENDAR) -> date:
    """Return the first day of the bucket that holds `day`; raise DefinitionError for a grain shorter than a day."""
    if grain is Grain.DAY:
        return day
    if grain is Grain.WEEK:
        return day - timedelta(days=(day.isoweekday() - calendar.week_start) % 7)
    if grain in _MONTHS:
        size = _MONTHS[grain]
        return date(day.year, (day.month - 1) // size * size + 1, 1)
    raise DefinitionError(f"a date has no {grain} buckets", hint="use day or a coarser grain")


def start_of_day(day: date, calendar: Calendar = UTC_CALENDAR) -> datetime:
    """Return the UTC instant at which a local date begins."""
    return _first_instant(datetime.combine(day, time()), calendar)


def local_date(instant: datetime, calendar: Calendar = UTC_CALENDAR) -> date:
    """Return the local date of an instant; a naive one is UTC."""
    return _utc(instant).astimezone(zone_info(calendar.zone)).date()


def shift(start: datetime, grain: Grain, n: int, calendar: Calendar = UTC_CALENDAR) -> datetime:
    """Return the start of the n-th bucket after the one that starts at `start` (before it, for a negative n)."""
    start = _utc(start)
    if not grain.is_sub_day:
        return start_of_day(shift_date(local_date(start, calendar), grain, n), calendar)
    if calendar.is_utc:
        return start + n * _LENGTHS[grain]
    for _ in range(abs(n)):
        start = _following(start, grain, calendar) if n > 0 else floor(start - _MICROSECOND, grain, calendar)
    return start


def _following(start: datetime, grain: Grain, calendar: Calendar) -> datetime:
    # Two hours past the usual end is within the next six-hour bucket, also where clocks change by an hour.
    reach = _LENGTHS[grain] + (timedelta(hours=2) if grain is Grain.SIX_HOURS else timedelta())
    return floor(start + reach, grain, calendar)


def shift_date(day: date, grain: Grain, n: int) -> date:
    """Return the first day of the n-th bucket after the one whose first day is `day`."""
    if grain in _MONTHS:
        return add_months(day, n * _MONTHS[grain])
    if grain.is_sub_day:
        raise DefinitionError(f"a date has no {grain} buckets", hint="use day or a coarser grain")
    return day + timedelta(days=n * (7 if grain is Grain.WEEK else 1))


def bucket_range(start: datetime, end: datetime, grain: Grain, calendar: Calendar = UTC_CALENDAR) -> Iterator[datetime]:
    """Yield the start of every bucket that overlaps `[start, end)`, in order."""
    bucket, end = floor(start, grain, calendar), _utc(end)
    if end <= _utc(start):
        return
    while bucket < end:
        yield bucket
        bucket = shift(bucket, grain, 1, calendar)


def widen(start: datetime, end: datetime, grain: Grain, calendar: Calendar = UTC_CALENDAR) -> tuple[datetime, datetime]:
    """Return the smallest half-open range of whole buckets around `[start, end)`; an empty range stays empty."""
    first, last = floor(start, grain, calendar), floor(end, grain, calendar)
    if _utc(end) <= _utc(start):
        return first, first
    return first, last if last == _utc(end) else shift(last, grain, 1, calendar)


def add_months(day: date, n: int) -> date:
    """Add calendar months, falling back to the last day of a shorter month as SQL interval arithmetic does."""
    year, month = divmod(day.year * 12 + day.month - 1 + n, 12)
    return date(year, month + 1, min(day.day, _month_length(year, month + 1)))


def _month_length(year: int, month: int) -> int:
    following = date(year + 1, 1, 1) if month == 12 else date(year, month + 1, 1)
    return (following - date(year, month, 1)).days


def window_start(day: date, window: Window) -> date:
    """Return the first day inside the window `(day - count units, day]`."""
    if window.is_fixed:
        return day - timedelta(days=window.days - 1)
    return add_months(day, -window_months(window)) + timedelta(days=1)


def window_leave(day: date, window: Window) -> date:
    """Return the first day whose window no longer holds `day`: the smallest t with t - count units >= day."""
    if window.is_fixed:
        return day + timedelta(days=window.days)
    first = add_months(day.replace(day=1), window_months(window))
    # Where the day does not exist in the month it would leave in, the first of the month after it is the first
    # t that is late enough: every t within the shorter month still goes back to a day before.
    return min(first + timedelta(days=day.day - 1), add_months(first, 1))


def window_months(window: Window) -> int:
    """Return the length in months of a window counted in calendar units."""
    return window.count * _WINDOW_MONTHS[window.unit]


def state(bucket_end: datetime, as_of: datetime, settle: timedelta = timedelta()) -> BucketState:
    """Return `final` once `settle` has passed since the end of a bucket, `settling` before."""
    return BucketState.FINAL if _utc(as_of) >= _utc(bucket_end) + settle else BucketState.SETTLING


def _utc(instant: datetime) -> datetime:
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _first_instant(local: datetime, calendar: Calendar) -> datetime:
    """Return the first instant at which the local clock shows `local`, or jumps over it."""
    zone = zone_info(calendar.zone)
    after = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if after.astimezone(zone).replace(tzinfo=None) == local:
        return after
    before = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle.astimezone(zone).replace(tzinfo=None) < local:
            before = middle
        else:
            after = middle
    return after
