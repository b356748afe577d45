"""Projects: everything in the store belongs to one, by its name, which never changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from tallystick.errors import UnknownNameError
from tallystick.store import audit
from tallystick.store.catalog_tables import projects
from tallystick.store.kinds import Author

_INSERT: dict[str, Any] = {"postgresql": postgresql.insert(projects), "sqlite": sqlite.insert(projects)}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredProject:
    """A project as the store knows it."""

    name: str
    title: str
    description: str
    time_zone: str
    created_at: datetime
    created_by: str


def ensure_project(
    connection: Connection,
    author: Author,
    name: str,
    *,
    title: str = "",
    description: str = "",
    time_zone: str = "UTC",
) -> StoredProject:
    """Return a project, created where it is not there yet."""
    row: dict[str, Any] = {"name": name, "title": title or name, "description": description, "time_zone": time_zone}
    row |= {"created_at": author.at, "created_by": author.name}
    statement = _INSERT[connection.dialect.name].on_conflict_do_nothing().returning(projects.c.name)
    if connection.execute(statement, row).first():
        audit.record(connection, author, "create", project=name, kind="project", name=name)
    return get_project(connection, name)


def get_project(connection: Connection, name: str) -> StoredProject:
    """Return a project; raise UnknownNameError."""
    row = connection.execute(select(projects).where(projects.c.name == name)).mappings().first()
    if row is None:
        raise UnknownNameError(f"there is no project '{name}' in the store")
    return StoredProject(**row)


def list_projects(connection: Connection) -> tuple[StoredProject, ...]:
    """Return all projects by name."""
    rows = connection.execute(select(projects).order_by(projects.c.name)).mappings()
    return tuple(StoredProject(**row) for row in rows)
