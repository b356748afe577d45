"""What one query may cost: time, rows and bytes; an engine ends a query that goes beyond."""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.errors import QueryTimeoutError, ResultTooLargeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one read; None is unbounded. Beyond them: QueryTimeoutError or ResultTooLargeError, nothing returned.

    `rows` and `bytes` bound the answer, not what the warehouse reads for it.
    """

    seconds: float | None = None
    rows: int | None = None
    bytes: int | None = None


UNLIMITED = Limits()


def timed_out(seconds: float | None) -> QueryTimeoutError:
    """Return the error of a query that was ended for its time, the same on every engine; None is a limit of its own."""
    if seconds is None:
        return QueryTimeoutError(
            "the warehouse ended the query, which ran longer than its own limit",
            hint="narrow it, or raise the limit there",
        )
    return QueryTimeoutError(
        f"the query ran longer than {seconds:g} s and was ended",
        hint="narrow it, collect fewer buckets at once with 'chunk', or raise 'timeout' in [collect]",
    )


def check_size(rows: int, size: int, limits: Limits) -> None:
    """Raise ResultTooLargeError where an answer holds more rows or bytes than it may."""
    if limits.rows is not None and rows > limits.rows:
        raise ResultTooLargeError(f"the answer holds more than {limits.rows:,} rows", hint="ask for less at once")
    if limits.bytes is not None and size > limits.bytes:
        raise ResultTooLargeError(f"the answer holds more than {limits.bytes:,} bytes", hint="ask for less at once")
