"""Extending stored metrics by days read again or for the first time, at a cost that follows those days alone.

Everything from day `since` on is counted anew; what changed against the stored counters is carried into calendar
buckets and totals as differences, and into windows as movements on top of the values of the day before.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tallystick.compiler.one_pass import days as calendar
from tallystick.compiler.one_pass.counters import Arm, merge, merged
from tallystick.compiler.one_pass.gather import Stream
from tallystick.compiler.one_pass.layout import NONE_AFTER, NONE_BEFORE, OPEN, VIEW, Layout
from tallystick.compiler.one_pass.names import create_work, work
from tallystick.compiler.one_pass.presence import eid_of, ever, flag_columns, flags, in_grain, in_order, leaves, uid_of
from tallystick.compiler.one_pass.rolling import Counted, entering, frames, leaving
from tallystick.compiler.one_pass.tables import (
    ALL_TIME_KEYS,
    SPAN,
    Flag,
    Plan,
    arms_of,
    bucket_keys,
    count_days,
    counted_table,
    departures,
    flags_table,
    leave_names,
    leaving_columns,
    leaving_rows,
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
    found = unsettle(plan, since) if since < settled else []
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
    old = Counted(
        work(_old(plan, "days")) if layout.additive else None, {key: work(_old(plan, key)) for key in layout.keys}
    )
    found += _replace_days(plan, new, since)
    found += _carry(plan, new, old, since)
    if plan.member.windows:
        found += [*_leaving(plan, new, since), *_extend(plan, new, since)]
    return [*found, *_settle(plan)] if layout.views else found


def forgotten(since: int, windows: Sequence[Window]) -> int:
    """Return the day before which nothing leaves a window any more."""
    return in_months(since - max(window.days for window in windows) - 1)


def in_months(day: int) -> int:
    """Return a day up to which rows are deleted: it moves on once a month, as deleting has a cost."""
    return day // 32 * 32


def close_gaps(plan: Plan) -> str:
    """Return the statement after which recent spans lie without the gaps of those that were replaced."""
    recent = plan.schema.table(plan.layout.recent(plan.layout.spans))
    return f"CREATE OR REPLACE TABLE {recent} AS SELECT * FROM {recent}"


def has_much_later(plan: Plan, key: str) -> str:
    """Return the query of whether so much was appended about a key that it should be put in order."""
    ordered, later = _seen_tables(plan, key)
    return f"SELECT 3 * (SELECT count(*) FROM {later}) > (SELECT count(*) FROM {ordered}) AS is_much"


def put_in_order(plan: Plan, key: str) -> list[str]:
    """Return the statements that put what was appended about a key in order among the rest."""
    ordered, later = _seen_tables(plan, key)
    return [
        f"CREATE OR REPLACE TABLE {ordered} AS {in_order(ordered, later)}",
        f"CREATE OR REPLACE TABLE {later} AS SELECT * FROM {ordered} LIMIT 0",
    ]


def _seen_tables(plan: Plan, key: str) -> tuple[str, str]:
    table = plan.layout.seen(key)
    return plan.schema.table(table), plan.schema.table(plan.layout.later(table))


# -- presence ---------------------------------------------------------------------------------------------------------


def _presences(plan: Plan, stream: Stream, since: int) -> list[str]:
    """Count the flags of keys seen from `since` on, before and after they were read again, and keep both."""
    assert stream.measure is not None  # noqa: S101 - the caller looks for distinct counts
    key, layout, member = stream.measure.name, plan.layout, plan.member
    seen, later = _seen_tables(plan, key)
    fresh, before, past = (_work(plan, key, part) for part in ("fresh", "before", "past"))
    cells = layout.of_key(key)
    columns = flag_columns(cells, member.grains, member.windows, plan.extent.start)
    fewer = flag_columns(cells, member.grains, (), plan.extent.start)
    recent, settled = plan.schema.table(layout.recent(layout.seen(key))), plan.extent.settled
    active = f"SELECT pair FROM {work(fresh)} UNION SELECT pair FROM {work(past)}"
    settled_days = f"(SELECT * FROM {seen} UNION ALL SELECT * FROM {later}) AS s"
    last = f"SELECT pair, max(day) AS day FROM {settled_days} SEMI JOIN ({active}) AS a USING (pair) GROUP BY pair"
    return [
        create_work(fresh, presences(plan, stream, since)),
        create_work(past, f"SELECT pair, day FROM {recent}"),
        create_work(before, last),
        flags(flags_table(member, key), _around(fresh, before), columns, f"f.day >= {since}"),
        flags(_old(plan, key), _around(past, before), fewer, f"f.day >= {since}"),
        f"DELETE FROM {recent}",
        f"INSERT INTO {recent} SELECT pair, day FROM {work(fresh)} WHERE day >= {settled}",
        f"INSERT INTO {later} SELECT pair, max(day) FROM {work(fresh)} WHERE day < {settled} GROUP BY pair",
        *_keep(plan, key, since),
    ]


def _keep(plan: Plan, key: str, since: int) -> list[str]:
    """Keep the presences that are settled by now, each with the day before it, for when late rows change them."""
    kept = plan.schema.table(plan.layout.kept(plan.layout.seen(key)))
    found = [f"DELETE FROM {kept} WHERE day < {in_months(plan.extent.kept)}"]
    if plan.extent.kept < plan.extent.settled:
        fresh, before = (work(_work(plan, key, part)) for part in ("fresh", "before"))
        every = f"SELECT pair, day FROM {fresh} UNION ALL SELECT pair, day FROM {before}"
        previous = f"lag(day, 1, {NONE_BEFORE}) OVER (PARTITION BY pair ORDER BY day) AS before"
        settled = f"day >= {max(since, plan.extent.kept)} AND day < {plan.extent.settled}"
        found.append(
            f"INSERT INTO {kept} SELECT * FROM (SELECT pair, day, {previous} FROM ({every}) AS e) AS k WHERE {settled}"
        )
    return found


def _around(rows: str, before: str) -> str:
    """Return presences with the days before and after, over those read and the last ones before them."""
    order = "PARTITION BY pair ORDER BY day"
    return (
        f"SELECT {eid_of('pair')} AS eid, {uid_of('pair')} AS uid, day, "
        f"lag(day, 1, {NONE_BEFORE}) OVER ({order}) AS before, lead(day, 1, {NONE_AFTER}) OVER ({order}) AS after "
        f"FROM (SELECT pair, day FROM {work(rows)} UNION ALL SELECT pair, day FROM {work(before)}) AS p"
    )


def _leaving(plan: Plan, new: Counted, since: int) -> list[str]:
    """Note what was counted on the days just read, and take back departures of keys that were seen again after all."""
    log = plan.schema.table(plan.layout.leaving)
    first = min(since, plan.extent.kept)
    kept = [f"DELETE FROM {log} WHERE day >= {since} OR day < {forgotten(first, plan.member.windows)}"]
    if plan.layout.distinct:
        kept.append(f"INSERT INTO {log} {leaving_rows(plan, new, since)}")
        kept += [f"INSERT INTO {log} {_seen_again(plan, key)}" for key in plan.layout.keys]
    return kept


def _seen_again(plan: Plan, key: str) -> str:
    """Return the departures that are no longer due, with their sign turned, or newly due."""
    cells, windows = plan.layout.of_key(key), plan.member.windows
    fresh, before, past = (work(_work(plan, key, part)) for part in ("fresh", "before", "past"))
    missing = any(cell.counts_missing for cell in cells)
    changes: list[str] = []
    for cell in cells:
        test = "" if cell.counts_missing or not missing else f" FILTER (WHERE {uid_of('b.pair')} <> 0)"
        for window in windows:
            leave = calendar.leave(window, "b.day", "d")
            moved = f"(was < {leave})::BIGINT - (is_now < {leave})::BIGINT"
            changes.append(f"coalesce(sum({moved}){test}, 0)::BIGINT AS {leaves(cell, window)}")
    next_seen = (
        f"SELECT b.pair, b.day, coalesce(p.day, {NONE_AFTER}) AS was, coalesce(f.day, {NONE_AFTER}) AS is_now "
        f"FROM {before} AS b "
        f"LEFT JOIN (SELECT pair, min(day) AS day FROM {past} GROUP BY pair) AS p ON p.pair = b.pair "
        f"LEFT JOIN (SELECT pair, min(day) AS day FROM {fresh} GROUP BY pair) AS f ON f.pair = b.pair"
    )
    adjusted = (
        f"SELECT {eid_of('b.pair')} AS eid, b.day AS day, {', '.join(changes)} FROM ({next_seen}) AS b "
        f"JOIN {work(calendar.TABLE)} AS d ON d.day = b.day WHERE was <> is_now GROUP BY ALL"
    )
    names = leave_names(plan.member, cells)
    some = " OR ".join(f"c.{name} <> 0" for name in names)
    return f"SELECT c.eid, c.day, {leaving_columns(plan, names)} FROM ({adjusted}) AS c WHERE {some}"


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
        flag = partial(in_grain, grain=grain)
        again = f"{day} WHERE c.day >= {_bucket_of(grain, since)}" + ("" if start is None else f" AND c.day >= {start}")
        changes = _changes(plan, new, old, bucket_keys(grain), flag, f"{day}{here}")
        found += _merge_in(plan, plan.layout.number(grain), changes, bucket_keys(grain), again)
    if plan.member.has_all_time:
        changes = _changes(plan, new, old, ALL_TIME_KEYS, ever, "")
        found += _merge_in(plan, plan.layout.number(None), changes, ALL_TIME_KEYS, "")
    return found


def _changes(plan: Plan, new: Counted, old: Counted, keys: list[str], flag: Flag, tail: str) -> str:
    """Return the differences of exact cells by span; without such, the spans in which anything was counted."""
    plus = arms_of(plan, new, keys, flag, tail)
    minus = [Arm(a.rows, a.keys, _negated(plan.layout, a)) for a in arms_of(plan, old, keys, flag, tail)]
    return merged(plan.layout, [*plus, *minus], SPAN)


def _merge_in(plan: Plan, number: int, changes: str, keys: list[str], again: str) -> list[str]:
    """Add differences of exact cells to spans of a view, and merge other cells once more from days."""
    layout = plan.layout
    recent = plan.schema.table(layout.recent(layout.spans))
    delta, merged_again, updated = (_work(plan, f"{layout.spans}_{number}", p) for p in ("delta", "again", "updated"))
    statements = [create_work(delta, changes)]
    again_join = ""
    if not layout.is_exact:
        cells = ", ".join(f"{merge(c, f'c.{c.name}')} AS {c.name}" for c in layout.cells if not c.exact)
        touched = f"SEMI JOIN {work(delta)} AS x ON x.eid = c.eid"
        rows = f"SELECT {', '.join(keys)}, {cells} FROM {plan.schema.table(layout.days)} AS c {touched}{again} GROUP BY ALL"
        statements.append(create_work(merged_again, rows))
        again_join = f" LEFT JOIN {work(merged_again)} AS r ON r.eid = m.eid AND r.day = m.day"
    sums = ", ".join(
        f"(coalesce(t.{c.name}, 0) + m.{c.name})::{c.stored} AS {c.name}" if c.exact else f"r.{c.name} AS {c.name}"
        for c in layout.cells
    )
    same = f"t.{VIEW} = {number} AND t.eid = m.eid AND t.day = m.day"
    columns = ", ".join([VIEW, *SPAN, *(cell.name for cell in layout.cells)])
    rows = (
        f"SELECT {number}::TINYINT AS {VIEW}, m.eid AS eid, m.day AS day, m.nxt AS nxt, {sums} FROM {work(delta)} AS m"
    )
    return [
        *statements,
        create_work(updated, f"{rows} LEFT JOIN {recent} AS t ON {same}{again_join}"),
        f"DELETE FROM {recent} AS t USING {work(updated)} AS m WHERE {same}",
        f"INSERT INTO {recent} ({columns}) SELECT {columns} FROM {work(updated)} WHERE {layout.exists} > 0",
    ]


def _negated(layout: Layout, arm: Arm) -> dict[str, str]:
    exact = {cell.name for cell in layout.cells if cell.exact and cell.merge is Merge.SUM}
    return {name: f"-({sql})" for name, sql in arm.cells.items() if name in exact}


# -- windows ----------------------------------------------------------------------------------------------------------


def _extend(plan: Plan, new: Counted, since: int) -> list[str]:
    """Continue the change points of all windows from the values of the day before `since`."""
    layout = plan.layout
    table = plan.schema.table(layout.recent(layout.spans))
    before, moved, points = (_work(plan, layout.spans, name) for name in ("before", "moved", "points"))
    columns = ", ".join([VIEW, *SPAN, *(cell.name for cell in layout.cells)])
    cells = (f"b.{cell.name}" for cell in layout.cells)
    kept = ", ".join([f"b.{VIEW}", "b.eid", "b.day", f"coalesce(p.day, {OPEN}) AS nxt", *cells])
    first = f"SELECT {VIEW}, eid, min(day) AS day FROM {work(points)} GROUP BY {VIEW}, eid"
    earlier = (
        f"SELECT {kept} FROM {work(before)} AS b LEFT JOIN ({first}) AS p ON p.{VIEW} = b.{VIEW} AND p.eid = b.eid"
    )
    later = f"SELECT {columns} FROM {work(points)} WHERE {layout.exists} > 0"
    return [
        create_work(moved, " UNION ALL ".join(_moved(plan, window, new, since) for window in plan.member.windows)),
        create_work(
            before, f"SELECT * FROM {table} WHERE {_of_windows(plan)} AND day < {since} AND {_ends_or_is_in(moved)}"
        ),
        create_work(points, " UNION ALL ".join(_points(plan, window, since) for window in plan.member.windows)),
        f"DELETE FROM {table} WHERE {_of_windows(plan)} AND (day >= {since} OR {_ends_or_is_in(points)})",
        f"INSERT INTO {table} ({columns}) {earlier} UNION ALL {later}",
    ]


def _of_windows(plan: Plan) -> str:
    return f"{VIEW} < {len(plan.member.windows)}"


def _ends_or_is_in(rows: str) -> str:
    """Return the condition on recent change points that they end, or that their entity is among working rows."""
    return f"(nxt <> {OPEN} OR ({VIEW}, eid) IN (SELECT ({VIEW}, eid) FROM {work(rows)}))"


def _moved(plan: Plan, window: Window, new: Counted, since: int) -> str:
    """Return what enters and leaves a window from `since` on."""
    layout = plan.layout
    gone = Counted(departures(plan) if layout.additive else None, dict.fromkeys(layout.keys, departures(plan)))
    arms = [*entering(layout, window, new), *leaving(layout, window, gone, (since, plan.extent.last))]
    return f"SELECT {layout.number(window)}::TINYINT AS {VIEW}, * FROM ({merged(layout, arms, ['eid', 'day'])}) AS m"


def _points(plan: Plan, window: Window, since: int) -> str:
    """Return the change points of a window from `since` on, also to nothing, of the entities that moved."""
    layout, number = plan.layout, plan.layout.number(window)
    moved = f"(SELECT * FROM {work(_work(plan, layout.spans, 'moved'))} WHERE {VIEW} = {number})"
    before = work(_work(plan, layout.spans, "before"))
    keys = ["c.eid AS eid", "c.day AS day"]
    touched = f"SEMI JOIN {moved} AS x ON x.eid = c.eid"
    exact = {cell.name: f"c.{cell.name}" for cell in layout.cells if cell.exact}
    context = [Arm(f"{moved} AS c", keys, {cell.name: f"c.{cell.name}" for cell in layout.cells})]
    held = f"{before} AS c {touched} WHERE c.{VIEW} = {number}"
    context.append(Arm(held, ["c.eid AS eid", f"{since - 1} AS day"], exact))
    loose = {cell.name: f"c.{cell.name}" for cell in layout.additive if not cell.exact}
    if loose:
        earlier = f"c.day >= {since - window.days - 1} AND c.day < {since}"
        context.append(Arm(f"{plan.schema.table(layout.days)} AS c {touched} WHERE {earlier}", keys, loose))
    every = frames(layout, window, context, plan.extent.last)
    return f"SELECT {number}::TINYINT AS {VIEW}, * FROM ({every}) AS f WHERE day >= {since}"


# -- what may still change --------------------------------------------------------------------------------------------


def _settle(plan: Plan) -> list[str]:
    """Take spans that can no longer change into the history."""
    history, recent = (plan.schema.table(name) for name in (plan.layout.spans, plan.layout.recent(plan.layout.spans)))
    ended = f"nxt < {plan.extent.settled}"
    return [
        f"INSERT INTO {history} SELECT * FROM {recent} WHERE {ended} ORDER BY {VIEW}, eid, day",
        f"DELETE FROM {recent} WHERE {ended}",
    ]


def unsettle(plan: Plan, since: int) -> list[str]:
    """Return the statements that make a metric ready to have settled days counted anew, as if they were not settled.

    The presences of distinct counts have to be known from `since` on.
    """
    layout, schema = plan.layout, plan.schema
    found: list[str] = []
    if layout.views:
        history, recent = schema.table(layout.spans), schema.table(layout.recent(layout.spans))
        found.append(f"INSERT INTO {recent} SELECT * FROM {history} WHERE nxt >= {since}")
        found.append(f"DELETE FROM {history} WHERE nxt >= {since}")
    for key in layout.keys:
        found += _unsettle_presences(plan, key, since)
    if plan.member.windows and not layout.distinct:
        columns = leaving_columns(plan, [cell.name for cell in layout.additive])
        rows = f"SELECT c.eid, c.day, {columns} FROM {schema.table(layout.days)} AS c"
        within = f"c.day >= {forgotten(since, plan.member.windows)} AND c.day < {since}"
        found.append(f"DELETE FROM {schema.table(layout.leaving)}")
        found.append(f"INSERT INTO {schema.table(layout.leaving)} {rows} WHERE {within} ORDER BY c.day")
    return found


def _unsettle_presences(plan: Plan, key: str, since: int) -> list[str]:
    """Take back when keys were last seen: pairs seen from `since` on have been seen last on the day before that."""
    seen, later = _seen_tables(plan, key)
    kept, recent = (plan.schema.table(table(plan.layout.seen(key))) for table in (plan.layout.kept, plan.layout.recent))
    before = f"SELECT pair, arg_min(before, day) AS day FROM {kept} WHERE day >= {since} GROUP BY pair"
    return [
        f"DELETE FROM {seen} WHERE day >= {since}",
        f"DELETE FROM {later} WHERE day >= {since}",
        f"INSERT INTO {later} SELECT pair, day FROM ({before}) AS b WHERE day <> {NONE_BEFORE}",
        f"INSERT INTO {recent} SELECT pair, day FROM {kept} WHERE day >= {since}",
        f"DELETE FROM {kept} WHERE day >= {since}",
    ]


def _bucket_of(grain: Grain, since: int) -> str:
    """Return the SQL of the bucket that holds a day, or the first one after it that the working calendar has."""
    return f"(SELECT min({calendar.bucket_column(grain)}) FROM {work(calendar.TABLE)} WHERE day >= {since})"


def _work(plan: Plan, name: str, part: str) -> str:
    return f"{plan.member.prefix}_{name}_{part}" if not name.startswith(plan.member.prefix) else f"{name}_{part}"


def _old(plan: Plan, name: str) -> str:
    return _work(plan, name, "old")
