"""The working calendar of a build as arrays; days are counted from its first one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tallystick.compiler.one_pass.days import bucket_column, leave_column, next_column, reach_column
from tallystick.compiler.sweep.counters import Array
from tallystick.sql.grain import Grain, Window


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
