"""Structured metrics: `aggregation` and `column` instead of a select expression (spec metric_hub §3.11)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tallystick.definitions.diagnostics import nearest
from tallystick.definitions.metric_hub.nouns import MetricDefinition
from tallystick.errors import DefinitionError

AGGREGATIONS = ("sum", "count", "count_where", "any", "recency_within")
COMPARISONS = (">", ">=", "<", "<=", "=", "!=")
_NULL_TESTS = ("IS NULL", "IS NOT NULL")
_COLUMN = re.compile(r"[A-Za-z_]\w*\Z")
_KEYS = (
    *("aggregation", "column", "where", "within_days", "threshold", "scale"),
    *("cumulative_window", "incremental_window", "repeat_windows"),
)
_ABSENT = 30
"""The days since an event that never happened: beyond every window of 28 bits."""


def is_structured(metric: MetricDefinition) -> bool:
    """Tell whether any key of a structured metric is given."""
    return any(name in metric.places for name in _KEYS)


def select_expression_of(metric: MetricDefinition) -> str | None:
    """Return the metric's select expression: as written, or made from its structure; none for a composite."""
    if metric.select_expression is not None or metric.aggregation is None:
        return metric.select_expression
    return select_expression(metric)


def select_expression(metric: MetricDefinition) -> str:
    """Make the select expression of a structured metric; raises `DefinitionError` for a wrong combination."""
    check(metric)
    expression, is_boolean = _aggregate(metric)
    if metric.threshold is not None:
        value = f"CAST({expression} AS INT64)" if is_boolean else expression
        expression = f"({value} {metric.threshold['op']} {literal(metric.threshold['value'])})"
        is_boolean = True
    if metric.scale is not None:
        value = f"CAST({expression} AS INT64)" if is_boolean else expression
        expression = f"({value}) * {metric.scale}"
    return expression


def _aggregate(metric: MetricDefinition) -> tuple[str, bool]:
    column = metric.column
    match metric.aggregation:
        case "sum":
            return f'{{{{agg_sum("{column}")}}}}', False
        case "count":
            return f"COUNT({column})", False
        case "count_where":
            return f"COUNTIF({predicate(metric)})", False
        case "any":
            return f'{{{{agg_any("""{predicate(metric)}""")}}}}', True
        case _:
            days = f"COALESCE(MIN(mozfun.bits28.days_since_seen({column})), {_ABSENT})"
            return f"{days} < {metric.within_days}", True


def predicate(metric: MetricDefinition) -> str:
    """Return the row condition of a structured metric."""
    if not metric.where:
        return str(metric.column)
    return " AND ".join(_condition(condition) for condition in metric.where)


def _condition(condition: Mapping[str, Any]) -> str:
    op = condition.get("op")
    if op is None:
        return str(condition["column"])
    if op in _NULL_TESTS:
        return f"{condition['column']} {op}"
    return f"{condition['column']} {op} {literal(condition['value'])}"


def literal(value: object) -> str:
    """Return a value as a BigQuery literal; `{` is escaped so that no later template sees it."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return str(value)
    text = str(value).replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("{", "\\x7b")
    return f"'{text}'"


def check(metric: MetricDefinition) -> None:
    """Raise `DefinitionError` when the structured keys of a metric do not fit together."""
    place = metric.places.get("aggregation", metric.place)
    at = place.location if place else None
    if problem := _problem(metric):
        message, hint = problem
        raise DefinitionError(f"metric {metric.name}: {message}", at=at, hint=hint)


def _problem(metric: MetricDefinition) -> tuple[str, str | None] | None:
    kind = metric.aggregation
    if kind is None:
        return "structured keys need an aggregation", f"one of {', '.join(AGGREGATIONS)}"
    if metric.select_expression is not None:
        return "select_expression and aggregation exclude each other", "keep one of them"
    if kind not in AGGREGATIONS:
        return f"'{kind}' is not a valid aggregation", nearest(kind, AGGREGATIONS)
    if message := _needs(metric, kind):
        return message, None
    return _column_problem(metric) or _condition_problem(metric.where) or _window_problem(metric)


def _needs(metric: MetricDefinition, kind: str) -> str | None:
    """Say which key an aggregation lacks or does not take."""
    if kind in ("count_where", "any"):
        if bool(metric.column) == bool(metric.where):
            return f"aggregation '{kind}' needs exactly one of column and where"
    elif not metric.column:
        return f"aggregation '{kind}' needs a column"
    elif metric.where:
        return f"aggregation '{kind}' takes no where"
    if kind != "recency_within":
        return None if metric.within_days is None else f"within_days means nothing for aggregation '{kind}'"
    return None if 1 <= (metric.within_days or 0) <= 28 else "within_days must be between 1 and 28"


def _column_problem(metric: MetricDefinition) -> tuple[str, str | None] | None:
    if metric.column and not _COLUMN.match(metric.column):
        return f"column '{metric.column}' is not a plain identifier", None
    return None


def _condition_problem(conditions: Sequence[Mapping[str, Any]]) -> tuple[str, str | None] | None:
    for condition in conditions:
        column, op = str(condition.get("column", "")), condition.get("op")
        if not _COLUMN.match(column):
            return f"column '{column}' in where is not a plain identifier", None
        if op is not None and op not in COMPARISONS + _NULL_TESTS:
            return f"'{op}' is not a valid operator", nearest(str(op), COMPARISONS + _NULL_TESTS)
        if (op in COMPARISONS) != ("value" in condition):
            return f"operator '{op}' {'needs' if op in COMPARISONS else 'takes no'} value", None
    return None


def _window_problem(metric: MetricDefinition) -> tuple[str, str | None] | None:
    threshold = metric.threshold
    if threshold is not None and (threshold.get("op") not in COMPARISONS or "value" not in threshold):
        return "threshold needs op and value", f"op is one of {', '.join(COMPARISONS)}"
    for name in ("cumulative_window", "incremental_window"):
        days = getattr(metric, name)
        if days is not None and days < 1:
            return f"{name} must be a positive number of days", None
    if metric.repeat_windows and not (metric.cumulative_window or metric.incremental_window):
        return "repeat_windows needs a window", None
    return None
