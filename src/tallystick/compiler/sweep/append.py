"""Days read again or for the first time carried into the tables of a metric: differences of what was counted.

The same as the statements of `compiler/one_pass/append` do, for metrics whose cells can be taken away again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from tallystick.compiler.one_pass.layout import BEGINNING, KEY_BITS, OPEN, VIEW
from tallystick.compiler.one_pass.presence import enters, ever, in_grain, leaves, packing
from tallystick.compiler.one_pass.rolling import DAY_BITS
from tallystick.compiler.one_pass.tables import Plan
from tallystick.compiler.sweep.calendar import DayTable
from tallystick.compiler.sweep.counters import Array, Counters, Mask, counters, distinct, is_last, runs, telling
from tallystick.compiler.sweep.presence import Presences, last_days, presences
from tallystick.compiler.sweep.tables import Columns, Gathered, departing, every_counter, moving

VIEW_BITS = 32 + DAY_BITS
"""Above an entity and a day, a key of spans holds the number of their time view."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Entities and keys as pairs, with the days they were seen on, in any order."""

    pairs: Array
    days: Array


@dataclass(frozen=True, slots=True)
class Since:
    """The day from which on a metric is counted anew, as a number of days and counted from the calendar's first."""

    day: int
    place: int


@dataclass(frozen=True, slots=True)
class Carried:
    """What days counted anew come to.

    Rows of daily counters, departures to come by the day they were counted on, and what is added to spans: its keys hold
    view, entity and day.
    """

    days: Columns
    departures: Counters
    added: Counters


def around(fresh: Seen, past: Seen, before: Seen, last: int) -> tuple[Presences, Presences] | None:
    """Return presences as they are now and as they were, each with the last ones before them; days begin with 0.

    Return None where entities, keys and days do not fit one integer; keys are numbered for it as far as they occur.
    """
    parts = (fresh, past, before)
    known = distinct(np.concatenate([part.pairs & (2**KEY_BITS - 1) for part in parts]))
    eid = max((int(part.pairs.max()) >> KEY_BITS for part in parts if len(part.pairs)), default=0)
    found = packing(0, last, len(known), eid)
    if found.kind != "BIGINT":
        return None
    shift = 0 if len(known) and known[0] == 0 else 1

    def of(*some: Seen) -> Presences:
        pairs = np.concatenate([part.pairs for part in some])
        uids = np.searchsorted(known, pairs & (2**KEY_BITS - 1)) + shift
        return presences(pairs >> KEY_BITS, uids, np.concatenate([part.days for part in some]), found)

    return of(fresh, before), of(past, before)


def continued_days(seen: Seen, before: Seen) -> Array:
    """Return the day before each presence on which its pair was seen, `NONE_BEFORE` if it was not.

    Both are sorted by pair and day; `before` holds the last presence of each pair before all of them.
    """
    starts = runs(seen.pairs)
    previous: Array = np.concatenate([seen.days[:1], seen.days[:-1]])
    nothing = np.zeros(0, np.int64)
    previous[starts] = last_days(seen.pairs[starts], [(before.pairs, before.days)], (nothing, nothing))
    return previous


def leaving_days(plan: Plan, calendar: DayTable, since: Since) -> list[tuple[int, int]]:
    """Return the ranges of earlier days, first and last, of which something leaves a window from `since` on."""
    days = np.arange(since.place)
    gone = np.zeros(since.place, np.bool_)
    last = plan.extent.last - calendar.first
    for window in plan.member.windows:
        leave = calendar.leave(window, days)
        gone |= (leave >= since.place) & (leave <= last)
    some = np.flatnonzero(gone)
    begins, ends = some[np.diff(some, prepend=-2) > 1], some[np.diff(some, append=since.place + 1) > 1]
    return [(int(a) + calendar.first, int(b) + calendar.first) for a, b in zip(begins, ends, strict=True)]


def carried(
    plan: Plan, calendar: DayTable, since: Since, new: Gathered, old: Gathered, earlier: Counters | None
) -> Carried:
    """Return what changed between what is now counted and what was; `earlier` are departures noted before `since`."""
    now, was = every_counter(plan, calendar, new), every_counter(plan, calendar, old)
    changed = _difference(now, was)
    fresh, differs = now.take(now.days >= since.place), changed.days >= since.place
    # Keys that were seen again after all take back what they would have left.
    departures = _stacked([departing(plan, fresh), departing(plan, changed.take(~differs))])
    rows = {cell.name: fresh.cells[cell.name] for cell in plan.layout.cells}
    leaving = departures if earlier is None else _stacked([departures, earlier])
    added = [*_moved(plan, calendar, since, fresh, leaving), *_in_buckets(plan, calendar, changed.take(differs))]
    days = {"eid": fresh.eids, "day": fresh.days + calendar.first, **rows}
    return Carried(days, departures, telling(_added_up(added, [cell.name for cell in plan.layout.cells])))


def continued(plan: Plan, calendar: DayTable, since: Since, added: Counters, held: Columns) -> Columns:
    """Return spans as they go on from those that are `held`: the ones that ended or were added to, sorted by view."""
    border = len(plan.member.windows) << VIEW_BITS
    windows = held[VIEW] < len(plan.member.windows)
    points = _points(plan, calendar, since, added.take(added.keys < border), _some(held, windows))
    others = _sums(plan, calendar, added.take(added.keys >= border), _some(held, ~windows))
    return {name: np.concatenate([points[name], others[name]]) for name in points}


def _some(columns: Columns, rows: Mask) -> Columns:
    return {name: values[rows] for name, values in columns.items()}


def _difference(now: Counters, was: Counters) -> Counters:
    if not len(was):
        return now
    return _added_up([now, Counters(was.keys, {name: -values for name, values in was.cells.items()})], list(now.cells))


def _stacked(parts: list[Counters]) -> Counters:
    """Return rows of several parts one after the other."""
    cells = {name: np.concatenate([part.cells[name] for part in parts]) for name in parts[0].cells}
    return Counters(np.concatenate([part.keys for part in parts]), cells)


def _added_up(parts: list[Counters], names: list[str]) -> Counters:
    if not parts:
        return Counters(np.zeros(0, np.int64), {name: np.zeros(0, np.int64) for name in names})
    rows = _stacked(parts)
    return counters(rows.keys, rows.cells)


def _moved(plan: Plan, calendar: DayTable, since: Since, fresh: Counters, leaving: Counters) -> Iterator[Counters]:
    """Yield what enters and leaves each window from `since` on."""
    cells, last = plan.layout.cells, plan.extent.last - calendar.first
    for window in plan.member.windows:
        view = plan.layout.number(window) << VIEW_BITS
        yield moving(cells, fresh, fresh.keys + view, partial(enters, window=window))
        days = calendar.leave(window, leaving.days)
        there = (days >= since.place) & (days <= last)
        gone = leaving.take(there)
        keys = gone.keys + (days[there] - gone.days) + view
        out = moving(cells, gone, keys, partial(leaves, window=window))
        yield Counters(out.keys, {name: -values for name, values in out.cells.items()})


def _in_buckets(plan: Plan, calendar: DayTable, changed: Counters) -> Iterator[Counters]:
    """Yield what is added to the buckets of each calendar grain, and to all time."""
    cells, start = plan.layout.cells, plan.extent.start
    rows = changed if start is None else changed.take(changed.days >= start - calendar.first)
    for grain in plan.member.grains:
        keys = rows.keys + (calendar.bucket(grain, rows.days) - rows.days) + (plan.layout.number(grain) << VIEW_BITS)
        yield moving(cells, rows, keys, partial(in_grain, grain=grain))
    if plan.member.has_all_time:
        keys = changed.keys - changed.days + (plan.layout.number(None) << VIEW_BITS)
        yield moving(cells, changed, keys, ever)


def _points(plan: Plan, calendar: DayTable, since: Since, moved: Counters, held: Columns) -> Columns:
    """Return the change points of windows: those that were held on the day before `since`, and those that follow.

    Points from `since` on are among the held ones only to be replaced.
    """
    held = _some(held, held["day"] < since.day)
    keys = np.concatenate([_span_keys(held, np.full(len(held["eid"]), since.place - 1)), moved.keys])
    order = np.argsort(keys, kind="stable")
    keys, is_held = keys[order], order < len(held["day"])
    starts = runs(keys >> DAY_BITS)
    sums: dict[str, Array] = {}
    changed = np.zeros(len(keys), np.bool_)
    for name, values in moved.cells.items():
        steps = np.concatenate([held[name].astype(np.int64), values])[order]
        changed |= steps != 0
        sums[name] = _running(steps, starts)
    kept = is_held | changed
    keys, is_held, order = keys[kept], is_held[kept], order[kept]
    ends = is_last(keys >> DAY_BITS)
    days = (keys & (2**DAY_BITS - 1)) + calendar.first
    nexts: Array = np.full(len(days), OPEN, np.int64)
    nexts[:-1] = np.where(ends[:-1], OPEN, days[1:])
    days[is_held] = held["day"][order[is_held]]
    cells = {name: values[kept] for name, values in sums.items()}
    return _existing(plan, keys, days, nexts, cells)


def _running(steps: Array, starts: Array) -> Array:
    """Return the sums of steps since the start of their run."""
    sums = np.cumsum(steps)
    before = np.concatenate([np.zeros(1, np.int64), sums])[starts]
    running: Array = sums - np.repeat(before, np.diff(starts, append=len(steps)))
    return running


def _sums(plan: Plan, calendar: DayTable, added: Counters, held: Columns) -> Columns:
    """Return the spans of calendar grains and all time with what is added to them."""
    is_all = held["nxt"] == OPEN
    days = np.where(is_all, 0, held["day"] - calendar.first)
    mine = Counters(_span_keys(held, days), {name: held[name].astype(np.int64) for name in added.cells})
    rows = _added_up([mine, added], list(added.cells))
    places = rows.days
    days, nexts = places + calendar.first, np.full(len(rows), OPEN, np.int64)
    views = rows.keys >> VIEW_BITS
    for grain in plan.member.grains:
        here = views == plan.layout.number(grain)
        nexts[here] = calendar.next_bucket(grain, places[here]) + calendar.first
    days[nexts == OPEN] = BEGINNING
    return _existing(plan, rows.keys, days, nexts, rows.cells)


def _span_keys(held: Columns, days: Array) -> Array:
    entity = (held[VIEW].astype(np.int64) << VIEW_BITS) + (held["eid"].astype(np.int64) << DAY_BITS)
    keys: Array = entity + days
    return keys


def _existing(plan: Plan, keys: Array, days: Array, nexts: Array, cells: Mapping[str, Array]) -> Columns:
    some = cells[plan.layout.exists] > 0
    found = {
        VIEW: keys >> VIEW_BITS,
        "eid": (keys >> DAY_BITS) & (2**32 - 1),
        "day": days,
        "nxt": nexts,
        **cells,
    }
    return _some(found, some)
