"""What the service holds, as the documents a project reads beside its files."""

from __future__ import annotations

from sqlalchemy import select

from tallystick.definitions.diagnostics import Diagnostic
from tallystick.definitions.document import Document, parse_toml
from tallystick.definitions.made import Made, place_of
from tallystick.store.catalog_tables import definitions as table
from tallystick.store.database import Store
from tallystick.store.kinds import Kind, Owner
from tallystick.store.migrate import revision
from tallystick.store.toml_text import toml_text


def read_made(store: Store, project: str) -> Made:
    """Return the definitions of a project that were made in the service; a store that was never used holds none."""
    columns = (table.c.kind, table.c.name, table.c.body, table.c.deleted_at)
    with store.reading() as connection:
        if (revision(connection) or "") < CATALOG:
            return Made()
        rows = connection.execute(
            select(*columns)
            .where(table.c.project == project, table.c.owned_by == Owner.SERVICE.value)
            .order_by(table.c.kind, table.c.position)
        ).all()
    documents: list[Document] = []
    findings: list[Diagnostic] = []
    for row in rows:
        if row.deleted_at is None:
            where = Kind(row.kind).table
            text = toml_text([(where, row.name, row.body or {})])
            found = parse_toml(text, place_of(where, row.name))
            documents += [found] if isinstance(found, Document) else []
            findings += [found] if isinstance(found, Diagnostic) else []
    deleted = {(row.kind, row.name): row.deleted_at.date().isoformat() for row in rows if row.deleted_at is not None}
    return Made(documents=tuple(documents), deleted=deleted, findings=tuple(findings))


CATALOG = "0002"
"""The migration that made the catalog."""
