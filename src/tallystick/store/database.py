"""Opening the metadata store: SQLite in the project's folder by default, PostgreSQL for teams."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from tallystick.errors import MissingDriverError, StoreError
from tallystick.store.faults import name_of, translated

DEFAULT_FILE = Path(".tally") / "tally.db"
VARIABLE = "TALLY_STORE"
BUSY_SECONDS = 10
_READING = "tallystick_reading"


class Store:
    """A migrated metadata store; every failure inside its transactions is a StoreError of one line."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self._engine = _engine(url)

    @property
    def name(self) -> str:
        """Return how the store is named to people, without a secret."""
        return name_of(self.url)

    @property
    def is_sqlite(self) -> bool:
        """Tell whether the store is a file of this machine."""
        return self._engine.dialect.name == "sqlite"

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a transaction that writes: all of it is kept, or nothing. Raise StoreError.

        On SQLite it takes the write lock at once (BEGIN IMMEDIATE), so that what is read inside cannot be outdated.
        """
        with translated(self.url), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that only reads, which waits for no writer. Raise StoreError."""
        options: dict[str, Any] = {_READING: True}
        if not self.is_sqlite:
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with translated(self.url), self._engine.connect().execution_options(**options) as connection:
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def open_store(url: str | None = None, *, root: Path | None = None) -> Store:
    """Open a store and bring its tables up to date; without a URL it is TALLY_STORE's, else a file below `root`.

    Raise StoreError where it cannot be reached, is locked, damaged, or was made by a later version; raise
    MissingDriverError without a driver for PostgreSQL.
    """
    store = find_store(url, root=root)
    from tallystick.store.migrate import migrate

    try:
        migrate(store)
    except BaseException:
        store.close()
        raise
    return store


def find_store(url: str | None = None, *, root: Path | None = None) -> Store:
    """Return a store as it is, for reading what may be there; raise StoreError, or MissingDriverError."""
    return Store(_parsed(url or os.environ.get(VARIABLE) or _default(root or Path())))


def _default(root: Path) -> URL:
    return URL.create("sqlite", database=str((root / DEFAULT_FILE).resolve()))


def _parsed(text: str | URL) -> URL:
    """Read a store's URL; `postgres://` and `postgresql://` mean the driver that comes with the extra."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # What cannot be parsed may hold a password, so it is not repeated.
        raise StoreError(
            "the store's URL cannot be read", hint="write sqlite:///FILE or postgresql://USER@HOST/DATABASE"
        ) from None
    if url.drivername in {"postgres", "postgresql"}:
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in {"sqlite", "postgresql"}:
        raise StoreError(
            f"a store cannot be kept in '{url.get_backend_name()}'", hint="use sqlite:///FILE or postgresql://…"
        )
    return url


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    try:
        # Parameters stay out of error messages: they are values of other people's warehouses.
        return create_engine(
            url,
            hide_parameters=True,
            pool_pre_ping=True,
            connect_args={"connect_timeout": BUSY_SECONDS, "options": "-c timezone=UTC -c lock_timeout=30s"},
        )
    except ModuleNotFoundError:
        raise MissingDriverError(
            "the driver for PostgreSQL is not installed", hint="pip install 'tallystick[postgres]'"
        ) from None


def _sqlite(url: URL) -> Engine:
    if url.database and url.database != ":memory:":
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"the store's folder cannot be made: {error.strerror} ({Path(url.database).parent})"
            ) from None
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _: object) -> None:
    """Set what SQLite forgets between connections.

    A killed process loses nothing in any mode. With synchronous = FULL a power cut loses nothing either that was said
    to be kept; NORMAL could lose the newest commits as a whole. Values can be read again, but definitions, tokens and
    the audit cannot, and FULL costs some milliseconds for each commit, of which there is one for many windows.
    """
    connection.isolation_level = None  # the driver would begin transactions in its own way
    for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {setting}")


def _begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get(_READING)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
