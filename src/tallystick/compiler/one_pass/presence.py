"""Distinct counts become additive: which keys are new to a bucket, enter a window or leave it (performance spec §3.3).

Sorted by entity, key and day, the days before and after each presence tell everything: a key is new to a bucket or
window if the day before lies ahead of it, and leaves a window if the day after lies behind its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from tallystick.compiler.one_pass import days as calendar
from tallystick.compiler.one_pass.layout import KEY_BITS, NONE_AFTER, NONE_BEFORE, Cell
from tallystick.compiler.one_pass.names import create_work, work
from tallystick.sql.grain import Grain, Window


@dataclass(frozen=True, slots=True)
class Packing:
    """How (eid, uid, day) fit into one sortable integer: bits for uid and day, and days counted from `first`."""

    first: int
    day_bits: int
    uid_bits: int
    eid_bits: int

    @property
    def kind(self) -> str:
        """Return the integer type: the narrow one only where the bits provably fit."""
        return "BIGINT" if self.day_bits + self.uid_bits + self.eid_bits <= 62 else "HUGEINT"

    def pack(self, eid: str, uid: str, day: str) -> str:
        """Return the SQL of the packed value."""
        kind, low = self.kind, self.day_bits
        return f"({eid}::{kind} << {low + self.uid_bits}) + ({uid}::{kind} << {low}) + ({day} - {self.first})::{kind}"

    def pair(self, packed: str) -> str:
        """Return the SQL that identifies entity and key."""
        return f"({packed} >> {self.day_bits})"

    def eid(self, packed: str) -> str:
        """Return the SQL of the entity."""
        return f"({packed} >> {self.day_bits + self.uid_bits})::INTEGER"

    def uid(self, packed: str) -> str:
        """Return the SQL of the key."""
        return f"(({packed} >> {self.day_bits}) & {2**self.uid_bits - 1}::{self.kind})::BIGINT"

    def day(self, packed: str) -> str:
        """Return the SQL of the day number."""
        return f"(({packed} & {2**self.day_bits - 1}::{self.kind})::INTEGER + ({self.first}))"


def packing(first: int, last: int, max_uid: int, max_eid: int) -> Packing:
    """Return the tightest packing for measured maxima."""
    return Packing(first, max(last - first, 1).bit_length(), max(max_uid, 1).bit_length(), max(max_eid, 1).bit_length())


def gaps(packed: str, found: Packing) -> str:
    """Return a query of (eid, uid, day, before, after) from a working table of sorted packed values, repeats allowed.

    A repeat has its own day before or after it, so that it is counted once. Windows without an order read the stored
    order: sorting once more would cost several times as much (spec §3.4). They are the work of one thread; their
    result is kept for a moment, so that all threads read on.
    """
    around = f"SELECT k, lag(k, 1, -1) OVER () AS p, lead(k, 1, -1) OVER () AS n FROM {work(packed)}"
    return (
        f"WITH a AS MATERIALIZED ({around}) "
        f"SELECT {found.eid('k')} AS eid, {found.uid('k')} AS uid, {found.day('k')} AS day, "
        f"CASE WHEN {found.pair('p')} = {found.pair('k')} THEN {found.day('p')} ELSE {NONE_BEFORE} END AS before, "
        f"CASE WHEN {found.pair('n')} = {found.pair('k')} THEN {found.day('n')} ELSE {NONE_AFTER} END AS after FROM a"
    )


def last_seen(packed: str, found: Packing, settled: int) -> str:
    """Return a query of the last (pair, day) of each entity and key before a day, from a working table of packed values."""
    before = f"SELECT k FROM {work(packed)} WHERE {found.day('k')} < {settled}"
    following = f"SELECT k, lead(k, 1, -1) OVER () AS n FROM ({before}) AS b"
    last = f"SELECT k FROM ({following}) AS f WHERE {found.pair('n')} <> {found.pair('k')}"
    return f"WITH a AS MATERIALIZED ({last}) SELECT {pair(found.eid('k'), found.uid('k'))} AS pair, {found.day('k')} AS day FROM a"


def with_previous(packed: str, found: Packing, first: int, end: int) -> str:
    """Return a query of (pair, day, before) for days `[first, end)`; `before` is the day before of an entity and a key."""
    within = f"day >= {first} AND day < {end} AND before < day"
    return f"SELECT {pair('eid', 'uid')} AS pair, day, before FROM ({gaps(packed, found)}) AS g WHERE {within}"


def in_order(seen: str, later: str) -> str:
    """Return a query of the last (pair, day) of each entity and key of two tables, in order.

    Grouping them would cost three times as much.
    """
    ordered = f"SELECT pair, day FROM (SELECT * FROM {seen} UNION ALL SELECT * FROM {later}) AS b ORDER BY pair, day"
    following = f"SELECT pair, day, lead(pair, 1, -1) OVER () AS n FROM ({ordered}) AS f"
    return f"SELECT pair, day FROM ({following}) AS a WHERE n <> pair"


def pair(eid: str, uid: str) -> str:
    """Return the SQL of one integer for an entity and a key."""
    return f"(({eid})::BIGINT << {KEY_BITS}) + ({uid})"


def eid_of(pair: str) -> str:
    """Return the SQL of the entity of a pair."""
    return f"({pair} >> {KEY_BITS})::INTEGER"


def uid_of(pair: str) -> str:
    """Return the SQL of the key of a pair."""
    return f"({pair} & {2**KEY_BITS - 1})"


def flag_columns(
    cells: Sequence[Cell], grains: Sequence[Grain], windows: Sequence[Window], start: int | None
) -> list[str]:
    """Return the counters of distinct cells per entity and day, over presences `f` and the calendar `d`."""
    since = NONE_BEFORE if start is None else start
    found: list[str] = []
    missing = any(cell.counts_missing for cell in cells)
    count = partial(_counter, missing=missing)
    for cell in cells:
        found.append(count(cell, "before < f.day", cell.name))
        for grain in grains:
            bound = f"d.{calendar.bucket_column(grain)}"
            bound = bound if start is None else f"greatest({bound}, {since})"
            found.append(count(cell, f"before < {bound}", in_grain(cell, grain)))
        found.append(count(cell, f"before = {NONE_BEFORE}", ever(cell)))
        for window in windows:
            found.append(count(cell, f"before < {calendar.reach(window, 'f.day', 'd')}", enters(cell, window)))
            found.append(count(cell, f"after >= {calendar.leave(window, 'f.day', 'd')}", leaves(cell, window)))
    return found


def flags(table: str, presences: str, columns: Sequence[str], where: str = "") -> str:
    """Return the statement that counts flags per entity and day into a working table."""
    condition = f" WHERE {where}" if where else ""
    return create_work(
        table,
        f"SELECT f.eid, f.day, {', '.join(columns)} FROM ({presences}) AS f "
        f"JOIN {work(calendar.TABLE)} AS d ON d.day = f.day{condition} GROUP BY f.eid, f.day",
    )


def in_grain(cell: Cell, grain: Grain) -> str:
    """Return the counter of keys first seen in their bucket of a grain."""
    return f"{cell.name}_in_{grain.value}"


def ever(cell: Cell) -> str:
    """Return the counter of keys first seen at all."""
    return f"{cell.name}_ever"


def enters(cell: Cell, window: Window) -> str:
    """Return the counter of keys that enter a window."""
    return f"{cell.name}_enter_{window.count}_{window.unit}"


def leaves(cell: Cell, window: Window) -> str:
    """Return the counter of keys seen on this day that leave a window before they are seen again."""
    return f"{cell.name}_leave_{window.count}_{window.unit}"


def _counter(cell: Cell, condition: str, name: str, *, missing: bool) -> str:
    """Return one counter; keys that may be missing are told apart only where there are any."""
    tests = [*(["uid <> 0"] if missing and not cell.counts_missing else []), condition]
    return f"count(*) FILTER (WHERE {' AND '.join(tests)}) AS {name}"
