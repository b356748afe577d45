"""Running passes: from the answers of shared queries to the columns of each series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tallystick.collect.read_answer import columns_of
from tallystick.collect.read_columns import Labels, Names, SeriesColumns, moments, numbers, texts, whole
from tallystick.compiler.passes.assemble import AtomRows, count_masks, merge_atoms, regroup
from tallystick.compiler.passes.combine import InexactError, combine
from tallystick.compiler.passes.numbers import Array, Numbers
from tallystick.compiler.passes.planner import AtomsPass, ConditionalPass, MaskQuery, SinglePass
from tallystick.compiler.passes.recipe import Cell, CellKind, Recipe
from tallystick.compiler.passes.scans import ATOM, KEYS, ROWS
from tallystick.compiler.series import Wanted
from tallystick.definitions.project import Project
from tallystick.engines.adapter import Engine
from tallystick.engines.limits import Limits

if TYPE_CHECKING:
    import pyarrow as pa


# The answers of shared queries hold more rows than a series may: this bounds the memory they take.
MOST_ROWS = 20_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Every bucket × entity × dimension value of an answer, numbered; `keys` say which, sorted where `places` asks."""

    bucket: Labels
    entity: Labels | None
    dimension: Labels | None
    keys: Array
    row: Array

    def __len__(self) -> int:
        return len(self.bucket.codes)


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The columns of series, the series that need their own query after all, the statements that were run, and their bytes."""

    columns: dict[Wanted, SeriesColumns]
    missing: list[Wanted]
    queries: tuple[str, ...]
    bytes: int


def run_pass(
    engine: Engine, work: SinglePass | ConditionalPass | AtomsPass, project: Project, limits: Limits
) -> Answer:
    """Run a pass over one kind of groups."""
    if isinstance(work, SinglePass):
        table = engine.run(work.sql, limits)
        columns = {each: columns_of(table, project, each) for each in work.wanted}
        return Answer(columns, [], work.queries, table.nbytes)
    shared = Limits(seconds=limits.seconds, rows=MOST_ROWS, bytes=limits.bytes)
    if isinstance(work, ConditionalPass):
        table = engine.run(work.sql, shared)
        return Answer(*_conditional(table, work), work.queries, table.nbytes)
    return _atoms(engine, work, shared)


def _conditional(table: pa.Table, work: ConditionalPass) -> tuple[dict[Wanted, SeriesColumns], list[Wanted]]:
    # Every row is a group: there is nothing to sort, which for millions of them would take longest.
    every = np.arange(table.num_rows)
    groups = Groups(*_head(table, work.recipes[0]), every, every)
    width = table.num_columns - len(work.cells)
    cells = {cell: numbers(table.column(width + index), f"c{index}") for index, cell in enumerate(work.cells)}
    return series_of(work.recipes, groups, cells)


def _atoms(engine: Engine, work: AtomsPass, limits: Limits) -> Answer:
    table = engine.run(work.sql, limits)
    size = table.nbytes
    groups = _groups(table, work.recipes[0])
    width = table.num_columns - len(work.columns) - 1
    rows = AtomRows(
        group=groups.row,
        atom=whole(table.column(width - 1), ATOM) if work.atoms.size > 1 else np.zeros(table.num_rows, np.int64),
        rows=whole(table.column(width), ROWS),
        partials={
            column: numbers(table.column(width + 1 + index), column.argument)
            for index, column in enumerate(work.columns)
        },
        groups=len(groups),
    )
    del table
    wanted = {cell for each in work.recipes for cell in each.cells}
    cells = merge_atoms(rows, work.atoms, [(cell, work.frame.own(cell)) for cell in wanted])
    for mask in work.masks:
        counted = engine.run(mask.sql, limits)
        size += counted.nbytes
        cells |= _masks(counted, mask, work.recipes[0], groups)
    return Answer(*series_of(work.recipes, groups, cells), work.queries, size)


def _masks(table: pa.Table, mask: MaskQuery, like: Recipe, groups: Groups) -> dict[Cell, Numbers]:
    """Return the distinct counts of one key in the groups of the pass."""
    mine = _groups(table, like)
    place = places(mine, groups)[mine.row]
    known = place >= 0
    words = [whole(table.column(name), name)[known] for name in table.column_names if is_word(name, table)]
    keys = whole(table.column(table.num_columns - 1), KEYS)[known]
    counts = count_masks(place[known], words, keys, len(mask.cells), len(groups))
    return dict(zip(mask.cells, counts, strict=True))


def is_word(name: str, table: pa.Table) -> bool:
    """Tell whether a column of an answer holds bits of masks; the last column never does."""
    return name[0] == "w" and name[1:].isdigit() and table.column_names.index(name) < table.num_columns - 1


def _groups(table: pa.Table, like: Recipe) -> Groups:
    """Number the groups of an answer by its head."""
    bucket, entity, dimension = _head(table, like)
    if entity is None and dimension is None:
        every = np.arange(len(bucket.names))
        return Groups(Labels(bucket.names, every), None, None, every, bucket.codes)
    entities, dimensions = (1 if each is None else max(len(each.names), 1) for each in (entity, dimension))
    key = bucket.codes.astype(np.int64) * (entities * dimensions)
    key += 0 if entity is None else entity.codes.astype(np.int64) * dimensions
    key += 0 if dimension is None else dimension.codes
    keys, row = np.unique(key, return_inverse=True)
    return Groups(
        Labels(bucket.names, keys // (entities * dimensions)),
        None if entity is None else Labels(entity.names, keys // dimensions % entities),
        None if dimension is None else Labels(dimension.names, keys % dimensions),
        keys,
        row,
    )


def _head(table: pa.Table, like: Recipe) -> tuple[Labels, Labels | None, Labels | None]:
    """Return bucket, entity and dimension of every row."""
    bucket = moments(table.column(0), like.read.calendar)
    entity = texts(table.column(1)) if like.read.key is not None else None
    dimension = texts(table.column(len(like.read.names))) if like.read.model.by else None
    return bucket, entity, dimension


def places(mine: Groups, groups: Groups) -> Array:
    """Return where the groups of one answer are among those of another, -1 for those that are not."""
    columns = [(mine.bucket, groups.bucket)]
    columns += [
        (left, right)
        for left, right in ((mine.entity, groups.entity), (mine.dimension, groups.dimension))
        if left is not None and right is not None
    ]
    key = np.zeros(len(mine), np.int64)
    known = np.ones(len(mine), bool)
    for left, right in columns:
        position = {name: index for index, name in enumerate(right.names)}
        codes = np.array([position.get(name, -1) for name in left.names], np.int64)[left.codes]
        known &= codes >= 0
        key = key * max(len(right.names), 1) + codes
    place = np.searchsorted(groups.keys, key)
    found = np.minimum(place, max(len(groups.keys) - 1, 0))
    known &= groups.keys[found] == key if len(groups.keys) else False
    return np.where(known, found, -1)


def series_of(
    recipes: tuple[Recipe, ...], groups: Groups, cells: Mapping[Cell, Numbers]
) -> tuple[dict[Wanted, SeriesColumns], list[Wanted]]:
    """Return the columns of every series whose cells are all there, and the series that miss one."""
    found: dict[Wanted, SeriesColumns] = {}
    missing: list[Wanted] = []
    for each in recipes:
        try:
            mine = {cell: cells[cell] for cell in each.cells}
            found[each.wanted] = _one(each, groups, mine)
        except (KeyError, InexactError):
            missing.append(each.wanted)
    return found, missing


def _one(each: Recipe, groups: Groups, cells: Mapping[Cell, Numbers]) -> SeriesColumns:
    """Return the columns of a series: a point wherever a row passes its filter (tripl §7.4)."""
    is_other: Array | None = None
    if each.wanted.values_limit is not None:
        groups, cells, is_other = _folded(each, groups, cells)
    elif each.wanted.by is None and groups.dimension is not None:
        groups, cells = _merged(groups, cells, np.zeros(len(groups.dimension.names), np.int64), None)
    n = cells[each.n].data.astype(np.int64, copy=False)
    present = n > 0
    where: Array | None = None if present.all() else np.flatnonzero(present)
    values = {name: cells[cell] if where is None else cells[cell].take(where) for name, cell in each.parts.items()}
    n = n if where is None else n[where]

    def kept(labels: Labels | None) -> Labels | None:
        return labels if labels is None or where is None else labels.take(where)

    value = combine(each.combine, values, len(n))
    sides = [None, None] if each.ratio is None else [combine(side, values, len(n)) for side in each.ratio]
    return SeriesColumns(
        bucket=kept(groups.bucket) or groups.bucket,
        value=value.floats() if each.is_fractional else value,
        n=n,
        numerator=sides[0],
        denominator=sides[1],
        entity=kept(groups.entity),
        dimension=kept(groups.dimension),
        is_other=is_other if is_other is None or where is None else is_other[where],
    )


def _folded(
    each: Recipe, groups: Groups, cells: Mapping[Cell, Numbers]
) -> tuple[Groups, Mapping[Cell, Numbers], Array]:
    """Keep the values of a dimension with most rows of this series, and merge the groups of the others.

    Raise InexactError where ties decide who is kept and only the engine knows how it writes the values.
    """
    dimension, limit, n = groups.dimension, each.wanted.values_limit, cells[each.n].data
    assert dimension is not None  # noqa: S101 - a recipe with a limit has a dimension
    assert limit is not None  # noqa: S101 - the caller asks for it
    rows = np.bincount(dimension.codes, weights=n, minlength=len(dimension.names))
    ranked = sorted(
        (code for code, name in enumerate(dimension.names) if name is not None and rows[code] > 0),
        key=lambda code: (-rows[code], dimension.names[code]),
    )
    kept = ranked[: limit - 1]
    is_tied = 0 < len(kept) < len(ranked) and rows[kept[-1]] == rows[ranked[len(kept)]]
    if is_tied and isinstance(dimension.names, Names) and not dimension.names.are_plain:
        raise InexactError
    renamed = np.full(len(dimension.names), len(kept), np.int64)
    renamed[kept] = np.arange(len(kept))
    names = [*(dimension.names[code] for code in kept), None]
    folded, merged = _merged(groups, cells, renamed, names)
    assert folded.dimension is not None  # noqa: S101 - it was given names
    return folded, merged, folded.dimension.codes == len(kept)


def _merged(
    groups: Groups, cells: Mapping[Cell, Numbers], renamed: Array, names: list[str | None] | None
) -> tuple[Groups, Mapping[Cell, Numbers]]:
    """Merge groups whose dimension values have one new number; without names for those, there is no dimension left."""
    assert groups.dimension is not None  # noqa: S101 - the callers have one
    width = 1 if names is None else len(names)
    upper, entities = groups.bucket.codes.astype(np.int64), 1
    if groups.entity is not None:
        entities = max(len(groups.entity.names), 1)
        upper = upper * entities + groups.entity.codes
    keys, row = np.unique(upper * width + renamed[groups.dimension.codes], return_inverse=True)
    merged = {cell: regroup(_merging(cell), column, row, len(keys)) for cell, column in cells.items()}
    found = Groups(
        Labels(groups.bucket.names, keys // (width * entities)),
        None if groups.entity is None else Labels(groups.entity.names, keys // width % entities),
        None if names is None else Labels(names, keys % width),
        keys,
        row,
    )
    return found, merged


def _merging(cell: Cell) -> CellKind:
    return CellKind.COUNT if cell.kind is CellKind.ROWS else cell.kind
