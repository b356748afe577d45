"""Queries as skeletons with named holes: parsed once, filled with trees, so that nobody's text is pasted into SQL."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from functools import lru_cache

import sqlglot
from sqlglot import exp

from tallystick.compiler.metric_hub.tree import DIALECT, parse_expression

Value = exp.Expr | str | int | float | dt.date | bool | None


def filled(skeleton: str, tables: Mapping[str, exp.Expr] | None = None, **values: Value) -> exp.Select:
    """Return a skeleton's tree with `:name` holes filled: values become literals, tables keep their alias."""
    tree = _parsed(skeleton).copy()
    for table in list(tree.find_all(exp.Table)):
        if isinstance(table.this, exp.Placeholder):
            rows = (tables or {})[table.this.name].copy()
            table.replace(exp.alias_(rows, table.alias, table=True) if table.alias else rows)
    trees = {name: literal(value) for name, value in values.items()}
    return exp.replace_placeholders(tree, **trees)  # type: ignore[return-value]


@lru_cache(maxsize=64)
def _parsed(skeleton: str) -> exp.Expr:
    return sqlglot.parse_one(skeleton, read=DIALECT)


def literal(value: Value) -> exp.Expr:
    """Return a Python value as SQL; a tree stays what it is."""
    if isinstance(value, exp.Expr):
        return value
    if isinstance(value, dt.date):
        return exp.cast(exp.Literal.string(value.isoformat()), exp.DataType.Type.DATE)
    return exp.convert(value)


def column(text: str, table: str, what: str = "column") -> exp.Expr:
    """Return a column expression of a data source, its bare columns qualified by the alias of its rows."""
    tree = parse_expression(text, what)
    for node in list(tree.find_all(exp.Column)):
        qualified = exp.Dot.build([exp.to_identifier(table), *(part.copy() for part in node.parts)])
        if node is tree:
            tree = qualified
        else:
            node.replace(qualified)
    return tree


def all_of(conditions: Iterable[exp.Expr | None]) -> exp.Expr:
    """Return the conjunction of conditions, TRUE for none."""
    present = [condition for condition in conditions if condition is not None]
    return exp.and_(*present) if present else exp.true()


def chain(body: exp.Select, ctes: Iterable[tuple[str, exp.Expr]]) -> exp.Select:
    """Return a query with named steps before it."""
    for name, select in ctes:
        body = body.with_(exp.to_identifier(name), as_=select)
    return body


def shifted(day: exp.Expr, days: int | exp.Expr) -> exp.Expr:
    """Return a date moved by days."""
    return exp.DateAdd(this=day, expression=literal(days), unit=exp.Var(this="DAY"))
