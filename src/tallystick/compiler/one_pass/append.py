"""Extending stored metrics by days read again or for the first time, at a cost that follows those days alone.

Everything from day `since` on is counted anew; what changed against the stored counters is carried into calendar
buckets and totals as differences, and into windows as movements on top of the values of the day before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tallystick.compiler.one_pass import days as calendar
from tallystick.compiler.one_pass.counters import Arm, merge, merged
from tallystick.compiler.one_pass.gather import Stream
from tallystick.compiler.one_pass.layout import NONE_AFTER, NONE_BEFORE, OPEN, Layout
from tallystick.compiler.one_pass.names import create_work, work
from tallystick.compiler.one_pass.presence import ever, flag_columns, flags, in_grain, leaves
from tallystick.compiler.one_pass.rolling import WINDOW, Counted, frames, movements, numbered, running_cells
from tallystick.compiler.one_pass.tables import (
    Flag,
    Plan,
    arms_of,
    count_days,
    counted_table,
    flags_table,
    presences,
)
from tallystick.sql.expression import Merge
from tallystick.sql.grain import Grain, Window

LONGEST_BUCKET = 366


def reread_from(since: int, windows: Sequence[Window]) -> int:
    """Return the first day the working calendar needs when days from `since` on are read again."""
    return since - max([LONGEST_BUCKET, *(window.days for window in windows)]) - 1


def append(plan: Plan, streams: Sequence[Stream], since: int, settled: int) -> list[str]:
    """Return the statements that bring a metric's tables up to date from its gathered streams, in order.

    `settled` is the day up to which the last build thought that nothing would change; a restatement may go back more.
    """
    layout, schema = plan.layout, plan.schema
    windows = plan.member.windows
    found = _unsettle(plan, since) if since < settled else []
    found += [create_work(_old(plan, "days"), f"SELECT * FROM {schema.table(layout.days)} WHERE day >= {since}")]
    for stream in streams:
        if stream.measure is None:
            found.append(create_work(counted_table(plan.member), count_days(plan, stream)))
        else:
            found += _presences(plan, stream, since)
    new = Counted(
        work(counted_table(plan.member)) if layout.additive else None,
        {key: work(flags_table(plan.member, key)) for key in layout.keys},
    )
    found += _replace_days(plan, new, since)
    old = Counted(
        work(_old(plan, "days")) if layout.additive else None, {key: work(_old(plan, key)) for key in layout.keys}
    )
    found += _carry(plan, new, old, since)
    return [*found, *_extend(plan, new, since)] if windows else found


# -- presence ---------------------------------------------------------------------------------------------------------


def _presences(plan: Plan, stream: Stream, since: int) -> list[str]:
    """Count the flags of keys seen from `since` on, before and after they were read again, and keep both."""
    assert stream.measure is not None  # noqa: S101 - the caller looks for distinct counts
    key, layout, member = stream.measure.name, plan.layout, plan.member
    seen = plan.schema.table(layout.seen(key))
    fresh, before, past = (_work(plan, key, part) for part in ("fresh", "before", "past"))
    cells = layout.of_key(key)
    columns = flag_columns(cells, member.grains, member.windows, plan.extent.start)
    fewer = flag_columns(cells, member.grains, (), plan.extent.start)
    recent, settled = plan.schema.table(layout.recent(layout.seen(key))), plan.extent.settled
    active = f"SELECT eid, uid FROM {work(fresh)} UNION SELECT eid, uid FROM {work(past)}"
    last = (
        f"SELECT s.eid AS eid, s.uid AS uid, max(s.day) AS day FROM {seen} AS s SEMI JOIN ({active}) AS a "
        "ON a.eid = s.eid AND a.uid = s.uid GROUP BY s.eid, s.uid"
    )
    found = [
        create_work(fresh, presences(plan, stream, since)),
        create_work(past, f"SELECT eid, uid, day FROM {recent}"),
        create_work(before, last),
        flags(flags_table(member, key), _around(fresh, before), columns, f"f.day >= {since}"),
        flags(_old(plan, key), _around(past, before), fewer, f"f.day >= {since}"),
        f"DELETE FROM {recent}",
        f"INSERT INTO {recent} SELECT eid, uid, day FROM {work(fresh)} WHERE day >= {settled}",
        f"INSERT INTO {seen} SELECT eid, uid, max(day) FROM {work(fresh)} WHERE day < {settled} GROUP BY eid, uid",
    ]
    return [*found, *_leaving(plan, key, since)] if member.windows else found


def _around(rows: str, before: str) -> str:
    """Return presences with the days before and after, over those read and the last ones before them."""
    order = "PARTITION BY eid, uid ORDER BY day"
    return (
        f"SELECT eid, uid, day, lag(day, 1, {NONE_BEFORE}) OVER ({order}) AS before, "
        f"lead(day, 1, {NONE_AFTER}) OVER ({order}) AS after "
        f"FROM (SELECT eid, uid, day FROM {work(rows)} UNION ALL SELECT eid, uid, day FROM {work(before)}) AS p"
    )


def _leaving(plan: Plan, key: str, since: int) -> list[str]:
    """Take back departures of keys that were seen again after all, and note those of the days just read."""
    layout, windows = plan.layout, plan.member.windows
    log = plan.schema.table(layout.leaving(key))
    fresh, before, past = (work(_work(plan, key, part)) for part in ("fresh", "before", "past"))
    cells = layout.of_key(key)
    missing = any(cell.counts_missing for cell in cells)
    columns = [leaves(cell, window) for cell in cells for window in windows]
    changes: list[str] = []
    for cell in cells:
        test = "" if cell.counts_missing or not missing else " FILTER (WHERE uid <> 0)"
        for window in windows:
            leave = calendar.leave(window, "b.day", "d")
            moved = f"(was < {leave})::BIGINT - (is_now < {leave})::BIGINT"
            changes.append(f"coalesce(sum({moved}){test}, 0)::BIGINT AS {leaves(cell, window)}")
    some = " OR ".join(f"{column} <> 0" for column in columns)
    next_seen = (
        f"SELECT b.eid, b.uid, b.day, coalesce(p.day, {NONE_AFTER}) AS was, coalesce(f.day, {NONE_AFTER}) AS is_now "
        f"FROM {before} AS b "
        f"LEFT JOIN (SELECT eid, uid, min(day) AS day FROM {past} GROUP BY eid, uid) AS p "
        "ON p.eid = b.eid AND p.uid = b.uid "
        f"LEFT JOIN (SELECT eid, uid, min(day) AS day FROM {fresh} GROUP BY eid, uid) AS f "
        "ON f.eid = b.eid AND f.uid = b.uid"
    )
    adjusted = (
        f"SELECT b.eid AS eid, b.day AS day, {', '.join(changes)} FROM ({next_seen}) AS b "
        f"JOIN {work(calendar.TABLE)} AS d ON d.day = b.day WHERE was <> is_now GROUP BY b.eid, b.day"
    )
    named = ", ".join(["eid", "day", *columns])
    longest = max(window.days for window in windows)
    return [
        f"DELETE FROM {log} WHERE day >= {since} OR day < {since - longest - 1}",
        f"INSERT INTO {log} SELECT {named} FROM {work(flags_table(plan.member, key))} WHERE {some}",
        f"INSERT INTO {log} SELECT {named} FROM ({adjusted}) AS a WHERE {some}",
    ]


# -- days, buckets and totals -----------------------------------------------------------------------------------------


def _replace_days(plan: Plan, new: Counted, since: int) -> list[str]:
    table = plan.schema.table(plan.layout.days)
    arms = arms_of(plan, new, ["c.eid AS eid", "c.day AS day"], lambda cell: cell.name)
    columns = ", ".join(["eid", "day", *(cell.name for cell in plan.layout.cells)])
    rows = merged(plan.layout, arms, ["eid", "day"])
    return [
        f"DELETE FROM {table} WHERE day >= {since}",
        f"INSERT INTO {table} ({columns}) SELECT {columns} FROM ({rows}) AS r ORDER BY eid, day",
    ]


def _carry(plan: Plan, new: Counted, old: Counted, since: int) -> list[str]:
    """Carry what changed into every calendar grain and the total."""
    found: list[str] = []
    start = plan.extent.start
    day = f" JOIN {work(calendar.TABLE)} AS d ON d.day = c.day"
    here = "" if start is None else f" WHERE c.day >= {start}"
    for grain in plan.member.grains:
        bucket = f"d.{calendar.bucket_column(grain)}"
        keys = ["c.eid AS eid", f"{bucket} AS bucket"]
        flag = partial(in_grain, grain=grain)
        again = f"{day} WHERE c.day >= {_bucket_of(grain, since)}" + ("" if start is None else f" AND c.day >= {start}")
        history, table = plan.layout.grain(grain), plan.layout.recent(plan.layout.grain(grain))
        found += _merge_into(plan, table, new, old, keys, flag, f"{day}{here}", again)
        ended = f"FROM {plan.schema.table(table)} WHERE bucket < {plan.open_buckets[grain]}"
        found.append(f"INSERT INTO {plan.schema.table(history)} SELECT * {ended} ORDER BY eid, bucket")
        found.append(f"DELETE {ended}")
    if plan.member.has_all_time:
        found += _merge_into(plan, plan.layout.all_time, new, old, ["c.eid AS eid"], ever, "", "")
    return found


def _merge_into(
    plan: Plan, table: str, new: Counted, old: Counted, keys: list[str], flag: Flag, tail: str, again: str
) -> list[str]:
    """Add differences of exact cells to a table's rows, and merge other cells once more from days."""
    layout = plan.layout
    names = [key.rsplit(" AS ", 1)[1] for key in keys]
    plus = arms_of(plan, new, keys, flag, tail)
    minus = [Arm(a.rows, a.keys, _negated(layout, a)) for a in arms_of(plan, old, keys, flag, tail)]
    changed = " OR ".join(f"{cell.name} <> 0" for cell in layout.cells if cell.exact)
    differences = merged(layout, [*plus, *minus], names)
    if layout.is_exact:
        differences = f"SELECT * FROM ({differences}) AS m WHERE {changed}"
    stored, delta, fresh = (
        plan.schema.table(table),
        work(_work(plan, table, "delta")),
        work(_work(plan, table, "updated")),
    )
    on = " AND ".join(f"t.{name} = m.{name}" for name in names)
    statements: list[str] = []
    again_join = ""
    if layout.is_exact:
        delta = f"({differences})"
    else:
        statements.append(create_work(_work(plan, table, "delta"), differences))
        loose = [cell for cell in layout.cells if not cell.exact]
        cells = ", ".join(f"{merge(cell, f'c.{cell.name}')} AS {cell.name}" for cell in loose)
        touched = f"SEMI JOIN {delta} AS x ON x.eid = c.eid"
        rows = f"SELECT {', '.join(keys)}, {cells} FROM {plan.schema.table(layout.days)} AS c {touched}{again} GROUP BY ALL"
        statements.append(create_work(_work(plan, table, "again"), rows))
        same = " AND ".join(f"r.{name} = m.{name}" for name in names)
        again_join = f" LEFT JOIN {work(_work(plan, table, 'again'))} AS r ON {same}"
    sums = ", ".join(
        f"(coalesce(t.{c.name}, 0) + m.{c.name})::{c.stored} AS {c.name}" if c.exact else f"r.{c.name} AS {c.name}"
        for c in layout.cells
    )
    heads = ", ".join(f"m.{name} AS {name}" for name in names)
    columns = ", ".join([*names, *(cell.name for cell in layout.cells)])
    updated = f"SELECT {heads}, {sums} FROM {delta} AS m LEFT JOIN {stored} AS t ON {on}{again_join}"
    return [
        *statements,
        create_work(_work(plan, table, "updated"), updated),
        f"DELETE FROM {stored} AS t USING {fresh} AS m WHERE {on}",
        f"INSERT INTO {stored} ({columns}) SELECT {columns} FROM {fresh} WHERE {layout.exists} > 0",
    ]


def _negated(layout: Layout, arm: Arm) -> dict[str, str]:
    exact = {cell.name for cell in layout.cells if cell.exact and cell.merge is Merge.SUM}
    return {name: f"-({sql})" for name, sql in arm.cells.items() if name in exact}


# -- windows ----------------------------------------------------------------------------------------------------------


def _extend(plan: Plan, new: Counted, since: int) -> list[str]:
    """Continue the change points of all windows from the values of the day before `since`."""
    layout, settled = plan.layout, plan.extent.settled
    history, table = plan.schema.table(layout.rolling), plan.schema.table(layout.recent(layout.rolling))
    before, moved, points, now = (_work(plan, layout.rolling, name) for name in ("before", "moved", "points", "now"))
    columns = ", ".join([WINDOW, "eid", "day", "nxt", *(cell.name for cell in layout.cells)])
    cells = (f"b.{cell.name}" for cell in layout.cells)
    kept = ", ".join([f"b.{WINDOW}", "b.eid", "b.day", f"coalesce(p.day, {OPEN}) AS nxt", *cells])
    first = f"SELECT {WINDOW}, eid, min(day) AS day FROM {work(points)} GROUP BY {WINDOW}, eid"
    earlier = f"{work(before)} AS b LEFT JOIN ({first}) AS p ON p.{WINDOW} = b.{WINDOW} AND p.eid = b.eid"
    later = f"SELECT {columns} FROM {work(points)} WHERE {layout.exists} > 0"
    return [
        *_leavers(plan, since),
        create_work(moved, _moved(plan, new, since)),
        create_work(before, f"SELECT * FROM {table} WHERE day < {since} AND {_ends_or_is_in(moved)}"),
        create_work(points, _points(plan, since)),
        create_work(now, f"SELECT {kept} FROM {earlier} UNION ALL {later}"),
        f"DELETE FROM {table} WHERE day >= {since} OR {_ends_or_is_in(points)}",
        f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {work(now)} WHERE nxt >= {settled}",
        f"INSERT INTO {history} ({columns}) SELECT {columns} FROM {work(now)} WHERE nxt < {settled} "
        f"ORDER BY {WINDOW}, eid, day",
    ]


def _ends_or_is_in(rows: str) -> str:
    """Return the condition on recent change points that they end, or that their entity is among working rows."""
    return f"(nxt <> {OPEN} OR ({WINDOW}, eid) IN (SELECT ({WINDOW}, eid) FROM {work(rows)}))"


def _of_windows(plan: Plan, rows: Callable[[Window], str]) -> str:
    return " UNION ALL ".join(numbered(plan.layout, window, rows(window)) for window in plan.member.windows)


def _leavers(plan: Plan, since: int) -> list[str]:
    """Pick the days out of all counters, in one reading, that leave a window of a fixed length from `since` on."""
    layout, last = plan.layout, plan.extent.last
    fixed = [window for window in plan.member.windows if window.is_fixed]
    if not layout.additive or not fixed:
        return []
    ranges = (f"SELECT unnest(range({since - w.days}, {last - w.days + 1}))::INTEGER AS day" for w in fixed)
    # A join looks a day up once; a chain of comparisons makes each of them for every row.
    leaving = f"SEMI JOIN ({' UNION ALL '.join(ranges)}) AS x ON x.day = c.day"
    rows = f"SELECT c.* FROM {plan.schema.table(layout.days)} AS c {leaving}"
    return [create_work(_work(plan, layout.rolling, "leavers"), rows)]


def _moved(plan: Plan, new: Counted, since: int) -> str:
    """Return what enters and leaves each window from `since` on."""
    layout = plan.layout
    arms: list[Arm] = []
    keys = {key: plan.schema.table(layout.leaving(key)) for key in layout.keys}
    for window in plan.member.windows:
        days = work(_work(plan, layout.rolling, "leavers")) if window.is_fixed else plan.schema.table(layout.days)
        leaving = Counted(days if layout.additive else None, keys)
        number = f"{layout.number(window)}::TINYINT AS {WINDOW}"
        found = movements(layout, window, new, leaving, within=(since, plan.extent.last))
        arms += [Arm(arm.rows, [number, *arm.keys], arm.cells) for arm in found]
    return merged(layout, arms, [WINDOW, "eid", "day"])


def _points(plan: Plan, since: int) -> str:
    """Return the change points of all windows from `since` on, also to nothing, of the entities that moved."""
    layout = plan.layout
    if not layout.is_exact:
        return _of_windows(plan, lambda window: _points_of(plan, window, since))
    moved, before = (work(_work(plan, layout.rolling, name)) for name in ("moved", "before"))
    cells = ", ".join(cell.name for cell in layout.cells)
    held = f"SELECT {WINDOW}, eid, {since - 1} AS day, {cells} FROM {before} SEMI JOIN {moved} USING ({WINDOW}, eid)"
    rows = f"SELECT {WINDOW}, eid, day, {cells} FROM {moved} UNION ALL {held}"
    if since == plan.extent.last:
        sums = ", ".join(f"sum({cell.name})::{cell.stored} AS {cell.name}" for cell in layout.cells)
        head = f"{WINDOW}, eid, {since}::INTEGER AS day, {OPEN}::INTEGER AS nxt"
        return f"SELECT {head}, {sums} FROM ({rows}) AS m GROUP BY {WINDOW}, eid"
    running = running_cells(layout, rows, plan.extent.last, [WINDOW, "eid"])
    return f"SELECT * FROM ({running}) AS f WHERE day >= {since}"


def _points_of(plan: Plan, window: Window, since: int) -> str:
    """Return the change points of one window of a metric with cells that cannot be taken away again."""
    layout = plan.layout
    moved = f"(SELECT * FROM {work(_work(plan, layout.rolling, 'moved'))} WHERE {WINDOW} = {layout.number(window)})"
    before = work(_work(plan, layout.rolling, "before"))
    keys = ["c.eid AS eid", "c.day AS day"]
    touched = f"SEMI JOIN {moved} AS x ON x.eid = c.eid"
    exact = {cell.name: f"c.{cell.name}" for cell in layout.cells if cell.exact}
    context = [Arm(f"{moved} AS c", keys, {cell.name: f"c.{cell.name}" for cell in layout.cells})]
    held = f"{before} AS c {touched} WHERE c.{WINDOW} = {layout.number(window)}"
    context.append(Arm(held, ["c.eid AS eid", f"{since - 1} AS day"], exact))
    loose = {cell.name: f"c.{cell.name}" for cell in layout.additive if not cell.exact}
    recent = f"c.day >= {since - window.days - 1} AND c.day < {since}"
    context.append(Arm(f"{plan.schema.table(layout.days)} AS c {touched} WHERE {recent}", keys, loose))
    return f"SELECT * FROM ({frames(layout, window, context, plan.extent.last)}) AS f WHERE day >= {since}"


def _unsettle(plan: Plan, since: int) -> list[str]:
    """Take buckets and change points that reach into days to be restated out of the history."""
    layout, schema = plan.layout, plan.schema
    found: list[str] = []
    reach = {layout.grain(grain): f"bucket >= {_bucket_of(grain, since)}" for grain in plan.member.grains}
    reach |= {layout.rolling: f"nxt >= {since}"} if plan.member.windows else {}
    for table, reaches in reach.items():
        history, recent = schema.table(table), schema.table(layout.recent(table))
        found.append(f"INSERT INTO {recent} SELECT * FROM {history} WHERE {reaches}")
        found.append(f"DELETE FROM {history} WHERE {reaches}")
    return found


def _bucket_of(grain: Grain, since: int) -> str:
    """Return the SQL of the bucket that holds a day, or the first one after it that the working calendar has."""
    return f"(SELECT min({calendar.bucket_column(grain)}) FROM {work(calendar.TABLE)} WHERE day >= {since})"


def _work(plan: Plan, name: str, part: str) -> str:
    return f"{plan.member.prefix}_{name}_{part}" if not name.startswith(plan.member.prefix) else f"{name}_{part}"


def _old(plan: Plan, name: str) -> str:
    return _work(plan, name, "old")
