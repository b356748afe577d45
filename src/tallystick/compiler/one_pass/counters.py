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
    found: dict[str, str] = {}
    for cell in layout.additive:
        of = next((name for name in layout.nullable if companion(name) == cell.name), None)
        if of is not None:
            found[cell.name] = f"count(g.{of})::BIGINT"
        elif cell.name in layout.nullable:
            found[cell.name] = (
                f"coalesce(sum({cell.whole(f'g.{cell.name}')}), 0)::{cell.stored}"
                if cell.exact
                else merge(cell, f"g.{cell.name}")
            )
        else:
            found[cell.name] = merge(cell, cell.whole(f"g.{cell.name}"))
    return found


def gathered_values(layout: Layout) -> dict[str, str]:
    """Return what each gathered row `g` adds to additive cells that are whole numbers, by name."""
    companions = {companion(name): name for name in layout.nullable}
    found: dict[str, str] = {}
    for cell in layout.additive:
        if cell.name in companions:
            found[cell.name] = f"(g.{companions[cell.name]} IS NOT NULL)::BIGINT"
        elif cell.name in layout.nullable:
            found[cell.name] = f"coalesce({cell.whole(f'g.{cell.name}')}, 0)::BIGINT"
        else:
            found[cell.name] = f"{cell.whole(f'g.{cell.name}')}::BIGINT"
    return found


def _nothing(cell: Cell) -> str:
    return f"0::{cell.stored}" if cell.exact and cell.merge is Merge.SUM else f"NULL::{cell.stored}"
