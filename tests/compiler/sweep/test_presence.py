"""Flags of presences add up to distinct counts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tallystick.compiler.one_pass.layout import KEY_BITS, NONE_BEFORE, Cell
from tallystick.compiler.one_pass.presence import enters, ever, in_grain, leaves, packing
from tallystick.compiler.sweep.calendar import DayTable
from tallystick.compiler.sweep.presence import Question, flagged, last_before, last_days, presences
from tallystick.sql.expression import Merge
from tallystick.sql.grain import Grain, Window

FIRST, DAYS = 19_723, 40
FOUND = packing(FIRST, FIRST + DAYS, 7, 3)
CELL = Cell("users", Merge.SUM, "BIGINT", "BIGINT", key="users")
ANY = Cell("users_p", Merge.SUM, "BIGINT", "BIGINT", key="users", counts_missing=True)
WINDOW = Window(5)
CALENDAR = DayTable(FIRST, {"b_week": np.array([FIRST + day - day % 7 for day in range(DAYS)])})
ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 7), st.integers(0, DAYS - 1)), max_size=40)


def pack(rows):
    eids, uids, days = (np.array([row[place] for row in rows], np.int64) for place in range(3))
    return presences(eids, uids, days, FOUND)


@given(ROWS)
def test_flags_summed_up_are_distinct_counts(rows):
    found = flagged(pack(rows), Question((CELL, ANY), (Grain.WEEK,), (WINDOW,), None), CALENDAR)
    for cell, some in ((CELL, [row for row in rows if row[1]]), (ANY, rows)):
        for eid in range(4):
            mine = {(uid, day) for e, uid, day in some if e == eid}
            here = found.eids == eid

            def total(name, days, here=here):
                return int(found.cells[name][here & (found.days >= days[0]) & (found.days < days[1])].sum())

            assert total(ever(cell), (0, DAYS)) == len({uid for uid, _ in mine})
            for day in range(DAYS):
                assert total(cell.name, (day, day + 1)) == len({uid for uid, d in mine if d == day})
                inside = {uid for uid, d in mine if day - WINDOW.days < d <= day}
                gone = total(leaves(cell, WINDOW), (0, day - WINDOW.days + 1))
                assert total(enters(cell, WINDOW), (0, day + 1)) - gone == len(inside)
            for week in range(0, DAYS, 7):
                inside = {uid for uid, d in mine if week <= d < week + 7}
                assert total(in_grain(cell, Grain.WEEK), (week, week + 7)) == len(inside)


@given(ROWS, st.integers(0, DAYS))
def test_last_presence_of_each_pair_before_a_day(rows, day):
    found = last_before(pack(rows), day)
    expected = {}
    for eid, uid, d in sorted(rows):
        if d < day:
            expected[eid, uid] = d
    got = zip(found.eids.tolist(), found.uids.tolist(), found.days.tolist(), strict=True)
    assert {(eid, uid): d for eid, uid, d in got} == expected


PAIRS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(0, 50)), max_size=30)


@given(PAIRS, PAIRS, st.lists(st.integers(0, 30), max_size=3), st.sets(st.tuples(st.integers(0, 9), st.integers(0, 3))))
def test_the_last_days_of_wanted_pairs_are_found_in_ordered_parts_and_in_what_came_later(rows, later, cuts, asked):
    def pair(eid: int, uid: int) -> int:
        return (eid << KEY_BITS) + uid

    def columns(part):
        return np.array([of for of, _ in part], np.int64), np.array([day for _, day in part], np.int32)

    ordered = sorted({pair(eid, uid): day for eid, uid, day in rows}.items())
    added = [(pair(eid, uid), day) for eid, uid, day in later]
    borders = [0, *sorted(cuts), len(ordered)]
    wanted = sorted(pair(eid, uid) for eid, uid in asked)
    parts = (columns(ordered[a:b]) for a, b in pairwise(borders))
    lasts = last_days(np.array(wanted, np.int64), parts, columns(added))
    rows = [*ordered, *added]
    assert lasts.tolist() == [max((day for of, day in rows if of == one), default=NONE_BEFORE) for one in wanted]
