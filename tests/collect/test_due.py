from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tallystick.collect.due import Budget, Reason, Standing, due, state, wait, went_back
from tallystick.collect.windows import Ruler
from tallystick.compiler.series import PointState
from tallystick.sql.calendar import Calendar
from tallystick.sql.grain import Grain

HOURS = Ruler(grain=Grain.HOUR, calendar=Calendar(), settle=timedelta(minutes=30))
NOW = datetime(2026, 3, 1, 12, 20, tzinfo=UTC)


def before(**length: float) -> datetime:
    return NOW - timedelta(**length)


NOON = NOW.replace(minute=0)


@pytest.mark.parametrize(
    ("standing", "expected"),
    [
        (Standing(), Reason.NEW),
        (Standing(progress=NOON), None),
        (Standing(progress=NOON - timedelta(hours=1)), Reason.BEHIND),
        (Standing(progress=NOON, is_changed=True), Reason.CHANGED),
        (Standing(progress=NOON, settling=NOON - timedelta(hours=1)), None),
        (Standing(progress=NOON, settling=NOON - timedelta(hours=2)), Reason.SETTLED),
        (Standing(progress=NOON + timedelta(hours=5)), Reason.CLOCK),
        (Standing(progress=NOW + timedelta(minutes=2)), None),
        (Standing(failures=1, failed_at=before(minutes=59)), None),
        (Standing(failures=1, failed_at=before(minutes=60)), Reason.NEW),
        (Standing(failures=2, failed_at=before(minutes=119)), None),
        (Standing(failures=3, failed_at=before(hours=4)), Reason.NEW),
        (Standing(failures=9, failed_at=before(hours=7.9)), None),
        (Standing(failures=9, failed_at=before(hours=8)), Reason.NEW),
        (Standing(failures=3, failed_at=before(days=-400)), Reason.NEW),
    ],
)
def test_due(standing: Standing, expected: Reason | None) -> None:
    assert due(standing, NOW, HOURS) is expected


@pytest.mark.parametrize(
    ("grain", "hours"),
    [
        (Grain.FIVE_MINUTES, [0, 1 / 12, 1 / 6, 1 / 3, 2 / 3, 2 / 3]),
        (Grain.HOUR, [0, 1, 2, 4, 8, 8]),
        (Grain.SIX_HOURS, [0, 6, 12, 24, 24, 24]),
        (Grain.DAY, [0, 24, 24, 24, 24, 24]),
        (Grain.MONTH, [0, 24, 24, 24, 24, 24]),
    ],
)
def test_waiting_doubles_up_to_eight_buckets_or_a_day(grain: Grain, hours: list[float]) -> None:
    assert [wait(failures, grain) / timedelta(hours=1) for failures in range(6)] == pytest.approx(hours)
    assert wait(10_000, grain) == wait(9, grain)


def test_a_bucket_is_final_once_it_has_settled() -> None:
    eleven = NOON - timedelta(hours=1)
    assert state(eleven, NOW, HOURS) is PointState.SETTLING
    assert state(eleven, NOON + timedelta(minutes=30), HOURS) is PointState.FINAL


def test_clocks_may_differ_a_little() -> None:
    assert not went_back(Standing(progress=NOW + timedelta(minutes=5)), NOW)
    assert went_back(Standing(progress=NOW + timedelta(minutes=6)), NOW)


def test_a_budget_always_allows_one_query() -> None:
    budget = Budget(seconds=0, queries=2)
    assert not budget.is_spent(100)
    budget.used = 1
    assert budget.is_spent(100)
    assert not Budget(queries=2, used=1).is_spent(100)
    assert Budget(queries=2, used=2).is_spent(0)


@pytest.mark.parametrize(
    ("swept", "progress", "expected"),
    [
        (before(days=7), NOON, Reason.SWEEP),
        (before(days=7), NOON - timedelta(hours=1), Reason.SWEEP),  # its window covers what is behind
        (before(days=6.9), NOON, None),
        (before(days=6.9), NOON - timedelta(hours=1), Reason.BEHIND),
        (None, NOON, Reason.SWEEP),
    ],
)
def test_a_series_is_read_far_back_once_a_week(swept, progress, expected) -> None:
    standing = Standing(progress=progress, swept_at=swept)
    assert due(standing, NOW, HOURS, sweep=90) is expected
    assert due(standing, NOW, HOURS) is (None if progress == NOON else Reason.BEHIND)
