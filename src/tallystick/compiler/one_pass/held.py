"""Where the rows of a model are stored, and on which days each of them holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tallystick.compiler.model import Model, TimeView
from tallystick.compiler.one_pass.layout import VIEW, Layout
from tallystick.compiler.one_pass.names import Schema
from tallystick.sql.grain import Grain


@dataclass(frozen=True, slots=True)
class Reach:
    """The days a reader sees, as day numbers: buckets from `first` (None: any) to `last`, none before the `start`.

    `buckets` are the first ones that are seen of calendar grains where more is stored. `is_open` says that nothing is
    stored beyond `last`, so that it need not be asked for. `last_of` is SQL that gives `last` whenever it is run: a view
    with it need not be written anew for every day that is appended.
    """

    first: int | None
    last: int
    start: int | None = None
    is_open: bool = False
    last_of: str | None = None
    buckets: Mapping[Grain, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def until(self) -> str:
        """Return the SQL of the day after the last one."""
        return str(self.last + 1) if self.last_of is None else f"({self.last_of} + 1)"

    def since(self, view: TimeView) -> int | None:
        """Return the first day that a view is shown for, None for any."""
        is_sampled = view.window is not None or view.grain is Grain.DAY
        begin = self.start if is_sampled else self.buckets.get(view.grain) if view.grain is not None else None
        return max((day for day in (self.first, begin) if day is not None), default=None)


@dataclass(frozen=True, slots=True)
class Held:
    """The table of a model, the conditions on its rows `c`, and the SQL of the day numbers `[first, until)` they hold.

    A row of a calendar grain holds on the first day of its bucket, one over all time on the last day of the reach.
    """

    table: str
    first: str
    until: str
    where: tuple[str, ...] = ()


def held_days(model: Model, layout: Layout, reach: Reach) -> Held:
    """Return where a model is stored; the conditions are on stored intervals, so that one day costs one day."""
    view = model.time
    is_day = view.grain is Grain.DAY
    since = reach.since(view)
    where = [] if is_day else [f"c.{VIEW} = {layout.number(view.window or view.grain)}"]
    if view.is_all_time:
        return Held(layout.spans, reach.last_of or str(reach.last), reach.until, tuple(where))
    where += [] if reach.is_open else [f"c.day <= {reach.last}"]
    if view.window is not None:
        where += [] if since is None else [f"c.nxt > {since}" if since <= reach.last else "false"]
        first = "c.day" if since is None else f"greatest(c.day, {since})"
        return Held(layout.spans, first, f"least(c.nxt, {reach.until})", tuple(where))
    where += [] if since is None else [f"c.day >= {since}"]
    return Held(layout.days if is_day else layout.spans, "c.day", "c.day + 1", tuple(where))


def stored_rows(layout: Layout, schema: Schema, held: Held) -> str:
    """Return the relation of stored rows: a large table with the small one beside it, where void rows are left out."""
    table = schema.table(held.table)
    if held.table == layout.days:
        return table
    return f"(SELECT * FROM {table} WHERE nxt > day UNION ALL SELECT * FROM {schema.table(layout.recent(held.table))})"


def condition(held: Held) -> str:
    """Return the WHERE clause of a reading."""
    return f" WHERE {' AND '.join(held.where)}" if held.where else ""
