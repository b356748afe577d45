"""Running lattices: totals and breakdowns by small dimensions from one answer (compiler/passes/lattice)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tallystick.collect.read_columns import Labels, SeriesColumns, labels, moments, numbers, texts, whole
from tallystick.collect.read_passes import MOST_ROWS, Answer, Groups, is_word, places, series_of
from tallystick.compiler.passes.assemble import AtomRows, coarser, count_masks, merge_atoms
from tallystick.compiler.passes.lattice import LatticePass, Probe, ValueMasks, value_masks
from tallystick.compiler.passes.numbers import Array, Numbers
from tallystick.compiler.passes.recipe import Cell, Recipe
from tallystick.compiler.passes.scans import ATOM, KEYS, ROWS
from tallystick.compiler.series import Wanted
from tallystick.engines.adapter import Engine
from tallystick.engines.limits import Limits
from tallystick.errors import TallystickError

if TYPE_CHECKING:
    import pyarrow as pa


def sizes_of(engine: Engine, asked: Probe, limits: Limits) -> Mapping[str, int]:
    """Return how many values dimensions have in some rows; nothing where the question itself fails.

    What fails then is told by the queries of the series.
    """
    try:
        table = engine.run(asked.sql, limits)
    except TallystickError:
        return {}
    return {name: int(whole(table.column(place), name)[0]) for place, name in enumerate(asked.dimensions)}


def run_lattice(engine: Engine, work: LatticePass, limits: Limits) -> Answer:
    """Run a lattice, then count distinct keys by the values that were found."""
    shared = Limits(seconds=limits.seconds, rows=MOST_ROWS, bytes=limits.bytes)
    table = engine.run(work.sql, shared)
    size = table.nbytes
    rows = _rows(table, work)
    bucket = moments(table.column(0), work.frame.read.calendar)
    dimensions = {name: texts(table.column(1 + place)) for place, name in enumerate(work.dimensions)}
    heads = _heads(work.recipes)
    groups = {by: _groups(bucket, None if by is None else dimensions[by]) for by in (None, *heads)}
    queries = [work.sql]
    counts: dict[str | None, dict[Cell, Numbers]] = {by: {} for by in heads}
    if any(each.has_distinct for each in work.recipes):
        names = {name: labels(table.column(1 + place), _raw).names for place, name in enumerate(work.dimensions)}
        for masks in value_masks(work, names) or ():
            queries.append(masks.sql)
            counted = engine.run(masks.sql, shared)
            size += counted.nbytes
            _count(counted, masks, work, groups, counts)
    del table
    found: dict[Wanted, SeriesColumns] = {}
    missing: list[Wanted] = []
    for by, recipes in heads.items():
        mine = groups[by]
        merged = coarser(rows, mine.row, len(mine), work.atoms.size)
        wanted = {cell for each in recipes for cell in each.cells}
        cells = merge_atoms(merged, work.atoms, [(cell, work.frame.own(cell)) for cell in wanted]) | counts[by]
        columns, without = series_of(tuple(recipes), mine, cells)
        found |= columns
        missing += without
    return Answer(found, missing, tuple(queries), size)


def _raw(value: Any) -> Any:
    return value


def _heads(recipes: Sequence[Recipe]) -> dict[str | None, list[Recipe]]:
    found: dict[str | None, list[Recipe]] = {}
    for each in recipes:
        found.setdefault(each.wanted.by, []).append(each)
    return found


def _rows(table: pa.Table, work: LatticePass) -> AtomRows:
    """Return an answer as rows, each of which is a group by itself."""
    width = table.num_columns - len(work.columns) - 1
    every = np.arange(table.num_rows)
    return AtomRows(
        group=every,
        atom=whole(table.column(width - 1), ATOM) if work.atoms.size > 1 else np.zeros(table.num_rows, np.int64),
        rows=whole(table.column(width), ROWS),
        partials={
            column: numbers(table.column(width + 1 + place), column.argument)
            for place, column in enumerate(work.columns)
        },
        groups=table.num_rows,
    )


def _groups(bucket: Labels, dimension: Labels | None) -> Groups:
    """Number the groups of one breakdown; those of the total are the buckets, sorted by their codes."""
    size = 1 if dimension is None else max(len(dimension.names), 1)
    key = bucket.codes.astype(np.int64) * size + (0 if dimension is None else dimension.codes)
    keys, row = np.unique(key, return_inverse=True)
    named = None if dimension is None else Labels(dimension.names, keys % size)
    return Groups(Labels(bucket.names, keys // size), None, named, keys, row)


def _count(
    table: pa.Table,
    masks: ValueMasks,
    work: LatticePass,
    groups: Mapping[str | None, Groups],
    counts: Mapping[str | None, dict[Cell, Numbers]],
) -> None:
    """Add the distinct counts of one key to the cells of every breakdown."""
    total = groups[None]
    bucket = moments(table.column(0), work.frame.read.calendar)
    every = np.arange(len(bucket.names))
    place = places(Groups(Labels(bucket.names, every), None, None, every, bucket.codes), total)[bucket.codes]
    known = place >= 0
    words = [whole(table.column(name), name)[known] for name in table.column_names if is_word(name, table)]
    keys = whole(table.column(table.num_columns - 1), KEYS)[known]
    lines = count_masks(place[known], words, keys, len(masks.slots), len(total))
    by_cell: dict[tuple[str | None, Cell], list[Array]] = {}
    for slot, line in zip(masks.slots, lines, strict=True):
        by_cell.setdefault((slot.by, slot.cell), []).append(line.data)
    for (by, cell), columns in by_cell.items():
        head = groups[by]
        value = np.zeros(len(head), np.int64) if head.dimension is None else head.dimension.codes
        counts[by][cell] = Numbers(np.array(columns)[value, head.bucket.codes])
