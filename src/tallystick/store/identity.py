"""Which series there are: one row for each wanted series and each generation of its definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, delete, func, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from tallystick.compiler.series import Wanted
from tallystick.errors import ConflictError
from tallystick.store.tables import series

PLAIN = ""
"""What a key column holds where there is nothing to say: no window, no dimension."""
_NAMES = ("project", "metric", "grain", "window", "entity_type", "dimension")
IS_IT = and_(*(series.c[name] == bindparam(f"its_{name}") for name in _NAMES))
_CREATE: dict[str, Any] = {"postgresql": postgresql.insert(series), "sqlite": sqlite.insert(series)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One state of a series' definition: the live one, an earlier one that is kept, or one that is being built."""

    id: int
    number: int
    is_live: bool
    definition_hash: str
    watermark: datetime | None
    live_from: datetime | None
    swept_at: datetime | None = None

    @property
    def is_being_built(self) -> bool:
        """Tell whether this generation was never live."""
        return not self.is_live and self.live_from is None


class Held(NamedTuple):
    """A series that this transaction writes."""

    id: int
    definition_hash: str
    watermark: datetime | None


def key_of(project: str, wanted: Wanted) -> dict[str, str]:
    """Return the columns that name a series."""
    return {
        "project": project,
        "metric": wanted.metric,
        "grain": wanted.grain.value,
        "window": wanted.window.suffix if wanted.window else PLAIN,
        "entity_type": wanted.entity,
        "dimension": wanted.by or PLAIN,
    }


def series_name(wanted: Wanted) -> str:
    """Return a series' name within its project, such as `revenue/day/store/by country`; runs are kept under it."""
    key = key_of("", wanted)
    return name_of(wanted.metric, key["grain"], wanted.entity, key["window"], key["dimension"])


def name_of(metric: str, grain: str, entity: str, window: str, dimension: str) -> str:
    """Return the name of a series from the columns that identify it."""
    parts = [metric, grain, entity, window, f"by {dimension}" if dimension else ""]
    return "/".join(part for part in parts if part)


def its(project: str, wanted: Wanted) -> dict[str, str]:
    """Return the parameters by which a series is found."""
    return {f"its_{name}": value for name, value in key_of(project, wanted).items()}


def find(connection: Connection, project: str, wanted: Wanted, *, rebuilding: bool = False) -> int | None:
    """Return the id of a series' live generation, or of the one that is being built; None where there is none."""
    found: int | None = connection.execute(_FIND_OF[rebuilding], its(project, wanted)).scalar()
    return found


def own(connection: Connection, project: str, wanted: Wanted, definition_hash: str, *, rebuilding: bool) -> Held:
    """Return a series and hold it until the transaction ends; a first live generation is created.

    Two writers of one series follow each other. Raise ConflictError where a rebuild is asked for that was not begun.
    """
    statement = _HELD_OF[rebuilding]
    found = connection.execute(statement, its(project, wanted)).first()
    if found is None and rebuilding:
        raise ConflictError(
            f"series '{series_name(wanted)}' is not being rebuilt",
            hint="begin a rebuild first, or write the live values",
        )
    if found is None:
        _create(connection, project, wanted, definition_hash, generation=1, is_live=True)
        found = connection.execute(statement, its(project, wanted)).one()
    return Held(*found)


def own_all(connection: Connection, project: str, wanted: Sequence[tuple[Wanted, str]]) -> list[Held]:
    """Return live series and hold them until the transaction ends, in their order; those not there are created.

    Each comes with the hash it is created with. They are held in the order of their ids, so that two writers of some
    of the same series never wait for each other.
    """
    keys = [key_of(project, each) for each, _ in wanted]
    found = _held(connection, project, keys)
    missing = [place for place, key in enumerate(keys) if _tuple(key) not in found]
    if missing:
        rows = [keys[at] | {"generation": 1, "is_live": True, "definition_hash": wanted[at][1]} for at in missing]
        connection.execute(_CREATE[connection.dialect.name].on_conflict_do_nothing(), rows)
        found = _held(connection, project, keys)
    return [found[_tuple(key)] for key in keys]


def _tuple(key: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(key[name] for name in _NAMES[1:])


def _held(connection: Connection, project: str, keys: Sequence[Mapping[str, str]]) -> dict[tuple[str, ...], Held]:
    rows = connection.execute(_HELD_TOGETHER, {"its_project": project, "keys": [_tuple(key) for key in keys]})
    return {tuple(row[3:]): Held(*row[:3]) for row in rows}


def _create(
    connection: Connection, project: str, wanted: Wanted, definition_hash: str, *, generation: int, is_live: bool
) -> None:
    row: dict[str, Any] = dict(key_of(project, wanted))
    row |= {"generation": generation, "is_live": is_live, "definition_hash": definition_hash}
    connection.execute(_CREATE[connection.dialect.name].on_conflict_do_nothing(), row)


def redefine(connection: Connection, held: Held, definition_hash: str) -> None:
    """Note the definition that the newest values of a series follow."""
    connection.execute(update(series).where(series.c.id == held.id).values(definition_hash=definition_hash))


def generations(connection: Connection, project: str, wanted: Wanted) -> tuple[Generation, ...]:
    """Return every generation of a series, oldest first: a chart marks where each became live."""
    columns = ("id", "generation", "is_live", "definition_hash", "watermark", "live_from")
    statement = select(*(series.c[name] for name in columns)).where(IS_IT).order_by(series.c.generation)
    return tuple(
        Generation(id=row[0], number=row[1], is_live=row[2], definition_hash=row[3], watermark=row[4], live_from=row[5])
        for row in connection.execute(statement, its(project, wanted))
    )


def begin_rebuild(connection: Connection, project: str, wanted: Wanted, definition_hash: str) -> None:
    """Start the next generation of a series, to be filled with `rebuilding=True` while the live one stays readable.

    A rebuild for the same hash goes on where it was; one for another hash is dropped.
    """
    own(connection, project, wanted, definition_hash, rebuilding=False)
    found = generations(connection, project, wanted)
    building = found[-1] if found[-1].is_being_built else None
    if building is not None and building.definition_hash == definition_hash:
        return
    if building is not None:
        connection.execute(delete(series).where(series.c.id == building.id))
    number = (building or found[-1]).number + (0 if building else 1)
    _create(connection, project, wanted, definition_hash, generation=number, is_live=False)


def commit_rebuild(connection: Connection, project: str, wanted: Wanted, now: datetime) -> None:
    """Swap the generation that was built into the place of the live one, which is kept; raise ConflictError."""
    new = own(connection, project, wanted, "", rebuilding=True)
    was_live = and_(IS_IT, series.c.is_live)
    connection.execute(
        update(series).where(was_live).values(is_live=False, live_from=_since(now)), its(project, wanted)
    )
    connection.execute(update(series).where(series.c.id == new.id).values(is_live=True, live_from=now))


def abandon_rebuild(connection: Connection, project: str, wanted: Wanted) -> None:
    """Drop what was built and not swapped in."""
    building = find(connection, project, wanted, rebuilding=True)
    if building is not None:
        connection.execute(delete(series).where(series.c.id == building))


def _since(now: datetime) -> Any:
    """Return when a generation became live; the first is given the moment it is replaced, for want of a better one."""
    return func.coalesce(series.c.live_from, bindparam("now", now, type_=series.c.live_from.type))


def _of(*, rebuilding: bool, held: bool) -> Any:
    """Return the statement that finds the live generation, or the newest one that never was live."""
    statement = select(series.c.id, series.c.definition_hash, series.c.watermark).where(IS_IT)
    if rebuilding:
        statement = statement.where(~series.c.is_live, series.c.live_from.is_(None))
    else:
        statement = statement.where(series.c.is_live)
    return statement.with_for_update() if held else statement


_FIND_OF = {flag: _of(rebuilding=flag, held=False) for flag in (False, True)}
_HELD_OF = {flag: _of(rebuilding=flag, held=True) for flag in (False, True)}
_HELD_TOGETHER = (
    select(series.c.id, series.c.definition_hash, series.c.watermark, *(series.c[name] for name in _NAMES[1:]))
    .where(
        series.c.project == bindparam("its_project"),
        series.c.is_live,
        tuple_(*(series.c[name] for name in _NAMES[1:])).in_(bindparam("keys", expanding=True)),
    )
    .order_by(series.c.id)
    .with_for_update()
)
