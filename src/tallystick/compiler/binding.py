"""Binding of names that engines read differently: what GROUP BY refers to.

Ordinals and aliases in GROUP BY become the expressions they stand for, so that a projection can be exchanged for
another entity's, and so that the text means the same on engines without alias references (spec oso §4).
"""

from __future__ import annotations

from functools import lru_cache

from sqlglot import exp

from tallystick.errors import ExpressionError
from tallystick.sql.macro_calls import macro_of
from tallystick.sql.macros import parse_template


@lru_cache(maxsize=4096)
def bound_template(text: str, dialect: str | None = None) -> exp.Query:
    """Parse a definition and bind its names; copy the result before changing it."""
    tree = parse_template(text, dialect).copy()
    for select in tree.find_all(exp.Select):
        _bind_group(select)
        _bind_having(select)
        _bind_windows(select)
        _name_casts(select)
    return tree


def _name_casts(select: exp.Select) -> None:
    """Give casts of columns the names of their columns, as OSO's factory does; engines name them otherwise (spec oso §4.3)."""
    if not any(isinstance(projection, exp.Cast) for projection in select.expressions):
        return
    named = [
        exp.Alias(this=each, alias=exp.to_identifier(each.output_name))
        if isinstance(each, exp.Cast) and each.output_name
        else each
        for each in select.expressions
    ]
    select.set("expressions", named)


@lru_cache(maxsize=4096)
def named_columns(text: str, dialect: str | None = None) -> frozenset[str]:
    """Return the names of all columns a definition mentions, in lower case."""
    return frozenset(column.name.lower() for column in bound_template(text, dialect).find_all(exp.Column))


def drop_constant_keys(tree: exp.Expr) -> None:
    """Remove constants from GROUP BY where another key remains: some engines refuse them, none needs them."""
    for group in tree.find_all(exp.Group):
        keys = group.expressions
        kept = [key for key in keys if not is_constant(key)]
        if kept and len(kept) < len(keys):
            group.set("expressions", kept)


def is_constant(node: exp.Expr) -> bool:
    """Tell whether an expression reads no row."""
    return node.find(exp.Column, exp.Query, exp.Parameter, exp.Star) is None and all(
        macro_of(call) is None for call in node.find_all(exp.Anonymous)
    )


def _bind_group(select: exp.Select) -> None:
    group = select.args.get("group")
    if not isinstance(group, exp.Group):
        return
    by_alias = {p.alias: p.this for p in select.expressions if isinstance(p, exp.Alias)}
    keys: list[exp.Expr] = []
    for key in group.expressions:
        if isinstance(key, exp.Literal) and key.is_int:
            keys.append(_projection(select, int(key.name)))
        else:
            keys.append(_aliased(key, by_alias))
    group.set("expressions", list(dict.fromkeys(keys)))


def _projection(select: exp.Select, ordinal: int) -> exp.Expr:
    if not 1 <= ordinal <= len(select.expressions):
        raise ExpressionError(
            f"GROUP BY {ordinal}, but the SELECT has {len(select.expressions)} columns",
            hint="count columns from 1",
        )
    projection: exp.Expr = select.expressions[ordinal - 1].unalias()
    return projection.copy()


def _aliased(key: exp.Expr, by_alias: dict[str, exp.Expr]) -> exp.Expr:
    if isinstance(key, exp.Column) and not key.table and key.name in by_alias:
        target = by_alias[key.name]
        if target.find(exp.AggFunc, exp.Window) is None:
            return target.copy()
    return key


def _bind_windows(select: exp.Select) -> None:
    """Write named windows out where they are used; not every engine has the clause."""
    named = {window.name: window for window in select.args.get("windows") or ()}
    for window in list(select.find_all(exp.Window)):
        definition = named.get(window.alias)
        if definition is not None:
            window.set("alias", None)
            for key in ("partition_by", "order", "spec"):
                value = definition.args.get(key)
                if value is not None:
                    window.set(key, [v.copy() for v in value] if isinstance(value, list) else value.copy())
    if named:
        select.set("windows", None)


def _bind_having(select: exp.Select) -> None:
    """Write aliases of aggregates out in HAVING; a grouped column of the same name is left alone."""
    having = select.args.get("having")
    if having is None:
        return
    aggregates = {p.alias: p.this for p in select.expressions if isinstance(p, exp.Alias) and p.this.find(exp.AggFunc)}
    for column in list(having.find_all(exp.Column)):
        if not column.table and column.name in aggregates and column.find_ancestor(exp.AggFunc, exp.Select) is select:
            column.replace(exp.paren(aggregates[column.name].copy()))
