"""Appending days to a metric in memory: of its tables only the rows are read and written that the days touch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tallystick.build.one_pass.arrays import narrowed, whole
from tallystick.build.one_pass.state import Stored
from tallystick.compiler.one_pass.append import forgotten, in_months, unsettle
from tallystick.compiler.one_pass.gather import Stream
from tallystick.compiler.one_pass.layout import NONE_BEFORE, OPEN, VIEW
from tallystick.compiler.one_pass.names import WORK, work
from tallystick.compiler.one_pass.rolling import DAY_BITS
from tallystick.compiler.one_pass.tables import Plan, count_days, departures_of, leave_names, presence_pairs
from tallystick.compiler.sweep.append import (
    VIEW_BITS,
    Seen,
    Since,
    around,
    carried,
    continued,
    continued_days,
    leaving_days,
)
from tallystick.compiler.sweep.calendar import DayTable
from tallystick.compiler.sweep.counters import Array, Counters, Whole, counters, distinct, is_last, runs
from tallystick.compiler.sweep.presence import Presences, last_days
from tallystick.compiler.sweep.tables import Columns, Gathered, column_types
from tallystick.engines.adapter import Engine, embedded

MOST = 1_000_000
"""Gathered rows that are appended in memory; more are by statements."""
TOUCHED = "touched"
REPLACED = "replaced"
FRESH = "fresh"


@dataclass(frozen=True, slots=True)
class _Reread:
    """Presences of a distinct count: those read again or for the first time, those there were, and all with earlier.

    `before` are the last presences, before any of these, of the pairs they are of.
    """

    fresh: Seen
    past: Seen
    before: Seen
    now: Presences
    was: Presences


def append(
    engine: Engine, plan: Plan, streams: Sequence[Stream], calendar: DayTable, since: int, was: Stored, kept: int
) -> bool:
    """Bring a metric's tables up to date from its gathered streams; return False, and count nothing, where it is not fit.

    Fit are metrics of whole numbers with few gathered rows. `was` is how it was stored, `kept` the day from which on
    it was known what had been counted.
    """
    start = Since(since, since - calendar.first)
    if since < was.settled:
        for statement in unsettle(plan, since):
            engine.execute(statement)
    keys = _presences(engine, plan, streams, calendar)
    if keys is None:
        return False
    is_again = since <= was.last
    new = Gathered(_counted(engine, plan, streams, calendar), {key: found.now for key, found in keys.items()})
    old = Gathered(
        _stored_days(engine, plan, calendar, since, is_again=is_again), {key: found.was for key, found in keys.items()}
    )
    earlier = _earlier(engine, plan, calendar, start) if plan.member.windows else None
    found = carried(plan, calendar, start, new, old, earlier)
    _replace_days(engine, plan, since, found.days, is_again=is_again)
    if plan.member.windows:
        _replace_departures(engine, plan, since if is_again else None, kept, found.departures, calendar)
    for key, reread in keys.items():
        _replace_seen(engine, plan, key, reread, kept)
    if plan.layout.views:
        _replace_spans(engine, plan, calendar, start, found.added)
    return True


def _presences(engine: Engine, plan: Plan, streams: Sequence[Stream], calendar: DayTable) -> dict[str, _Reread] | None:
    last = plan.extent.last - calendar.first
    found: dict[str, _Reread] = {}
    for stream in streams:
        if stream.measure is None:
            continue
        key = stream.measure.name
        fresh = _seen(engine, presence_pairs(plan, stream))
        past = _seen(engine, f"SELECT pair, day FROM {plan.schema.table(plan.layout.recent(plan.layout.seen(key)))}")
        before = _before(engine, plan, key, distinct(np.concatenate([fresh.pairs, past.pairs])))
        both = around(_placed(fresh, calendar), _placed(past, calendar), _placed(before, calendar), last)
        if both is None:
            return None
        found[key] = _Reread(fresh, past, before, *both)
    return found


def _seen(engine: Engine, query: str) -> Seen:
    columns = embedded(engine).arrays(query)
    return Seen(columns["pair"].astype(np.int64), columns["day"].astype(np.int64))


def _before(engine: Engine, plan: Plan, key: str, wanted: Array) -> Seen:
    """Return the last of the settled days on which wanted pairs were seen, of those that were."""
    if not len(wanted):
        return Seen(wanted, wanted)
    table = plan.layout.seen(key)
    later = _seen(engine, f"SELECT pair, day FROM {plan.schema.table(plan.layout.later(table))}")
    batches = embedded(engine).batches(f"SELECT pair, day FROM {plan.schema.table(table)}")
    ordered = ((whole(batch.column(0)).astype(np.int64, copy=False), whole(batch.column(1))) for batch in batches)
    lasts = last_days(wanted, ordered, (later.pairs, later.days))
    known = lasts != NONE_BEFORE
    return Seen(wanted[known], lasts[known])


def _placed(seen: Seen, calendar: DayTable) -> Seen:
    """Return days counted from the calendar's first, and all days before it as that one: no window reaches it."""
    return Seen(seen.pairs, np.maximum(seen.days - calendar.first, 0))


def _counted(engine: Engine, plan: Plan, streams: Sequence[Stream], calendar: DayTable) -> Counters | None:
    for stream in streams:
        if stream.measure is None:
            return _counters(embedded(engine).arrays(count_days(plan, stream)), calendar)
    return None


def _stored_days(engine: Engine, plan: Plan, calendar: DayTable, since: int, *, is_again: bool) -> Counters | None:
    if not plan.layout.additive:
        return None
    names = [cell.name for cell in plan.layout.additive]
    if not is_again:
        return Counters(np.zeros(0, np.int64), {name: np.zeros(0, np.int64) for name in names})
    table = plan.schema.table(plan.layout.days)
    query = f"SELECT eid, day, {', '.join(names)} FROM {table} WHERE day >= {since}"
    return _counters(embedded(engine).arrays(query), calendar)


def _earlier(engine: Engine, plan: Plan, calendar: DayTable, since: Since) -> Counters:
    """Return what was counted before `since` and leaves a window from then on."""
    names = [*(cell.name for cell in plan.layout.additive), *leave_names(plan.member, plan.layout.distinct)]
    rows = embedded(engine).arrays(departures_of(plan, leaving_days(plan, calendar, since)))
    return Counters(_keys(rows, calendar), {name: rows[name].astype(np.int64) for name in names})


def _counters(rows: Columns, calendar: DayTable) -> Counters:
    return counters(_keys(rows, calendar), {name: rows[name] for name in rows if name not in ("eid", "day")})


def _keys(rows: Columns, calendar: DayTable) -> Array:
    keys: Array = (rows["eid"].astype(np.int64) << DAY_BITS) + (rows["day"].astype(np.int64) - calendar.first)
    return keys


# -- writing ----------------------------------------------------------------------------------------------------------


def _replace_days(engine: Engine, plan: Plan, since: int, rows: Columns, *, is_again: bool) -> None:
    if is_again:
        engine.execute(f"DELETE FROM {plan.schema.table(plan.layout.days)} WHERE day >= {since}")
    _insert(engine, plan, plan.layout.days, rows)


def _replace_departures(
    engine: Engine, plan: Plan, again: int | None, kept: int, found: Counters, calendar: DayTable
) -> None:
    """Take back departures of days read `again`, and once a month those nothing holds any more; note new ones."""
    old = forgotten(plan.extent.kept, plan.member.windows)
    gone = [] if again is None else [f"day >= {again}"]
    gone += [f"day < {old}"] if old != forgotten(kept, plan.member.windows) else []
    if gone:
        engine.execute(f"DELETE FROM {plan.schema.table(plan.layout.leaving)} WHERE {' OR '.join(gone)}")
    if plan.layout.distinct:
        rows = {"eid": found.eids, "day": found.days + calendar.first, **found.cells}
        _insert(engine, plan, plan.layout.leaving, rows)


def _replace_seen(engine: Engine, plan: Plan, key: str, found: _Reread, kept: int) -> None:
    """Keep the presences that may be read again, and of the others the last one of each pair."""
    table = plan.layout.seen(key)
    order = np.lexsort((found.fresh.days, found.fresh.pairs))
    pairs, days = found.fresh.pairs[order], found.fresh.days[order]
    once = is_last(pairs) | is_last(days)
    pairs, days = pairs[once], days[once]
    settled = days < plan.extent.settled
    if len(found.past.pairs):
        engine.execute(f"DELETE FROM {plan.schema.table(plan.layout.recent(table))}")
    _insert(engine, plan, plan.layout.recent(table), {"pair": pairs[~settled], "day": days[~settled]})
    if in_months(kept) != in_months(plan.extent.kept):
        old = in_months(plan.extent.kept)
        engine.execute(f"DELETE FROM {plan.schema.table(plan.layout.kept(table))} WHERE day < {old}")
    if plan.extent.kept < plan.extent.settled:
        befores = continued_days(Seen(pairs, days), found.before)
        some = settled & (days >= plan.extent.kept)
        _insert(
            engine,
            plan,
            plan.layout.kept(table),
            {"pair": pairs[some], "day": days[some], "before": befores[some]},
        )
    pairs, days = pairs[settled], days[settled]
    last = is_last(pairs)
    _insert(engine, plan, plan.layout.later(table), {"pair": pairs[last], "day": days[last]})


def _replace_spans(engine: Engine, plan: Plan, calendar: DayTable, since: Since, added: Counters) -> None:
    """Replace the spans that are added to or have ended, and take those into the history that can no longer change."""
    layout = plan.layout
    recent = plan.schema.table(layout.recent(layout.spans))
    held = _held(engine, plan, added, since.day)
    rows = continued(plan, calendar, since, added, held)
    with embedded(engine).lend(f"{WORK}{REPLACED}", {"place": np.sort(held["place"])}):
        # Twice as fast as WHERE rowid IN.
        engine.execute(f"DELETE FROM {recent} AS s USING {work(REPLACED)} AS r WHERE s.rowid = r.place")
    with embedded(engine).lend(f"{WORK}{FRESH}", narrowed(column_types(plan)[layout.spans], rows)):
        for table, some in ((layout.spans, "<"), (layout.recent(layout.spans), ">=")):
            fresh = f"SELECT * FROM {work(FRESH)} WHERE nxt {some} {plan.extent.settled}"
            engine.execute(f"INSERT INTO {plan.schema.table(table)} BY NAME {fresh}")


def _held(engine: Engine, plan: Plan, added: Counters, since: int) -> dict[str, Whole]:
    """Return the recent spans of views and entities that are added to, or that end or begin on days read again."""
    keys = added.keys >> DAY_BITS
    keys = keys[runs(keys)]
    touched = {VIEW: (keys >> (VIEW_BITS - DAY_BITS)).astype(np.int8), "eid": keys.astype(np.int32)}
    among = f"({VIEW}, eid) IN (SELECT ({VIEW}, eid) FROM {work(TOUCHED)})"
    changes = f"{VIEW} < {len(plan.member.windows)} AND (nxt <> {OPEN} OR day >= {since})"
    where = f"{among} OR nxt < {plan.extent.settled} OR ({changes})"
    recent = plan.schema.table(plan.layout.recent(plan.layout.spans))
    with embedded(engine).lend(f"{WORK}{TOUCHED}", touched):
        return embedded(engine).arrays(f"SELECT rowid AS place, * FROM {recent} WHERE {where}")


def _insert(engine: Engine, plan: Plan, table: str, rows: Columns) -> None:
    if len(rows["day"]):
        embedded(engine).insert(table, narrowed(column_types(plan)[table], rows))
