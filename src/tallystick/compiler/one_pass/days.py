"""The days of a build: for each its calendar buckets, and how far windows reach back and ahead from it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, timedelta

from tallystick.compiler.one_pass.names import create_work
from tallystick.sql.grain import Grain, Window

TABLE = "days"
_EPOCH = date(1970, 1, 1)


def number(day: date) -> int:
    """Return the days since 1970-01-01."""
    return (day - _EPOCH).days


def day_of(days: int) -> date:
    """Return the date a number of days after 1970-01-01."""
    return _EPOCH + timedelta(days=days)


def as_date(column: str) -> str:
    """Return the SQL that turns a day number into a DATE."""
    return f"(DATE '1970-01-01' + {column})"


def bucket_column(grain: Grain) -> str:
    """Return the column with the first day of a bucket."""
    return f"b_{grain.value}"


def next_column(grain: Grain) -> str:
    """Return the column with the first day after a bucket."""
    return f"n_{grain.value}"


def reach_column(window: Window) -> str:
    """Return the column with the first day inside a window whose length differs."""
    return f"s_{window.suffix}"


def leave_column(window: Window) -> str:
    """Return the column with the first day whose window no longer holds a day, for windows whose length differs."""
    return f"l_{window.suffix}"


def reach(window: Window, day: str, days: str) -> str:
    """Return the SQL for the first day inside the window that ends on a day; `days` is the alias of the calendar."""
    return f"{day} - {window.days - 1}" if window.is_fixed else f"{days}.{reach_column(window)}"


def leave(window: Window, day: str, days: str) -> str:
    """Return the SQL for the first day whose window no longer holds a day."""
    return f"{day} + {window.days}" if window.is_fixed else f"{days}.{leave_column(window)}"


def create_days(lent: str, columns: Collection[str]) -> str:
    """Return the statement that takes in the calendar from rows lent under a name."""
    whole = ", ".join(f"{column}::INTEGER AS {column}" for column in columns)
    return create_work(TABLE, f"SELECT {whole} FROM {lent}")
