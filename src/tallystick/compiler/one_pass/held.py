"""Where the rows of a model are stored, and on which days each of them holds."""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.compiler.model import Model
from tallystick.compiler.one_pass.layout import Layout
from tallystick.compiler.one_pass.names import Schema
from tallystick.compiler.one_pass.rolling import WINDOW
from tallystick.sql.grain import Grain


@dataclass(frozen=True, slots=True)
class Reach:
    """The days a reader sees, as day numbers: buckets from `first` (None: any) to `last`, none before the `start`.

    `is_open` says that nothing is stored beyond `last`, so that it need not be asked for. `last_of` is SQL that gives
    `last` whenever it is run: a view with it need not be written anew for every day that is appended.
    """

    first: int | None
    last: int
    start: int | None = None
    is_open: bool = False
    last_of: str | None = None

    @property
    def until(self) -> str:
        """Return the SQL of the day after the last one."""
        return str(self.last + 1) if self.last_of is None else f"({self.last_of} + 1)"

    @property
    def sampled_from(self) -> int | None:
        """Return the first day that days and windows are shown for."""
        return max((day for day in (self.first, self.start) if day is not None), default=None)


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
    view, since = model.time, reach.sampled_from
    if view.is_all_time:
        return Held(layout.all_time, reach.last_of or str(reach.last), reach.until)
    if view.window is not None:
        where = [f"c.{WINDOW} = {layout.number(view.window)}"]
        where += [] if reach.is_open else [f"c.day <= {reach.last}"]
        where += [] if since is None else [f"c.nxt > {since}" if since <= reach.last else "false"]
        first = "c.day" if since is None else f"greatest(c.day, {since})"
        return Held(layout.rolling, first, f"least(c.nxt, {reach.until})", tuple(where))
    is_day = view.grain is None or view.grain is Grain.DAY
    column, since = ("c.day", since) if is_day else ("c.bucket", reach.first)
    where = [*([] if reach.is_open else [f"{column} <= {reach.last}"])]
    where += [] if since is None else [f"{column} >= {since}"]
    table = layout.days if is_day or view.grain is None else layout.grain(view.grain)
    return Held(table, column, f"{column} + 1", tuple(where))


def stored_rows(layout: Layout, schema: Schema, held: Held) -> str:
    """Return the relation of stored rows: a large table with the small one beside it, where void rows are left out."""
    table = schema.table(held.table)
    if held.table in (layout.days, layout.all_time):
        return table
    void = " WHERE nxt > day" if held.table == layout.rolling else ""
    return f"(SELECT * FROM {table}{void} UNION ALL SELECT * FROM {schema.table(layout.recent(held.table))})"


def condition(held: Held) -> str:
    """Return the WHERE clause of a reading."""
    return f" WHERE {' AND '.join(held.where)}" if held.where else ""
