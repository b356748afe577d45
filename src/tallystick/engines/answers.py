"""Answers as Arrow tables, bounded while they are read: of drivers that hand out Python rows or Arrow in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tallystick.engines.limits import Limits, check_size

if TYPE_CHECKING:
    import pyarrow as pa

FEWEST_ROWS_AT_ONCE, MOST_ROWS_AT_ONCE = 100, 10_000
BYTES_AT_ONCE = 4 * 1024 * 1024


def fetched_table(schema: pa.Schema, fetch: Callable[[int], Sequence[Sequence[Any]]], limits: Limits) -> pa.Table:
    """Gather the rows that `fetch(n)` hands out, n at most, until there are none; the wider the rows, the fewer at once.

    Raises ResultTooLargeError as soon as there are too many rows or bytes.
    """
    import pyarrow as pa

    tables: list[pa.Table] = []
    rows = size = 0
    at_once = FEWEST_ROWS_AT_ONCE
    while chunk := fetch(at_once if limits.rows is None else min(at_once, limits.rows + 1 - rows)):
        table = pa.table(list(_columns(schema, chunk)), names=schema.names)
        rows, size = rows + table.num_rows, size + table.nbytes
        check_size(rows, size, limits)
        tables.append(table)
        at_once = _next(at_once, table)
    if not tables:
        return pa.table([pa.array([], field.type) for field in schema], names=schema.names)
    return pa.concat_tables(tables, promote_options="permissive")


def _next(at_once: int, last: pa.Table) -> int:
    """Return how many rows to fetch next: as many as the last ones' width allows, a few times as many at most."""
    width: int = max(1, last.nbytes // last.num_rows)
    return max(1, min(BYTES_AT_ONCE // width, 4 * at_once, MOST_ROWS_AT_ONCE))


def bounded_table(parts: Iterable[pa.Table | pa.RecordBatch], limits: Limits) -> pa.Table:
    """Gather the parts of an answer, at least one; raise ResultTooLargeError as soon as there are too many rows or bytes."""
    import pyarrow as pa

    tables: list[pa.Table] = []
    rows = size = 0
    for part in parts:
        rows, size = rows + part.num_rows, size + part.nbytes
        check_size(rows, size, limits)
        tables.append(part if isinstance(part, pa.Table) else pa.Table.from_batches([part]))
    return pa.concat_tables(tables, promote_options="permissive")


def _columns(schema: pa.Schema, rows: Sequence[Sequence[Any]]) -> Iterator[pa.Array]:
    import pyarrow as pa

    for index, field in enumerate(schema):
        values = [row[index] for row in rows]
        if pa.types.is_decimal(field.type):
            yield _decimals(values)
        elif pa.types.is_string(field.type):
            yield pa.array([value if value is None or isinstance(value, str) else str(value) for value in values])
        else:
            yield pa.array(values, field.type)


def _decimals(values: Sequence[Any]) -> pa.Array:
    """Return exact numbers as decimals as wide as they are; where one is NaN or too wide, all as floats."""
    import pyarrow as pa

    numbers = [None if value is None else Decimal(value) for value in values]
    finite = all(number is None or number.is_finite() for number in numbers)
    try:
        return pa.array(numbers) if finite else pa.array([None if n is None else float(n) for n in numbers])
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if n is None else float(n) for n in numbers], pa.float64())
