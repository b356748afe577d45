"""Rows in any order become counters, and counters are cut and merged without loss."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.compiler.one_pass.rolling import DAY_BITS
from tallystick.compiler.sweep import counters as module
from tallystick.compiler.sweep.counters import Counters, counted, counters, is_last, pieces, runs, together

ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(-9, 9)), max_size=40)


def of(rows: list[tuple[int, int, int]], name: str = "n") -> Counters:
    keys = np.array([(eid << DAY_BITS) + day for eid, day, _ in rows], np.int64)
    return counters(keys, {name: np.array([value for *_, value in rows], np.int64)})


def as_dict(found: Counters, name: str = "n") -> dict[tuple[int, int], int]:
    return dict(
        zip(zip(found.eids.tolist(), found.days.tolist(), strict=True), found.cells[name].tolist(), strict=True)
    )


@given(ROWS, st.randoms())
def test_order_does_not_matter(rows, random):
    expected: Counter[tuple[int, int]] = Counter()
    for eid, day, value in rows:
        expected[eid, day] += value
    shuffled = rows[:]
    random.shuffle(shuffled)
    assert as_dict(of(shuffled)) == dict(expected) == as_dict(of(sorted(rows)))
    assert (np.diff(of(shuffled).keys) > 0).all()


@given(ROWS, ROWS)
def test_parts_keep_their_values_and_are_0_elsewhere(one, other):
    left, right = of(one, "left"), of(other, "right")
    found = together([left, right], ["left", "right"])
    for part, name in ((left, "left"), (right, "right")):
        had = as_dict(part, name)
        assert as_dict(found, name) == {key: had.get(key, 0) for key in as_dict(left, "left") | as_dict(right, "right")}


@given(ROWS, st.integers(1, 8))
def test_pieces_hold_whole_entities_and_all_of_them(rows, size):
    found = of(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE", size)
        cut = list(pieces(found))
    assert [key for piece in cut for key in piece.keys] == list(found.keys)
    met = [set(piece.eids.tolist()) for piece in cut]
    assert all(not a & b for index, a in enumerate(met) for b in met[index + 1 :])


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=20))
def test_runs_and_what_holds_in_them(rows):
    rows.sort()
    values = np.array([value for value, _ in rows], np.int64)
    mask = np.array([holds for _, holds in rows], np.bool_)
    assert values[runs(values)].tolist() == sorted(set(values.tolist())) == values[is_last(values)].tolist()
    by_run = [sum(holds for value, holds in rows if value == run) for run in sorted(set(values.tolist()))]
    assert counted(mask, np.flatnonzero(is_last(values))).tolist() == by_run
