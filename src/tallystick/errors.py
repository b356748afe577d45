"""The error tree: every failure says what is wrong, where, and what would fix it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """Name a place in a file a user wrote; `line` and `column` count from 1."""

    file: str | None = None
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)


class TallystickError(Exception):
    """Root of every error a user can cause or meet; printed as one line, never as a traceback.

    `status` is what it means over HTTP (spec tripl §5.6): 400 a call that cannot be done as asked, 404 a name that is
    not there, 409 a clash with what others use or do, 422 a definition that does not hold.
    """

    exit_code = 1
    status = 400

    def __init__(self, message: str, *, at: Location | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.hint = hint

    def __str__(self) -> str:
        place = f"{self.at}: " if self.at and str(self.at) else ""
        fix = f" ({self.hint})" if self.hint else ""
        return f"{place}{self.message}{fix}"


class UsageError(TallystickError):
    """A command or call was given arguments that make no sense together."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that was asked for does not exist in the project."""

    status = 404


class ProjectError(TallystickError):
    """A project folder cannot be used: missing, empty or unreadable."""

    exit_code = 2


class DefinitionError(TallystickError):
    """A definition is wrong in itself; readers turn it into a diagnostic."""

    status = 422


class ExpressionError(DefinitionError):
    """An SQL fragment does not parse, or is not what its place needs."""


class GuardError(DefinitionError):
    """A user's SQL was refused because it could reach outside the query it belongs to."""


class MacroError(DefinitionError):
    """A macro call in an SQL definition is unknown or has wrong arguments."""


class CompileError(TallystickError):
    """A metric cannot be compiled to the model that was asked for."""

    status = 422


class NotTogetherError(CompileError):
    """Models cannot be computed together with others from these rows, but each by its own query."""


class TooManyDaysError(CompileError):
    """A definition that takes a query per day is asked for more days at a time than `days`."""

    def __init__(self, message: str, days: int) -> None:
        super().__init__(message, hint=f"run at most {days} days at a time")
        self.days = days


class EngineError(TallystickError):
    """A warehouse refused, failed or could not be reached."""

    status = 502


class WarehouseLockedError(EngineError):
    """Another process holds the warehouse file."""

    status = 409


class StorageFullError(EngineError):
    """The disk below the warehouse is full; nothing of the failed step was kept."""


class EngineBrokenError(EngineError):
    """The engine ended with an error of its own and must be opened again; what was committed is safe."""


class ConnectionFailedError(EngineError):
    """A warehouse could not be reached, or did not accept the credentials."""


class WarehouseOptionError(EngineError):
    """A connection setting is unknown, wrong, or refers to something that is not there."""

    exit_code = 2


class MissingDriverError(EngineError):
    """The Python driver of an engine is not installed; the hint names the extra that brings it."""

    exit_code = 2


class QueryTimeoutError(EngineError):
    """A query ran longer than it may and was ended."""

    status = 504


class ResultTooLargeError(EngineError):
    """An answer held more rows or bytes than it may; nothing of it was kept."""

    status = 413


class QueryTooCostlyError(EngineError):
    """A query would cost more than its warehouse allows; it was not run."""

    status = 413


class AccessRefusedError(EngineError):
    """A warehouse is limited to named schemas and tables, and a query reads another one."""

    status = 403


class StoreError(TallystickError):
    """The metadata store refused, failed or could not be reached; nothing of the failed step was kept."""

    status = 503


class ConflictError(TallystickError):
    """A change was refused because of what others use or do; the message names up to ten of them (HTTP 409)."""

    status = 409


class MissingTableError(EngineError):
    """A table or file that a source reads does not exist."""
