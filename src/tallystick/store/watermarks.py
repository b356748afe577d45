"""How far each series has been collected: exclusive, advanced on zero rows too, and never moved back (tripl §7.2)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, or_, select, update

from tallystick.compiler.series import Wanted
from tallystick.store import identity
from tallystick.store.columns import in_utc
from tallystick.store.tables import series

_TO = bindparam("to", type_=series.c.watermark.type)
_ADVANCE = (
    update(series)
    .where(identity.IS_IT, series.c.is_live, or_(series.c.watermark.is_(None), series.c.watermark < _TO))
    .values(watermark=_TO)
)
_ADVANCE_ALL = (
    update(series)
    .where(
        series.c.id.in_(bindparam("several", expanding=True)),
        or_(series.c.watermark.is_(None), series.c.watermark < _TO),
    )
    .values(watermark=_TO)
)


def get(connection: Connection, project: str, wanted: Wanted, *, rebuilding: bool = False) -> datetime | None:
    """Return the instant before which a series is collected, or None where it never was."""
    found = identity.find(connection, project, wanted, rebuilding=rebuilding)
    return (
        None if found is None else connection.execute(select(series.c.watermark).where(series.c.id == found)).scalar()
    )


def get_all(connection: Connection, project: str) -> dict[str, datetime]:
    """Return the watermarks of a project's live series by `identity.series_name`, in one query."""
    return {name: state.watermark for name, state in states(connection, project).items() if state.watermark}


def states(connection: Connection, project: str) -> dict[str, identity.Generation]:
    """Return the live generation of each series of a project by `identity.series_name`: watermark and hash."""
    statement = select(series).where(series.c.project == project, series.c.is_live)
    return {
        identity.name_of(row.metric, row.grain, row.entity_type, row.window, row.dimension): identity.Generation(
            id=row.id,
            number=row.generation,
            is_live=True,
            definition_hash=row.definition_hash,
            watermark=row.watermark,
            live_from=row.live_from,
            swept_at=row.swept_at,
        )
        for row in connection.execute(statement)
    }


def advance(
    connection: Connection,
    project: str,
    wanted: Wanted,
    to: datetime,
    *,
    definition_hash: str = "",
    rebuilding: bool = False,
) -> datetime:
    """Move a watermark forward to an instant and return where it stands; a clock that went back moves nothing."""
    to = in_utc(to)
    if not rebuilding and connection.execute(_ADVANCE, {**identity.its(project, wanted), "to": to}).rowcount:
        return to
    held = identity.own(connection, project, wanted, definition_hash, rebuilding=rebuilding)
    if held.watermark is not None and held.watermark >= to:
        return held.watermark
    connection.execute(update(series).where(series.c.id == held.id).values(watermark=to))
    return to


def advance_all(connection: Connection, ids: Sequence[int], to: datetime) -> None:
    """Move the watermarks of series that this transaction holds forward to an instant, none of them back."""
    connection.execute(_ADVANCE_ALL, {"several": list(ids), "to": in_utc(to)})


def note_sweep(connection: Connection, project: str, wanted: Wanted, now: datetime) -> None:
    """Note that a series was read as far back as it ever is; the live one, which exists."""
    statement = update(series).where(identity.IS_IT, series.c.is_live).values(swept_at=_NOW)
    connection.execute(statement, {**identity.its(project, wanted), "now": in_utc(now)})


def note_sweeps(connection: Connection, ids: Sequence[int], now: datetime) -> None:
    """Note that series that this transaction holds were read as far back as they ever are."""
    if ids:
        connection.execute(update(series).where(series.c.id.in_(ids)).values(swept_at=_NOW), {"now": in_utc(now)})


_NOW = bindparam("now", type_=series.c.swept_at.type)
