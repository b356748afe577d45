"""Bringing a store's tables up to date: Alembic's migrations, run when a store of an earlier version is opened."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from tallystick.errors import StoreError
from tallystick.store.database import Store

HEAD = "0004"
"""The newest migration; asking Alembic for it would cost every start a tenth of a second."""
FOLDER = Path(__file__).parent / "migrations"
_LOCK = 7_411_573_002  # any number, the same for every process


def migrate(store: Store) -> None:
    """Run the migrations a store lacks; raise StoreError where a later version made it."""
    with store.reading() as connection:
        if revision(connection) == HEAD:
            return
    with store.transaction() as connection:
        if not store.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        found = revision(connection)
        if found == HEAD:
            return
        if found is not None and found not in _known():
            raise StoreError(
                f"the store was made by a later version of Tallystick ({store.name}, revision {found})",
                hint="upgrade this one",
            )
        _upgrade(connection)


def revision(connection: Connection) -> str | None:
    """Return the migration a store is at, or None for an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _known() -> set[str]:
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory(str(FOLDER)).walk_revisions()}


def _upgrade(connection: Connection, target: str = "head") -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, target)
