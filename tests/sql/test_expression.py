"""Expressions are classified and split as the table says; what is no aggregate is refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.errors import ExpressionError
from tallystick.sql.expression import MeasureClass, MetricExpression, parse, parse_formula

TABLE = Path(__file__).parent.parent / "fixtures" / "sql" / "expressions.txt"
ROWS = [
    [cell.strip() for cell in line.split("|")]
    for line in TABLE.read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def described(expression: MetricExpression) -> list[str]:
    components = "; ".join(
        f"{part.accumulate.sql('duckdb')} {part.merge}"
        for measure in expression.measures
        for part in measure.components
    )
    ratio = expression.ratio()
    sides = " / ".join(side.sql("duckdb") for side in ratio) if ratio else ""
    return [expression.kind, components, expression.combine.sql("duckdb"), sides]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_expression_is_split_as_the_table_says(row):
    text, *expected = row
    assert described(parse(text)) == [*expected, *[""] * (4 - len(expected))]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a + 1", "is not an aggregate"),
        ("my_function(x)", "is not an aggregate"),
        ("sum(a) + b", "column 'b' stands outside of any aggregate"),
        ("sum(avg(x))", "aggregates an aggregate"),
        ("sum(x", "does not parse"),
        ("count(*) over ()", "with OVER"),
        ("select sum(x) from t", "is not a single expression"),
        ("last(x) / count(distinct u)", "cannot be mixed"),
        ("", "does not parse"),
    ],
)
def test_what_is_no_metric_is_refused_with_a_reason(text, reason):
    with pytest.raises(ExpressionError, match=reason):
        parse(text)


def test_measures_that_occur_twice_are_computed_once():
    assert len(parse("sum(a) / (sum(a) + sum(b))").measures) == 2


@pytest.mark.parametrize(
    ("text", "empty"),
    [("count(*)", True), ("sum(x)", True), ("count(distinct u)", True), ("min(x)", False), ("avg(x)", False), ("sum(a) / sum(b)", False)],
)  # fmt: skip
def test_no_rows_mean_zero_only_for_counts_and_sums(text, empty):
    assert parse(text).is_zero_when_empty is empty


def test_comments_do_not_survive():
    assert parse("sum(a /* all of it */) -- done").direct().sql("duckdb") == "SUM(a)"


def test_classes_are_ordered_from_easiest_to_hardest():
    assert parse("avg(x) + median(x)").kind is MeasureClass.HOLISTIC
    assert parse("avg(x) + sum(x)").kind is MeasureClass.ALGEBRAIC


def test_formula_divides_safely_and_names_its_metrics():
    formula = parse_formula("revenue / (orders + returns)")
    assert formula.names == ("revenue", "orders", "returns")
    assert formula.tree.sql("duckdb") == "revenue / NULLIF(orders + returns, 0)"


@pytest.mark.parametrize(
    ("text", "reason"), [("sum(a) / b", "has no source"), ("1 + 1", "names no metric"), ("a +", "does not parse")]
)
def test_what_is_no_formula_is_refused(text, reason):
    with pytest.raises(ExpressionError, match=reason):
        parse_formula(text)
