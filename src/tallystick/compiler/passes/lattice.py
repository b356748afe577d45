"""Totals and breakdowns by small dimensions from one grouped query, and distinct keys of all of them by one mask.

Rows are grouped by every small dimension at once; each series adds up what it does not distinguish. A dimension of many
values is read by itself: crossing it with others would group by almost every row (measured: docs/benchmarks.md).
Distinct keys do not add up over the values of a dimension: each value of each dimension is a bit of a mask instead,
once the values are known from what was grouped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from sqlglot import exp

from tallystick.compiler.aggregate_model import matching_rows
from tallystick.compiler.lower import to_text
from tallystick.compiler.passes.predicates import Atoms, Bins
from tallystick.compiler.passes.recipe import Cell, CellKind, Recipe
from tallystick.compiler.passes.scans import WORD_BITS, Frame, Partial, masks_scan
from tallystick.compiler.series import Wanted
from tallystick.compiler.span import Span
from tallystick.definitions.project import Project

# So many rows are looked at to tell small dimensions from large ones, and a small one has few values in them.
SAMPLE = 10_000
SMALL = 100
MOST_CROSSED = 2_000
MOST_LATTICE_ROWS = 1_000_000
MOST_BITS = 4 * WORD_BITS


@dataclass(frozen=True, slots=True)
class Probe:
    """A question about the number of values dimensions have, in the order of `dimensions`."""

    dimensions: tuple[str, ...]
    sql: str


@dataclass(frozen=True, slots=True)
class LatticePass:
    """Series of several heads read by grouping once by all `dimensions`; distinct keys follow by `value_masks`."""

    recipes: tuple[Recipe, ...]
    frame: Frame
    dimensions: tuple[str, ...]
    atoms: Atoms
    columns: tuple[Partial, ...]
    sql: str

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """Return the series of the pass."""
        return tuple(each.wanted for each in self.recipes)

    @property
    def queries(self) -> tuple[str, ...]:
        """Return the statements that are known before anything was read."""
        return (self.sql,)


@dataclass(frozen=True, slots=True)
class Slot:
    """One bit of a mask: the rows of a cell, all of them or those with one value of a dimension."""

    cell: Cell
    by: str | None
    value: int


@dataclass(frozen=True, slots=True)
class ValueMasks:
    """The query that counts one distinct key in every slot."""

    slots: tuple[Slot, ...]
    sql: str


def probe(reads: Mapping[str, Recipe], project: Project, span: Span) -> Probe:
    """Return the question how many values dimensions have among some rows of a span; each recipe reads by its name."""
    first = next(iter(reads.values())).read
    rows = matching_rows(replace(first, where=()), project, span.on(first.calendar))
    names = tuple(reads)
    for place, name in enumerate(names):
        rows.select(first.scope.dimension(name).as_(f"d{place}", copy=False), copy=False)
    counts = [
        exp.Count(this=exp.Distinct(expressions=[exp.column(f"d{place}")]), big_int=True).as_(f"s{place}")
        for place in range(len(names))
    ]
    query = exp.select(*counts).from_(rows.limit(SAMPLE).subquery("sampled"))
    return Probe(names, _text(query, project, first.dialect))


def _text(tree: exp.Select, project: Project, dialect: str) -> str:
    return to_text(tree, dialect, reads=project.dialect, copy=False)


def small(sizes: Mapping[str, int], cells: int) -> tuple[str, ...]:
    """Return the dimensions that are read together, given how many groups there are without any."""
    found: list[str] = []
    crossed = 1
    for name, size in sorted(sizes.items(), key=lambda item: (item[1], item[0])):
        crossed *= size + 1
        if size > SMALL or crossed > MOST_CROSSED or crossed * cells > MOST_LATTICE_ROWS:
            break
        found.append(name)
    return tuple(found)


def bits(recipes: Sequence[Recipe], sizes: Mapping[str, int]) -> int:
    """Return about how many bits the distinct counts of series take."""
    return sum(
        1 if each.wanted.by is None else sizes[each.wanted.by] + 1
        for each in recipes
        for cell in each.cells
        if cell.kind is CellKind.DISTINCT
    )


def crossed_frame(shared: Frame, dimensions: Sequence[str]) -> Frame:
    """Return a frame whose rows are told apart by these dimensions."""
    read = shared.read
    return replace(shared, read=replace(read, model=replace(read.model, by=tuple(dimensions))))


def value_masks(work: LatticePass, values: Mapping[str, Sequence[Any]]) -> list[ValueMasks] | None:
    """Return the queries for the distinct keys of a pass, given the values found of each dimension.

    None where values have no plain literal, or are too many.
    """
    used = [
        name for name in work.dimensions if any(each.wanted.by == name and each.has_distinct for each in work.recipes)
    ]
    trees: dict[str, exp.Expr] = dict(work.frame.trees)
    keys: dict[str, list[str]] = {}
    made: list[Bins] = []
    for name in used:
        column = work.frame.read.scope.dimension(name)
        conditions = [_is(column, value) for value in values[name]]
        if None in conditions:
            return None
        keys[name] = [condition.sql() for condition in conditions if condition is not None]
        trees |= {text: tree for text, tree in zip(keys[name], conditions, strict=True) if tree is not None}
        made.append(_bins(keys[name], trees))
    shared = replace(crossed_frame(work.frame, ()), trees=trees)
    atoms = Atoms((*work.atoms.bins, *made))
    found: list[ValueMasks] = []
    for key, slots in _slots(work.recipes, values).items():
        if len(slots) > MOST_BITS:
            return None
        filters = [
            shared.own(slot.cell) | (frozenset() if slot.by is None else {keys[slot.by][slot.value]}) for slot in slots
        ]
        query = masks_scan(shared, atoms, key, filters)
        found.append(ValueMasks(tuple(slots), _text(query, shared.project, shared.read.dialect)))
    return found


def _slots(recipes: Sequence[Recipe], values: Mapping[str, Sequence[Any]]) -> dict[str, list[Slot]]:
    """Return the slots of every distinct key."""
    found: dict[str, dict[Slot, None]] = {}
    for each in recipes:
        by = each.wanted.by
        for cell in sorted(each.cells, key=lambda cell: (cell.argument, sorted(cell.where))):
            if cell.kind is CellKind.DISTINCT:
                slots = found.setdefault(cell.argument, {})
                slots |= {Slot(cell, by, place): None for place in range(1 if by is None else len(values[by]))}
    return {key: list(slots) for key, slots in found.items()}


def _is(column: exp.Expr, value: Any) -> exp.Expr | None:
    """Return the condition that a dimension has a value, or None where no literal is sure to mean it."""
    if value is None:
        return exp.Is(this=column.copy(), expression=exp.null())
    literal: exp.Expr
    if isinstance(value, bool):
        literal = exp.Boolean(this=value)
    elif isinstance(value, int):
        literal = exp.Literal.number(value)
    elif isinstance(value, str) and value.isprintable() and "\\" not in value:
        literal = exp.Literal.string(value)
    else:
        return None
    return exp.EQ(this=column.copy(), expression=literal)


def _bins(keys: Sequence[str], trees: Mapping[str, exp.Expr]) -> Bins:
    """Cut rows by the values of a dimension; the last bin is for values that were not there a moment ago."""
    ifs = [exp.If(this=trees[text].copy(), true=exp.Literal.number(place)) for place, text in enumerate(keys)]
    if not ifs:
        return Bins(exp.Literal.number(0), 1, {})
    code = exp.Case(ifs=ifs, default=exp.Literal.number(len(keys)))
    size = len(keys) + 1
    return Bins(code, size, {text: np.arange(size) == place for place, text in enumerate(keys)})


def crossing(sizes: Mapping[str, int], dimensions: Sequence[str]) -> int:
    """Return how many combinations the values of dimensions have, NULL among them."""
    return prod(sizes[name] + 1 for name in dimensions)
