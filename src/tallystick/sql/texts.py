"""Parts of texts, where an engine has no function that looks for them."""

from __future__ import annotations

from sqlglot import exp


def contains(node: exp.Expr, _where: exp.Expr | None, dialect: str) -> exp.Expr | None:
    """Look for a part of a text by its place where there is no CONTAINS, or one that passes over case."""
    if dialect not in ("postgres", "bigquery", "trino"):
        return None
    place = exp.StrPosition(this=node.this.copy(), substr=node.expression.copy())
    return exp.GT(this=place, expression=exp.Literal.number(0))


def ends_with(node: exp.Expr, _where: exp.Expr | None, dialect: str) -> exp.Expr | None:
    """Compare the end of a text where there is no ENDS_WITH."""
    if dialect not in ("postgres", "trino"):
        return None
    length = exp.Length(this=node.expression.copy())
    if dialect == "trino":
        end: exp.Expr = exp.Substring(this=node.this.copy(), start=exp.Neg(this=length))
    else:
        end = exp.Right(this=node.this.copy(), expression=length)
    return exp.EQ(this=end, expression=node.expression.copy())
