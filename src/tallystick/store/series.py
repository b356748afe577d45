"""Values of series: a window is written as a whole, and what changes after it was final is kept as a revision."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, delete, func, insert, select

from tallystick.compiler.series import Point, PointState, Wanted
from tallystick.errors import StoreError
from tallystick.store import identity
from tallystick.store.columns import in_utc
from tallystick.store.numbers import Facts, facts, restored, same
from tallystick.store.tables import points as table
from tallystick.store.tables import revisions

LONGEST_NAME = 300
"""Longer names of entities and dimension values are cut; a key of PostgreSQL holds no more."""

_KEY = ("bucket", "entity_id", "dimension_value", "is_other")
_FACTS = ("value", "numerator", "denominator", "exact")
_COLUMNS = (*_KEY, *_FACTS, "n", "state", "definition_hash", "collected_at")
_N, _STATE, _HASH = 8, 9, 10
_IN_SERIES = table.c.series_id == bindparam("series")
_IN_WINDOW = and_(_IN_SERIES, table.c.bucket >= bindparam("start"), table.c.bucket < bindparam("end"))
_ORDER = tuple(table.c[name] for name in _KEY)
_READ = select(*(table.c[name] for name in _COLUMNS)).where(_IN_WINDOW)
_READ_SORTED = _READ.order_by(*_ORDER)
_READ_ALL = select(*(table.c[name] for name in _COLUMNS)).where(_IN_SERIES).order_by(*_ORDER)
_READ_LATEST = (
    select(*(table.c[name] for name in _COLUMNS))
    .where(_IN_SERIES, table.c.bucket == select(func.max(table.c.bucket)).where(_IN_SERIES).scalar_subquery())
    .order_by(*_ORDER)
)
_IN_WINDOWS = and_(
    table.c.series_id.in_(bindparam("several", expanding=True)),
    table.c.bucket >= bindparam("start"),
    table.c.bucket < bindparam("end"),
)
_READ_WINDOWS = select(table.c.series_id, *(table.c[name] for name in _COLUMNS)).where(_IN_WINDOWS)
_DELETE_WINDOWS = delete(table).where(_IN_WINDOWS)
_INSERT = f"INSERT INTO points (series_id, {', '.join(_COLUMNS)}) VALUES "
_INSERT_ARRAYS = f"INSERT INTO points (series_id, {', '.join(_COLUMNS)}) SELECT * FROM"
_ARRAYS = (
    "bigint", "timestamptz", "text", "text", "boolean", "float8", "float8", "float8", "text", "bigint", "text", "text",
    "timestamptz",
)  # fmt: skip

Key = tuple[datetime, str, str, bool]
Stored = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What replacing a window did: rows it holds now, and how many of them are new, changed, gone or restated."""

    rows: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    restated: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPoint:
    """A value as it stands; `collected_at` is when it was first read like this."""

    point: Point
    state: PointState
    definition_hash: str
    collected_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A final value that changed: what it was and what it became; `new` is None where the bucket is gone."""

    old: Point
    new: Point | None
    old_hash: str
    new_hash: str
    revised_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The values a series shall have in a window, and which of its buckets are final."""

    wanted: Wanted
    points: Sequence[Point]
    definition_hash: str
    state_of: Callable[[datetime], PointState]


def replace_window(  # noqa: PLR0913 - a window, its values and what is true of all of them
    connection: Connection,
    project: str,
    wanted: Wanted,
    start: datetime,
    end: datetime,
    points: Iterable[Point],
    *,
    definition_hash: str,
    state_of: Callable[[datetime], PointState],
    collected_at: datetime,
    rebuilding: bool = False,
) -> Written:
    """Make the values of `[start, end)` exactly these, whatever was there; the same values again change nothing.

    A value that was final and differs now is `restated` and its former self becomes a revision; what was final never
    is `settling` again. With `rebuilding` the generation that is being built is written, not the live one. Raise
    StoreError, and write nothing, for a bucket outside the window or one that comes twice.
    """
    held = identity.own(connection, project, wanted, definition_hash, rebuilding=rebuilding)
    window = Window(wanted=wanted, points=tuple(points), definition_hash=definition_hash, state_of=state_of)
    return _replace(connection, in_utc(start), in_utc(end), [(held, window)], in_utc(collected_at))[0]


def replace_windows(
    connection: Connection,
    project: str,
    start: datetime,
    end: datetime,
    windows: Sequence[Window],
    *,
    collected_at: datetime,
) -> list[tuple[int, Written]]:
    """Replace the same window of several live series by few statements; return the id of each and what was done.

    Each is replaced as by `replace_window`; if one cannot be, that is raised and the transaction has to end.
    """
    held = identity.own_all(connection, project, [(window.wanted, window.definition_hash) for window in windows])
    pairs = list(zip(held, windows, strict=True))
    written = _replace(connection, in_utc(start), in_utc(end), pairs, in_utc(collected_at))
    return [(each.id, counts) for each, counts in zip(held, written, strict=True)]


def _replace(
    connection: Connection,
    start: datetime,
    end: datetime,
    pairs: Sequence[tuple[identity.Held, Window]],
    collected_at: datetime,
) -> list[Written]:
    """Replace a window of series that this transaction holds."""
    within = {"start": start, "end": end}
    old: dict[int, dict[Key, Stored]] = {held.id: {} for held, _ in pairs}
    for row in connection.execute(_READ_WINDOWS, {**within, "several": list(old)}):
        old[row[0]][row[1:5]] = tuple(row[1:])
    found: list[Written] = []
    rows: list[tuple[int, Stored]] = []
    revised: list[dict[str, Any]] = []
    emptied: list[int] = []
    for held, window in pairs:
        hashed = window.definition_hash
        new = _rows(window.wanted, start, end, window.points, window.state_of, (hashed, collected_at))
        merged, revisions_of, counts = _merged(old[held.id], new)
        if counts.added or counts.changed or counts.removed:
            emptied += [held.id] if old[held.id] else []
            rows += [(held.id, row) for row in merged]
        stamp = {"series_id": held.id, "revised_at": collected_at, "new_hash": hashed}
        revised += [stamp | revision for revision in revisions_of]
        found.append(counts)
    if emptied:
        connection.execute(_DELETE_WINDOWS, {**within, "several": emptied})
    if rows:
        _insert(connection, rows)
    if revised:
        connection.execute(insert(revisions), revised)
    for held, window in pairs:
        if held.definition_hash != window.definition_hash:
            identity.redefine(connection, held, window.definition_hash)
    return found


def read_points(
    connection: Connection,
    project: str,
    wanted: Wanted,
    start: datetime | None = None,
    end: datetime | None = None,
    *,
    rebuilding: bool = False,
) -> tuple[StoredPoint, ...]:
    """Return the live values of `[start, end)`, by bucket, entity and dimension value; open ends reach all of them."""
    series = identity.find(connection, project, wanted, rebuilding=rebuilding)
    return () if series is None else read_generation(connection, series, start, end)


def read_generation(
    connection: Connection, series: int, start: datetime | None = None, end: datetime | None = None
) -> tuple[StoredPoint, ...]:
    """Return the values of one generation of a series, which need not be live (`identity.generations`)."""
    if start is None and end is None:
        rows = connection.execute(_READ_ALL, {"series": series})
    else:
        first, last = start or datetime.min.replace(tzinfo=UTC), end or datetime.max.replace(tzinfo=UTC)
        rows = connection.execute(_READ_SORTED, {"series": series, "start": first, "end": last})
    return tuple(_stored(row) for row in rows)


def latest(connection: Connection, project: str, wanted: Wanted) -> tuple[StoredPoint, ...]:
    """Return the live values of the newest bucket."""
    series = identity.find(connection, project, wanted)
    if series is None:
        return ()
    return tuple(_stored(row) for row in connection.execute(_READ_LATEST, {"series": series}))


def read_revisions(connection: Connection, project: str, wanted: Wanted) -> tuple[Revision, ...]:
    """Return what was restated in the live values, oldest first."""
    series = identity.find(connection, project, wanted)
    statement = select(revisions).where(revisions.c.series_id == series).order_by(revisions.c.id)
    return tuple(_revision(row) for row in connection.execute(statement))


# -- from points to rows ----------------------------------------------------------------------------------------------


def _rows(
    wanted: Wanted,
    start: datetime,
    end: datetime,
    points: Iterable[Point],
    state_of: Callable[[datetime], PointState],
    stamp: tuple[str, datetime],
) -> dict[Key, Stored]:
    states: dict[datetime, str] = {}
    found: dict[Key, Stored] = {}
    for point in points:
        bucket = point.bucket if point.bucket.tzinfo is UTC else in_utc(point.bucket)
        if not start <= bucket < end:
            raise StoreError(
                f"a value of '{identity.series_name(wanted)}' at {bucket.isoformat()} lies outside the window "
                f"{start.isoformat()} to {end.isoformat()}"
            )
        if bucket not in states:
            states[bucket] = state_of(bucket).value
        key = (bucket, _name(point.entity_id), _name(point.dimension_value), point.is_other)
        if key in found:
            raise StoreError(
                f"'{identity.series_name(wanted)}' has two values at {bucket.isoformat()}",
                hint="a metric gives one row for each bucket, entity and value of its dimension",
            )
        numbers = facts(point.value, point.numerator, point.denominator)
        found[key] = (*key, *numbers, point.n, states[bucket], *stamp)
    return found


def _merged(old: dict[Key, Stored], new: dict[Key, Stored]) -> tuple[list[Stored], list[dict[str, Any]], Written]:
    """Return the rows a window shall hold, the revisions that follow, and the counts of both."""
    rows: list[Stored] = []
    revised: list[dict[str, Any]] = []
    changed = 0
    for key, row in new.items():
        before = old.get(key)
        if before is None:
            rows.append(row)
            continue
        is_same = same(_facts(before), _facts(row))
        if before[_STATE] != PointState.SETTLING:
            state = before[_STATE] if is_same else PointState.RESTATED.value
            row = (*row[:_STATE], state, *row[_HASH:])  # noqa: PLW2901 - the row as it will be
            if not is_same:
                revised.append(_revised(before, row))
        if is_same and before[_N:-1] == row[_N:-1]:
            rows.append(before)
        else:
            rows.append(row)
            changed += 1
    gone = [old[key] for key in old.keys() - new.keys()]
    revised += [_revised(before, None) for before in gone if before[_STATE] != PointState.SETTLING]
    counts = Written(
        rows=len(rows),
        added=len(new.keys() - old.keys()),
        changed=changed,
        removed=len(gone),
        restated=len(revised),
    )
    return rows, sorted(revised, key=lambda row: tuple(row[name] for name in _KEY)), counts


def _insert(connection: Connection, rows: list[tuple[int, Stored]]) -> None:
    """Insert rows past SQLAlchemy's conversions, which take longer than everything else about a window."""
    if connection.dialect.name == "sqlite":
        values = [(series, row[0].isoformat(" "), *row[1:-1], row[-1].isoformat(" ")) for series, row in rows]
        marks = ", ".join(["?"] * (len(_COLUMNS) + 1))
        connection.exec_driver_sql(f"{_INSERT} ({marks})", values)
        return
    # Arrays of columns in one statement: a server is asked once, not row by row.
    columns = [
        [series for series, _ in rows],
        *(list(column) for column in zip(*(row for _, row in rows), strict=True)),
    ]
    marks = ", ".join(f"%s::{kind}[]" for kind in _ARRAYS)
    connection.exec_driver_sql(f"{_INSERT_ARRAYS} unnest({marks})", tuple(columns))


def _facts(row: Stored) -> Facts:
    value, numerator, denominator, exact = row[4:8]
    return value, numerator, denominator, exact


def _revised(before: Stored, after: Stored | None) -> dict[str, Any]:
    row = dict(zip(_KEY, before[:4], strict=True))
    row |= {f"old_{name}": before[4 + place] for place, name in enumerate((*_FACTS, "n"))}
    row |= {f"new_{name}": after[4 + place] if after else None for place, name in enumerate((*_FACTS, "n"))}
    return row | {"old_hash": before[_HASH]}


# -- from rows to points ----------------------------------------------------------------------------------------------


def _stored(row: Row[Any]) -> StoredPoint:
    point = _point(row[:4], row[4:_N], row[_N])
    return StoredPoint(point=point, state=PointState(row[_STATE]), definition_hash=row[_HASH], collected_at=row[-1])


def _point(key: Sequence[Any], numbers: Sequence[Any], n: int) -> Point:
    value, numerator, denominator = restored(*numbers)
    return Point(
        bucket=key[0],
        value=value,
        n=n,
        numerator=numerator,
        denominator=denominator,
        entity_id=_unnamed(key[1]),
        dimension_value=_unnamed(key[2]),
        is_other=key[3],
    )


def _revision(row: Row[Any]) -> Revision:
    key = (row.bucket, row.entity_id, row.dimension_value, row.is_other)
    before = (row.old_value, row.old_numerator, row.old_denominator, row.old_exact)
    after = (row.new_value, row.new_numerator, row.new_denominator, row.new_exact)
    return Revision(
        old=_point(key, before, row.old_n),
        new=None if row.new_n is None else _point(key, after, row.new_n),
        old_hash=row.old_hash,
        new_hash=row.new_hash,
        revised_at=row.revised_at,
    )


def _name(text: str | None) -> str:
    """Return the key of an entity or dimension value: '' for none, and `""` for text that is empty.

    Text of nothing but quotes gets two more, so that every text comes back as it was.
    """
    if text is None:
        return ""
    if not text.strip('"'):
        return text + '""'
    if "\x00" in text:
        text = text.replace("\x00", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL keeps no NUL
    if len(text) > LONGEST_NAME:
        digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
        text = f"{text[: LONGEST_NAME - 13]}…{digest}"
    return text


def _unnamed(text: str) -> str | None:
    if not text:
        return None
    return text[:-2] if not text.strip('"') else text
