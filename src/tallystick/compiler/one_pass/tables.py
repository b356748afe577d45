"""The tables of a metric built from nothing, out of its gathered streams."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from tallystick.compiler.one_pass import days as calendar
from tallystick.compiler.one_pass.counters import Arm, gathered_cells, gathered_values, merged
from tallystick.compiler.one_pass.family import Family, Member
from tallystick.compiler.one_pass.gather import DAY, KEY, Stream
from tallystick.compiler.one_pass.interning import join_base, join_entities, keys_table
from tallystick.compiler.one_pass.layout import BEGINNING, NONE_BEFORE, OPEN, VIEW, VOID, Cell, Layout
from tallystick.compiler.one_pass.names import Schema, create_work, quoted, work
from tallystick.compiler.one_pass.presence import (
    Packing,
    ever,
    flag_columns,
    flags,
    gaps,
    in_grain,
    last_seen,
    leaves,
    pair,
    with_previous,
)
from tallystick.compiler.one_pass.rolling import Counted, entering, frames, leaving, sweep
from tallystick.sql.grain import Grain, Window

Flag = Callable[[Cell], str]
SPAN = ("eid", "day", "nxt")
ALL_TIME_KEYS = ["c.eid AS eid", f"{BEGINNING}::INTEGER AS day", f"{OPEN}::INTEGER AS nxt"]


@dataclass(frozen=True, slots=True)
class Extent:
    """The day numbers a build covers, and the project's start (None: from the beginning).

    They are the first day with rows, the last one touched, and the first that may be read again. Of earlier days what
    was counted is known well enough to be counted anew: with distinct counts from `kept` on, else of all.
    """

    first: int
    last: int
    settled: int
    start: int | None
    kept: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All that decides the tables of one metric."""

    family: Family
    member: Member
    layout: Layout
    schema: Schema
    extent: Extent
    packings: Mapping[str, Packing]
    raw_keys: frozenset[str]

    @property
    def is_narrow(self) -> bool:
        """Tell whether everything it takes to build the metric fits integers of 64 bits."""
        return self.layout.is_narrow and all(found.kind == "BIGINT" for found in self.packings.values())


def counted_table(member: Member) -> str:
    """Return the working table of additive cells by entity and day."""
    return f"counted_{member.prefix}"


def flags_table(member: Member, key: str) -> str:
    """Return the working table of flags by entity and day."""
    return f"flags_{member.prefix}_{key}"


def packed_table(member: Member, key: str) -> str:
    """Return the working table of sorted presences."""
    return f"packed_{member.prefix}_{key}"


def count_days(plan: Plan, stream: Stream) -> str:
    """Return the query of additive cells per entity and day of a gathered stream."""
    cells = [f"{sql} AS {name}" for name, sql in gathered_cells(plan.layout).items()]
    joins = join_entities(plan.family, plan.schema, stream)
    return (
        f"SELECT c.eid AS eid, g.{DAY} AS day, {', '.join(cells)} FROM {work(stream.table)} AS g {joins} "
        f"GROUP BY c.eid, g.{DAY}"
    )


def base_rows(plan: Plan, stream: Stream) -> str:
    """Return the query of gathered rows as whole numbers: (bid, day, additive cells), days counted from the first."""
    cells = [f"{sql} AS {name}" for name, sql in gathered_values(plan.layout).items()]
    columns = ", ".join(["b.bid", f"g.{DAY} - ({plan.extent.first}) AS day", *cells])
    return f"SELECT {columns} FROM {work(stream.table)} AS g {join_base(plan.family, plan.schema)}"


def base_keys(plan: Plan, stream: Stream) -> str:
    """Return the query of the gathered keys of a distinct count as (bid, day, uid), days counted from the first."""
    columns = f"b.bid, g.{DAY} - ({plan.extent.first}) AS day, ({key_number(plan, stream)})::BIGINT AS uid"
    rows = presence_rows(plan, stream, join_base(plan.family, plan.schema))
    return f"SELECT {columns} FROM {rows}"


def pack_presences(plan: Plan, stream: Stream) -> str:
    """Return the query of sorted packed (eid, uid, day) of a distinct count; repeats are left for the sweep to skip."""
    assert stream.measure is not None  # noqa: S101 - only distinct counts have keys
    packed = plan.packings[stream.measure.name].pack("c.eid", key_number(plan, stream), f"g.{DAY}")
    return f"SELECT {packed} AS k FROM {presence_rows(plan, stream)} ORDER BY k"


def key_number(plan: Plan, stream: Stream) -> str:
    """Return the SQL of the number of a key: the key itself where it is a small integer."""
    assert stream.measure is not None  # noqa: S101 - only distinct counts have keys
    if stream.measure.name in plan.raw_keys:
        return f"g.{quoted(KEY)}"
    return "coalesce(k.uid, 0)" if keeps_missing(plan.layout, stream.measure.name) else "k.uid"


def presence_rows(plan: Plan, stream: Stream, joins: str | None = None) -> str:
    """Return the FROM clause that brings gathered keys `g` to entities `c` (or by other joins) and numbers `k`."""
    assert stream.measure is not None  # noqa: S101 - only distinct counts have keys
    name, key = stream.measure.name, quoted(KEY)
    joins = joins or join_entities(plan.family, plan.schema, stream)
    missing = keeps_missing(plan.layout, name)
    if name not in plan.raw_keys:
        kind = "LEFT JOIN" if missing else "JOIN"
        joins += f" {kind} {plan.schema.table(keys_table(stream))} AS k ON k.{key} = g.{key}"
    where = "true" if missing else f"g.{key} IS NOT NULL"
    return f"{work(stream.table)} AS g {joins} WHERE {where}"


def keeps_missing(layout: Layout, key: str) -> bool:
    """Tell whether missing keys are counted to know that rows exist."""
    return any(cell.counts_missing for cell in layout.of_key(key))


def create_tables(plan: Plan, streams: tuple[Stream, ...]) -> list[str]:
    """Return the statements that fill all tables of a metric from its gathered streams."""
    found: list[str] = []
    for stream in streams:
        if stream.measure is None:
            found += _count(plan, stream, alone=not plan.layout.distinct)
        else:
            found += _presences(plan, stream)
    counted = counted_of(plan)
    if plan.layout.distinct:
        found.append(plan.schema.create(plan.layout.days, _days(plan, counted)))
    if plan.layout.views:
        found += _spans(plan, counted)
    if plan.member.windows:
        rows = leaving_rows(plan, counted, held_since(plan))
        found.append(plan.schema.create(plan.layout.leaving, f"{rows} ORDER BY day"))
    return found


def counted_of(plan: Plan) -> Counted:
    """Return where the counters of a metric lie while it is built."""
    additive = None
    if plan.layout.additive:
        additive = work(counted_table(plan.member)) if plan.layout.distinct else plan.schema.table(plan.layout.days)
    return Counted(additive, {key: work(flags_table(plan.member, key)) for key in plan.layout.keys})


def _count(plan: Plan, stream: Stream, *, alone: bool) -> list[str]:
    query = count_days(plan, stream)
    if alone:
        return [plan.schema.create(plan.layout.days, f"{query} ORDER BY eid, day")]
    return [create_work(counted_table(plan.member), query)]


def _presences(plan: Plan, stream: Stream) -> list[str]:
    assert stream.measure is not None  # noqa: S101 - the caller looks for distinct counts
    key, layout = stream.measure.name, plan.layout
    packed = packed_table(plan.member, key)
    around = gaps(packed, plan.packings[key])
    columns = flag_columns(layout.of_key(key), plan.member.grains, plan.member.windows, plan.extent.start)
    settled = plan.extent.settled
    seen = last_seen(packed, plan.packings[key], settled)
    return [
        create_work(packed, pack_presences(plan, stream)),
        flags(flags_table(plan.member, key), around, columns),
        plan.schema.create(layout.seen(key), seen),
        plan.schema.create(
            layout.later(layout.seen(key)), f"SELECT * FROM {plan.schema.table(layout.seen(key))} LIMIT 0"
        ),
        plan.schema.create(layout.recent(layout.seen(key)), presences(plan, stream, settled)),
        plan.schema.create(
            layout.kept(layout.seen(key)), with_previous(packed, plan.packings[key], plan.extent.kept, settled)
        ),
        f"DROP TABLE {work(packed)}",
    ]


def _days(plan: Plan, counted: Counted) -> str:
    arms = arms_of(plan, counted, ["c.eid AS eid", "c.day AS day"], lambda cell: cell.name)
    if len(arms) == 1:
        cells = [f"{cell.name}::{cell.stored} AS {cell.name}" for cell in plan.layout.cells]
        return f"SELECT c.eid, c.day, {', '.join(cells)} FROM {arms[0].rows} ORDER BY c.eid, c.day"
    return f"{merged(plan.layout, arms, ['eid', 'day'])} ORDER BY eid, day"


def arms_of(plan: Plan, counted: Counted, keys: list[str], flag: Flag, tail: str = "") -> list[Arm]:
    """Return one arm per table of counters; `flag` names the counter of a distinct cell that is wanted."""
    arms: list[Arm] = []
    if counted.additive is not None:
        cells = {cell.name: f"c.{cell.name}" for cell in plan.layout.additive}
        arms.append(Arm(f"{counted.additive} AS c{tail}", keys, cells))
    for key, table in counted.flags.items():
        cells = {cell.name: f"c.{flag(cell)}" for cell in plan.layout.of_key(key)}
        arms.append(Arm(f"{table} AS c{tail}", keys, cells))
    return arms


def presences(plan: Plan, stream: Stream, since: int) -> str:
    """Return the query of (pair, day) of a distinct count from a day on, without repeats."""
    return f"SELECT DISTINCT pair, day FROM ({presence_pairs(plan, stream)}) AS p WHERE day >= {since}"


def presence_pairs(plan: Plan, stream: Stream) -> str:
    """Return the query of (pair, day) of a distinct count, repeats allowed."""
    columns = f"{pair('c.eid', key_number(plan, stream))} AS pair, g.{DAY} AS day"
    return f"SELECT {columns} FROM {presence_rows(plan, stream)}"


def _spans(plan: Plan, counted: Counted) -> list[str]:
    """Write the spans of all time views, those that may still change into a small table beside the others.

    Their rows in the large table are made void as they are written: deleting them would cost as much as a window.
    """
    first, *others = (_span_rows(plan, number, rows) for number, rows in enumerate(_views(plan, counted)))
    history, recent = plan.layout.spans, plan.layout.recent(plan.layout.spans)
    table = plan.schema.table(history)
    moved = f"SELECT * REPLACE (nxt - ({VOID}) AS nxt) FROM {table} WHERE nxt < {VOID // 2}"
    return [
        plan.schema.create(history, first),
        *(f"INSERT INTO {table} {rows}" for rows in others),
        plan.schema.create(recent, moved),
    ]


def _span_rows(plan: Plan, number: int, rows: str) -> str:
    ends = f"CASE WHEN nxt < {plan.extent.settled} THEN nxt ELSE nxt + ({VOID}) END AS nxt"
    return f"SELECT {number}::TINYINT AS {VIEW}, * REPLACE ({ends}) FROM ({rows}) AS of_view"


def _views(plan: Plan, counted: Counted) -> Iterator[str]:
    """Yield the query of the spans of each time view, in the order of their numbers."""
    for window in plan.member.windows:
        yield _window_rows(plan, counted, window)
    for grain in plan.member.grains:
        join = f" JOIN {work(calendar.TABLE)} AS d ON d.day = c.day"
        start = "" if plan.extent.start is None else f" WHERE c.day >= {plan.extent.start}"
        arms = arms_of(plan, counted, bucket_keys(grain), partial(in_grain, grain=grain), f"{join}{start}")
        yield f"{merged(plan.layout, arms, SPAN)} ORDER BY eid, day"
    if plan.member.has_all_time:
        yield merged(plan.layout, arms_of(plan, counted, ALL_TIME_KEYS, ever), SPAN)


def bucket_keys(grain: Grain) -> list[str]:
    """Return the keys of spans of a calendar grain, over counters `c` and the calendar `d`."""
    first, after = calendar.bucket_column(grain), calendar.next_column(grain)
    return ["c.eid AS eid", f"d.{first} AS day", f"d.{after} AS nxt"]


def _window_rows(plan: Plan, counted: Counted, window: Window) -> str:
    layout = plan.layout
    arms = [*entering(layout, window, counted), *leaving(layout, window, counted)]
    if layout.is_exact:
        return sweep(layout, arms, plan.extent.first, plan.extent.last)
    every = frames(layout, window, arms, plan.extent.last)
    return f"SELECT * FROM ({every}) AS f WHERE {layout.exists} > 0 ORDER BY eid, day"


def held_since(plan: Plan) -> int:
    """Return the first day that windows which end on days that may be counted anew may still hold."""
    return plan.extent.kept - max(window.days for window in plan.member.windows)


def leaving_rows(plan: Plan, counted: Counted, since: int) -> str:
    """Return what was counted from a day on, as rows of `leaving`."""
    found: list[str] = []
    if counted.additive is not None:
        columns = leaving_columns(plan, [cell.name for cell in plan.layout.additive])
        found.append(
            f"SELECT c.eid AS eid, c.day AS day, {columns} FROM {counted.additive} AS c WHERE c.day >= {since}"
        )
    for key, table in counted.flags.items():
        names = leave_names(plan.member, plan.layout.of_key(key))
        some = " OR ".join(f"c.{name} <> 0" for name in names)
        columns = leaving_columns(plan, names)
        found.append(
            f"SELECT c.eid AS eid, c.day AS day, {columns} FROM {table} AS c WHERE c.day >= {since} AND ({some})"
        )
    return " UNION ALL ".join(found)


def departures(plan: Plan) -> str:
    """Return the relation of what was counted and leaves windows some day.

    Where nothing but sums is counted, rows of `leaving` would be those of daily counters: it holds those of the days
    the metric was built with, which daily counters have sorted by entity, and no later ones.
    """
    log = plan.schema.table(plan.layout.leaving)
    if plan.layout.distinct:
        return log
    columns = ", ".join(["eid", "day", *(cell.name for cell in plan.layout.additive)])
    days = plan.schema.table(plan.layout.days)
    return f"(SELECT {columns} FROM {log} UNION ALL SELECT {columns} FROM {days} WHERE {_is_later(log)})"


def departures_of(plan: Plan, ranges: Sequence[tuple[int, int]]) -> str:
    """Return the query of what was counted on days of some ranges, first and last, and leaves windows some day.

    `leaving` is sorted by day, so of each range its own rows are read; with all in one condition all rows would be.
    """
    log, days = plan.schema.table(plan.layout.leaving), plan.schema.table(plan.layout.days)
    added = [cell.name for cell in plan.layout.additive]
    columns = ", ".join(["eid", "day", *added, *leave_names(plan.member, plan.layout.distinct)])
    on = [f"day BETWEEN {first} AND {last}" for first, last in ranges] or ["false"]
    arms = [f"SELECT {columns} FROM {log} WHERE {condition}" for condition in on]
    if not plan.layout.distinct:
        arms.append(f"SELECT {columns} FROM {days} WHERE ({' OR '.join(on)}) AND {_is_later(log)}")
    return " UNION ALL ".join(arms)


def _is_later(log: str) -> str:
    return f"day > (SELECT coalesce(max(day), {NONE_BEFORE}) FROM {log})"


def leaving_columns(plan: Plan, given: Collection[str]) -> str:
    """Return what rows of `leaving` hold beside entity and day: given columns of `c`, and nothing in the others."""
    nothing = {cell.name: f"{0 if cell.exact else 'NULL'}::{cell.stored}" for cell in plan.layout.additive}
    nothing |= dict.fromkeys(leave_names(plan.member, plan.layout.distinct), "0::BIGINT")
    return ", ".join(f"c.{name} AS {name}" if name in given else f"{sql} AS {name}" for name, sql in nothing.items())


def leave_names(member: Member, cells: Sequence[Cell]) -> list[str]:
    """Return the counters of keys that leave a window."""
    return [leaves(cell, window) for cell in cells for window in member.windows]
