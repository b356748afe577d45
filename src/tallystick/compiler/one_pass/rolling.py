"""Rolling windows as change points: what enters and leaves, summed up in one sweep (performance spec §3.4).

A change point `(v, eid, day, nxt, cells)` is a span: the cells of window `v` hold from `day` up to the day before `nxt`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tallystick.compiler.one_pass import days as calendar
from tallystick.compiler.one_pass.counters import Arm, merged, stacked
from tallystick.compiler.one_pass.layout import OPEN, Cell, Layout
from tallystick.compiler.one_pass.names import work
from tallystick.compiler.one_pass.presence import enters, leaves
from tallystick.sql.grain import Window

DAY_BITS = 20
"""Room for 2,870 years of days beside an entity number of 43 bits."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Where the counters of a metric lie: one table of additive cells by day, and one of flags per distinct count."""

    additive: str | None
    flags: dict[str, str]


def entering(layout: Layout, window: Window, counted: Counted, days: str = "") -> list[Arm]:
    """Return what enters a window on its day; `days` is a condition on it."""
    keys = ["c.eid AS eid", "c.day AS day"]
    arms: list[Arm] = []
    if counted.additive is not None:
        cells = {cell.name: f"c.{cell.name}" for cell in layout.additive}
        arms.append(Arm(f"{counted.additive} AS c{_where(days)}", keys, cells))
    for key, table in counted.flags.items():
        cells = {cell.name: f"c.{enters(cell, window)}" for cell in layout.of_key(key)}
        arms.append(Arm(f"{table} AS c{_where(days, _some(cells.values()))}", keys, cells))
    return arms


def leaving(layout: Layout, window: Window, counted: Counted, days: tuple[int, int] | None = None) -> list[Arm]:
    """Return what leaves a window on some later day, with its sign turned, if that is one of some days.

    Keys leave by the day they were last seen.
    """
    day = calendar.leave(window, "c.day", "d")
    join = "" if window.is_fixed else f" JOIN {work(calendar.TABLE)} AS d ON d.day = c.day"
    keys = ["c.eid AS eid", f"{day} AS day"]
    there = "" if days is None else f"{day} BETWEEN {days[0]} AND {days[1]}"
    arms: list[Arm] = []
    if counted.additive is not None:
        cells = {cell.name: f"-c.{cell.name}" if cell.exact else f"NULL::{cell.stored}" for cell in layout.additive}
        arms.append(Arm(f"{counted.additive} AS c{join}{_where(there)}", keys, cells))
    for key, table in counted.flags.items():
        flags = [f"c.{leaves(cell, window)}" for cell in layout.of_key(key)]
        cells = {cell.name: f"-{flag}" for cell, flag in zip(layout.of_key(key), flags, strict=True)}
        arms.append(Arm(f"{table} AS c{join}{_where(there, _some(flags))}", keys, cells))
    return arms


def sweep(layout: Layout, arms: Sequence[Arm], first: int, last: int) -> str:
    """Return change points up to a last day where every cell can be taken away again.

    All movements of an entity add up to nothing, so one running sum over all of them needs no partitions. Summing
    is the work of one thread; its result is kept for a moment, so that all threads write out what follows from it.
    """
    moved = stacked(layout, [_packed(arm, first) for arm in arms])
    sums = ", ".join(f"sum({c.name}) OVER (ROWS UNBOUNDED PRECEDING) AS {c.name}" for c in layout.cells)
    run = f"SELECT k, lead(k, 1, -1) OVER () AS next_k, {sums} FROM (SELECT * FROM ({moved}) AS m ORDER BY k) AS o"
    mask = 2**DAY_BITS - 1
    day, following = f"((k & {mask})::INTEGER + ({first}))", f"((next_k & {mask})::INTEGER + ({first}))"
    stays = f"next_k >> {DAY_BITS} = k >> {DAY_BITS} AND {following} <= {last}"
    cells = ", ".join(f"{cell.name}::{cell.stored} AS {cell.name}" for cell in layout.cells)
    held = f"SELECT * FROM ({run}) AS s WHERE k <> next_k AND {layout.exists} > 0"
    return (
        f"WITH r AS MATERIALIZED ({held}) SELECT (k >> {DAY_BITS})::INTEGER AS eid, {day} AS day, "
        f"CASE WHEN {stays} THEN {following} ELSE {OPEN} END AS nxt, {cells} FROM r WHERE {day} <= {last}"
    )


def frames(layout: Layout, window: Window, arms: Sequence[Arm], last: int) -> str:
    """Return every change up to a last day, also to nothing: exact cells as running sums, others merged per window."""
    moved = merged(layout, arms, ["eid", "day"])
    order = "PARTITION BY m.eid ORDER BY m.day"
    back = f"{window.days - 1}" if window.is_fixed else f"(m.day - {calendar.reach(window, 'm.day', 'd')})"
    join = "" if window.is_fixed else f" JOIN {work(calendar.TABLE)} AS d ON d.day = m.day"
    cells = ", ".join(f"{_over(cell, order, back)}::{cell.stored} AS {cell.name}" for cell in layout.cells)
    return (
        f"SELECT m.eid AS eid, m.day AS day, lead(m.day, 1, {OPEN}) OVER ({order}) AS nxt, {cells} "
        f"FROM ({moved}) AS m{join} WHERE m.day <= {last}"
    )


def _over(cell: Cell, order: str, back: str) -> str:
    if cell.exact:
        return f"(sum(m.{cell.name}) OVER ({order} ROWS UNBOUNDED PRECEDING))"
    frame = f"RANGE BETWEEN {back} PRECEDING AND CURRENT ROW"
    return f"({cell.merge.value}(m.{cell.name}) OVER ({order} {frame}))"


def _packed(arm: Arm, first: int) -> Arm:
    eid, day = (key.rsplit(" AS ", 1)[0] for key in arm.keys)
    return Arm(arm.rows, [f"({eid}::BIGINT << {DAY_BITS}) + ({day} - ({first})) AS k"], arm.cells)


def _some(columns: Iterable[str]) -> str:
    return "(" + " OR ".join(f"{column} <> 0" for column in columns) + ")"


def _where(*conditions: str) -> str:
    found = [condition for condition in conditions if condition]
    return f" WHERE {' AND '.join(found)}" if found else ""
