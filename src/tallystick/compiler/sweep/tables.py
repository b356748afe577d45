"""The rows of every table of a metric, from its counters and presences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from tallystick.compiler.one_pass.layout import NONE_BEFORE, OPEN, Cell
from tallystick.compiler.one_pass.presence import enters, ever, in_grain, leaves
from tallystick.compiler.one_pass.rolling import DAY_BITS, WINDOW
from tallystick.compiler.one_pass.tables import Plan
from tallystick.compiler.sweep.calendar import DayTable
from tallystick.compiler.sweep.change_points import Until, change_points
from tallystick.compiler.sweep.counters import Array, Counters, Whole, added, pieces, runs, together
from tallystick.compiler.sweep.presence import Presences, Question, flagged, last_before
from tallystick.sql.grain import Grain, Window

Columns = Mapping[str, Whole]
"""By name, columns of whole numbers as they are stored, or wider."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What is known of some entities of a metric: counters of additive cells, and presences by distinct count."""

    additive: Counters | None
    presences: Mapping[str, Presences]


def column_types(plan: Plan) -> dict[str, dict[str, str]]:
    """Return by table of a metric its columns and their types."""
    layout, member = plan.layout, plan.member
    cells = {cell.name: cell.stored for cell in layout.cells}
    day, bucket = {"eid": "INTEGER", "day": "INTEGER"}, {"eid": "INTEGER", "bucket": "INTEGER"}
    found = {layout.days: {**day, **cells}}
    found |= {layout.grain(grain): {**bucket, **cells} for grain in member.grains}
    found |= {layout.seen(key): {"eid": "INTEGER", "uid": "BIGINT", "day": "INTEGER"} for key in layout.keys}
    if member.windows:
        found[layout.rolling] = {WINDOW: "TINYINT", **day, "nxt": "INTEGER", **cells}
    found |= {layout.recent(table): columns for table, columns in found.items() if table != layout.days}
    if member.has_all_time:
        found[layout.all_time] = {"eid": "INTEGER", **cells}
    for key in layout.keys if member.windows else ():
        names = (leaves(cell, window) for cell in layout.of_key(key) for window in member.windows)
        found[layout.leaving(key)] = {**day, **dict.fromkeys(names, "BIGINT")}
    return found


def table_rows(plan: Plan, calendar: DayTable, gathered: Gathered) -> Iterator[tuple[str, Columns]]:
    """Yield rows of every table, some of them several times; entities do not come back."""
    layout = plan.layout
    for key, found in gathered.presences.items():
        yield from _seen(plan, key, found)
    flags = {
        key: flagged(
            found,
            Question(layout.of_key(key), plan.member.grains, plan.member.windows, plan.extent.start),
            calendar,
        )
        for key, found in gathered.presences.items()
    }
    parts = [part for part in (gathered.additive, *flags.values()) if part is not None]
    every = together(parts, list(dict.fromkeys(name for part in parts for name in part.cells)))
    yield layout.days, _dated(plan, every, {cell.name: every.cells[cell.name] for cell in layout.cells})
    for grain in plan.member.grains:
        yield from _buckets(plan, calendar, every, grain)
    if plan.member.has_all_time:
        starts = runs(every.eids)
        cells = {cell.name: added(every.cells[_column(cell, ever)], starts) for cell in layout.cells}
        yield layout.all_time, {"eid": every.eids[starts], **cells}
    if plan.member.windows:
        for key, part in flags.items():
            yield _leaving(plan, key, part)
        cut = tuple(pieces(every))
        for window in plan.member.windows:
            for piece in cut:
                yield from _points(plan, calendar, piece, window)


def _column(cell: Cell, flag: Callable[[Cell], str]) -> str:
    """Return the counter that adds up to a cell: its flag for a distinct count, itself for any other."""
    return cell.name if cell.key is None else flag(cell)


def _dated(plan: Plan, rows: Counters, cells: Columns) -> Columns:
    return {"eid": rows.eids, "day": rows.days + plan.extent.first, **cells}


def _seen(plan: Plan, key: str, found: Presences) -> Iterator[tuple[str, Columns]]:
    table, first = plan.layout.seen(key), plan.extent.first
    settled = plan.extent.settled - first
    for name, rows in (
        (table, last_before(found, settled)),
        (plan.layout.recent(table), found.take(found.days >= settled)),
    ):
        yield name, {"eid": rows.eids, "uid": rows.uids, "day": rows.days + first}


def _buckets(plan: Plan, calendar: DayTable, every: Counters, grain: Grain) -> Iterator[tuple[str, Columns]]:
    """Yield the rows of a calendar grain: of buckets that ended, and of those that may still change."""
    first, start, table = plan.extent.first, plan.extent.start, plan.layout.grain(grain)
    rows = every if start is None else every.take(every.days >= start - first)
    buckets = calendar.bucket(grain, rows.days)
    # A bucket may begin before the first day: it is moved by a year of days, so that packing it stays in order.
    starts = runs((rows.eids << DAY_BITS) + buckets + 366)
    flag = partial(in_grain, grain=grain)
    cells = {cell.name: added(rows.cells[_column(cell, flag)], starts) for cell in plan.layout.cells}
    columns = {"eid": rows.eids[starts], "bucket": buckets[starts] + first, **cells}
    ended = columns["bucket"] < plan.open_buckets[grain]
    yield table, {name: values[ended] for name, values in columns.items()}
    yield plan.layout.recent(table), {name: values[~ended] for name, values in columns.items()}


def _leaving(plan: Plan, key: str, flags: Counters) -> tuple[str, Columns]:
    """Return the keys that may still leave a window when days after the settled ones are read again."""
    windows = plan.member.windows
    names = [leaves(cell, window) for cell in plan.layout.of_key(key) for window in windows]
    since = max(plan.extent.settled - max(window.days for window in windows), NONE_BEFORE) - plan.extent.first
    some = np.any([flags.cells[name] != 0 for name in names], axis=0) & (flags.days >= since)
    rows = flags.take(some)
    return plan.layout.leaving(key), _dated(plan, rows, {name: rows.cells[name] for name in names})


def _points(plan: Plan, calendar: DayTable, every: Counters, window: Window) -> Iterator[tuple[str, Columns]]:
    """Yield the change points of a window: those that ended before any day that may be read again, and the others."""
    layout, extent = plan.layout, plan.extent
    entering = _moving(layout.cells, every, every.keys, partial(enters, window=window))
    gone = every.keys + (calendar.leave(window, every.days) - every.days)
    leaving = _moving(layout.cells, every, gone, partial(leaves, window=window))
    ask = Until(extent.last - extent.first, extent.settled - extent.first, OPEN - extent.first)
    tables = layout.rolling, layout.recent(layout.rolling)
    for table, rows in zip(tables, change_points(entering, leaving, layout.exists, ask), strict=True):
        number = np.full(len(rows), layout.number(window), np.int8)
        days, nexts = rows.days + extent.first, rows.nexts + extent.first
        yield table, {WINDOW: number, "eid": rows.eids, "day": days, "nxt": nexts, **rows.cells}


def _moving(cells: tuple[Cell, ...], every: Counters, keys: Array, flag: Callable[[Cell], str]) -> Counters:
    """Return what moves in or out of a window by the day it does; rows of distinct counts alone that do not, not."""
    found = Counters(keys, {cell.name: every.cells[_column(cell, flag)] for cell in cells})
    if any(cell.key is None for cell in cells):
        return found
    some = np.zeros(len(keys), np.bool_)
    for values in found.cells.values():
        some |= values != 0
    return found.take(some)
