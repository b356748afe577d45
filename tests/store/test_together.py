"""Several series at once: few statements, and the same rows, revisions, watermarks and runs as one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.compiler.series import Point, PointState, Wanted
from tallystick.errors import ConflictError, StoreError
from tallystick.sql.grain import Grain
from tallystick.store import identity, runs, series, watermarks
from tallystick.store.database import Store
from tallystick.store.run_status import RunStatus
from tallystick.store.runs import Success
from tallystick.store.series import Window, read_points, read_revisions

START = datetime(2026, 3, 1, tzinfo=UTC)
END = START + timedelta(days=3)
NOW = datetime(2026, 4, 1, tzinfo=UTC)
LEASE = timedelta(minutes=5)
SERIES = [
    Wanted(metric=name, grain=grain, by=by)
    for name in ("revenue", "orders")
    for grain, by in ((Grain.DAY, None), (Grain.DAY, "country"), (Grain.WEEK, None))
]
POINTS = st.lists(
    st.builds(
        Point,
        bucket=st.integers(0, 2).map(lambda day: START + timedelta(days=day)),
        value=st.sampled_from([None, 0, 1, 2**60 + 1, 0.5]),
        n=st.integers(1, 3),
        dimension_value=st.sampled_from([None, "", "DE"]),
    ),
    max_size=4,
    unique_by=lambda point: (point.bucket, point.dimension_value),
)
WRITES = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(SERIES), POINTS, min_size=1),
        st.sampled_from(["aaaa", "bbbb"]),
        st.sampled_from(list(PointState)[:2]),
    ),
    min_size=1,
    max_size=4,
)
projects = (f"case{number}" for number in range(10**9))


def window(wanted: Wanted, points: list[Point], hashed: str = "aaaa", state: PointState = PointState.FINAL) -> Window:
    return Window(wanted=wanted, points=points, definition_hash=hashed, state_of=lambda _: state)


def everything(store: Store, project: str) -> list[object]:
    with store.reading() as connection:
        return [
            (
                read_points(connection, project, wanted),
                read_revisions(connection, project, wanted),
                [
                    (each.number, each.is_live, each.definition_hash, each.watermark)
                    for each in identity.generations(connection, project, wanted)
                ],
            )
            for wanted in SERIES
        ]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(writes=WRITES)
def test_together_is_as_one_by_one(store: Store, writes) -> None:
    together, apart = next(projects), next(projects)
    for place, (windows, hashed, state) in enumerate(writes):
        moment = NOW + timedelta(days=place)
        with store.transaction() as connection:
            listed = [window(wanted, points, hashed, state) for wanted, points in windows.items()]
            done = series.replace_windows(connection, together, START, END, listed, collected_at=moment)
            watermarks.advance_all(connection, [number for number, _ in done], END)
        counts = []
        for wanted, points in windows.items():
            with store.transaction() as connection:
                counts.append(
                    series.replace_window(
                        connection, apart, wanted, START, END, points,
                        definition_hash=hashed, state_of=lambda _, state=state: state, collected_at=moment,
                    )
                )  # fmt: skip
                watermarks.advance(connection, apart, wanted, END, definition_hash=hashed)
        assert [written for _, written in done] == counts
        assert everything(store, together) == everything(store, apart)


def test_one_window_that_cannot_be_written_leaves_all_of_them(store: Store) -> None:
    outside = Point(bucket=END, value=1, n=1)
    with pytest.raises(StoreError, match="outside the window"), store.transaction() as connection:
        series.replace_windows(
            connection, "shop", START, END, [window(SERIES[0], []), window(SERIES[1], [outside])], collected_at=NOW
        )
    with store.reading() as connection:
        assert not watermarks.states(connection, "shop")


def test_watermarks_are_never_moved_back_together(store: Store) -> None:
    with store.transaction() as connection:
        held = identity.own_all(connection, "shop", [(wanted, "aaaa") for wanted in SERIES])
        watermarks.advance_all(connection, [each.id for each in held[:2]], END)
        watermarks.advance_all(connection, [each.id for each in held], START)
    with store.reading() as connection:
        found = watermarks.get_all(connection, "shop")
    assert sorted(found.values()) == [START] * 4 + [END] * 2


def keys() -> list[runs.RunKey]:
    return [runs.key_of("shop", wanted, START, END) for wanted in SERIES]


def test_runs_are_claimed_together_as_one_by_one(store: Store) -> None:
    asked = keys()
    with store.transaction() as connection:
        busy = runs.claim(connection, asked[0], "other", NOW, LEASE)
        stale = runs.claim(connection, asked[1], "dead", NOW - LEASE, LEASE)
        done, failed = (runs.claim(connection, asked[at], "other", NOW, LEASE) for at in (2, 3))
        runs.finish(connection, done, RunStatus.SUCCESS, now=NOW)
        runs.finish(connection, failed, RunStatus.ERROR, now=NOW, error="no such table")
    with store.transaction() as connection:
        ours = runs.claim_all(connection, asked, "me", NOW, LEASE)
        assert runs.claim_all(connection, asked, "you", NOW, LEASE) == {}
        assert runs.claim_all(connection, [], "me", NOW, LEASE) == {}
    assert {key.subject: ours[key.subject].attempt for key in asked if key.subject in ours} == {
        asked[1].subject: 2, asked[3].subject: 2, asked[4].subject: 1, asked[5].subject: 1,
    }  # fmt: skip
    with store.transaction() as connection:
        again = runs.claim_all(connection, asked, "you", NOW, LEASE, again=True)
        listed = {run.id: run for run in runs.list_runs(connection, "shop")}
    assert [run.key.subject for run in again.values()] == [asked[2].subject]
    assert listed[stale.id].status is RunStatus.LOST
    assert listed[busy.id] == busy
    assert all(listed[run.id] == run for run in (*ours.values(), *again.values()))


def test_runs_succeed_together_or_not_at_all(store: Store) -> None:
    asked = keys()[:3]
    with store.transaction() as connection:
        ours = list(runs.claim_all(connection, asked, "me", NOW, LEASE).values())
    late = NOW + LEASE
    brought = [(run, Success(rows=3, bytes=2**33, seconds=0.5, sql_hash="ab")) for run in ours]
    with store.transaction() as connection:
        taken = runs.claim(connection, asked[1], "other", late, LEASE)
    with pytest.raises(ConflictError, match="no longer held by 'me'"), store.transaction() as connection:
        runs.succeed_all(connection, brought, now=late, window=(START, END))
    with store.reading() as connection:
        listed = {run.id: run.status for run in runs.list_runs(connection, "shop")}
    assert [listed[run.id] for run in ours] == [RunStatus.RUNNING, RunStatus.LOST, RunStatus.RUNNING]
    assert taken is not None and listed[taken.id] is RunStatus.RUNNING
    with store.transaction() as connection:
        runs.succeed_all(connection, [brought[0], brought[2]], now=late, window=(START, END))
        found = {run.id: run for run in runs.list_runs(connection, "shop", status=RunStatus.SUCCESS)}
    assert set(found) == {ours[0].id, ours[2].id}
    assert found[ours[0].id].window == (START, END) and found[ours[0].id].rows == 3
    assert [run.bytes for run in found.values()] == [2**33, 2**33]
