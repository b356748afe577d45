"""Distinct counts as counters: which keys are new to a bucket, enter a window or leave it (performance spec §3.3).

The columns are those of `compiler/one_pass/presence`, which says why they add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tallystick.compiler.one_pass.layout import KEY_BITS, NONE_AFTER, NONE_BEFORE, Cell
from tallystick.compiler.one_pass.presence import Packing, enters, ever, in_grain, leaves
from tallystick.compiler.one_pass.rolling import DAY_BITS
from tallystick.compiler.sweep.calendar import DayTable
from tallystick.compiler.sweep.counters import Array, Counters, Mask, Whole, counted, is_last, runs
from tallystick.sql.grain import Grain, Window


@dataclass(frozen=True, slots=True)
class Question:
    """What is counted about the keys of a distinct count; `start` is the first day buckets may hold (None: any)."""

    cells: Sequence[Cell]
    grains: Sequence[Grain]
    windows: Sequence[Window]
    start: int | None


@dataclass(frozen=True, slots=True)
class Presences:
    """On which days each key was seen with each entity: (entity, key, day) packed, sorted and unique."""

    packed: Array
    packing: Packing

    @property
    def pairs(self) -> Array:
        """Return entity and key of each row as one number."""
        pairs: Array = self.packed >> self.packing.day_bits
        return pairs

    @property
    def eids(self) -> Array:
        """Return the entity of each row."""
        eids: Array = self.packed >> (self.packing.day_bits + self.packing.uid_bits)
        return eids

    @property
    def uids(self) -> Array:
        """Return the key of each row; 0 stands for a missing one where such are counted."""
        uids: Array = self.pairs & (2**self.packing.uid_bits - 1)
        return uids

    @property
    def days(self) -> Array:
        """Return the day of each row, counted from the first one."""
        days: Array = self.packed & (2**self.packing.day_bits - 1)
        return days

    def take(self, rows: Mask | Array) -> Presences:
        """Return some of the rows, in order."""
        return Presences(self.packed[rows], self.packing)


def presences(eids: Array, uids: Whole, days: Whole, packing: Packing) -> Presences:
    """Return presences from rows in any order, repeats allowed; days are counted from the first one."""
    keys = (uids.astype(np.int64, copy=False) << packing.day_bits) + days.astype(np.int64, copy=False)
    ordered = (eids << (packing.day_bits + packing.uid_bits)) + keys
    ordered.sort()
    return Presences(ordered[runs(ordered)], packing)


def last_days(wanted: Array, ordered: Iterable[tuple[Array, Whole]], later: tuple[Array, Whole]) -> Array:
    """Return the last of the days on which wanted pairs (sorted) were seen; `NONE_BEFORE` where they were not.

    Parts hold pairs with their days, the `ordered` ones sorted and each pair once, `later` ones in any order.
    """
    lasts: Array = np.full(len(wanted), NONE_BEFORE, np.int64)
    for pairs, days in ordered:
        _note_days(wanted, lasts, pairs, days)
    pairs, days = later
    # A table of bits first tells nearly all that is not wanted.
    bits = np.zeros(1 << max(16, len(wanted).bit_length() + 4), np.bool_)
    bits[_places(wanted, len(bits))] = True
    some = np.flatnonzero(bits[_places(pairs, len(bits))])
    some = some[np.lexsort((days[some], pairs[some]))]
    some = some[is_last(pairs[some])]
    _note_days(wanted, lasts, pairs[some], days[some])
    return lasts


def _places(pairs: Array, size: int) -> Array:
    places = pairs >> KEY_BITS
    places *= 40_503
    places ^= pairs
    places &= size - 1
    return places


def _note_days(wanted: Array, lasts: Array, pairs: Array, days: Whole) -> None:
    """Note later days of wanted pairs, which occur once each; both are sorted."""
    if not len(pairs):
        return
    begin, end = np.searchsorted(wanted, pairs[0]), np.searchsorted(wanted, pairs[-1], side="right")
    mine = wanted[begin:end]
    rows = np.searchsorted(pairs, mine)
    found = pairs[rows] == mine
    known = lasts[begin:end]
    known[found] = np.maximum(known[found], days[rows[found]])


def last_before(found: Presences, day: int) -> Presences:
    """Return the last presence of each pair before a day."""
    earlier = found.take(found.days < day)
    return earlier.take(is_last(earlier.pairs))


def flagged(found: Presences, ask: Question, calendar: DayTable) -> Counters:
    """Count by entity and day the keys seen, new to buckets, entering and leaving windows."""
    before, after = _around(found)
    keys = (found.eids << DAY_BITS) + found.days
    order = np.argsort(keys)
    keys, before, after = keys[order], before[order], after[order]
    days, ends = keys & (2**DAY_BITS - 1), np.flatnonzero(is_last(keys))
    named = found.uids[order] != 0 if any(cell.counts_missing for cell in ask.cells) else None
    since = NONE_BEFORE if ask.start is None else ask.start - calendar.first
    new = [(grain, before < np.maximum(calendar.bucket(grain, days), since)) for grain in ask.grains]
    enter = [(window, before < calendar.reach(window, days)) for window in ask.windows]
    leave = [(window, after >= calendar.leave(window, days)) for window in ask.windows]
    cells: dict[str, Array] = {}
    for cell in ask.cells:
        seen = np.ones(len(keys), np.bool_) if named is None or cell.counts_missing else named
        cells[cell.name] = counted(seen, ends)
        cells[ever(cell)] = counted(seen & (before == NONE_BEFORE), ends)
        cells |= {in_grain(cell, grain): counted(seen & test, ends) for grain, test in new}
        cells |= {enters(cell, window): counted(seen & test, ends) for window, test in enter}
        cells |= {leaves(cell, window): counted(seen & test, ends) for window, test in leave}
    return Counters(keys[ends], cells)


def previous_days(found: Presences) -> Array:
    """Return the day before each presence on which the same key was seen with the same entity, `NONE_BEFORE` if none."""
    return _around(found)[0]


def _around(found: Presences) -> tuple[Array, Array]:
    """Return the days before and after each presence on which the same key was seen with the same entity."""
    pairs, days = found.pairs, found.days
    same = pairs[1:] == pairs[:-1]
    before, after = np.full(len(days), NONE_BEFORE), np.full(len(days), NONE_AFTER)
    before[1:] = np.where(same, days[:-1], NONE_BEFORE)
    after[:-1] = np.where(same, days[1:], NONE_AFTER)
    return before, after
