"""Structured metrics: an expression is made from their keys, and wrong combinations are refused (spec §3.11)."""

from __future__ import annotations

import pytest

from tallystick.definitions.metric_hub.nouns import MetricDefinition
from tallystick.definitions.metric_hub.structured import literal, select_expression
from tallystick.errors import DefinitionError


def metric(**keys) -> MetricDefinition:
    return MetricDefinition(name="m", **keys)


@pytest.mark.parametrize(
    ("keys", "expression"),
    [
        ({"aggregation": "sum", "column": "n"}, '{{agg_sum("n")}}'),
        ({"aggregation": "count", "column": "n"}, "COUNT(n)"),
        ({"aggregation": "count_where", "column": "is_default"}, "COUNTIF(is_default)"),
        (
            {
                "aggregation": "count_where",
                "where": ({"column": "a", "op": "=", "value": "it's {x}"}, {"column": "b", "op": "IS NULL"}),
            },
            "COUNTIF(a = 'it\\'s \\x7bx}' AND b IS NULL)",
        ),
        (
            {"aggregation": "recency_within", "column": "bits", "within_days": 7},
            "COALESCE(MIN(mozfun.bits28.days_since_seen(bits)), 30) < 7",
        ),
        (
            {"aggregation": "sum", "column": "n", "threshold": {"op": ">", "value": 2}, "scale": 100},
            '(CAST(({{agg_sum("n")}} > 2) AS INT64)) * 100',
        ),
    ],
)
def test_expressions(keys, expression):
    assert select_expression(metric(**keys)) == expression


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"column": "n"}, "structured keys need an aggregation"),
        ({"aggregation": "summ", "column": "n"}, "'summ' is not a valid aggregation"),
        ({"aggregation": "sum"}, "needs a column"),
        ({"aggregation": "any", "column": "a", "where": ({"column": "b"},)}, "exactly one of column and where"),
        ({"aggregation": "sum", "column": "a.b"}, "not a plain identifier"),
        ({"aggregation": "recency_within", "column": "a", "within_days": 29}, "between 1 and 28"),
        ({"aggregation": "sum", "column": "a", "within_days": 3}, "within_days means nothing"),
        ({"aggregation": "any", "where": ({"column": "a", "op": ">"},)}, "operator '>' needs value"),
        (
            {"aggregation": "any", "where": ({"column": "a", "op": "LIKE", "value": 1},)},
            "'LIKE' is not a valid operator",
        ),
        ({"aggregation": "sum", "column": "a", "repeat_windows": True}, "repeat_windows needs a window"),
        ({"aggregation": "sum", "column": "a", "cumulative_window": 0}, "positive number of days"),
        ({"aggregation": "sum", "column": "a", "select_expression": "1"}, "exclude each other"),
    ],
)
def test_wrong_combinations(keys, message):
    with pytest.raises(DefinitionError, match=message):
        select_expression(metric(**keys))


@pytest.mark.parametrize(("value", "text"), [(True, "TRUE"), (1.5, "1.5"), ("a\\b\n", "'a\\\\b\\n'")])
def test_literals(value, text):
    assert literal(value) == text
