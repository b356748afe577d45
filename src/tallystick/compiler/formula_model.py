"""Derived metrics: each operand aggregated for itself first, joined afterwards, so that no join can inflate a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce

from sqlglot import exp

from tallystick.compiler.aggregate_model import BUCKET, DENOMINATOR, NUMERATOR, VALUE, N, group_by_head
from tallystick.definitions.metric import Aggregate, Formula, Metric
from tallystick.definitions.per_unit import Across
from tallystick.definitions.project import Project
from tallystick.errors import CompileError
from tallystick.sql.expression import FormulaExpression, parse, parse_formula, split_ratio, substitute
from tallystick.sql.positions import mark_definition

Leaf = Callable[[Metric], exp.Query]


def operands(metric: Metric, metrics: Mapping[str, Metric], dialect: str) -> tuple[str, ...]:
    """Return the metrics a derived metric is finally made of, in order of appearance."""
    if not isinstance(metric.definition, Formula):
        return (metric.name,)
    found: dict[str, None] = {}
    for name in parse_formula(metric.definition.expr, dialect).names:
        found |= dict.fromkeys(operands(metrics[name], metrics, dialect))
    return tuple(found)


def formula_tree(metric: Metric, metrics: Mapping[str, Metric], dialect: str) -> exp.Expr:
    """Return the formula with derived operands written out, over the names of metrics that aggregate."""
    assert isinstance(metric.definition, Formula)  # noqa: S101 - the caller dispatches on the definition
    formula: FormulaExpression = parse_formula(metric.definition.expr, dialect)
    nested = {
        name: formula_tree(metrics[name], metrics, dialect)
        for name in formula.names
        if isinstance(metrics[name].definition, Formula)
    }
    return substitute(formula.tree, nested)


def formula_model(
    metric: Metric, project: Project, names: list[str], leaf: Leaf, *, marked: bool = False
) -> exp.Select:
    """Return the query of a derived model: operands stacked, folded to one row per key, then the formula.

    A missing operand counts as 0 where no rows mean 0 (counts, sums, distinct counts) and as NULL elsewhere.
    """
    dialect = project.dialect
    inputs = [project.metrics[name] for name in operands(metric, project.metrics, dialect)]
    stacked = _stack(inputs, names)
    keys = [exp.column(name) for name in (BUCKET, *names)]
    folds = [exp.Max(this=exp.column(operand.name)).as_(operand.name) for operand in inputs]
    folded = group_by_head(
        exp.select(*keys, *folds, exp.Max(this=exp.column(N)).as_(N)).from_(stacked.subquery("operands")), len(keys)
    )
    values = {operand.name: _or_empty(operand, dialect) for operand in inputs}
    tree = formula_tree(metric, project.metrics, dialect)
    if marked:
        mark_definition(tree)
    columns: list[exp.Expr] = [*(key.copy() for key in keys), substitute(tree, values).as_(VALUE)]
    ratio = split_ratio(tree)
    if ratio is not None:
        columns += [
            substitute(side, values).as_(name) for side, name in zip(ratio, (NUMERATOR, DENOMINATOR), strict=True)
        ]
    columns.append(exp.cast(exp.column(N), "bigint").as_(N))
    query = exp.select(*columns).from_("folded")
    for operand in inputs:
        query = query.with_(_cte_name(operand.name), as_=leaf(operand), copy=False)
    return query.with_("folded", as_=folded, copy=False)


def _cte_name(metric: str) -> str:
    return f"{metric}_values"


def _stack(inputs: list[Metric], names: list[str]) -> exp.Query:
    arms: list[exp.Query] = []
    for operand in inputs:
        head = [exp.column(name) for name in (BUCKET, *names)]
        values = [
            exp.column(VALUE).as_(other.name) if other is operand else exp.null().as_(other.name) for other in inputs
        ]
        arms.append(exp.select(*head, *values, exp.column(N)).from_(_cte_name(operand.name)))
    return reduce(lambda left, right: exp.union(left, right, distinct=False, copy=False), arms)


def _or_empty(operand: Metric, dialect: str) -> exp.Expr:
    column = exp.column(operand.name)
    if means_zero_when_empty(operand, dialect):
        return exp.Coalesce(this=column, expressions=[exp.Literal.number(0)])
    return column


def means_zero_when_empty(operand: Metric, dialect: str) -> bool:
    """Tell whether no rows at all mean that an operand is 0 rather than nothing."""
    definition = operand.definition
    if not isinstance(definition, Aggregate):
        return False
    if definition.per_unit is not None:
        return definition.per_unit.across is Across.SUM
    return parse(definition.expr, dialect).is_zero_when_empty


def check_operands(metric: Metric, project: Project) -> None:
    """Raise CompileError where an operand cannot be combined with others by bucket and entity."""
    for name in operands(metric, project.metrics, project.dialect):
        if not isinstance(project.metrics[name].definition, Aggregate):
            raise CompileError(
                f"derived metric '{metric.name}' uses '{name}', which is a whole query",
                hint="write the operand as an expression on a source",
            )
