from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.compiler.model import TimeView
from tallystick.interop.schedule import schedule
from tallystick.sql.calendar import Calendar, add_months, floor_date, shift_date
from tallystick.sql.grain import Grain, Window

MONDAY, SUNDAY = Calendar("UTC", 1), Calendar("UTC", 7)
UNITS = {"day": 1, "month": 1, "year": 12}


@pytest.mark.parametrize(
    ("grain", "calendar", "cron"),
    [
        (Grain.DAY, MONDAY, "0 0 * * *"),
        (Grain.WEEK, MONDAY, "0 0 * * 1"),
        (Grain.WEEK, SUNDAY, "0 0 * * 0"),
        (Grain.MONTH, MONDAY, "0 0 1 * *"),
        (Grain.QUARTER, MONDAY, "0 0 1 1,4,7,10 *"),
        (Grain.HALF, MONDAY, "0 0 1 1,7 *"),
        (Grain.YEAR, MONDAY, "0 0 1 1 *"),
        (Grain.SIX_HOURS, MONDAY, "0 */6 * * *"),
    ],
)
def test_a_model_runs_when_its_bucket_is_over(grain: Grain, calendar: Calendar, cron: str) -> None:
    assert schedule(TimeView(grain=grain), calendar).cron == cron


def test_windows_and_all_time_run_every_night() -> None:
    for view in (TimeView(window=Window(30)), TimeView()):
        assert schedule(view, MONDAY).cron == "0 0 * * *"
        assert schedule(view, MONDAY).lookback(3) == 3


@given(
    day=st.dates(date(1990, 1, 1), date(2100, 1, 1)),
    grain=st.sampled_from([g for g in Grain if not g.is_sub_day]),
    calendar=st.sampled_from([MONDAY, SUNDAY]),
    buckets=st.integers(0, 5),
)
def test_looking_back_reaches_the_start_of_every_bucket_it_counts(
    day: date, grain: Grain, calendar: Calendar, buckets: int
) -> None:
    found = schedule(TimeView(grain=grain), calendar)
    count = found.lookback(buckets)
    if found.unit == "day":
        reached = day - timedelta(days=count)
    else:
        reached = add_months(day.replace(day=1), -count * UNITS[found.unit])
    if found.unit == "year":
        reached = reached.replace(month=1)
    assert reached <= shift_date(floor_date(day, grain, calendar), grain, -buckets)


@pytest.mark.parametrize("grain", list(Grain))
def test_batches_are_whole_buckets(grain: Grain) -> None:
    found = schedule(TimeView(grain=grain), MONDAY)
    assert found.batch_size % found.units == 0
