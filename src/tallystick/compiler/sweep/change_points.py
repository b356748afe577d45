"""Rolling windows as change points: what enters and leaves, merged by day and summed up (performance spec §3.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tallystick.compiler.one_pass.rolling import DAY_BITS
from tallystick.compiler.sweep.counters import Array, Counters, Mask, Short, is_last


@dataclass(frozen=True, slots=True)
class Until:
    """The last day of change points, and the first one that may be read again: points that end before it are settled.

    The last point of an entity holds until `still_open`. All are counted from the first day.
    """

    last: int
    settled: int
    still_open: int


@dataclass(frozen=True, slots=True)
class Points:
    """Change points: the cells hold from `days` up to the day before `nexts`, both counted from the first day."""

    eids: Short
    days: Short
    nexts: Short
    cells: Mapping[str, Array]

    def __len__(self) -> int:
        return len(self.eids)

    def take(self, rows: Mask) -> Points:
        """Return some of the rows, in order."""
        cells = {name: values[rows] for name, values in self.cells.items()}
        return Points(self.eids[rows], self.days[rows], self.nexts[rows], cells)


def change_points(entering: Counters, leaving: Counters, exists: str, ask: Until) -> tuple[Points, Points]:
    """Return where what is inside a window changes and is not nothing (`exists` tells): what is settled, and the rest.

    Both arguments name the same cells; what leaves is keyed by the day it does. All movements of an entity, those after
    the last day too, add up to nothing, so that one running sum over all of them needs no partitions.
    """
    keys = np.concatenate([entering.keys, leaving.keys])
    # Both parts are sorted: a stable sort merges them in one go.
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    moved = [np.concatenate([entering.cells[name], -leaving.cells[name]])[order] for name in entering.cells]
    held = is_last(keys)
    sums = [np.cumsum(values)[held] for values in moved]
    changed = _changes(sums)
    keys = keys[held][changed]
    cells = dict(zip(entering.cells, (values[changed] for values in sums), strict=True))
    eids, days = (keys >> DAY_BITS).astype(np.int32), (keys & (2**DAY_BITS - 1)).astype(np.int32)
    nexts = np.full(len(keys), ask.still_open, np.int32)
    np.copyto(nexts[:-1], days[1:], where=(eids[1:] == eids[:-1]) & (days[1:] <= ask.last))
    found, exist, settled = (
        Points(eids, days, nexts, cells),
        (cells[exists] > 0) & (days <= ask.last),
        nexts < ask.settled,
    )
    return found.take(exist & settled), found.take(exist & ~settled)


def _changes(sums: Sequence[Array]) -> Mask:
    """Tell where any of the sums differs from the one before it; before the first, and between entities, all are 0."""
    changed = np.zeros(len(sums[0]), np.bool_)
    for values in sums:
        changed[:1] |= values[:1] != 0
        changed[1:] |= values[1:] != values[:-1]
    return changed
