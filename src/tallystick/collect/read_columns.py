"""Answers of a warehouse as columns, and columns as points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tallystick.compiler.passes.numbers import Array, Numbers, of_objects
from tallystick.compiler.series import Point
from tallystick.errors import EngineError
from tallystick.sql.calendar import Calendar, start_of_day

if TYPE_CHECKING:
    import pyarrow as pa

_WORD = 64


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """A column of few distinct values: `names` and the position of each row's among them."""

    names: Sequence[Any]
    codes: Array

    def take(self, where: Array) -> Labels:
        """Return the rows of a mask or of positions."""
        return Labels(self.names, self.codes[where])

    def tolist(self) -> list[Any]:
        """Return the value of every row."""
        names = self.names
        return [names[code] for code in self.codes.tolist()]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SeriesColumns:
    """The points of a series side by side; buckets are named by the instants they start at."""

    bucket: Labels
    value: Numbers
    n: Array
    numerator: Numbers | None = None
    denominator: Numbers | None = None
    entity: Labels | None = None
    dimension: Labels | None = None
    is_other: Array | None = None

    def __len__(self) -> int:
        return len(self.n)

    def points(self) -> tuple[Point, ...]:
        """Return one point per row, in order of bucket, entity and dimension value; what is not finite is None."""
        rows = len(self)
        nothing: list[Any] = [None] * rows
        columns = (
            self.bucket.tolist(),
            self.value.finite().tolist(),
            self.n.tolist(),
            self.numerator.finite().tolist() if self.numerator is not None else nothing,
            self.denominator.finite().tolist() if self.denominator is not None else nothing,
            self.entity.tolist() if self.entity is not None else nothing,
            self.dimension.tolist() if self.dimension is not None else nothing,
            self.is_other.tolist() if self.is_other is not None else [False] * rows,
        )
        found = [
            Point(bucket=b, value=v, n=n, numerator=t, denominator=d, entity_id=e, dimension_value=x, is_other=o)
            for b, v, n, t, d, e, x, o in zip(*columns, strict=True)
        ]
        found.sort(key=_order)
        return tuple(found)


def _order(point: Point) -> tuple[datetime, str, bool, bool, str]:
    value = point.dimension_value
    return (point.bucket, point.entity_id or "", point.is_other, value is None, value or "")


def numbers(column: pa.ChunkedArray, name: str) -> Numbers:
    """Return a column of an answer as numbers; raise EngineError where it holds something else."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_null(kind):
        return Numbers(np.zeros(len(column), np.float64), np.zeros(len(column), bool))
    if pa.types.is_boolean(kind):
        column, kind = column.cast(pa.int64()), pa.int64()
    valid = None if column.null_count == 0 else column.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_floating(kind):
        return Numbers(_filled(column, 0.0).cast(pa.float64()).to_numpy(), valid)
    if pa.types.is_decimal(kind):
        return _decimals(column, valid)
    if pa.types.is_integer(kind):
        try:
            return Numbers(_filled(column, 0).cast(pa.int64()).to_numpy(), valid)
        except pa.ArrowInvalid:
            return of_objects(column.to_pylist())
    raise EngineError(f"column '{name}' holds {kind}, not numbers", hint="make the metric's expression a number")


def whole(column: pa.ChunkedArray, name: str) -> Array:
    """Return a column of counts or codes as integers, of whatever type an engine calls them."""
    return numbers(column, name).data.astype(np.int64, copy=False)


def _filled(column: pa.ChunkedArray, value: float) -> pa.ChunkedArray:
    return column.fill_null(value) if column.null_count else column


def _decimals(column: pa.ChunkedArray, valid: Array | None) -> Numbers:
    """Return decimals as the integers they are stored as where those fit a machine word."""
    import pyarrow as pa

    scale = column.type.scale
    if pa.types.is_decimal128(column.type) and scale >= 0:
        words = [
            np.frombuffer(chunk.buffers()[1], np.int64)[2 * chunk.offset : 2 * (chunk.offset + len(chunk))]
            for chunk in column.chunks
        ]
        pairs = (np.concatenate(words) if words else np.zeros(0, np.int64)).reshape(-1, 2)
        low, high = pairs[:, 0], pairs[:, 1]
        fits = high == low >> (_WORD - 1)
        if valid is not None:
            fits |= ~valid
        if fits.all():
            data = low.copy() if valid is None else np.where(valid, low, 0)
            return Numbers(data, valid, scale)
    values = column.to_pylist()
    if scale <= 0:
        values = [None if value is None else int(value) for value in values]
    return of_objects(values)


def labels(column: pa.ChunkedArray, convert: Callable[[Any], Any]) -> Labels:
    """Return a column as labels in order of appearance, converted; NULL is one of them."""
    if len(column) == 0:
        return Labels([], np.zeros(0, np.int64))
    encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    return Labels(Names(encoded.dictionary, convert), encoded.indices.to_numpy(zero_copy_only=False))


class Names(Sequence[Any]):
    """Values of a dictionary, converted when they are first asked for: assembling needs their number only."""

    def __init__(self, dictionary: pa.Array, convert: Callable[[Any], Any]) -> None:
        self._dictionary, self._convert = dictionary, convert

    @property
    def are_plain(self) -> bool:
        """Tell whether every engine writes the values as they are converted: texts, integers and booleans."""
        import pyarrow.types as kinds

        kind = self._dictionary.type
        return any(
            check(kind) for check in (kinds.is_string, kinds.is_large_string, kinds.is_integer, kinds.is_boolean)
        )

    @cached_property
    def _values(self) -> list[Any]:
        return [None if value is None else self._convert(value) for value in self._dictionary.to_pylist()]

    def __len__(self) -> int:
        return len(self._dictionary)

    def __getitem__(self, index: Any) -> Any:
        return self._values[index]


def texts(column: pa.ChunkedArray) -> Labels:
    """Return a column of ids or dimension values as text."""
    return labels(column, _text)


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        # Where a column has no scale of its own, that of an answer depends on what else is in it.
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return str(value).lower() if isinstance(value, bool) else str(value)


def moments(column: pa.ChunkedArray, calendar: Calendar) -> Labels:
    """Return the start of every row's bucket as an instant: dates begin at local midnight, timestamps are UTC.

    ClickHouse gives a DateTime out as seconds since 1970. Raise EngineError where a bucket is no time at all.
    """
    import pyarrow.types as kinds

    kind = column.type
    is_known = kinds.is_timestamp(kind) or kinds.is_date(kind) or kinds.is_unsigned_integer(kind) or kinds.is_null(kind)
    if not is_known:
        raise EngineError(f"a bucket starts at {kind}, which is no time", hint="check the time column of the source")
    return labels(column, lambda value: _instant(value, calendar))


def _instant(value: Any, calendar: Calendar) -> datetime:
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return start_of_day(value, calendar) if isinstance(value, date) else datetime.fromtimestamp(value, UTC)
