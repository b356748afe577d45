"""Rows of definitions: found, written with their version, their uses and an audit entry in one go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from tallystick.definitions.about import Status
from tallystick.definitions.drafts import Noun
from tallystick.definitions.project import Warehouse
from tallystick.errors import Location, UnknownNameError
from tallystick.store import audit
from tallystick.store.catalog_tables import definitions as table
from tallystick.store.catalog_tables import uses, versions
from tallystick.store.differences import differences
from tallystick.store.kinds import Author, Kind, Owner
from tallystick.store.reading import about_of, facts_of
from tallystick.store.references import references


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A definition as the catalog keeps it; `body` is the table that was written in the service, None for files."""

    id: int
    project: str
    kind: Kind
    name: str
    owned_by: Owner
    place: Location
    body: Mapping[str, Any] | None
    facts: Mapping[str, Any]
    status: Status
    verified: bool
    position: int
    version: int
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str
    deleted_at: datetime | None

    @property
    def owners(self) -> tuple[str, ...]:
        """Return the people who answer for it."""
        return tuple(self.facts.get("about", {}).get("owners", ()))

    @property
    def tags(self) -> tuple[str, ...]:
        """Return its tags."""
        return tuple(self.facts.get("about", {}).get("tags", ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is about to be written: who owns it, where it stands, and what it says, its SQL in a dialect."""

    owned_by: Owner
    noun: Noun | Warehouse
    body: Mapping[str, Any] | None = None
    place: Location = field(default_factory=Location)
    dialect: str = "duckdb"

    @property
    def facts(self) -> dict[str, Any]:
        """Return what it says as plain data; secrets of a warehouse that a file writes in clear are masked."""
        found: dict[str, Any] = facts_of(self.noun)
        masked: dict[str, Any] = audit.redacted(found) if isinstance(self.noun, Warehouse) else found
        return masked


def find(connection: Connection, project: str, kind: Kind, name: str, *, held: bool = False) -> Definition | None:
    """Return a definition, deleted ones too; `held` keeps other writers away until the transaction ends."""
    statement = select(table).where(table.c.project == project, table.c.kind == kind, table.c.name == name)
    row = connection.execute(statement.with_for_update() if held else statement).first()
    return None if row is None else definition(row)


def get(connection: Connection, project: str, kind: Kind, name: str, *, held: bool = False) -> Definition:
    """Return a definition that is not deleted; raise UnknownNameError."""
    found = find(connection, project, kind, name, held=held)
    if found is None or found.deleted_at is not None:
        raise UnknownNameError(f"there is no {kind} '{name}' in project '{project}'")
    return found


def definition(row: Row[Any]) -> Definition:
    """Return the definition of a row."""
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    place = Location(values.pop("file"), values.pop("line"))
    kind, owner, status = Kind(values.pop("kind")), Owner(values.pop("owned_by")), Status(values.pop("status"))
    return Definition(kind=kind, owned_by=owner, status=status, place=place, **values)


def add(connection: Connection, author: Author, project: str, kind: Kind, name: str, content: Content) -> None:
    """Write a definition that is new, at the end of its kind's order."""
    last = select(func.coalesce(func.max(table.c.position), 0)).where(table.c.project == project, table.c.kind == kind)
    row = _columns(content, author) | {
        "project": project,
        "kind": kind.value,
        "name": name,
        "position": connection.execute(last).scalar_one() + 1,
        "version": 1,
        "created_at": author.at,
        "created_by": author.name,
    }
    found = connection.execute(insert(table).values(row).returning(table.c.id)).scalar_one()
    _remember(connection, author, (found, project, kind, name), 1, content, {}, "create")


def change(
    connection: Connection, author: Author, old: Definition, content: Content, action: str = "update"
) -> list[dict[str, Any]]:
    """Write what a definition says now and return what changed; where nothing did, only its place is noted."""
    columns = _columns(content, author)
    changes = differences(old.facts, columns["facts"])
    is_moved = old.owned_by is not content.owned_by or old.body != content.body
    if not changes and not is_moved:
        if old.place != content.place:
            place = {"file": content.place.file, "line": content.place.line}
            connection.execute(update(table).where(table.c.id == old.id).values(place))
        return []
    version = old.version + 1
    connection.execute(update(table).where(table.c.id == old.id).values(columns | {"version": version}))
    key = (old.id, old.project, old.kind, old.name)
    _remember(connection, author, key, version, content, old.facts, action)
    return changes


def set_column(connection: Connection, found: Definition, **values: Any) -> None:
    """Change columns that are no part of what a definition says."""
    connection.execute(update(table).where(table.c.id == found.id).values(values))


def _columns(content: Content, author: Author) -> dict[str, Any]:
    about = about_of(content.noun)
    return {
        "owned_by": content.owned_by.value,
        "file": content.place.file,
        "line": content.place.line,
        "body": content.body,
        "facts": content.facts,
        "status": about.status.value,
        "verified": about.verified,
        "updated_at": author.at,
        "updated_by": author.name,
    }


def _remember(
    connection: Connection,
    author: Author,
    key: tuple[int, str, Kind, str],
    version: int,
    content: Content,
    before: Mapping[str, Any],
    action: str,
) -> None:
    found, project, kind, name = key
    facts = content.facts
    changes = differences(before, facts)
    row = {"definition_id": found, "number": version, "at": author.at, "author": author.name}
    connection.execute(insert(versions), row | {"body": content.body, "facts": facts, "changes": changes})
    connection.execute(delete(uses).where(uses.c.definition_id == found))
    used = [
        {"definition_id": found, "kind": other.value, "name": text, "parts": parts}
        for (other, text), parts in references(content.noun, content.dialect).items()
    ]
    if used:
        connection.execute(insert(uses), used)
    detail = {"version": version, "changes": changes} if before else {"version": version}
    audit.record(connection, author, action, project=project, kind=kind.value, name=name, detail=detail)
