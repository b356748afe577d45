"""Cells put together from the answers of passes, with every group side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tallystick.compiler.passes.combine import InexactError
from tallystick.compiler.passes.numbers import EXACT, Array, Numbers
from tallystick.compiler.passes.predicates import Atoms
from tallystick.compiler.passes.recipe import Cell, CellKind
from tallystick.compiler.passes.scans import WORD_BITS, Partial

# A table of every combination in every group pays where a good part of it is filled.
_DENSE_SHARE = 6
_DENSE_CELLS = 60_000_000
_WORD_LIMIT = EXACT * 512
_COUNTED = (CellKind.ROWS, CellKind.COUNT)
_EXTREMES = {CellKind.MIN: np.minimum, CellKind.MAX: np.maximum}


@dataclass(frozen=True, slots=True, eq=False)
class AtomRows:
    """The answer of an atoms query: group and combination of every row, its count of rows, and its partial values."""

    group: Array
    atom: Array
    rows: Array
    partials: Mapping[Partial, Numbers]
    groups: int


def merge_atoms(answer: AtomRows, atoms: Atoms, cells: Iterable[tuple[Cell, frozenset[str]]]) -> dict[Cell, Numbers]:
    """Return every cell per group; each comes with the conditions its rows have to pass beyond the common ones.

    Cells that have no exact value in machine numbers are left out.
    """
    codes, position = _compact(answer.atom, atoms.size)
    wanted = [(cell, own) for cell, own in cells if cell.kind not in (CellKind.DISTINCT, CellKind.DIRECT)]
    filters = sorted({own for _, own in wanted}, key=sorted)
    truth = np.array([atoms.truth(own, codes) for own in filters]).reshape(len(filters), len(codes))
    area = answer.groups * max(len(codes), 1)
    is_dense = area <= _DENSE_CELLS and area <= _DENSE_SHARE * max(len(answer.group), 1)
    table = _Dense(answer, position, truth) if is_dense else _Sparse(answer, position, truth)
    row_of = {own: index for index, own in enumerate(filters)}
    by_partial: dict[Partial, list[tuple[Cell, int]]] = {}
    for cell, own in wanted:
        by_partial.setdefault(Partial(cell.kind, cell.argument), []).append((cell, row_of[own]))
    found: dict[Cell, Numbers] = {}
    for partial, members in by_partial.items():
        values = Numbers(answer.rows) if partial.kind is CellKind.ROWS else answer.partials.get(partial)
        if values is None:
            continue
        lines = [line for _, line in members]
        try:
            merged = list(_merged(table, partial.kind, values, lines))
        except InexactError:
            continue
        found |= zip((cell for cell, _ in members), merged, strict=True)
    return found


def _compact(atom: Array, size: int) -> tuple[Array, Array]:
    """Return the combinations there are, and which of them each row has."""
    codes = np.flatnonzero(np.bincount(atom, minlength=size))
    place = np.zeros(size, np.int64)
    place[codes] = np.arange(len(codes))
    return codes, place[atom]


class _Dense:
    """Combinations × groups as one table per column; a filter is a sum of lines."""

    def __init__(self, answer: AtomRows, position: Array, truth: Array) -> None:
        self.shape = (truth.shape[1], answer.groups)
        self.place = position.astype(np.int64) * answer.groups + answer.group
        self.truth = truth
        self._filled = self._spread(np.ones(len(answer.group), np.float32), 0)

    def _spread(self, data: Array, empty: object) -> Array:
        table = np.full(self.shape[0] * self.shape[1], empty, data.dtype)
        table[self.place] = data
        return table.reshape(self.shape)

    def add(self, data: Array, lines: Sequence[int]) -> Array:
        """Return sums of floats by filter; exact for integers below 2^53."""
        return self.truth[lines].astype(np.float64) @ self._spread(data.astype(np.float64, copy=False), 0.0)

    def any(self, present: Array | None, lines: Sequence[int]) -> Array:
        """Return by filter whether any value is present."""
        table = self._filled if present is None else self._spread(present.astype(np.float32), 0)
        found: Array = (self.truth[lines].astype(np.float32) @ table) > 0
        return found

    def fold(self, operation: np.ufunc, data: Array, empty: object, lines: Sequence[int]) -> Iterable[Array]:
        """Yield by filter what an operation without rounding makes of the values."""
        table = self._spread(data, empty)
        for line in lines:
            yield operation.reduce(table[self.truth[line]], axis=0, initial=empty)


class _Sparse:
    """Rows as they came; a filter is a choice of rows."""

    def __init__(self, answer: AtomRows, position: Array, truth: Array) -> None:
        self.group, self.groups, self.position, self.truth = answer.group, answer.groups, position, truth

    def add(self, data: Array, lines: Sequence[int]) -> Array:
        """Return sums of floats by filter; exact for integers below 2^53."""
        found = np.zeros((len(lines), self.groups))
        for index, line in enumerate(lines):
            chosen = self.truth[line][self.position]
            found[index] = np.bincount(self.group[chosen], weights=data[chosen], minlength=self.groups)
        return found

    def any(self, present: Array | None, lines: Sequence[int]) -> Array:
        """Return by filter whether any value is present."""
        found = np.zeros((len(lines), self.groups), bool)
        for index, line in enumerate(lines):
            chosen = self.truth[line][self.position]
            found[index, self.group[chosen if present is None else chosen & present]] = True
        return found

    def fold(self, operation: np.ufunc, data: Array, empty: object, lines: Sequence[int]) -> Iterable[Array]:
        """Yield by filter what an operation without rounding makes of the values."""
        for line in lines:
            chosen = self.truth[line][self.position]
            found = np.full(self.groups, empty, data.dtype)
            operation.at(found, self.group[chosen], data[chosen])
            yield found


def _merged(table: _Dense | _Sparse, kind: CellKind, values: Numbers, lines: Sequence[int]) -> Iterable[Numbers]:
    """Return a column merged by each filter; without rows to merge it is NULL, or 0 if it counts."""
    data = values.data
    if data.dtype == object:
        raise InexactError
    present = None if values.valid is None or values.valid.all() else values.valid
    if kind in _EXTREMES:
        return _extremes(table, kind, values, present, lines)
    clean = data if present is None else np.where(present, data, 0)
    if kind in _COUNTED:
        return [Numbers(line) for line in table.add(clean, lines).astype(np.int64)]
    valid = table.any(present, lines)
    marks = [None if line.all() else line for line in valid]
    if _is_matrix_exact(clean):
        sums = table.add(clean, lines)
        if clean.dtype.kind == "i":
            sums = sums.astype(np.int64)
    else:
        if clean.dtype.kind == "i" and np.abs(clean.astype(np.float64)).sum() >= _WORD_LIMIT:
            raise InexactError
        # NaN, infinities and large integers have to be added one by one.
        sums = np.array(list(table.fold(np.add, clean, clean.dtype.type(0), lines)))
    return [Numbers(line, mark, values.scale) for line, mark in zip(sums, marks, strict=True)]


def _is_matrix_exact(data: Array) -> bool:
    """Tell whether adding zeros for what a filter leaves out, in floats, changes nothing."""
    if data.dtype.kind == "i":
        return bool(np.abs(data.astype(np.float64)).sum() < EXACT)
    return bool(np.isfinite(data).all())


def _extremes(
    table: _Dense | _Sparse, kind: CellKind, values: Numbers, present: Array | None, lines: Sequence[int]
) -> Iterable[Numbers]:
    data, operation = values.data, _EXTREMES[kind]
    if data.dtype.kind == "f" and np.isnan(data).any():
        # Engines order NaN above all numbers, or pass over it.
        raise InexactError
    if data.dtype.kind == "i":
        bounds = np.iinfo(np.int64)
        empty: float = bounds.max if kind is CellKind.MIN else bounds.min
    else:
        empty = np.inf if kind is CellKind.MIN else -np.inf
    clean = data if present is None else np.where(present, data, empty)
    valid = table.any(present, lines)
    return [
        Numbers(column if mark.all() else np.where(mark, column, 0), None if mark.all() else mark, values.scale)
        for column, mark in zip(table.fold(operation, clean, empty, lines), valid, strict=True)
    ]


def coarser(answer: AtomRows, group: Array, groups: int, size: int) -> AtomRows:
    """Return an answer with one row for each of these groups and combination, whose rows of before are merged.

    Partial values that have no exact sum in machine numbers are left out.
    """
    keys, row = np.unique(group * size + answer.atom, return_inverse=True)
    partials: dict[Partial, Numbers] = {}
    for partial, values in answer.partials.items():
        try:
            partials[partial] = regroup(partial.kind, values, row, len(keys))
        except InexactError:
            continue
    rows = regroup(CellKind.COUNT, Numbers(answer.rows), row, len(keys)).data
    return AtomRows(group=keys // size, atom=keys % size, rows=rows, partials=partials, groups=groups)


def count_masks(group: Array, words: Sequence[Array], keys: Array, filters: int, groups: int) -> list[Numbers]:
    """Return per filter the number of distinct keys of every group, from keys counted by masks."""
    order = np.argsort(group, kind="stable")
    group, keys, words = group[order], keys[order], [word[order] for word in words]
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    found: list[Numbers] = []
    for index in range(filters):
        counts = np.zeros(groups, np.int64)
        if len(starts):
            bit = (words[index // WORD_BITS] >> (index % WORD_BITS)) & 1
            counts[group[starts]] = np.add.reduceat(bit * keys, starts)
        found.append(Numbers(counts))
    return found


def regroup(kind: CellKind, values: Numbers, group: Array, groups: int) -> Numbers:
    """Return a cell merged from finer groups; raise InexactError where integers do not fit."""
    nowhere = np.zeros(len(values), np.int64)
    table = _Sparse(AtomRows(group, nowhere, nowhere, {}, groups), nowhere, np.ones((1, 1), bool))
    return next(iter(_merged(table, kind, values, [0])))
