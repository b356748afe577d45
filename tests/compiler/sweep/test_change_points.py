"""Change points say, for each day, what a window that ends on it holds."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tallystick.compiler.one_pass.rolling import DAY_BITS
from tallystick.compiler.sweep.change_points import Points, Until, change_points
from tallystick.compiler.sweep.counters import Counters, counters

OPEN = 10_000
ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(-2, 3)), max_size=30)


def counted(rows: list[tuple[int, int, int]]) -> Counters:
    keys = np.array([(eid << DAY_BITS) + day for eid, day, _ in rows], np.int64)
    values = np.array([value for *_, value in rows], np.int64)
    return counters(keys, {"n": np.ones(len(rows), np.int64), "total": values})


def rows_of(points: Points) -> list[tuple[int, ...]]:
    columns = [points.eids, points.days, points.nexts, *points.cells.values()]
    return list(zip(*(column.tolist() for column in columns), strict=True))


@given(ROWS, st.integers(1, 50), st.integers(0, 60), st.integers(0, 60))
def test_every_day_of_every_entity_has_the_sums_of_its_window(rows, window, last, settle):
    found = counted(rows)
    gone = Counters(found.keys + window, found.cells)
    settled, recent = change_points(found, gone, "n", Until(last, settle, OPEN))
    assert all(until < settle for _, _, until, *_ in rows_of(settled))
    assert all(until >= settle for _, _, until, *_ in rows_of(recent))
    held = {
        (eid, day): (n, total)
        for eid, first, until, n, total in rows_of(settled) + rows_of(recent)
        for day in range(first, min(until, last + 1))
    }
    expected = {}
    for eid in range(4):
        for day in range(last + 1):
            inside = [value for e, d, value in rows if e == eid and day - window < d <= day]
            if inside:
                expected[eid, day] = (len(inside), sum(inside))
    assert held == expected


@given(ROWS, st.integers(1, 50))
def test_a_point_says_something_new(rows, window):
    found = counted(rows)
    gone = Counters(found.keys + window, found.cells)
    cells = rows_of(change_points(found, gone, "n", Until(100, 2 * OPEN, OPEN))[0])
    for before, after in itertools.pairwise(cells):
        touching = before[0] == after[0] and before[2] == after[1]
        assert not touching or before[3:] != after[3:]


def test_nothing_moves_in_nothing():
    nothing = counted([])
    assert [len(points) for points in change_points(nothing, nothing, "n", Until(10, 10, OPEN))] == [0, 0]
