"""Gathered rows brought to the entities they are counted for, some entities at a time.

A base key may count for many entities (its closure, see `compiler/one_pass/interning`): rows are held once, sorted by
base key, and copied to entities only while those are worked on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tallystick.compiler.sweep.counters import Array, Whole

PART = 1 << 20
"""Rows of entities that are worked on at a time; a row takes about 150 bytes on its way."""


@dataclass(frozen=True, slots=True)
class BaseRows:
    """Rows sorted by base key; those of key `b` lie from `starts[b]` up to `starts[b + 1]`."""

    starts: Array
    columns: Mapping[str, Whole]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Base keys and the entities they count for, sorted by entity."""

    bids: Array
    eids: Array


def base_rows(bids: Whole, columns: Mapping[str, Whole], keys: int) -> BaseRows:
    """Return rows of at least so many base keys from rows in any order; some keys may count for no entity."""
    keys = max(keys, int(bids.max(initial=-1)) + 1)
    order = np.argsort(bids, kind="stable")
    starts = np.zeros(keys + 1, np.int64)
    np.cumsum(np.bincount(bids, minlength=keys), out=starts[1:])
    return BaseRows(starts, {name: values[order] for name, values in columns.items()})


def parts(pairs: Pairs, found: Sequence[BaseRows]) -> Iterator[Pairs]:
    """Cut pairs into parts of whole entities with about `PART` rows."""
    sizes = np.sum([np.diff(rows.starts)[pairs.bids] for rows in found], axis=0, dtype=np.int64)
    number = (np.cumsum(sizes) - sizes) // PART
    firsts = np.flatnonzero(np.diff(pairs.eids, prepend=-1))
    begins = firsts[np.flatnonzero(np.diff(number[firsts], prepend=-1))]
    for begin, end in pairwise([*begins.tolist(), len(pairs.eids)]):
        yield Pairs(pairs.bids[begin:end], pairs.eids[begin:end])


def rows_of(pairs: Pairs, rows: BaseRows) -> tuple[Array, dict[str, Whole]]:
    """Return the entity of each row that counts for one, and the columns of these rows."""
    begins = rows.starts[pairs.bids]
    sizes = rows.starts[pairs.bids + 1] - begins
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    places = np.arange(total) + np.repeat(begins - (ends - sizes), sizes)
    return np.repeat(pairs.eids, sizes), {name: values[places] for name, values in rows.columns.items()}
