"""Guessing a source from the columns of a table: its time, things, numbers and dimensions, and first metrics."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NUMBERS = re.compile(r"(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|REAL|DECIMAL.*|NUMERIC.*)$")
MOMENTS = re.compile(r"(DATE|TIMESTAMP.*|DATETIME.*)$")
TEXTS = re.compile(r"(VARCHAR|TEXT|STRING|CHAR.*|ENUM.*|BOOL(EAN)?)$")
_KEY = re.compile(r"(?P<thing>[a-z0-9_]+?)_(?:id|key|uuid|guid)$")
_TIME_NAMES = ("time", "timestamp", "event_time", "occurred_at", "created_at", "date", "day", "ds")
MAX_DIMENSION_VALUES = 100


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known about a column: its type in the engine, how many values and NULLs, how many different ones."""

    name: str
    type: str
    values: int
    nulls: int
    distinct: int

    @property
    def is_row_key(self) -> bool:
        """Tell whether every row has a value of its own."""
        return self.values > 1 and self.nulls == 0 and self.distinct == self.values


@dataclass(frozen=True, slots=True)
class GuessedMetric:
    """A suggestion: a name, an expression, what it means, and whether it reads rows or other metrics."""

    name: str
    expr: str
    description: str
    is_derived: bool = False


@dataclass(frozen=True, slots=True)
class Guess:
    """A source as it could be written down."""

    name: str
    time: Profile | None
    entities: tuple[tuple[str, str], ...]
    numbers: tuple[str, ...]
    dimensions: tuple[str, ...]
    metrics: tuple[GuessedMetric, ...]


def identifier(text: str) -> str:
    """Turn any text into a name that definitions may have."""
    plain = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()).strip("_")
    return f"_{plain}" if plain[:1].isdigit() else plain or "rows"


def guess(name: str, columns: Sequence[Profile]) -> Guess:
    """Guess the roles of columns and three metrics; the same columns always give the same guess."""
    name = identifier(name)
    time = _time(columns)
    keys = [c for c in columns if c is not time and _KEY.match(identifier(c.name)) and not c.is_row_key]
    entities = tuple({_thing(c.name): c.name for c in keys}.items())
    numbers = tuple(c.name for c in columns if NUMBERS.match(c.type) and c not in keys and not _is_key(c))
    dimensions = tuple(c.name for c in columns if c not in keys and _is_dimension(c))
    metrics = _metrics(name, entities, numbers, dimensions, time)
    return Guess(name, time, entities, numbers, dimensions, metrics)


def _time(columns: Sequence[Profile]) -> Profile | None:
    moments = [c for c in columns if MOMENTS.match(c.type) and c.values > 0]

    def rank(column: Profile) -> tuple[bool, int]:
        plain = identifier(column.name)
        known = _TIME_NAMES.index(plain) if plain in _TIME_NAMES else len(_TIME_NAMES)
        return column.nulls > 0, known

    return min(moments, key=rank, default=None)


def _thing(column: str) -> str:
    match = _KEY.match(identifier(column))
    assert match is not None
    return match["thing"]


def _is_key(column: Profile) -> bool:
    plain = identifier(column.name)
    return plain in {"id", "key", "uuid", "guid"} or bool(_KEY.match(plain))


def _is_dimension(column: Profile) -> bool:
    few = 0 < column.distinct <= MAX_DIMENSION_VALUES and column.distinct * 2 <= column.values
    return bool(TEXTS.match(column.type)) and few and not _is_key(column)


def _metrics(
    name: str,
    entities: tuple[tuple[str, str], ...],
    numbers: tuple[str, ...],
    dimensions: tuple[str, ...],
    time: Profile | None,
) -> tuple[GuessedMetric, ...]:
    """Return the number of rows, then the best two of what else the columns allow."""
    count = GuessedMetric(name if name not in dict(entities) else f"{name}_rows", "count(*)", f"Number of {name}.")
    candidates = [*_candidates(name, entities, numbers, dimensions, time), *_last_resorts(count)]
    unique = {metric.name: metric for metric in reversed([count, *candidates])}
    ordered = [count, *(metric for metric in candidates if unique[metric.name] is metric and metric.name != count.name)]
    return tuple(ordered[:3])


def _candidates(
    name: str,
    entities: tuple[tuple[str, str], ...],
    numbers: tuple[str, ...],
    dimensions: tuple[str, ...],
    time: Profile | None,
) -> Iterator[GuessedMetric]:
    for thing, column in entities[:1]:
        text = f"Different {thing}s with at least one row."
        yield GuessedMetric(f"active_{thing}s", f"count(distinct {quoted(column)})", text)
    for column in numbers[:1]:
        yield GuessedMetric(f"total_{identifier(column)}", f"sum({quoted(column)})", f"Sum of {column}.")
    for column in numbers[:1]:
        yield GuessedMetric(f"average_{identifier(column)}", f"avg({quoted(column)})", f"Mean of {column}.")
    for thing, _ in entities[:1]:
        yield GuessedMetric(f"{name}_per_{thing}", f"{name} / active_{thing}s", f"{name} per {thing}.", is_derived=True)
    for column in dimensions[:2]:
        plain = identifier(column)
        yield GuessedMetric(f"different_{plain}", f"count(distinct {quoted(column)})", f"Different values of {column}.")
    if time is not None:
        yield GuessedMetric(f"last_{identifier(time.name)}_day", f"count(distinct cast({quoted(time.name)} as date))", "")


def _last_resorts(count: GuessedMetric) -> Iterator[GuessedMetric]:
    yield GuessedMetric(f"{count.name}_in_thousands", f"{count.name} / 1000", "The same in thousands.", is_derived=True)
    yield GuessedMetric(f"{count.name}_in_millions", f"{count.name} / 1000000", "The same in millions.", is_derived=True)


def quoted(column: str) -> str:
    """Return a column's name as SQL."""
    return column if re.fullmatch(r"[a-z_][a-z0-9_]*", column) else '"' + column.replace('"', '""') + '"'


def text(value: str) -> str:
    """Return a TOML string."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
