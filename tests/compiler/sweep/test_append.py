"""Presences around days read again: what is seen now, what was, and numbers that fit."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tallystick.compiler.one_pass.layout import KEY_BITS
from tallystick.compiler.sweep.append import Seen, around

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**KEY_BITS - 1), st.integers(0, 30)), max_size=20)


def seen(rows: list[tuple[int, int, int]]) -> Seen:
    eids, uids, days = (np.array([row[place] for row in rows], np.int64) for place in range(3))
    return Seen((eids << KEY_BITS) + uids, days)


@given(ROWS, ROWS, ROWS)
def test_presences_tell_apart_what_is_and_was_seen_and_a_missing_key(fresh, past, before):
    both = around(seen(fresh), seen(past), seen(before), 30)
    assert both is not None
    for found, rows in zip(both, ([*fresh, *before], [*past, *before]), strict=True):
        number = {uid: place for place, uid in enumerate(sorted({uid for _, uid, _ in [*fresh, *past, *before]} | {0}))}
        expected = sorted({(eid, number[uid], day) for eid, uid, day in rows})
        assert list(zip(found.eids.tolist(), found.uids.tolist(), found.days.tolist(), strict=True)) == expected


def test_what_does_not_fit_one_integer_is_left_to_the_statements():
    wide = Seen(np.array([(2**30 << KEY_BITS) + 1], np.int64), np.array([0]))
    nothing = Seen(np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert around(wide, nothing, nothing, 100) is not None
    assert around(wide, nothing, nothing, 2**40) is None
