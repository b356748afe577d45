"""Rows are copied to every entity they count for, whatever the parts they are copied in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.compiler.sweep import entities
from tallystick.compiler.sweep.entities import Pairs, base_rows, parts, rows_of

ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 99)), max_size=30)
PAIRS = st.sets(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=12)


@given(ROWS, ROWS, PAIRS, st.integers(1, 9))
def test_parts_together_hold_each_row_once_per_entity(one, other, paired, size):
    ordered = sorted(paired, key=lambda pair: pair[1])
    pairs = Pairs(*(np.array([pair[place] for pair in ordered], np.int64) for place in range(2)))
    keys = max((bid for bid, _ in paired), default=-1) + 1
    found = [
        base_rows(np.array([b for b, _ in rows], np.int64), {"x": np.array([x for _, x in rows], np.int64)}, keys)
        for rows in (one, other)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entities, "PART", size)
        cut = list(parts(pairs, found))
    met = [set(part.eids.tolist()) for part in cut]
    assert all(not a & b for index, a in enumerate(met) for b in met[index + 1 :])
    for rows, base in zip((one, other), found, strict=True):
        got = []
        for part in cut:
            eids, columns = rows_of(part, base)
            got += zip(eids.tolist(), columns["x"].tolist(), strict=True)
        assert sorted(got) == sorted((eid, x) for bid, eid in paired for b, x in rows if b == bid)
