"""Results on stdout: tables for people, aligned text for pipes, JSON and CSV for programs."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum

Row = Mapping[str, object]

MISSING = "-"
"""What stands for NULL in text; an empty cell would shift the columns of whoever splits on spaces."""
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F, *range(0x80, 0xA0))} | {0x0A: " ", 0x09: " "}
_EXACT_INTEGERS = 2**53


class Format(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def write_rows(rows: Iterable[Row], columns: Sequence[str], form: Format = Format.TABLE) -> None:
    """Write rows to stdout; `columns` are the keys to show, in order, and the header."""
    rows = list(rows)
    match form:
        case Format.JSON:
            write_json([{column: row.get(column) for column in columns} for row in rows])
        case Format.CSV:
            _write_csv(rows, columns)
        case Format.TABLE if sys.stdout.isatty():
            _write_rich(rows, columns)
        case Format.TABLE:
            sys.stdout.write(align(rows, columns))


def write_json(value: object) -> None:
    """Write one JSON document to stdout."""
    sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")


def write_line(text: str = "") -> None:
    """Write one line of a result to stdout."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Write one line that is not part of the result to stderr."""
    sys.stderr.write(text + "\n")


def plain(value: object) -> object:
    """Turn a value into what JSON can say: dates as ISO text, exact decimals as numbers, NaN as null."""
    match value:
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in value]
        case None | bool() | int():
            return value
        case float() | Decimal():
            return _plain_number(value)
        case datetime() | date() | time():
            return value.isoformat()
        case _:  # also members of string enums, which JSON would otherwise write as they are
            return value.hex() if isinstance(value, bytes) else str(value)


def _plain_number(value: float | Decimal) -> int | float | None:
    if not math.isfinite(value):
        return None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


def cell(value: object) -> str:
    """Turn a value into one line of text; numbers keep four decimals, control characters are shown, not obeyed."""
    match value:
        case None:
            return MISSING
        case bool():
            return "yes" if value else "no"
        case float() | Decimal():
            return number(float(value))
        case datetime():
            return value.isoformat(sep=" ").removesuffix(" 00:00:00")
        case list() | tuple():
            return ", ".join(cell(item) for item in value) or MISSING
        case _:
            return str(value).translate(_CONTROL)


def number(value: float) -> str:
    """Write a number for people: whole ones without a point, others with at most four decimals."""
    if not math.isfinite(value):
        return MISSING
    if value.is_integer() and abs(value) < _EXACT_INTEGERS:
        return str(int(value))
    if value and abs(value) < 0.001:
        return f"{value:.3g}"
    return f"{value:.4f}".rstrip("0").rstrip(".")


def align(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Lay rows out in columns of plain text, numbers to the right, two spaces between."""
    lines = [list(columns), *([cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    right = [_is_numeric(rows, column) for column in columns]
    text = [
        "  ".join(
            item.rjust(width) if to_right else item.ljust(width)
            for item, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    ]
    return "\n".join(text) + "\n"


def _is_numeric(rows: Sequence[Row], column: str) -> bool:
    values = [row.get(column) for row in rows if row.get(column) is not None]
    return bool(values) and all(isinstance(v, int | float | Decimal) and not isinstance(v, bool) for v in values)


def _write_csv(rows: Sequence[Row], columns: Sequence[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_csv_cell(row.get(column)) for column in columns])


def _csv_cell(value: object) -> object:
    simple = plain(value)
    if isinstance(simple, list):
        return " ".join(str(item) for item in simple)
    return "" if simple is None else simple


def _write_rich(rows: Sequence[Row], columns: Sequence[str]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if _is_numeric(rows, column) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell(row.get(column))) for column in columns))
    Console().print(table)
