"""Reading `where`: SQL, names of filters, and tables of column, operator and value, in any mix."""

from __future__ import annotations

import math
import re
from datetime import date
from typing import Any

from tallystick.definitions.condition import (
    BARE,
    LISTS,
    MAX_CONDITIONS,
    MAX_TEXT,
    MAX_VALUES,
    RANGES,
    Condition,
    Operator,
    Value,
)
from tallystick.definitions.diagnostics import nearest
from tallystick.definitions.fields import Fields

Structured = tuple[tuple[int, Condition], ...]
"""Conditions with their places among all conditions of a metric."""

_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


def read_where(fields: Fields, key: str = "where") -> tuple[tuple[str, ...], Structured]:
    """Return the conditions under a key as texts, and the structured ones by position; their texts are still empty."""
    if not (found := fields.find(key)):
        return (), ()
    value = found[1]
    if not isinstance(value, list):
        if not isinstance(value, dict):
            return fields.texts(key) or (), ()
        condition = _condition(fields.sub(key))
        return (("",), ((0, condition),)) if condition else ((), ())
    if len(value) > MAX_CONDITIONS:
        hint = "gather values in one `in`, or define a filter on the source"
        message = f"{len(value)} conditions are more than {MAX_CONDITIONS}"
        fields.report("too-many-conditions", message, key, hint=hint)
        return (), ()
    texts: list[str] = []
    structured: list[tuple[int, Condition]] = []
    for index, item in enumerate(value):
        if isinstance(item, dict):
            if condition := _condition(fields.sub(key, index)):
                structured.append((len(texts), condition))
                texts.append("")
        elif isinstance(item, str) and item.strip():
            texts.append(item)
        elif isinstance(item, str):
            fields.report("empty-value", f"an item of '{key}' is empty", key, index)
        else:
            fields.wrong_type("a list of conditions", item, key, index)
    return tuple(texts), tuple(structured)


def _condition(fields: Fields) -> Condition | None:
    """Read one table; None where it does not hold together."""
    before = len(fields.findings)
    column = fields.text("column")
    word = fields.text("op", "operator")
    written = fields.find("value", "values")
    fields.refuse_unknown(within="a condition")
    if "column" not in fields.table:
        fields.report_missing("a condition has no column", "column", hint='write column = "…"')
    elif column is not None and not _COLUMN.fullmatch(column):
        hint = "write a condition on anything but a column as SQL"
        fields.report("bad-condition", f"'{column}' is not the name of a column", "column", hint=hint)
    if not fields.has("op", "operator"):
        fields.report_missing("a condition has no operator", "op", hint='write op = "eq"')
    elif word is not None and word not in list(Operator):
        hint = nearest(word, list(Operator)) or f"known: {', '.join(Operator)}"
        fields.report("bad-condition", f"'{word}' is not an operator", "op", hint=hint)
    if column is None or word is None or len(fields.findings) > before:
        return None
    values = _values(fields, Operator(word), written)
    return None if values is None else Condition(column=column, operator=Operator(word), values=values)


def _values(fields: Fields, operator: Operator, written: tuple[str, Any] | None) -> tuple[Value, ...] | None:
    """Return as many values as the operator takes, or None, reported."""
    if operator in BARE:
        if written:
            fields.report("bad-condition", f"'{operator}' takes no value", written[0], hint="leave it out")
            return None
        return ()
    if written is None:
        hint = 'write value = ["…", "…"]' if operator in LISTS | RANGES else 'write value = "…"'
        fields.report("bad-condition", f"'{operator}' needs a value", "op", hint=hint)
        return None
    key, value = written
    if operator in LISTS and isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    many = operator in LISTS or operator in RANGES
    if many != isinstance(value, list):
        wanted = "a list of values" if many else "one value"
        fields.report("bad-condition", f"'{operator}' takes {wanted}", key, hint=None if many else 'use op = "in"')
        return None
    items = value if many else [value]
    if (operator in RANGES and len(items) != 2) or not items:
        wanted = "two values, the lowest and the highest" if operator in RANGES else "at least one value"
        fields.report("bad-condition", f"'{operator}' takes {wanted}, not {len(items)}", key)
        return None
    if len(items) > MAX_VALUES:
        hint = "join a table that holds them in the source's sql"
        fields.report("too-many-values", f"{len(items)} values are more than {MAX_VALUES}", key, hint=hint)
        return None
    before = len(fields.findings)
    for item in items:
        _check(fields, key, item)
    return None if len(fields.findings) > before else tuple(items)


def _check(fields: Fields, key: str, value: Any) -> None:
    """Report what is wrong with a value whatever column it is for."""
    if not isinstance(value, str | int | float | date):
        fields.report("bad-condition", "a value must be text, a number, true or false, or a date", key)
    elif isinstance(value, str) and len(value) > MAX_TEXT:
        message = f"a value has {len(value):,} characters, more than {MAX_TEXT:,}"
        fields.report("value-too-long", message, key, hint="compare with the start of it")
    elif isinstance(value, str) and "\0" in value:
        fields.report("bad-condition", "a value holds a NUL character, which no engine stores", key)
    elif isinstance(value, float) and not math.isfinite(value):
        fields.report("bad-condition", f"{value} is not a number to compare with", key)
