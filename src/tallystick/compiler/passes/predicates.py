"""Conditions taken apart: conjuncts, and the bins of a column in which each conjunct is true or not.

A filter holds where every one of its conjuncts is true; one that is NULL is not. Conjuncts that compare the same
column with literals cut its values into *bins*: named values, stretches between thresholds, and the rest. The number of
a row's bin then says which of them are true, however many there are. A conjunct that is not of that form has two bins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

import numpy as np
from sqlglot import exp

from tallystick.compiler.passes.numbers import Array

_WORD = re.compile(r"[^\W\d][\w .:/@&|-]*")
_INTEGER = re.compile(r"0|[1-9]\d{0,14}")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_TRUTHS = frozenset({"t", "true", "y", "yes", "on", "f", "false", "n", "no", "off", "null", "infinity", "nan", "inf"})
_MOST_POINTS = 200
_ORDERS: Mapping[type[exp.Expr], tuple[bool, bool]] = {
    exp.GT: (False, True),
    exp.GTE: (True, True),
    exp.LT: (True, False),
    exp.LTE: (False, False),
}
_COMPARISONS = frozenset({exp.EQ, exp.NEQ, *_ORDERS})
_MIRRORED: Mapping[type[exp.Expr], type[exp.Expr]] = {
    exp.GT: exp.LT,
    exp.GTE: exp.LTE,
    exp.LT: exp.GT,
    exp.LTE: exp.GTE,
}


def conjuncts(conditions: Iterable[exp.Expr]) -> dict[str, exp.Expr]:
    """Return the conditions that must all be true, by their text."""
    found: dict[str, exp.Expr] = {}
    for condition in conditions:
        tree = condition.unnest()
        if isinstance(tree, exp.And):
            found |= conjuncts([tree.this, tree.expression])
        elif isinstance(tree, exp.Between) and not tree.args.get("symmetric"):
            low = exp.GTE(this=tree.this.copy(), expression=tree.args["low"].copy())
            high = exp.LTE(this=tree.this.copy(), expression=tree.args["high"].copy())
            found |= {low.sql(): low, high.sql(): high}
        else:
            found[tree.sql()] = tree
    return found


@dataclass(frozen=True, slots=True)
class Bins:
    """A way to cut rows: `code` numbers the bin of a row from 0, `truths` says per conjunct in which bins it is true."""

    code: exp.Expr
    size: int
    truths: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class _Test:
    """A comparison of an operand with literals: equality with some of `points` (or none of them), or an order."""

    key: str
    operand: exp.Expr
    points: tuple[exp.Expr, ...]
    order: type[exp.Expr] | None = None
    negated: bool = False


def bins(wanted: Mapping[str, exp.Expr], dialect: str) -> list[Bins]:
    """Return bins that tell every conjunct's truth, those of one operand together where that is safe."""
    tests: dict[str, list[_Test]] = {}
    found: list[Bins] = []
    for key, tree in sorted(wanted.items()):
        test = _test(key, tree)
        if test is None:
            found.append(_two(key, tree))
        else:
            tests.setdefault(test.operand.sql(), []).append(test)
    for group in tests.values():
        made = _binned(group, dialect) if len(group) > 1 else None
        found += [made] if made is not None else [_two(test.key, wanted[test.key]) for test in group]
    return found


def operand_of(key: str, tree: exp.Expr) -> str:
    """Return what conjuncts must have in common to be told by the same bins; each of them is at least two."""
    test = _test(key, tree)
    return key if test is None else test.operand.sql()


def _two(key: str, tree: exp.Expr) -> Bins:
    return Bins(flag(tree), 2, {key: np.array([False, True])})


def flag(condition: exp.Expr) -> exp.Expr:
    """Return 1 where a condition is true and 0 where it is false or NULL."""
    case = exp.Case(ifs=[exp.If(this=condition.copy(), true=exp.Literal.number(1))])
    case.set("default", exp.Literal.number(0))
    return case


def _test(key: str, tree: exp.Expr) -> _Test | None:
    """Read a conjunct as a test of one operand against literals, if it is one."""
    negated = isinstance(tree, exp.Not)
    inner = tree.this.unnest() if negated else tree
    if isinstance(inner, exp.In) and inner.expressions and not inner.args.get("query"):
        points = tuple(inner.expressions)
        return _Test(key, inner.this, points, negated=negated) if all(map(_is_literal, points)) else None
    kind = type(inner)
    if negated or kind not in _COMPARISONS:
        return None
    left, right = inner.this.unnest(), inner.args["expression"].unnest()
    if _is_literal(left) and not _is_literal(right):
        left, right, kind = right, left, _MIRRORED.get(kind, kind)
    if not _is_literal(right) or left.find(exp.Column) is None:
        return None
    if kind in _ORDERS:
        return _Test(key, left, (right,), order=kind)
    return _Test(key, left, (right,), negated=kind is exp.NEQ)


def _is_literal(node: exp.Expr) -> bool:
    if isinstance(node, exp.Neg):
        node = node.this
        return isinstance(node, exp.Literal) and not node.is_string
    return isinstance(node, exp.Literal)


def _binned(tests: list[_Test], dialect: str) -> Bins | None:
    """Return the bins of one operand, or None where literals might mean the same value in two spellings."""
    points = {point.sql(): point for test in tests for point in test.points}
    if len(points) > _MOST_POINTS:
        return None
    kinds = {_kind(point) for point in points.values()}
    if len(kinds) != 1 or None in kinds:
        return None
    kind = kinds.pop()
    ordered = any(test.order is not None for test in tests)
    if ordered and kind not in ("number", "day"):
        return None
    if not _are_apart(list(points.values()), kind):
        return None
    negated = any(test.negated for test in tests)
    if negated and kind == "number" and dialect == "clickhouse":
        # A NaN there is neither below, equal to nor above anything, and yet unequal: no bin of ours holds it.
        return None
    return _stretches(tests, points, kind or "") if ordered else _named(tests, points, negated=negated)


def _kind(point: exp.Expr) -> str | None:
    """Return what a literal is, where every value of that kind has one spelling only."""
    if isinstance(point, exp.Neg) or not point.is_string:
        return "number"
    text = point.name
    if _DAY.fullmatch(text):
        return "day"
    if _INTEGER.fullmatch(text):
        return "integer"
    return "word" if _WORD.fullmatch(text) and text.lower() not in _TRUTHS else None


def _are_apart(points: list[exp.Expr], kind: str | None) -> bool:
    """Tell whether no two literals can be equal, whatever the type or collation of the column."""
    if kind == "number":
        return len({np.float32(float(_value(point))) for point in points}) == len(points)
    return len({point.name.casefold().rstrip() for point in points}) == len(points)


def _value(point: exp.Expr) -> Decimal:
    return -Decimal(point.this.name) if isinstance(point, exp.Neg) else Decimal(point.name)


def _named(tests: list[_Test], points: Mapping[str, exp.Expr], *, negated: bool) -> Bins:
    """Cut by equality: bin 0 is everything else, the last one NULL where that makes a difference."""
    operand = tests[0].operand
    number = {text: index + 1 for index, text in enumerate(sorted(points))}
    ifs = [_when(exp.EQ(this=operand.copy(), expression=points[text].copy()), index) for text, index in number.items()]
    size = len(number) + 1
    if negated:
        ifs.append(_when(exp.Is(this=operand.copy(), expression=exp.null()), size))
        size += 1
    truths: dict[str, Array] = {}
    for test in tests:
        truth = np.full(size, test.negated)
        for point in test.points:
            truth[number[point.sql()]] = not test.negated
        if negated:
            truth[-1] = False
        truths[test.key] = truth
    return _merged(Bins(_case(ifs, 0), size, truths))


def _merged(made: Bins) -> Bins:
    """Give bins in which the same conjuncts are true one number."""
    lines = np.array([made.truths[key] for key in sorted(made.truths)]).T
    kept, number = np.unique(lines, axis=0, return_inverse=True)
    code = made.code.copy()
    for node in [*code.args["ifs"], code]:
        place = "default" if node is code else "true"
        node.set(place, exp.Literal.number(int(number[int(node.args[place].name)])))
    return Bins(code, len(kept), {key: kept[:, index] for index, key in enumerate(sorted(made.truths))})


def _stretches(tests: list[_Test], points: Mapping[str, exp.Expr], kind: str) -> Bins:
    """Cut by order: a bin ends before or after each threshold that is asked for; the last bin is NULL."""
    rank = {text: _value(point) if kind == "number" else point.name for text, point in points.items()}
    cuts: dict[tuple[object, bool], exp.Expr] = {}
    for test in tests:
        for point in test.points:
            for is_after in (False, True) if test.order is None else (not _ORDERS[test.order][0],):
                cuts[rank[point.sql()], is_after] = point
    ordered = sorted(cuts, key=lambda cut: (cut[0], cut[1]))
    operand = tests[0].operand
    ifs = [
        _when((exp.LTE if after else exp.LT)(this=operand.copy(), expression=cuts[at, after].copy()), index)
        for index, (at, after) in enumerate(ordered)
    ]
    at, after = ordered[-1]
    above = (exp.GT if after else exp.GTE)(this=operand.copy(), expression=cuts[at, after].copy())
    ifs.append(_when(above, len(ordered)))
    size = len(ordered) + 2
    position = {cut: index for index, cut in enumerate(ordered)}
    truths = {test.key: _stretch_truth(test, position, rank, size) for test in tests}
    return _merged(Bins(_case(ifs, size - 1), size, truths))


def _stretch_truth(
    test: _Test, position: Mapping[tuple[object, bool], int], rank: Mapping[str, object], size: int
) -> Array:
    truth = np.full(size, False)
    if test.order is not None:
        is_before, is_above = _ORDERS[test.order]
        cut = position[rank[test.points[0].sql()], not is_before]
        truth[cut + 1 : size - 1] = is_above
        truth[: cut + 1] = not is_above
        return truth
    for point in test.points:
        at = rank[point.sql()]
        truth[position[at, False] + 1 : position[at, True] + 1] = True
    if test.negated:
        truth[: size - 1] = ~truth[: size - 1]
    return truth


def _when(condition: exp.Expr, number: int) -> exp.If:
    return exp.If(this=condition, true=exp.Literal.number(number))


def _case(ifs: list[exp.If], default: int) -> exp.Case:
    return exp.Case(ifs=ifs, default=exp.Literal.number(default))


@dataclass(frozen=True, slots=True)
class Atoms:
    """Several bins together: the number of a row's combination, and in which combinations a filter is true."""

    bins: tuple[Bins, ...]

    @property
    def size(self) -> int:
        """Return the number of combinations."""
        size = 1
        for each in self.bins:
            size *= each.size
        return size

    def code(self) -> exp.Expr:
        """Return the number of a row's combination."""
        parts: list[exp.Expr] = []
        for each, stride in zip(self.bins, self._strides(), strict=True):
            code = each.code.copy()
            parts.append(code if stride == 1 else exp.Mul(this=code, expression=exp.Literal.number(stride)))
        tree: exp.Expr = exp.Literal.number(0) if not parts else parts[0]
        for part in parts[1:]:
            tree = exp.Add(this=tree, expression=part)
        return tree

    def truth(self, where: Iterable[str], codes: Array) -> Array:
        """Return for each of some combinations whether all conjuncts are true in it."""
        wanted = set(where)
        found = np.ones(len(codes), bool)
        for each, stride in zip(self.bins, self._strides(), strict=True):
            mine = wanted & each.truths.keys()
            if mine:
                bin_truth = np.logical_and.reduce([each.truths[key] for key in sorted(mine)])
                found &= bin_truth[(codes // stride) % each.size]
                wanted -= mine
        assert not wanted, wanted  # noqa: S101 - bins are made of every conjunct of the filters
        return found

    def _strides(self) -> list[int]:
        strides = [1]
        for each, _ in pairwise([*self.bins, None]):
            assert each is not None  # noqa: S101 - only the last one is missing
            strides.append(strides[-1] * each.size)
        return strides[: len(self.bins)]
