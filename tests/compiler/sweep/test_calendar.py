"""The calendar of a build as arrays is what `sql/calendar` tells day by day."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.compiler.one_pass.days import day_of, number
from tallystick.compiler.sweep.calendar import day_table
from tallystick.sql.calendar import MONDAY, SUNDAY, Calendar, floor_date, shift_date, window_leave, window_start
from tallystick.sql.grain import Grain, Window, WindowUnit

GRAINS = [grain for grain in Grain if not grain.is_sub_day]
WINDOWS = [Window(2, unit) for unit in WindowUnit] + [Window(1, WindowUnit.MONTH), Window(12, WindowUnit.MONTH)]


@given(st.dates(date(1890, 1, 1), date(2110, 1, 1)), st.sampled_from([MONDAY, SUNDAY]))
def test_buckets_and_windows_of_days(begin, week_start):
    calendar = Calendar(week_start=week_start)
    first = number(begin)
    table = day_table(first, first + 70, calendar, GRAINS, WINDOWS)
    places = np.arange(71)
    days = [day_of(first + place) for place in range(71)]

    def dates(values):
        return [day_of(int(value) + first) for value in values]

    for grain in GRAINS:
        buckets = [floor_date(day, grain, calendar) for day in days]
        assert dates(table.bucket(grain, places)) == buckets
        assert dates(table.next_bucket(grain, places)) == [shift_date(day, grain, 1) for day in buckets]
    for window in WINDOWS:
        assert dates(table.reach(window, places)) == [window_start(day, window) for day in days]
        assert dates(table.leave(window, places)) == [window_leave(day, window) for day in days]


@pytest.mark.parametrize(
    ("end", "start", "leaves"),
    [("2024-03-31", "2024-03-01", "2024-05-01"), ("2024-01-31", "2024-01-01", "2024-03-01")],
)
def test_windows_of_a_month_at_the_end_of_a_longer_one(end, start, leaves):
    day = number(date.fromisoformat(end))
    table, window = day_table(day, day, Calendar(), [], [Window(1, WindowUnit.MONTH)]), Window(1, WindowUnit.MONTH)
    here = np.zeros(1, np.int64)
    assert day_of(day + int(table.reach(window, here)[0])) == date.fromisoformat(start)
    assert day_of(day + int(table.leave(window, here)[0])) == date.fromisoformat(leaves)
