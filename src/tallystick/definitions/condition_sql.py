"""Structured conditions as SQL: values as literals of the column's kind, never pasted, alike on every engine."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal

from sqlglot import exp

from tallystick.definitions.column_kind import bucketed
from tallystick.definitions.condition import LISTS, ORDERS, PATTERNS, RANGES, TRUTHS, Condition, Kind, Operator, Value
from tallystick.definitions.source import Source
from tallystick.errors import DefinitionError
from tallystick.sql import buckets, portable
from tallystick.sql.calendar import UTC_CALENDAR, Calendar, start_of_day

_CANONICAL = "duckdb"
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_LIKE = re.compile(r"(?:[^\\]|\\[%_\\])*", re.DOTALL)


def kind_of(source: Source, column: str) -> Kind | None:
    """Return what a source's own keys say a column holds, or None where only the warehouse knows."""
    described = source.columns.get(column)
    if described is not None and described.type:
        return bucketed(described.type)
    if column == source.time:
        return Kind.DATE if source.time_is_date else Kind.TIMESTAMP
    return None


def render(condition: Condition, kind: Kind | None, dialect: str, calendar: Calendar = UTC_CALENDAR) -> str:
    """Return a condition as SQL of a dialect; raise DefinitionError where column, operator and values do not fit.

    A bare date that is compared with instants is the whole day of the calendar.
    """
    check(condition, kind)
    tree = portable.rewrite(_tree(condition, kind, calendar), dialect)
    return str(tree.sql(dialect))


def check(condition: Condition, kind: Kind | None) -> None:
    """Raise DefinitionError unless the operator and the values fit what the column holds (spec tripl §4.3)."""
    operator, column = condition.operator, condition.column
    if kind is not None:
        holds = f"column '{column}' holds {_HOLDS[kind]}"
        if operator in PATTERNS and kind is not Kind.STRING:
            raise DefinitionError(f"'{operator}' looks into text, and {holds}", hint="use eq, in or between")
        if operator in TRUTHS and kind is not Kind.BOOL:
            raise DefinitionError(f"'{operator}' asks for a truth, and {holds}", hint="use eq, or is_not_null")
        if operator in ORDERS and kind is Kind.BOOL:
            raise DefinitionError(f"'{operator}' asks for an order, and {holds}", hint="use is_true or is_false")
    for value in condition.values:
        if operator in PATTERNS:
            _check_pattern(operator, value)
        elif kind is not None:
            _LITERALS[kind](value, column)


_HOLDS = {
    Kind.NUMBER: "numbers",
    Kind.STRING: "text",
    Kind.BOOL: "true or false",
    Kind.TIMESTAMP: "instants",
    Kind.DATE: "dates",
}


def _check_pattern(operator: Operator, value: Value) -> None:
    if not isinstance(value, str):
        raise DefinitionError(f"'{operator}' takes text, not {value}", hint=f'write value = "{value}"')
    if not value:
        raise DefinitionError(f"'{operator}' takes text that is not empty", hint="leave the condition out")
    if operator.positive is Operator.LIKE and not _LIKE.fullmatch(value):
        raise DefinitionError(f"the pattern '{value}' escapes nothing", hint=r"write a backslash as \\")


# -- trees ------------------------------------------------------------------------------------------------------------


def _tree(condition: Condition, kind: Kind | None, calendar: Calendar) -> exp.Expr:
    """Return the condition in our own spelling; a negated one is NOT around its opposite."""
    operator = condition.operator
    column: exp.Expr = exp.column(*reversed(condition.column.split(".")))
    if any(_is_whole_day(value, kind) for value in condition.values) and operator not in PATTERNS:
        tree = _of_days(
            operator.positive, column, [_bounds(value, kind, condition, calendar) for value in condition.values]
        )
    else:
        tree = _positive(operator.positive, column, [_literal(value, kind, condition) for value in condition.values])
    return exp.Not(this=exp.paren(tree)) if operator.is_negated else tree


def _positive(operator: Operator, column: exp.Expr, values: list[exp.Expr]) -> exp.Expr:
    if operator in LISTS:
        return exp.In(this=column, expressions=values)
    if operator in RANGES:
        return exp.Between(this=column, low=values[0], high=values[1])
    if operator in _BARE:
        return _BARE[operator](column)
    return _BINARY[operator](column, values[0])


# -- whole days -------------------------------------------------------------------------------------------------------

_Bounds = tuple[exp.Expr, exp.Expr | None]
"""Where a value begins and, for a whole day, where the next one does."""


def _is_whole_day(value: Value, kind: Kind | None) -> bool:
    """Tell whether a value is a date, and the column may hold instants: a date of its own it would equal anyway."""
    if kind not in (Kind.TIMESTAMP, None):
        return False
    if isinstance(value, str):
        return kind is Kind.TIMESTAMP and _DAY.fullmatch(value.strip()) is not None
    return isinstance(value, date) and not isinstance(value, datetime)


def speaks_of_days(condition: Condition, zone: str) -> bool:
    """Tell whether a condition means days of a zone that it cannot where nobody says that its column holds instants."""
    if condition.operator in PATTERNS:
        return False
    days = [value for value in condition.values if _is_whole_day(value, Kind.TIMESTAMP)]
    return any(isinstance(day, str) or zone != "UTC" for day in days)


def _bounds(value: Value, kind: Kind | None, condition: Condition, calendar: Calendar) -> _Bounds:
    if not _is_whole_day(value, kind):
        return _literal(value, kind, condition), None
    day = _from_iso(value.strip(), condition.column, "a date") if isinstance(value, str) else value
    assert isinstance(day, date)  # noqa: S101 - a whole day is one
    try:
        days = (day, day + timedelta(days=1))
        if kind is None:
            # Dates compare with dates and with instants alike, if those are counted in UTC.
            return tuple(buckets.date_literal(each, dialect=_CANONICAL) for each in days)  # type: ignore[return-value]
        instants = [start_of_day(each, calendar) for each in days]
    except OverflowError:
        hint = "compare with an instant"
        raise DefinitionError(f"{day} is at the end of all days, and has no whole one", hint=hint) from None
    first, second = (buckets.literal_instant(each, is_date=False, dialect=_CANONICAL) for each in instants)
    return first, second


def _of_days(operator: Operator, column: exp.Expr, values: list[_Bounds]) -> exp.Expr:
    if operator in LISTS:
        return exp.or_(*(_within(column, *bounds) for bounds in values), copy=False)
    if operator in RANGES:
        return exp.and_(_from(column, values[0][0]), _until(column, *values[1]), copy=False)
    return _DAYS[operator](column, *values[0])


def _within(column: exp.Expr, start: exp.Expr, end: exp.Expr | None) -> exp.Expr:
    if end is None:
        return exp.EQ(this=column.copy(), expression=start)
    return exp.and_(_from(column, start), _until(column, start, end), copy=False)


def _from(column: exp.Expr, start: exp.Expr) -> exp.Expr:
    return exp.GTE(this=column.copy(), expression=start)


def _until(column: exp.Expr, start: exp.Expr, end: exp.Expr | None) -> exp.Expr:
    if end is None:
        return exp.LTE(this=column.copy(), expression=start)
    return exp.LT(this=column.copy(), expression=end)


def _after(column: exp.Expr, start: exp.Expr, end: exp.Expr | None) -> exp.Expr:
    if end is None:
        return exp.GT(this=column.copy(), expression=start)
    return _from(column, end)


_DAYS: dict[Operator, Callable[[exp.Expr, exp.Expr, exp.Expr | None], exp.Expr]] = {
    Operator.EQ: _within,
    Operator.NE: lambda column, start, end: exp.Not(this=exp.paren(_within(column, start, end), copy=False)),
    Operator.GT: _after,
    Operator.GTE: lambda column, start, _: _from(column, start),
    Operator.LT: lambda column, start, _: exp.LT(this=column.copy(), expression=start),
    Operator.LTE: _until,
}


# -- values as they are -----------------------------------------------------------------------------------------------

_BARE: dict[Operator, Callable[[exp.Expr], exp.Expr]] = {
    Operator.IS_NULL: lambda column: exp.Is(this=column, expression=exp.null()),
    Operator.IS_NOT_NULL: lambda column: exp.Not(this=exp.Is(this=column, expression=exp.null())),
    Operator.IS_TRUE: lambda column: exp.EQ(this=column, expression=exp.true()),
    Operator.IS_FALSE: lambda column: exp.EQ(this=column, expression=exp.false()),
}


def _contains(column: exp.Expr, text: exp.Expr) -> exp.Expr:
    """Look for text as it is: `%`, `_` and backslashes mean themselves, and no engine's way to escape matters."""
    return exp.GT(this=exp.StrPosition(this=column, substr=text), expression=exp.Literal.number(0))


def _like(column: exp.Expr, pattern: exp.Expr) -> exp.Expr:
    like = exp.Like(this=column, expression=pattern)
    if "\\" not in pattern.name:
        return like
    return exp.Escape(this=like, expression=exp.Literal.string("\\"))


_BINARY: dict[Operator, Callable[[exp.Expr, exp.Expr], exp.Expr]] = {
    Operator.EQ: lambda column, value: exp.EQ(this=column, expression=value),
    Operator.NE: lambda column, value: exp.NEQ(this=column, expression=value),
    Operator.GT: lambda column, value: exp.GT(this=column, expression=value),
    Operator.GTE: lambda column, value: exp.GTE(this=column, expression=value),
    Operator.LT: lambda column, value: exp.LT(this=column, expression=value),
    Operator.LTE: lambda column, value: exp.LTE(this=column, expression=value),
    Operator.CONTAINS: _contains,
    Operator.STARTS_WITH: lambda column, value: exp.StartsWith(this=column, expression=value),
    Operator.ENDS_WITH: lambda column, value: exp.EndsWith(this=column, expression=value),
    Operator.LIKE: _like,
}


# -- literals ---------------------------------------------------------------------------------------------------------


def _literal(value: Value, kind: Kind | None, condition: Condition) -> exp.Expr:
    if condition.operator in PATTERNS:
        return exp.Literal.string(str(value))
    return _LITERALS[kind or _kind_of_value(value)](value, condition.column)


def _kind_of_value(value: Value) -> Kind:
    if isinstance(value, bool):
        return Kind.BOOL
    if isinstance(value, int | float):
        return Kind.NUMBER
    if isinstance(value, datetime):
        return Kind.TIMESTAMP
    return Kind.DATE if isinstance(value, date) else Kind.STRING


def _number(value: Value, column: str) -> exp.Expr:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return exp.Literal.number(value.strip().removeprefix("+"))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DefinitionError(f"column '{column}' holds numbers, and '{value}' is none", hint="write a number")
    return exp.Literal.number(format(Decimal(repr(value)), "f") if isinstance(value, float) else value)


def _text(value: Value, _column: str) -> exp.Expr:
    return exp.Literal.string(str(value).lower() if isinstance(value, bool) else str(value))


def _truth(value: Value, column: str) -> exp.Expr:
    if isinstance(value, bool):
        return exp.Boolean(this=value)
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return exp.Boolean(this=value.lower() == "true")
    raise DefinitionError(f"column '{column}' holds true or false, not '{value}'", hint="write true or false")


def _instant(value: Value, column: str) -> exp.Expr:
    """Return an instant pinned to UTC; a time without a zone is UTC."""
    if isinstance(value, str):
        value = _from_iso(value, column, "an instant such as 2025-01-31T12:00:00Z")
    if not isinstance(value, date):
        raise DefinitionError(f"column '{column}' holds instants, and '{value}' is none", hint="write a date")
    instant = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)  # noqa: DTZ001
    return buckets.literal_instant(instant, is_date=False, dialect=_CANONICAL)


def _day(value: Value, column: str) -> exp.Expr:
    if isinstance(value, str):
        value = _from_iso(value, column, "a date such as 2025-01-31")
    if isinstance(value, datetime) or not isinstance(value, date):
        raise DefinitionError(f"column '{column}' holds dates, and '{value}' is none", hint="write a date")
    return buckets.date_literal(value, dialect=_CANONICAL)


def _from_iso(text: str, column: str, wanted: str) -> date:
    try:
        return date.fromisoformat(text) if len(text.strip()) == 10 else datetime.fromisoformat(text)
    except ValueError as error:
        raise DefinitionError(f"'{text}' does not compare with column '{column}'", hint=f"write {wanted}") from error


_LITERALS: dict[Kind, Callable[[Value, str], exp.Expr]] = {
    Kind.NUMBER: _number,
    Kind.STRING: _text,
    Kind.BOOL: _truth,
    Kind.TIMESTAMP: _instant,
    Kind.DATE: _day,
}
