"""Windows of values: written as a whole, the same input changes nothing, what was final leaves a revision."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.compiler.series import Number, Point, PointState, Wanted
from tallystick.errors import ConflictError, StoreError
from tallystick.sql.grain import Grain, Window
from tallystick.store import identity, series, watermarks
from tallystick.store.database import Store
from tallystick.store.series import Written, latest, read_points, read_revisions, replace_window

START = datetime(2026, 3, 1, tzinfo=UTC)
END = START + timedelta(days=10)
NOW = datetime(2026, 4, 1, tzinfo=UTC)
REVENUE = Wanted(metric="revenue", grain=Grain.DAY)
BY_COUNTRY = Wanted(metric="revenue", grain=Grain.DAY, by="country")
ANY_STORE = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
names = (f"case{number}" for number in range(10**9))


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def daily(*values: Number | None) -> list[Point]:
    return [Point(bucket=day(number), value=value, n=1) for number, value in enumerate(values)]


def write(
    store: Store, points: list[Point], wanted: Wanted = REVENUE, state: str = "final", **options: object
) -> Written:
    arguments: dict[str, object] = {
        "definition_hash": "aaaa",
        "state_of": lambda _: PointState(state),
        "collected_at": NOW,
        **options,
    }
    with store.transaction() as connection:
        return replace_window(connection, "shop", wanted, START, END, points, **arguments)  # type: ignore[arg-type]


def values(store: Store, wanted: Wanted = REVENUE) -> list[Number | None]:
    with store.reading() as connection:
        return [stored.point.value for stored in read_points(connection, "shop", wanted)]


def test_points_come_back_as_they_were(store: Store) -> None:
    points = [
        Point(bucket=day(0), value=0.5, n=4, numerator=1, denominator=2, entity_id="a", dimension_value="DE"),
        Point(bucket=day(0), value=None, n=2, entity_id="a", dimension_value=""),
        Point(bucket=day(0), value=0, n=2, entity_id="a"),
        Point(bucket=day(0), value=2**60 + 1, n=3, entity_id="a", is_other=True),
        Point(bucket=day(1), value=Decimal("0.10"), n=1, numerator=Decimal("1e-30"), entity_id='"'),
        Point(bucket=day(2), value=float("nan"), n=1, entity_id="x" * 10_000),
    ]
    write(store, points, BY_COUNTRY)
    with store.reading() as connection:
        found = [stored.point for stored in read_points(connection, "shop", BY_COUNTRY)]
    assert {point for point in found if point.bucket < day(2)} == set(points[:-1])
    assert found[-1].value is None
    assert found[-1].entity_id is not None and len(found[-1].entity_id) == series.LONGEST_NAME


def test_a_window_is_replaced_and_the_rest_stays(store: Store) -> None:
    write(store, daily(1, 2, 3, 4), state="settling")
    with store.transaction() as connection:
        replace_window(
            connection,
            "shop",
            REVENUE,
            day(1),
            day(3),
            [Point(bucket=day(2), value=30, n=1)],
            definition_hash="aaaa",
            state_of=lambda _: PointState.FINAL,
            collected_at=NOW,
        )
        assert [stored.point.value for stored in read_points(connection, "shop", REVENUE, day(1), day(4))] == [30, 4]
        assert [stored.point.value for stored in latest(connection, "shop", REVENUE)] == [4]
    assert values(store) == [1, 30, 4]


def test_the_same_values_change_nothing(store: Store) -> None:
    write(store, daily(1, 0.1 + 0.2))
    again = write(store, daily(1, 0.3), collected_at=NOW + timedelta(days=1))
    assert (again.added, again.changed, again.removed, again.restated) == (0, 0, 0, 0)
    with store.reading() as connection:
        assert {stored.collected_at for stored in read_points(connection, "shop", REVENUE)} == {NOW}


def test_what_changes_after_it_was_final_is_restated(store: Store) -> None:
    write(store, daily(1, 2, 3))
    later = NOW + timedelta(hours=1)
    assert write(store, daily(1, 5), collected_at=later, definition_hash="bbbb").restated == 2
    with store.reading() as connection:
        stored = read_points(connection, "shop", REVENUE)
        revisions = read_revisions(connection, "shop", REVENUE)
    assert [(point.state, point.definition_hash) for point in stored] == [("final", "bbbb"), ("restated", "bbbb")]
    assert [(revision.old.value, revision.new and revision.new.value) for revision in revisions] == [(2, 5), (3, None)]
    assert {(revision.old_hash, revision.new_hash, revision.revised_at) for revision in revisions} == {
        ("aaaa", "bbbb", later)
    }


def test_what_was_final_never_settles_again(store: Store) -> None:
    write(store, daily(1))
    write(store, daily(1), state="settling")
    with store.reading() as connection:
        assert [stored.state for stored in read_points(connection, "shop", REVENUE)] == ["final"]


def test_settling_values_change_without_a_revision(store: Store) -> None:
    write(store, daily(1), state="settling")
    assert write(store, daily(2)).restated == 0
    with store.reading() as connection:
        assert read_revisions(connection, "shop", REVENUE) == ()


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([Point(bucket=END, value=1, n=1)], "outside the window"),
        ([Point(bucket=START, value=1, n=1), Point(bucket=START, value=2, n=1)], "two values"),
    ],
)
def test_a_wrong_window_is_refused_and_nothing_is_lost(store: Store, points: list[Point], message: str) -> None:
    write(store, daily(7))
    with pytest.raises(StoreError, match=message):
        write(store, points)
    assert values(store) == [7]


def test_series_are_kept_apart(store: Store) -> None:
    wanted = [
        REVENUE,
        BY_COUNTRY,
        Wanted(metric="revenue", grain=Grain.DAY, entity="country"),
        Wanted(metric="revenue", grain=Grain.WEEK),
        Wanted(metric="revenue", grain=Grain.DAY, window=Window(7)),
        Wanted(metric="orders", grain=Grain.DAY),
    ]
    for number, one in enumerate(wanted):
        write(store, daily(number), one)
    assert [values(store, one) for one in wanted] == [[number] for number in range(len(wanted))]
    assert len({identity.series_name(one) for one in wanted}) == len(wanted)


def test_other_tools_read_the_series_contract(store: Store) -> None:
    write(store, daily(3))
    with store.reading() as connection:
        row = connection.exec_driver_sql("SELECT * FROM series_rows").mappings().one()
    assert list(row) == [
        "project", "metric", "grain", "window", "entity_type", "entity_id", "dimension", "dimension_value", "is_other",
        "bucket", "value", "numerator", "denominator", "n", "state", "definition_hash", "collected_at",
    ]  # fmt: skip


# -- watermarks -------------------------------------------------------------------------------------------------------


def test_watermarks_never_move_back(store: Store) -> None:
    with store.transaction() as connection:
        assert watermarks.get(connection, "shop", REVENUE) is None
        assert watermarks.advance(connection, "shop", REVENUE, day(3)) == day(3)
        assert watermarks.advance(connection, "shop", REVENUE, day(1)) == day(3)
        assert watermarks.get(connection, "shop", REVENUE) == day(3)
        assert watermarks.get_all(connection, "shop") == {"revenue/day/all": day(3)}
        assert watermarks.get_all(connection, "other") == {}


def fail(store: Store) -> None:
    with store.transaction() as connection:
        replace_window(
            connection, "shop", REVENUE, START, END, daily(9), definition_hash="aaaa",
            state_of=lambda _: PointState.FINAL, collected_at=NOW,
        )  # fmt: skip
        watermarks.advance(connection, "shop", REVENUE, END)
        raise ZeroDivisionError


def test_a_failed_transaction_keeps_values_and_watermark_together(store: Store) -> None:
    write(store, daily(1))
    with pytest.raises(ZeroDivisionError):
        fail(store)
    assert values(store) == [1]
    with store.reading() as connection:
        assert watermarks.get(connection, "shop", REVENUE) is None


# -- a changed definition ---------------------------------------------------------------------------------------------


def test_a_rebuild_is_swapped_in_as_a_whole(store: Store) -> None:
    write(store, daily(1, 2))
    with store.transaction() as connection:
        identity.begin_rebuild(connection, "shop", REVENUE, "bbbb")
    write(store, daily(10, 20, 30), definition_hash="bbbb", rebuilding=True)
    with store.transaction() as connection:
        watermarks.advance(connection, "shop", REVENUE, END, rebuilding=True)
        assert watermarks.get(connection, "shop", REVENUE) is None
        identity.begin_rebuild(connection, "shop", REVENUE, "bbbb")  # goes on where it was
    assert values(store) == [1, 2]
    with store.transaction() as connection:
        identity.commit_rebuild(connection, "shop", REVENUE, NOW)
    assert values(store) == [10, 20, 30]
    with store.reading() as connection:
        old, new = identity.generations(connection, "shop", REVENUE)
        assert (old.is_live, new.is_live, new.live_from, new.watermark) == (False, True, NOW, END)
        assert [stored.point.value for stored in series.read_generation(connection, old.id)] == [1, 2]
        assert read_revisions(connection, "shop", REVENUE) == ()


def test_a_rebuild_for_another_definition_starts_anew(store: Store) -> None:
    write(store, daily(1))
    with store.transaction() as connection:
        identity.begin_rebuild(connection, "shop", REVENUE, "bbbb")
    write(store, daily(10), definition_hash="bbbb", rebuilding=True)
    with store.transaction() as connection:
        identity.begin_rebuild(connection, "shop", REVENUE, "cccc")
        assert read_points(connection, "shop", REVENUE, rebuilding=True) == ()
        identity.abandon_rebuild(connection, "shop", REVENUE)
        with pytest.raises(ConflictError, match="not being rebuilt"):
            identity.commit_rebuild(connection, "shop", REVENUE, NOW)
    assert values(store) == [1]


# -- laws -------------------------------------------------------------------------------------------------------------

numbers = st.one_of(
    st.none(), st.integers(-(10**20), 10**20), st.floats(-1e9, 1e9), st.decimals(-1000, 1000, places=3, allow_nan=False)
)


@st.composite
def windows(draw: st.DrawFn) -> list[Point]:
    keys = draw(st.sets(st.tuples(st.integers(0, 9), st.sampled_from([None, "", "a", '"', "é"])), max_size=12))
    return [
        Point(
            bucket=day(bucket), value=draw(numbers), n=draw(st.integers(0, 5)), numerator=draw(numbers), entity_id=name
        )
        for bucket, name in sorted(keys, key=str)
    ]


def fresh() -> Wanted:
    return Wanted(metric=next(names), grain=Grain.DAY)


def content(store: Store, wanted: Wanted) -> list[tuple[object, ...]]:
    with store.reading() as connection:
        return [(stored.point, stored.state) for stored in read_points(connection, "shop", wanted)]


@ANY_STORE
@given(points=windows())
def test_writing_twice_is_writing_once(store: Store, points: list[Point]) -> None:
    wanted = fresh()
    write(store, points, wanted)
    before = content(store, wanted)
    assert write(store, points, wanted) == Written(rows=len(points))
    assert content(store, wanted) == before
    assert {point for point, _ in before} == set(points)


@ANY_STORE
@given(first=windows(), last=windows(), state=st.sampled_from(PointState))
def test_the_last_write_of_a_window_wins(store: Store, first: list[Point], last: list[Point], state: str) -> None:
    wanted = fresh()
    write(store, first, wanted, state=state)
    write(store, last, wanted)
    found = {(p.bucket, p.entity_id): p for p, _ in content(store, wanted)}
    assert found.keys() == {(point.bucket, point.entity_id) for point in last}
    for point in last:
        assert not differ(found[point.bucket, point.entity_id].value, point.value)


@ANY_STORE
@given(first=windows(), last=windows())
def test_only_changed_finals_are_revised(store: Store, first: list[Point], last: list[Point]) -> None:
    wanted = fresh()
    write(store, first, wanted)
    write(store, last, wanted)
    new = {(point.bucket, point.entity_id): (point.value, point.numerator) for point in last}
    old = {(point.bucket, point.entity_id): (point.value, point.numerator) for point in first}
    changed = {key for key, numbers in old.items() if new.get(key, "gone") != numbers}
    with store.reading() as connection:
        revised = [(r.old.bucket, r.old.entity_id) for r in read_revisions(connection, "shop", wanted)]
    assert len(revised) == len(set(revised))
    assert set(revised) <= changed
    certain = {key for key in changed if key not in new or any(map(differ, old[key], new[key]))}
    assert certain <= set(revised)


def differ(one: Number | None, other: Number | None) -> bool:
    if one is None or other is None:
        return one is not other
    return abs(Fraction(one) - Fraction(other)) > Fraction(1, 10**8) * abs(Fraction(one))


@ANY_STORE
@given(points=windows(), seed=st.integers())
def test_the_order_of_points_does_not_matter(store: Store, points: list[Point], seed: int) -> None:
    wanted, other = fresh(), fresh()
    write(store, points, wanted)
    shuffled = list(points)
    random.Random(seed).shuffle(shuffled)
    write(store, shuffled, other)
    assert content(store, wanted) == content(store, other)
