"""The days of a build: for each its calendar buckets, and how far windows reach back and ahead from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlglot import exp

from tallystick.compiler.one_pass.names import DIALECT, create_work
from tallystick.sql import buckets
from tallystick.sql.calendar import Calendar
from tallystick.sql.grain import Grain, Window

TABLE = "days"
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Days:
    """The calendar of a build, and the first day that calendar buckets and samples may start from (None: any)."""

    calendar: Calendar
    start: int | None = None


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


def create_days(days: Days, first: int, last: int, grains: Sequence[Grain], windows: Sequence[Window]) -> str:
    """Return the statement that writes the calendar from a first to a last day number."""
    day = exp.column("d")
    columns = [f"{_number(day)} AS day"]
    for grain in grains:
        bucket = buckets.date_bucket(day, grain, days.calendar, dialect=DIALECT)
        after = exp.cast(buckets.next_bucket(bucket.copy(), grain, dialect=DIALECT), "date")
        columns += [f"{_number(bucket)} AS {bucket_column(grain)}", f"{_number(after)} AS {next_column(grain)}"]
    for window in windows:
        if not window.is_fixed:
            columns.append(f"{_number(buckets.window_start(day, window, dialect=DIALECT))} AS {reach_column(window)}")
            columns.append(f"{_number(buckets.window_leave(day, window, dialect=DIALECT))} AS {leave_column(window)}")
    spine = f"SELECT DATE '1970-01-01' + unnest(range({first}, {last} + 1))::INTEGER AS d"
    return create_work(TABLE, f"SELECT {', '.join(columns)} FROM ({spine}) AS spine")


def _number(day: exp.Expr) -> str:
    return f"({buckets.day_number(day, dialect=DIALECT).sql(DIALECT)})::INTEGER"
