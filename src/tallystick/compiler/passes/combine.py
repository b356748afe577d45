"""Scalars over cells, computed column by column as the engine would: NULL in, NULL out, integers exact."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sqlglot import exp

from tallystick.compiler.passes.numbers import EXACT, Array, Numbers

_SIMPLE = (exp.Column, exp.Paren, exp.Neg)
_ARITHMETIC = (exp.Add, exp.Sub, exp.Mul)


class InexactError(ArithmeticError):
    """A value does not fit the numbers used here; the engine has to compute it."""


def can_combine(tree: exp.Expr) -> bool:
    """Tell whether `combine` computes a tree with the value and the type the engine would give it."""
    if isinstance(tree, exp.Literal):
        return not tree.is_string
    if isinstance(tree, exp.Column):
        return True
    if isinstance(tree, (exp.Paren, exp.Neg)):
        return can_combine(tree.this)
    if isinstance(tree, exp.Div):
        return _is_measured(tree.this) and _is_measured(tree.expression)
    if isinstance(tree, _ARITHMETIC):
        sides = (tree.this, tree.expression)
        # Elsewhere than in a quotient decimals have types of their own.
        return all(can_combine(side) and not _is_fraction(side) for side in sides)
    return False


def _is_fraction(tree: exp.Expr) -> bool:
    return isinstance(tree.unnest(), exp.Literal) and not tree.unnest().is_int


def _is_measured(tree: exp.Expr) -> bool:
    """Tell whether a side of a quotient can be computed in floating point."""
    if isinstance(tree, exp.Nullif):
        return _is_measured(tree.this) and tree.expression.sql() == "0"
    if isinstance(tree, exp.Literal):
        return not tree.is_string and float(tree.name) != 0
    if isinstance(tree, exp.Column):
        return True
    if isinstance(tree, (exp.Paren, exp.Neg)):
        return _is_measured(tree.this)
    if isinstance(tree, (*_ARITHMETIC, exp.Div)):
        return _is_measured(tree.this) and _is_measured(tree.expression)
    return False


def combine(tree: exp.Expr, values: Mapping[str, Numbers], size: int) -> Numbers:
    """Return a scalar over named columns; raise InexactError where integers would not fit."""
    if isinstance(tree, exp.Column):
        return values[tree.name]
    if isinstance(tree, exp.Literal):
        if tree.is_int:
            return Numbers(np.full(size, int(tree.name), np.int64))
        return Numbers(np.full(size, float(tree.name)))
    if isinstance(tree, exp.Paren):
        return combine(tree.this, values, size)
    if isinstance(tree, exp.Neg):
        inner = combine(tree.this, values, size)
        return Numbers(-inner.data, inner.valid, inner.scale)
    if isinstance(tree, exp.Nullif):
        inner = combine(tree.this, values, size)
        return Numbers(inner.data, _both(inner.presence(), inner.data != 0), inner.scale)
    if isinstance(tree, exp.Div):
        return _quotient(combine(tree.this, values, size), combine(tree.expression, values, size))
    return _arithmetic(tree, combine(tree.this, values, size), combine(tree.expression, values, size))


def _quotient(left: Numbers, right: Numbers) -> Numbers:
    left, right = left.floats(), right.floats()
    valid = _valid(left, right)
    with np.errstate(all="ignore"):
        data = left.data / right.data
    return Numbers(data if valid is None else np.where(valid, data, 0.0), valid)


def _arithmetic(tree: exp.Expr, left: Numbers, right: Numbers) -> Numbers:
    operation = {"add": np.add, "sub": np.subtract, "mul": np.multiply}[tree.key]
    valid = _valid(left, right)
    if left.data.dtype.kind == "f" or right.data.dtype.kind == "f":
        with np.errstate(all="ignore"):
            return Numbers(operation(left.floats().data, right.floats().data), valid)
    if object in (left.data.dtype, right.data.dtype) or left.scale != right.scale:
        raise InexactError
    one, other = _reach(left), _reach(right)
    if (one * other if tree.key == "mul" else one + other) >= EXACT * 512:
        raise InexactError
    scale = left.scale * 2 if tree.key == "mul" else left.scale
    return Numbers(operation(left.data, right.data), valid, scale)


def _reach(column: Numbers) -> float:
    return float(np.abs(column.data.astype(np.float64)).max(initial=0))


def _valid(left: Numbers, right: Numbers) -> Array | None:
    if left.valid is None:
        return right.valid
    return left.valid if right.valid is None else left.valid & right.valid


def _both(left: Array, right: Array) -> Array | None:
    both: Array = left & right
    return None if both.all() else both
