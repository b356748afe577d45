"""Structured conditions: a column, an operator and values, for people and programs that do not write SQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

Value = str | int | float | bool | date
"""A value of a condition; a datetime is a date, too."""

MAX_CONDITIONS = 100
MAX_VALUES = 100
MAX_TEXT = 4096
"""Bounds of one definition: what is longer is a table to join, not a condition (spec tripl §4.3)."""


class Kind(StrEnum):
    """What a column holds, as far as conditions care; a date is a whole day, a timestamp an instant."""

    NUMBER = "number"
    STRING = "string"
    BOOL = "bool"
    TIMESTAMP = "timestamp"
    DATE = "date"


class Operator(StrEnum):
    """What a condition asks of a column."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    BETWEEN = "between"
    NOT_BETWEEN = "not_between"
    IN = "in"
    NOT_IN = "not_in"
    CONTAINS = "contains"
    NOT_CONTAINS = "not_contains"
    STARTS_WITH = "starts_with"
    NOT_STARTS_WITH = "not_starts_with"
    ENDS_WITH = "ends_with"
    NOT_ENDS_WITH = "not_ends_with"
    LIKE = "like"
    NOT_LIKE = "not_like"
    IS_NULL = "is_null"
    IS_NOT_NULL = "is_not_null"
    IS_TRUE = "is_true"
    IS_FALSE = "is_false"

    @property
    def positive(self) -> Operator:
        """Return the operator this one is the opposite of, or itself."""
        word = self.value.removeprefix("not_")
        return Operator(word)

    @property
    def is_negated(self) -> bool:
        """Tell whether this operator is the opposite of another one."""
        return self.value.startswith("not_")


LISTS = frozenset({Operator.IN, Operator.NOT_IN})
RANGES = frozenset({Operator.BETWEEN, Operator.NOT_BETWEEN})
BARE = frozenset({Operator.IS_NULL, Operator.IS_NOT_NULL, Operator.IS_TRUE, Operator.IS_FALSE})
"""Operators without a value."""
TRUTHS = frozenset({Operator.IS_TRUE, Operator.IS_FALSE})
PATTERNS = frozenset(
    operator
    for operator in Operator
    if operator.positive in {Operator.CONTAINS, Operator.STARTS_WITH, Operator.ENDS_WITH, Operator.LIKE}
)
ORDERS = frozenset({Operator.GT, Operator.GTE, Operator.LT, Operator.LTE}) | RANGES


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A column must compare with values as the operator says; a row whose column is NULL passes `is_null` alone."""

    column: str
    operator: Operator
    values: tuple[Value, ...] = ()
