"""Guessing a source from the columns of a table: its time, things, numbers and dimensions, and first metrics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from tallystick.definitions.column_kind import bucketed
from tallystick.definitions.condition import Kind

_NESTED = re.compile(r".*\]|(?:struct|map|json|jsonb|blob|bytea|binary|array|list|tuple|union|variant)\b.*")
_NO_MOMENT = re.compile(r"time(?!stamp)\b.*")
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
    def kind(self) -> Kind:
        """Return what the column holds."""
        return bucketed(self.type)

    @property
    def is_row_key(self) -> bool:
        """Tell whether every row has a value of its own."""
        return self.values > 1 and self.nulls == 0 and self.distinct == self.values


@dataclass(frozen=True, slots=True)
class GuessedMetric:
    """A suggestion: a name, an expression over the rows of the source, and what it means."""

    name: str
    expr: str
    description: str


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
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()
    plain = re.sub(r"[^a-z0-9]+", "_", words).strip("_")
    return f"_{plain}" if plain[:1].isdigit() else plain or "rows"


def guess(name: str, columns: Sequence[Profile], dialect: str = "duckdb") -> Guess:
    """Guess the roles of columns and three metrics, with SQL of a dialect; the same columns give the same guess."""
    name = identifier(name)
    time = _time(columns)
    keys = [c for c in columns if c is not time and _KEY.match(identifier(c.name)) and not c.is_row_key]
    entities = tuple({_thing(c.name): c.name for c in keys}.items())
    numbers = tuple(c.name for c in columns if c.kind is Kind.NUMBER and c not in keys and not _is_key(c))
    dimensions = tuple(c.name for c in columns if c not in keys and _is_dimension(c))
    metrics = _metrics(name, entities, numbers, columns, dialect)
    return Guess(name, time, entities, numbers, dimensions, metrics)


def _time(columns: Sequence[Profile]) -> Profile | None:
    found = [c for c in columns if c.values > 0 and is_moment(c)]

    def rank(column: Profile) -> tuple[bool, int]:
        plain = identifier(column.name)
        known = _TIME_NAMES.index(plain) if plain in _TIME_NAMES else len(_TIME_NAMES)
        return column.nulls > 0, known

    return min(found, key=rank, default=None)


def is_moment(column: Profile) -> bool:
    """Tell whether a column holds dates or instants; a time of day is neither."""
    return column.kind in (Kind.DATE, Kind.TIMESTAMP) and not _NO_MOMENT.fullmatch(column.type.lower())


def _thing(column: str) -> str:
    return _KEY.sub(r"\g<thing>", identifier(column))


def _is_key(column: Profile) -> bool:
    plain = identifier(column.name)
    return plain in {"id", "key", "uuid", "guid"} or bool(_KEY.match(plain))


def _is_dimension(column: Profile) -> bool:
    few = 0 < column.distinct <= MAX_DIMENSION_VALUES and column.distinct * 2 <= column.values
    is_word = column.kind in (Kind.STRING, Kind.BOOL) and not _NESTED.fullmatch(column.type.lower())
    return is_word and few and not _is_key(column)


def _metrics(
    name: str,
    entities: tuple[tuple[str, str], ...],
    numbers: tuple[str, ...],
    columns: Sequence[Profile],
    dialect: str,
) -> tuple[GuessedMetric, ...]:
    """Return three metrics: how many rows there are, then the best two of what the columns allow."""
    sql = {c.name: quoted(c.name, dialect) for c in columns}

    def distinct(name: str, column: str) -> GuessedMetric:
        return GuessedMetric(name, f"count(distinct {sql[column]})", f"Number of different values of {column}.")

    ideas = (
        GuessedMetric(name, "count(*)", f"Number of rows of {name}."),
        *(distinct(f"active_{thing}s", column) for thing, column in entities[:1]),
        *(GuessedMetric(identifier(f"total_{c}"), f"sum({sql[c]})", f"Sum of {c}.") for c in numbers[:1]),
        *(GuessedMetric(identifier(f"average_{c}"), f"avg({sql[c]})", f"Mean of {c}.") for c in numbers),
        *(distinct(identifier(f"different_{c.name}"), c.name) for c in columns),
        *(GuessedMetric(identifier(f"filled_{c.name}"), f"count({sql[c.name]})", "") for c in columns),
    )
    first_of_each_name = {idea.name: idea for idea in reversed(ideas)}
    return tuple(idea for idea in ideas if first_of_each_name[idea.name] is idea)[:3]


def quoted(column: str, dialect: str = "duckdb") -> str:
    """Return a column's name as SQL."""
    return str(exp.to_identifier(column).sql(dialect))
