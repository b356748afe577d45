"""A warehouse that cannot be opened: whatever asks it for rows gets the reason, and nothing else is held up."""

from __future__ import annotations

from typing import NoReturn, cast

from tallystick.engines.adapter import Engine
from tallystick.engines.limits import UNLIMITED, Limits
from tallystick.errors import EngineError


class _Unavailable:
    """Stands where an engine is expected; every question raises the error that opening it raised."""

    def __init__(self, error: EngineError, dialect: str, schema: str) -> None:
        self._error = error
        self.dialect = dialect
        self.schema = schema

    def run(self, _sql: str, _limits: Limits = UNLIMITED) -> NoReturn:
        """Raise the error."""
        raise self._error

    def rows(self, _sql: str) -> NoReturn:
        """Raise the error."""
        raise self._error

    def columns(self, _relation_sql: str) -> NoReturn:
        """Raise the error."""
        raise self._error

    def close(self) -> None:
        """Close nothing."""


def unavailable(error: EngineError, *, dialect: str, schema: str) -> Engine:
    """Return an engine for reading whose every question raises `error`."""
    # It is asked for rows only, and never has any.
    return cast(Engine, _Unavailable(error, dialect, schema))
