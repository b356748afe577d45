"""When an exported model runs and how far back it looks again, in the units SQLMesh counts in (spec oso §3.3, §12).

SQLMesh hands a model whole *intervals* of a unit (day, month, …) and only accepts rows whose bucket lies inside them.
A bucket of several units (a week is seven days) is therefore whole only if the interval that holds its first unit is
processed again whenever its last one is: every lookback here reaches at least to the start of the running bucket.
"""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.compiler.model import TimeView
from tallystick.sql.calendar import MONDAY, Calendar
from tallystick.sql.grain import Grain


@dataclass(frozen=True, slots=True)
class Schedule:
    """A cron expression, the unit of intervals, how many of them a bucket has, how many one query may cover."""

    cron: str
    unit: str
    units: int
    batch_size: int

    def lookback(self, buckets: int) -> int:
        """Return the lookback in units that redoes `buckets` whole buckets before the running one."""
        return self.units * buckets + self.units - 1


_DAILY = Schedule("0 0 * * *", "day", 1, 1825)
_ROLLING = Schedule("0 0 * * *", "day", 1, 365)
_SCHEDULES = {
    Grain.FIVE_MINUTES: Schedule("*/5 * * * *", "five_minute", 1, 12 * 24 * 30),
    Grain.FIFTEEN_MINUTES: Schedule("*/15 * * * *", "quarter_hour", 1, 4 * 24 * 90),
    Grain.HOUR: Schedule("0 * * * *", "hour", 1, 24 * 365),
    Grain.SIX_HOURS: Schedule("0 */6 * * *", "hour", 6, 24 * 365),
    Grain.DAY: _DAILY,
    Grain.WEEK: Schedule("0 0 * * 1", "day", 7, 7 * 260),
    Grain.MONTH: Schedule("0 0 1 * *", "month", 1, 120),
    Grain.QUARTER: Schedule("0 0 1 1,4,7,10 *", "month", 3, 120),
    Grain.HALF: Schedule("0 0 1 1,7 *", "month", 6, 120),
    Grain.YEAR: Schedule("0 0 1 1 *", "year", 1, 20),
}
_SUNDAY_WEEKS = Schedule("0 0 * * 0", "day", 7, 7 * 260)


def schedule(view: TimeView, calendar: Calendar) -> Schedule:
    """Return the schedule of a time view: at the end of each bucket, and each night for windows and all time."""
    if view.grain is None:
        return _ROLLING if view.window is not None else _DAILY
    if view.grain is Grain.WEEK and calendar.week_start != MONDAY:
        # SQLMesh's own @weekly: Sunday 00:00 is the end of a week that starts on Sundays, and of no other.
        return _SUNDAY_WEEKS
    return _SCHEDULES[view.grain]
