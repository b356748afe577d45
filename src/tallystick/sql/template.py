"""Templates: constant SQL texts with holes, parsed once per dialect and filled with trees."""

from __future__ import annotations

from functools import lru_cache

import sqlglot
from sqlglot import exp

from tallystick.sql.positions import Notes, without_positions

# What can stand beside any operator without parentheses.
_ATOMS = (exp.Column, exp.Identifier, exp.Literal, exp.Func, exp.Paren, exp.Subquery, exp.Null, exp.Boolean, exp.Var)
_LOOSE_PARENTS = (exp.Binary, exp.Unary, exp.Interval, exp.AtTimeZone)


@lru_cache(maxsize=512)
def _parsed(text: str, dialect: str) -> exp.Expr:
    tree = without_positions(sqlglot.parse_one(text, read=dialect or None))
    for node in tree.find_all(exp.Func):
        mark_filled(node)
    return tree


def mark_filled(node: exp.Expr) -> exp.Expr:
    """Note on a function that it is in the words of the dialect it will be written in; copies keep the note."""
    node._meta = Notes(node._meta or {}, filled=True)  # noqa: SLF001 - `meta` would be copied entry by entry
    return node


def is_filled(node: exp.Expr) -> bool:
    """Tell whether a node came from a template, not from a user."""
    return bool(node.meta_get("filled"))


def fill(text: str, dialect: str, /, **parts: exp.Expr) -> exp.Expr:
    """Return a new tree of `text` with every name such as `_x` replaced by a copy of the part called `x`.

    `text` is written in this package, never by a user. Parts are wrapped in parentheses where an operator could
    tear them apart.
    """
    tree = _parsed(text, dialect).copy()
    for hole in list(tree.find_all(exp.Column)):
        part = parts.get(hole.name[1:]) if hole.name.startswith("_") and not hole.table else None
        if part is None:
            continue
        piece = part.copy()
        if hole.parent is None:
            return piece
        hole.replace(_fitting(piece, hole.parent))
    return tree


def _fitting(piece: exp.Expr, parent: exp.Expr) -> exp.Expr:
    if isinstance(parent, _LOOSE_PARENTS) and (isinstance(piece, exp.Binary) or not isinstance(piece, _ATOMS)):
        return exp.Paren(this=piece)
    return piece
