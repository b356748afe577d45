"""The rows of every table of a metric, from its counters and presences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from tallystick.compiler.one_pass.layout import BEGINNING, KEY_BITS, NONE_BEFORE, OPEN, VIEW, Cell
from tallystick.compiler.one_pass.presence import enters, ever, in_grain, leaves
from tallystick.compiler.one_pass.rolling import DAY_BITS
from tallystick.compiler.one_pass.tables import Plan, held_since, leave_names
from tallystick.compiler.sweep.calendar import DayTable
from tallystick.compiler.sweep.change_points import Until, change_points
from tallystick.compiler.sweep.counters import Array, Counters, Whole, added, pieces, runs, telling, together
from tallystick.compiler.sweep.presence import Presences, Question, flagged, last_before, previous_days
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
    day = {"eid": "INTEGER", "day": "INTEGER"}
    found = {layout.days: {**day, **cells}}
    for key in layout.keys:
        seen = {"pair": "BIGINT", "day": "INTEGER"}
        table = layout.seen(key)
        found |= dict.fromkeys((table, layout.later(table), layout.recent(table)), seen)
        found[layout.kept(table)] = {**seen, "before": "INTEGER"}
    if layout.views:
        span = {VIEW: "TINYINT", **day, "nxt": "INTEGER", **cells}
        found |= {layout.spans: span, layout.recent(layout.spans): span}
    if member.windows:
        additive = {cell.name: cell.stored for cell in layout.additive}
        found[layout.leaving] = {**day, **additive, **dict.fromkeys(leave_names(member, layout.distinct), "BIGINT")}
    return found


def table_rows(plan: Plan, calendar: DayTable, gathered: Gathered) -> Iterator[tuple[str, Columns]]:
    """Yield rows of every table, some of them several times; entities do not come back."""
    layout = plan.layout
    for key, found in gathered.presences.items():
        yield from _seen(plan, key, found)
    every = every_counter(plan, calendar, gathered)
    yield layout.days, _dated(plan, every, {cell.name: every.cells[cell.name] for cell in layout.cells})
    if plan.member.windows:
        yield layout.leaving, _leaving(plan, every)
    cut = tuple(pieces(every))
    for window in plan.member.windows:
        for piece in cut:
            yield from _points(plan, calendar, piece, window)
    for grain in plan.member.grains:
        yield from _buckets(plan, calendar, every, grain)
    if plan.member.has_all_time:
        yield layout.recent(layout.spans), _all_time(plan, every)


def every_counter(plan: Plan, calendar: DayTable, gathered: Gathered) -> Counters:
    """Return all that is counted by entity and day, flags of distinct counts included."""
    member = plan.member
    flags = [
        flagged(found, Question(plan.layout.of_key(key), member.grains, member.windows, plan.extent.start), calendar)
        for key, found in gathered.presences.items()
    ]
    parts = [part for part in (gathered.additive, *flags) if part is not None]
    return together(parts, list(dict.fromkeys(name for part in parts for name in part.cells)))


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
        yield name, {"pair": (rows.eids << KEY_BITS) + rows.uids, "day": rows.days + first}
    if plan.extent.kept < plan.extent.settled:
        yield plan.layout.kept(table), _kept(plan, found)


def _kept(plan: Plan, found: Presences) -> Columns:
    """Return the settled presences that late rows may still change, each with the day before it."""
    first, settled, kept = plan.extent.first, plan.extent.settled, plan.extent.kept
    before = previous_days(found)
    some = (found.days >= kept - first) & (found.days < settled - first)
    rows, before = found.take(some), before[some]
    befores = np.where(before == NONE_BEFORE, NONE_BEFORE, before + first)
    return {"pair": (rows.eids << KEY_BITS) + rows.uids, "day": rows.days + first, "before": befores}


def _leaving(plan: Plan, every: Counters) -> Columns:
    """Return what was counted on days that windows which end on or after the settled ones may still hold."""
    rows = departing(plan, every.take(every.days >= held_since(plan) - plan.extent.first))
    return _dated(plan, rows, rows.cells)


def departing(plan: Plan, rows: Counters) -> Counters:
    """Return what is counted in rows that leaves a window some day."""
    names = [*(cell.name for cell in plan.layout.additive), *leave_names(plan.member, plan.layout.distinct)]
    return telling(Counters(rows.keys, {name: rows.cells[name] for name in names}))


def _points(plan: Plan, calendar: DayTable, every: Counters, window: Window) -> Iterator[tuple[str, Columns]]:
    """Yield the change points of a window: those that ended before any day that may be read again, and the others."""
    layout, extent = plan.layout, plan.extent
    entering = moving(layout.cells, every, every.keys, partial(enters, window=window))
    gone = every.keys + (calendar.leave(window, every.days) - every.days)
    leaving = moving(layout.cells, every, gone, partial(leaves, window=window))
    ask = Until(extent.last - extent.first, extent.settled - extent.first, OPEN - extent.first)
    tables = layout.spans, layout.recent(layout.spans)
    for table, rows in zip(tables, change_points(entering, leaving, layout.exists, ask), strict=True):
        number = np.full(len(rows), layout.number(window), np.int8)
        days, nexts = rows.days + extent.first, rows.nexts + extent.first
        yield table, {VIEW: number, "eid": rows.eids, "day": days, "nxt": nexts, **rows.cells}


def moving(cells: tuple[Cell, ...], every: Counters, keys: Array, flag: Callable[[Cell], str]) -> Counters:
    """Return what moves in or out of a window by the day it does; rows of distinct counts alone that do not, not."""
    found = Counters(keys, {cell.name: every.cells[_column(cell, flag)] for cell in cells})
    return found if any(cell.key is None for cell in cells) else telling(found)


def _buckets(plan: Plan, calendar: DayTable, every: Counters, grain: Grain) -> Iterator[tuple[str, Columns]]:
    """Yield the spans of a calendar grain: of buckets that ended before any day that may be read again, and others."""
    first, start, table = plan.extent.first, plan.extent.start, plan.layout.spans
    rows = every if start is None else every.take(every.days >= start - first)
    buckets = calendar.bucket(grain, rows.days)
    # A bucket may begin before the first day: it is moved by a year of days, so that packing it stays in order.
    starts = runs((rows.eids << DAY_BITS) + buckets + 366)
    nexts = calendar.next_bucket(grain, rows.days)[starts]
    flag = partial(in_grain, grain=grain)
    columns: Columns = {
        VIEW: np.full(len(starts), plan.layout.number(grain), np.int8),
        "eid": rows.eids[starts],
        "day": buckets[starts] + first,
        "nxt": nexts + first,
        **{cell.name: added(rows.cells[_column(cell, flag)], starts) for cell in plan.layout.cells},
    }
    ended = columns["nxt"] < plan.extent.settled
    yield table, {name: values[ended] for name, values in columns.items()}
    yield plan.layout.recent(table), {name: values[~ended] for name, values in columns.items()}


def _all_time(plan: Plan, every: Counters) -> Columns:
    starts = runs(every.eids)
    return {
        VIEW: np.full(len(starts), plan.layout.number(None), np.int8),
        "eid": every.eids[starts],
        "day": np.full(len(starts), BEGINNING, np.int32),
        "nxt": np.full(len(starts), OPEN, np.int32),
        **{cell.name: added(every.cells[_column(cell, ever)], starts) for cell in plan.layout.cells},
    }
