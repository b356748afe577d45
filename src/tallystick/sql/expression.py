"""Aggregate expressions: parsed once, classified, and split into accumulate / merge / combine.

An expression is a scalar formula over *measures*, its outermost aggregate calls. Each measure says how it can be
derived from finer buckets (DESIGN §2): additive and algebraic ones through stored components, distinct ones through
presence of (entity, key, day), the rest by reading rows again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from tallystick.errors import ExpressionError
from tallystick.sql.positions import without_positions


class MeasureClass(StrEnum):
    """How a value over a long time follows from values over short ones; ordered from easiest to hardest."""

    ADDITIVE = "additive"
    ALGEBRAIC = "algebraic"
    DISTINCT = "distinct"
    SEMI_ADDITIVE = "semi-additive"
    SKETCH = "sketch"
    HOLISTIC = "holistic"


class Merge(StrEnum):
    """The aggregate that merges a stored component into a coarser one."""

    SUM = "sum"
    MIN = "min"
    MAX = "max"
    ANY = "bool_or"
    ALL = "bool_and"


@dataclass(frozen=True, slots=True)
class Component:
    """One stored column of a measure: `accumulate` over rows, then `merge` over buckets."""

    name: str
    accumulate: exp.Expr
    merge: Merge
    is_count: bool = False


@dataclass(frozen=True, slots=True)
class Measure:
    """One aggregate call of an expression.

    `aggregate` computes it straight from rows. Additive and algebraic measures have `components` and `combine`, a
    scalar over component names. Distinct ones have `key`; first/last ones have `key` as the balance and `is_last`.
    """

    name: str
    kind: MeasureClass
    aggregate: exp.Expr
    components: tuple[Component, ...] = ()
    combine: exp.Expr | None = None
    key: exp.Expr | None = None
    is_last: bool = False
    is_count: bool = False


@dataclass(frozen=True, slots=True)
class MetricExpression:
    """A parsed aggregate expression; `combine` is a scalar over measure names."""

    text: str
    kind: MeasureClass
    measures: tuple[Measure, ...]
    combine: exp.Expr
    columns: frozenset[str]

    @property
    def is_gathered_by_day(self) -> bool:
        """Tell whether rows may first be gathered by day and distinct key without changing the value."""
        return all(measure.components or measure.kind is MeasureClass.DISTINCT for measure in self.measures)

    @property
    def is_zero_when_empty(self) -> bool:
        """Tell whether no rows at all mean 0 (a count, sum or distinct count) rather than nothing."""
        if len(self.measures) != 1 or not isinstance(self.combine, exp.Column):
            return False
        measure = self.measures[0]
        return measure.kind is MeasureClass.DISTINCT or any(
            component.merge is Merge.SUM for component in measure.components if measure.kind is MeasureClass.ADDITIVE
        )

    def ratio(self) -> tuple[exp.Expr, exp.Expr] | None:
        """Return numerator and denominator, scalars over measure and component names, where the value is a quotient."""
        if isinstance(self.combine, exp.Column) and isinstance(self.measures[0].aggregate.find(exp.Avg), exp.Avg):
            parts = self.measures[0].components
            return (exp.column(parts[0].name), exp.column(parts[1].name)) if parts else None
        return split_ratio(self.combine)

    def direct(self) -> exp.Expr:
        """Return the expression that computes the value straight from rows."""
        return substitute(self.combine, {measure.name: measure.aggregate for measure in self.measures})


@dataclass(frozen=True, slots=True)
class FormulaExpression:
    """A scalar formula over the names of other metrics."""

    text: str
    tree: exp.Expr
    names: tuple[str, ...]


@lru_cache(maxsize=8192)
def parse(text: str, dialect: str = "duckdb", *, guarded: bool = True) -> MetricExpression:
    """Parse and split an aggregate expression; raise ExpressionError if it is not one.

    Unless `guarded`, a division by 0 gives what the engine says, as it does in a query.
    """
    tree = _parse_scalar(text, dialect).transform(_counted)
    measures: list[Measure] = []
    combine = _extract_measures(tree, measures)
    combine = guard_division(combine) if guarded else combine
    if not measures:
        raise ExpressionError(
            f"'{text}' is not an aggregate", hint="write an aggregate such as sum(amount), count(*) or avg(price)"
        )
    known = {measure.name for measure in measures}
    loose = sorted({column.name for column in combine.find_all(exp.Column) if column.name not in known})
    if loose:
        raise ExpressionError(
            f"column '{loose[0]}' stands outside of any aggregate in '{text}'", hint=f"write e.g. sum({loose[0]})"
        )
    kinds = {measure.kind for measure in measures}
    if MeasureClass.SEMI_ADDITIVE in kinds and not kinds <= {
        MeasureClass.SEMI_ADDITIVE,
        MeasureClass.ADDITIVE,
        MeasureClass.ALGEBRAIC,
    }:
        raise ExpressionError(
            f"first/last cannot be mixed with distinct or holistic aggregates in '{text}'",
            hint="make two metrics and divide them",
        )
    columns = frozenset(column.name for column in tree.find_all(exp.Column))
    return MetricExpression(text, _overall_kind(measures, combine), tuple(measures), combine, columns)


def _counted(node: exp.Expr) -> exp.Expr:
    """Return COUNT_IF as a count: over rows that are none, or all NULL, engines disagree whether it is 0 or NULL."""
    if not isinstance(node, exp.CountIf) or isinstance(node.this, exp.Distinct):
        return node
    return exp.Count(this=exp.Case().when(node.this, exp.Literal.number(1)), big_int=True)


@lru_cache(maxsize=4096)
def parse_formula(text: str, dialect: str = "duckdb") -> FormulaExpression:
    """Parse a formula over metric names; raise ExpressionError if it aggregates or names nothing."""
    tree = _parse_scalar(text, dialect)
    found = next((node for node in tree.walk() if _is_aggregate_call(node)), None)
    if found is not None:
        raise ExpressionError(
            f"'{text}' aggregates, but has no source to aggregate over", hint='add source = "…" to the metric'
        )
    names = tuple(dict.fromkeys(column.name for column in tree.find_all(exp.Column)))
    if not names:
        raise ExpressionError(f"'{text}' names no metric", hint="write a formula such as revenue / orders")
    return FormulaExpression(text, guard_division(tree), names)


def guard_division(tree: exp.Expr) -> exp.Expr:
    """Return the tree with every division giving NULL where its denominator is 0."""

    def protect(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.Div) or isinstance(node.expression, (exp.Literal, exp.Nullif)):
            return node
        divisor = exp.Nullif(this=node.expression.unnest(), expression=exp.Literal.number(0))
        return exp.Div(this=node.this, expression=divisor, typed=False, safe=False)

    return tree.transform(protect)


def split_ratio(tree: exp.Expr) -> tuple[exp.Expr, exp.Expr] | None:
    """Return both sides of a tree that is one guarded division, without its guard."""
    tree = tree.unnest()
    if not isinstance(tree, exp.Div):
        return None
    divisor = tree.expression
    return tree.this.unnest(), divisor.this if isinstance(divisor, exp.Nullif) else divisor


def substitute(tree: exp.Expr, values: dict[str, exp.Expr]) -> exp.Expr:
    """Return the tree with unqualified columns replaced by expressions, bracketed where precedence needs it."""

    def replace(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column) and not node.table and node.name in values:
            value = values[node.name].copy()
            return exp.paren(value, copy=False) if isinstance(value, (exp.Binary, exp.Unary)) and node.parent else value
        return node

    return tree.transform(replace)


def _parse_scalar(text: str, dialect: str) -> exp.Expr:
    try:
        tree = sqlglot.parse_one(text, dialect=dialect)
    except SqlglotError as error:
        details = getattr(error, "errors", None) or [{}]
        reason = details[0].get("description") or str(error).splitlines()[0]
        raise ExpressionError(f"'{text}' does not parse: {reason.rstrip('.')}") from error
    if isinstance(tree, (exp.Query, exp.Command, exp.DDL, exp.Alias)) or not isinstance(tree, exp.Expr):
        raise ExpressionError(f"'{text}' is not a single expression", hint="write a metric over a query as sql = …")
    if tree.find(exp.Window) is not None:
        raise ExpressionError(
            f"'{text}' looks at other rows with OVER",
            hint="do that in the source's sql, and aggregate what comes of it",
        )
    for node in tree.walk():
        node.comments = None
    return without_positions(tree)


_DIALECT_AGGREGATES = frozenset(
    [
        "histogram",
        "product",
        "entropy",
        "kurtosis",
        "kurtosis_pop",
        "sem",
        "geomean",
        "geometric_mean",
        "mad",
        "reservoir_quantile",
        "fsum",
        "kahan_sum",
        "sumkahan",
        "favg",
        "bitstring_agg",
        "map_agg",
        "regr_r2",
        "list_distinct",
        "approx_top_k",
        "groupuniqarray",
        "grouparray",
        "topk",
        "uniq",
        "uniqexact",
        "uniqcombined",
        "quantiles",
        "argmin",
        "argmax",
        "sumif",
        "avgif",
        "countif",
    ]
)


def _is_aggregate_call(node: exp.Expr) -> bool:
    if isinstance(node, (exp.AggFunc, exp.Window)):
        return True
    return isinstance(node, exp.Anonymous) and str(node.this).lower() in _DIALECT_AGGREGATES


def _aggregate_root(node: exp.Expr) -> bool:
    if isinstance(node, (exp.Filter, exp.WithinGroup, exp.IgnoreNulls, exp.RespectNulls)):
        return _aggregate_root(node.this)
    return _is_aggregate_call(node)


def _extract_measures(node: exp.Expr, found: list[Measure]) -> exp.Expr:
    """Return the scalar above the aggregates; append each distinct aggregate call to `found`."""
    if _aggregate_root(node):
        nested = [child for child in node.walk() if child is not node and isinstance(child, exp.AggFunc)]
        if len(nested) > (0 if isinstance(node, (exp.AggFunc, exp.Anonymous)) else 1):
            raise ExpressionError(f"'{node.sql()}' aggregates an aggregate", hint="aggregate in the source's sql first")
        same = next((measure for measure in found if measure.aggregate == node), None)
        if same is None:
            same = _measure(f"m{len(found)}", node)
            found.append(same)
        return exp.column(same.name)
    copy = node.copy()
    for child in list(copy.iter_expressions()):
        replacement = _extract_measures(child, found)
        if replacement is not child:
            child.replace(replacement)
    return copy


def _measure(name: str, node: exp.Expr) -> Measure:
    condition: exp.Expr | None = None
    call = node
    if isinstance(call, exp.Filter):
        condition, call = call.expression.this, call.this
    if isinstance(call, (exp.IgnoreNulls, exp.RespectNulls)) and isinstance(call.this, exp.AnyValue):
        call = call.this
    build = _BUILDERS.get(type(call))
    measure = build(name, call, condition) if build else None
    if measure is not None:
        return measure
    kind = MeasureClass.SKETCH if isinstance(call, (exp.ApproxDistinct, exp.ApproxQuantile)) else MeasureClass.HOLISTIC
    return Measure(name, kind, node.copy())


def _additive(name: str, call: exp.Expr, condition: exp.Expr | None, merge: Merge) -> Measure | None:
    if isinstance(call.this, (exp.Distinct, exp.Order, exp.Limit)) or call.args.get("count") or call.expressions:
        return None
    accumulate = _filtered(call.copy(), condition)
    count = isinstance(call, (exp.Count, exp.CountIf))
    component = Component(f"{name}_0", accumulate, merge, count)
    return Measure(name, MeasureClass.ADDITIVE, accumulate, (component,), exp.column(component.name), is_count=count)


def _count(name: str, call: exp.Expr, condition: exp.Expr | None) -> Measure | None:
    if not isinstance(call.this, exp.Distinct):
        return _additive(name, call, condition, Merge.SUM)
    keys = call.this.expressions
    key = keys[0].copy() if len(keys) == 1 else _whole_key(keys)
    if condition is not None:
        key = exp.Case().when(condition.copy(), key)
    return Measure(name, MeasureClass.DISTINCT, _filtered(call.copy(), condition), key=key, is_count=True)


def _whole_key(keys: list[exp.Expr]) -> exp.Expr:
    """Return several columns as one key that is NULL where any of them is, as COUNT(DISTINCT a, b) counts."""
    missing = exp.or_(*(exp.Is(this=key.copy(), expression=exp.null()) for key in keys))
    return exp.Case().when(missing, exp.null()).else_(exp.Tuple(expressions=[key.copy() for key in keys]))


def _any_value(name: str, call: exp.Expr, condition: exp.Expr | None) -> Measure | None:
    """Read any_value as min: the same for one value, and the same answer every time for several."""
    return _additive(name, exp.Min(this=call.this.copy()), condition, Merge.MIN)


def _average(name: str, call: exp.Expr, condition: exp.Expr | None) -> Measure | None:
    if isinstance(call.this, exp.Distinct):
        return None
    parts = (
        Component(f"{name}_0", _filtered(exp.Sum(this=call.this.copy()), condition), Merge.SUM),
        Component(f"{name}_1", _filtered(exp.Count(this=call.this.copy()), condition), Merge.SUM, is_count=True),
    )
    combine = guard_division(exp.Div(this=exp.column(parts[0].name), expression=exp.column(parts[1].name)))
    return Measure(name, MeasureClass.ALGEBRAIC, _filtered(call.copy(), condition), parts, combine)


def _variance(name: str, call: exp.Expr, condition: exp.Expr | None) -> Measure | None:
    """Split a variance into n, Σx and Σx²: (Σx² - (Σx)²/n) / (n - ddof), never below 0."""
    if isinstance(call.this, exp.Distinct):
        return None
    number = exp.cast(call.this.copy(), "double")
    square = exp.Mul(this=number.copy(), expression=number.copy())
    parts = (
        Component(f"{name}_0", _filtered(exp.Count(this=call.this.copy()), condition), Merge.SUM, is_count=True),
        Component(f"{name}_1", _filtered(exp.Sum(this=number), condition), Merge.SUM),
        Component(f"{name}_2", _filtered(exp.Sum(this=square), condition), Merge.SUM),
    )
    freedom = 0 if isinstance(call, (exp.VariancePop, exp.StddevPop)) else 1
    n, total, squares = (part.name for part in parts)
    spread = f"GREATEST({squares} - {total} * {total} / {n}, 0) / ({n} - {freedom})"
    is_deviation = isinstance(call, (exp.Stddev, exp.StddevPop, exp.StddevSamp))
    value = f"SQRT({spread})" if is_deviation else spread
    combine = sqlglot.parse_one(f"CASE WHEN {n} > {freedom} THEN {value} END", dialect="duckdb")
    return Measure(name, MeasureClass.ALGEBRAIC, _filtered(call.copy(), condition), parts, combine)


def _balance(name: str, call: exp.Expr, condition: exp.Expr | None) -> Measure | None:
    if isinstance(call.this, exp.Order):
        return None
    value = call.this.copy()
    if condition is not None:
        value = exp.Case().when(condition.copy(), value)
    return Measure(
        name,
        MeasureClass.SEMI_ADDITIVE,
        _filtered(call.copy(), condition),
        key=value,
        is_last=isinstance(call, exp.Last),
    )


def _filtered(call: exp.Expr, condition: exp.Expr | None) -> exp.Expr:
    if condition is None:
        return call
    return exp.Filter(this=call, expression=exp.Where(this=condition.copy()))


_BUILDERS: dict[type[exp.Expr], Callable[[str, exp.Expr, exp.Expr | None], Measure | None]] = {
    exp.Sum: lambda n, c, w: _additive(n, c, w, Merge.SUM),
    exp.CountIf: lambda n, c, w: _additive(n, c, w, Merge.SUM),
    exp.Min: lambda n, c, w: _additive(n, c, w, Merge.MIN),
    exp.Max: lambda n, c, w: _additive(n, c, w, Merge.MAX),
    exp.LogicalOr: lambda n, c, w: _additive(n, c, w, Merge.ANY),
    exp.LogicalAnd: lambda n, c, w: _additive(n, c, w, Merge.ALL),
    exp.Count: _count,
    exp.AnyValue: _any_value,
    exp.Avg: _average,
    exp.Variance: _variance,
    exp.VariancePop: _variance,
    exp.Stddev: _variance,
    exp.StddevPop: _variance,
    exp.StddevSamp: _variance,
    exp.First: _balance,
    exp.Last: _balance,
}


def _overall_kind(measures: list[Measure], combine: exp.Expr) -> MeasureClass:
    order = list(MeasureClass)
    hardest = max((measure.kind for measure in measures), key=order.index)
    if hardest is MeasureClass.ADDITIVE and not isinstance(combine, exp.Column):
        return MeasureClass.ALGEBRAIC
    return hardest
