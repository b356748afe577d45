"""What a database says when it fails, as one line that says what to do and holds no secret."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from tallystick.errors import StoreError
from tallystick.store.secrecy import without_secrets

_SQLITE = (
    ("disk is full", "the disk below the store is full", "free some space and run it again"),
    ("database is locked", "another process holds the store", "wait until it is done and run it again"),
    ("database table is locked", "another process holds the store", "wait until it is done and run it again"),
    ("not a database", "is not a store: it is some other file", "move it away, or name another with TALLY_STORE"),
    ("malformed", "the store is damaged", "restore it from a copy, or move it away to start anew"),
    ("unable to open", "the store cannot be opened", "check that its folder exists and may be written"),
    ("readonly database", "the store may not be written", "check who owns the file and its folder"),
    ("disk i/o error", "the disk below the store fails", "check the disk, then run it again"),
)
_POSTGRES = (
    ("53", "the server of the store has no room left", "free some space and run it again"),
    ("28", "the store did not accept the credentials", "check user and password"),
    ("3D", "the store's database does not exist", "create it first"),
    ("42501", "the store's user may not do this", "grant it the database's schema"),
    ("40", "the store was changed by another process at the same time", "run it again"),
    ("55P03", "another process holds the store", "wait until it is done and run it again"),
    ("57", "the server of the store ended the connection", "run it again"),
)


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Turn what a database raises inside into a StoreError of one line."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        # The driver's own error may repeat the URL, so it is not shown as the cause either.
        raise store_error(error, url) from None


def store_error(error: Exception, url: URL) -> StoreError:
    """Return the StoreError for a database's failure."""
    original: BaseException = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if isinstance(error, SQLAlchemyError) and not isinstance(error, DBAPIError) and error.__cause__ is not None:
        original = error.__cause__
    text = " ".join(str(original).split())
    place = name_of(url)
    code = getattr(original, "sqlstate", None) or ""
    for known, what, hint in _SQLITE if url.get_backend_name() == "sqlite" else ():
        if known in text.lower():
            message = f"{place} {what}" if what.startswith("is ") else f"{what} ({place})"
            return StoreError(message, hint=hint)
    for known, what, hint in _POSTGRES:
        if code.startswith(known):
            return StoreError(f"{what} ({place})", hint=hint)
    secrets = [str(url.password)] if url.password else []
    if getattr(error, "connection_invalidated", False) or _is_unreachable(original, code):
        text = without_secrets(text, secrets)
        return StoreError(f"the store at {place} cannot be reached: {text}", hint="check host, port and credentials")
    return StoreError(f"the store refused: {without_secrets(text, secrets)}")


def name_of(url: URL) -> str:
    """Return how a store is named to people: its file, or its host and database."""
    if url.get_backend_name() == "sqlite":
        return url.database or "memory"
    port = f":{url.port}" if url.port else ""
    return f"{url.host or url.query.get('host', 'localhost')}{port}/{url.database or ''}"


def _is_unreachable(original: BaseException, code: str) -> bool:
    """Tell whether a PostgreSQL driver failed before a server answered: its errors carry no state then."""
    return type(original).__name__ in {"OperationalError", "ConnectionTimeout"} and not code
