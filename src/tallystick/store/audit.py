"""The audit: one row for every change, written in its transaction, never changed afterwards, without secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from tallystick.store.catalog_tables import audit
from tallystick.store.kinds import Author
from tallystick.store.secrecy import MASK, is_reference, is_secret, without_secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One change: who did what to which thing."""

    id: int
    at: datetime
    author: str
    action: str
    project: str
    kind: str
    name: str
    detail: Mapping[str, Any]


def record(
    connection: Connection,
    author: Author,
    action: str,
    *,
    project: str = "",
    kind: str,
    name: str,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write one entry; secrets in the detail are masked by their names and shapes."""
    row = {"at": author.at, "author": author.name, "action": action, "project": project, "kind": kind, "name": name}
    connection.execute(insert(audit), row | {"detail": redacted(detail or {})})


def entries(
    connection: Connection,
    *,
    project: str | None = None,
    kind: str | None = None,
    name: str | None = None,
    limit: int = 100,
) -> tuple[Entry, ...]:
    """Return the newest entries first."""
    statement = select(audit).order_by(audit.c.id.desc()).limit(limit)
    for column, value in ((audit.c.project, project), (audit.c.kind, kind), (audit.c.name, name)):
        if value is not None:
            statement = statement.where(column == value)
    return tuple(Entry(**row) for row in connection.execute(statement).mappings())


def redacted(value: Any, key: str = "") -> Any:
    """Return a value without secrets: what is named like one, unless it only refers to it, and what looks like one."""
    if isinstance(value, Mapping):
        # A change names its field in a value of its own: {"field": "options.password", "old": …, "new": …}.
        inner = str(value.get("field", ""))
        return {name: redacted(item, inner if name in {"old", "new"} else str(name)) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [redacted(item, key) for item in value]
    if isinstance(value, str):
        return MASK if is_secret(key) and not is_reference(value) else without_secrets(value)
    return MASK if is_secret(key) and value is not None else value
