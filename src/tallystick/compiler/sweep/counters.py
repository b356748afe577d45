"""Counters: one row per entity and day, sorted, with the whole numbers that add up to every table of a metric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tallystick.compiler.one_pass.rolling import DAY_BITS

Array = npt.NDArray[np.int64]
Short = npt.NDArray[np.int32]
Whole = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]

PIECE = 1 << 17
"""Rows that are worked on at a time: columns of so many stay in the cache of a processor."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Rows of counters; `keys` hold an entity and a day, counted from the first one: they are sorted and unique."""

    keys: Array
    cells: Mapping[str, Array]

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def eids(self) -> Array:
        """Return the entity of each row."""
        eids: Array = self.keys >> DAY_BITS
        return eids

    @property
    def days(self) -> Array:
        """Return the day of each row, counted from the first one."""
        days: Array = self.keys & (2**DAY_BITS - 1)
        return days

    def take(self, rows: slice | Mask) -> Counters:
        """Return some of the rows, in order."""
        return Counters(self.keys[rows], {name: values[rows] for name, values in self.cells.items()})


def counters(keys: Array, cells: Mapping[str, Whole]) -> Counters:
    """Return counters from rows in any order, adding up those of the same entity and day."""
    order = np.argsort(keys)
    ordered = keys[order]
    starts = runs(ordered)
    return Counters(ordered[starts], {name: added(values[order], starts) for name, values in cells.items()})


def together(parts: Sequence[Counters], names: Sequence[str]) -> Counters:
    """Return the counters of several parts by name, 0 where a part has no row."""
    if len(parts) == 1:
        return Counters(parts[0].keys, {name: parts[0].cells[name] for name in names})
    keys = distinct(np.concatenate([part.keys for part in parts]))
    cells = {}
    for part in parts:
        places = np.searchsorted(keys, part.keys)
        for name in part.cells.keys() & set(names):
            cells[name] = np.zeros(len(keys), np.int64)
            cells[name][places] = part.cells[name]
    return Counters(keys, cells)


def telling(rows: Counters) -> Counters:
    """Return the rows in which anything is counted."""
    some = np.zeros(len(rows), np.bool_)
    for values in rows.cells.values():
        some |= values != 0
    return rows.take(some)


def pieces(found: Counters) -> Iterator[Counters]:
    """Cut counters into pieces of whole entities."""
    begin = 0
    while begin < len(found):
        end = min(begin + PIECE, len(found))
        if end < len(found):
            end = int(np.searchsorted(found.keys, ((found.keys[end - 1] >> DAY_BITS) + 1) << DAY_BITS))
        yield found.take(slice(begin, end))
        begin = end


def runs(values: Array) -> Array:
    """Return where each run of equal values begins."""
    changes = np.empty(len(values), np.bool_)
    changes[:1] = True
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return np.flatnonzero(changes)


def distinct(values: Array) -> Array:
    """Return the different values, sorted; `numpy.unique` hashes whole numbers and takes four times as long."""
    ordered = np.sort(values)
    return ordered[runs(ordered)]


def is_last(values: Array) -> Mask:
    """Tell where each run of equal values ends."""
    ends = np.empty(len(values), np.bool_)
    ends[-1:] = True
    np.not_equal(values[1:], values[:-1], out=ends[:-1])
    return ends


def added(values: Whole, starts: Array) -> Array:
    """Return the sums of values from each start to the next one."""
    return np.add.reduceat(values.astype(np.int64, copy=False), starts) if len(starts) else np.zeros(0, np.int64)


def counted(mask: Mask, ends: Array) -> Array:
    """Return how often a mask holds up to each end from after the one before it, in a third of the time of `added`."""
    return np.diff(np.cumsum(mask, dtype=np.int32)[ends], prepend=np.int32(0)).astype(np.int64)
