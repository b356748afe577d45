"""A table with one row per thing and several dates in it, as rows of what happened when (spec anchors §1.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from tallystick.definitions.condition import Kind
from tallystick.service.guess import Profile, identifier, is_moment

_KEPT = re.compile(
    r"(?:.*_)?(?:updated|modified|changed|loaded|inserted|ingested|synced|extracted|processed)(?:_.*)?|_.*"
)
"""Dates about the row itself, not about what it tells."""
_EVENT = re.compile(r"(?:event|action|activity)(?:_(?:name|type))?|type|kind")
_ENDING = re.compile(r"_(?:at|on|date|time|timestamp|ts|day)$")
_KEY = re.compile(r".*_(?:id|key|uuid|guid)|id|key|uuid|guid")


@dataclass(frozen=True, slots=True)
class Unpivot:
    """The date columns of a wide table, and the query that makes one row of each date in it."""

    columns: tuple[str, ...]
    sql: str


def unpivot(relation: str, columns: Sequence[Profile], *, dialect: str) -> Unpivot | None:
    """Return the query for a table with several dates and no column that says what happened, else None."""
    moments = [c for c in columns if is_moment(c) and not _KEPT.fullmatch(identifier(c.name))]
    if len(moments) < 2 or any(_EVENT.fullmatch(identifier(c.name)) for c in columns):
        return None
    others = [c for c in columns if not is_moment(c) and _is_context(c)]
    mixed = len({c.kind for c in moments}) > 1
    arms = [_arm(relation, moment, others, dialect, as_instant=mixed) for moment in moments]
    return Unpivot(tuple(c.name for c in moments), "\nUNION ALL\n".join(arms))


def _is_context(column: Profile) -> bool:
    """Tell whether a column belongs to every event of a row: keys and words do, numbers would be counted repeatedly."""
    return _KEY.fullmatch(identifier(column.name)) is not None or column.kind in (Kind.STRING, Kind.BOOL)


def _arm(relation: str, moment: Profile, others: Sequence[Profile], dialect: str, *, as_instant: bool) -> str:
    def name(column: str) -> str:
        # What needs no quotes gets none: engines fold the case of such names alike.
        quoted = not re.fullmatch(r"[a-z_][a-z0-9_]*", column)
        return str(exp.to_identifier(column, quoted=quoted).sql(dialect))

    event = _ENDING.sub("", identifier(moment.name)) or identifier(moment.name)
    at = f"CAST({name(moment.name)} AS TIMESTAMP)" if as_instant else name(moment.name)
    head = ", ".join([*map(name, (c.name for c in others)), f"'{event}' AS event", f"{at} AS event_time"])
    return f"SELECT {head} FROM {relation} WHERE {name(moment.name)} IS NOT NULL"
