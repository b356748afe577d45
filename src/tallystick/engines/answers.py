"""Answers of drivers that hand out Python rows, as Arrow tables bounded while they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tallystick.engines.limits import Limits, check_size

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE = 10_000


def bounded_table(schema: pa.Schema, chunks: Iterable[Sequence[Sequence[Any]]], limits: Limits) -> pa.Table:
    """Gather chunks of rows into a table; raise ResultTooLargeError as soon as there are too many rows or bytes."""
    import pyarrow as pa

    tables: list[pa.Table] = []
    rows = size = 0
    for chunk in chunks:
        table = pa.table(list(_columns(schema, chunk)), schema=None, names=schema.names)
        rows, size = rows + table.num_rows, size + table.nbytes
        check_size(rows, size, limits)
        tables.append(table)
    if not tables:
        return pa.table([pa.array([], field.type) for field in schema], names=schema.names)
    return pa.concat_tables(tables, promote_options="permissive")


def in_chunks(fetch: Any, limits: Limits) -> Iterator[Sequence[Sequence[Any]]]:
    """Yield what `fetchmany` hands out until it is empty, no more than one row beyond what is allowed at once."""
    size = ROWS_AT_ONCE if limits.rows is None else min(ROWS_AT_ONCE, limits.rows + 1)
    while chunk := fetch(size):
        yield chunk


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
