"""The working calendar of a build as arrays: where its days lie in buckets, and how far windows reach from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from tallystick.compiler.one_pass.days import bucket_column, leave_column, next_column, reach_column
from tallystick.compiler.sweep.counters import Array
from tallystick.sql.calendar import Calendar, window_months
from tallystick.sql.grain import Grain, Window

_MONTHS = {Grain.MONTH: 1, Grain.QUARTER: 3, Grain.HALF: 6, Grain.YEAR: 12}
_THURSDAY = 4
"""1970-01-01, as weeks count their days."""


@dataclass(frozen=True, slots=True)
class DayTable:
    """By column of the calendar (`compiler/one_pass/days`), a day number for each of its days from `first` on."""

    first: int
    columns: Mapping[str, Array]

    def bucket(self, grain: Grain, days: Array) -> Array:
        """Return the first day of the bucket each day lies in."""
        return self.columns[bucket_column(grain)][days] - self.first

    def next_bucket(self, grain: Grain, days: Array) -> Array:
        """Return the first day after the bucket each day lies in."""
        return self.columns[next_column(grain)][days] - self.first

    def reach(self, window: Window, days: Array) -> Array:
        """Return the first day inside the window that ends on each day."""
        if window.is_fixed:
            return days - np.int64(window.days - 1)
        return self.columns[reach_column(window)][days] - self.first

    def leave(self, window: Window, days: Array) -> Array:
        """Return the first day whose window no longer holds each day."""
        if window.is_fixed:
            return days + np.int64(window.days)
        return self.columns[leave_column(window)][days] - self.first


def day_table(
    first: int, last: int, calendar: Calendar, grains: Collection[Grain], windows: Collection[Window]
) -> DayTable:
    """Return the calendar of the days from a first to a last day number.

    The same as `sql/calendar` tells day by day.
    """
    days = np.arange(first, last + 1, dtype=np.int64)
    columns = {"day": days}
    for grain in grains:
        columns[bucket_column(grain)], columns[next_column(grain)] = _buckets(days, grain, calendar)
    for window in windows:
        if not window.is_fixed:
            columns[reach_column(window)], columns[leave_column(window)] = _reach_and_leave(days, window)
    return DayTable(first, columns)


def _buckets(days: Array, grain: Grain, calendar: Calendar) -> tuple[Array, Array]:
    if grain in _MONTHS:
        months = _months(days)
        starts = months - months % _MONTHS[grain]
        return _first_days(starts), _first_days(starts + _MONTHS[grain])
    if grain is Grain.WEEK:
        starts = days - (days + _THURSDAY - calendar.week_start) % 7
        return starts, starts + 7
    return days, days + 1


def _reach_and_leave(days: Array, window: Window) -> tuple[Array, Array]:
    """Return the first day inside the window that ends on each day, and the first whose window no longer holds it."""
    months, length = _months(days), window_months(window)
    offset = days - _first_days(months)
    # A day that a shorter month does not have is its last one, going back.
    back = np.minimum(_first_days(months - length) + offset, _first_days(months - length + 1) - 1)
    leave = np.minimum(_first_days(months + length) + offset, _first_days(months + length + 1))
    return back + 1, leave


def _months(days: Array) -> Array:
    """Return the months since 1970-01 of day numbers."""
    months: Array = days.astype("M8[D]").astype("M8[M]").astype(np.int64)
    return months


def _first_days(months: Array) -> Array:
    """Return the day numbers months begin with."""
    days: Array = months.astype("M8[M]").astype("M8[D]").astype(np.int64)
    return days
