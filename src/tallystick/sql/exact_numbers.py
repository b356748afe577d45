"""Exact numbers, divided and averaged: some engines cut what comes out to a fixed number of decimals, DuckDB does not."""

from __future__ import annotations

from sqlglot import exp

EXACT_QUOTIENTS = frozenset({"clickhouse", "bigquery", "snowflake", "spark", "databricks"})
"""Dialects where the quotient of two exact numbers is cut to a fixed number of decimals."""


def quotient(node: exp.Expr, _where: exp.Expr | None, dialect: str) -> exp.Expr | None:
    """Divide as DuckDB does, in floating point: elsewhere a sum of prices over a count would lose its decimals."""
    if dialect not in EXACT_QUOTIENTS or node.args.get("typed"):
        return None
    dividend = node.this.unnest()
    if isinstance(dividend, (exp.Div, exp.SafeDivide)) or (
        isinstance(dividend, exp.Cast) and dividend.is_type("double")
    ):
        return None
    numerator = exp.cast(dividend.copy(), exp.DType.DOUBLE)
    return exp.Div(this=numerator, expression=node.expression.copy(), typed=False, safe=node.args.get("safe"))


EXACT_MEANS = frozenset({"bigquery", "snowflake", "trino", "spark", "databricks"})
"""Dialects where the mean of exact numbers is cut to a fixed number of decimals."""


def mean(node: exp.Expr, _where: exp.Expr | None, dialect: str) -> exp.Expr | None:
    """Average in floating point, as DuckDB does."""
    distinct = isinstance(node.this, exp.Distinct)
    value = node.this.expressions[0] if distinct else node.this
    if dialect not in EXACT_MEANS or value.is_type(exp.DType.DOUBLE):
        return None
    double = exp.cast(value.copy(), exp.DType.DOUBLE)
    return exp.Avg(this=exp.Distinct(expressions=[double]) if distinct else double)
