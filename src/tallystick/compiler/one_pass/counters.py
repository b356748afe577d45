"""Counters: cells per entity and day, and what follows from them by merging alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tallystick.compiler.one_pass.layout import Cell, Layout, companion
from tallystick.sql.expression import Merge


@dataclass(frozen=True, slots=True)
class Arm:
    """Rows to be merged: a FROM clause, the keys of its rows, and the SQL of the cells it has."""

    rows: str
    keys: Sequence[str]
    cells: Mapping[str, str]


def stacked(layout: Layout, arms: Sequence[Arm]) -> str:
    """Return the rows of all arms, with nothing in the cells an arm does not have."""
    found: list[str] = []
    for arm in arms:
        cells = [f"{arm.cells.get(cell.name, _nothing(cell))} AS {cell.name}" for cell in layout.cells]
        found.append(f"SELECT {', '.join([*arm.keys, *cells])} FROM {arm.rows}")
    return " UNION ALL ".join(found)


def merged(layout: Layout, arms: Sequence[Arm], keys: Sequence[str]) -> str:
    """Return one row per key with every cell merged."""
    cells = [f"{merge(cell, cell.name)} AS {cell.name}" for cell in layout.cells]
    return f"SELECT {', '.join([*keys, *cells])} FROM ({stacked(layout, arms)}) AS s GROUP BY {', '.join(keys)}"


def merge(cell: Cell, column: str) -> str:
    """Return the aggregate that merges a cell, in the type it is stored in."""
    return f"{cell.merge.value}({column})::{cell.stored}"


def gathered_cells(layout: Layout) -> dict[str, str]:
    """Return the aggregates that turn gathered rows `g` into additive cells, by name."""
    values = gathered_values(layout)
    return {cell.name: merge(cell, values[cell.name]) for cell in layout.additive}


def gathered_values(layout: Layout) -> dict[str, str]:
    """Return what each gathered row `g` adds to additive cells, by name, in the type they are stored in."""
    companions = {companion(name): name for name in layout.nullable}
    found: dict[str, str] = {}
    for cell in layout.additive:
        if cell.name in companions:
            found[cell.name] = f"(g.{companions[cell.name]} IS NOT NULL)::{cell.stored}"
        elif cell.name in layout.nullable and cell.exact:
            found[cell.name] = f"coalesce({cell.whole(f'g.{cell.name}')}, 0)::{cell.stored}"
        else:
            found[cell.name] = f"{cell.whole(f'g.{cell.name}')}::{cell.stored}"
    return found


def _nothing(cell: Cell) -> str:
    return f"0::{cell.stored}" if cell.exact and cell.merge is Merge.SUM else f"NULL::{cell.stored}"
