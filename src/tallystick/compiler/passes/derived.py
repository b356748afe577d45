"""Derived metrics over series that were read already: joined on the union of their keys, then the formula."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlglot import exp

from tallystick.compiler.formula_model import check_operands, formula_tree, means_zero_when_empty, operands
from tallystick.compiler.passes.combine import can_combine
from tallystick.compiler.plan import find_metric
from tallystick.compiler.series import Wanted
from tallystick.definitions.metric import Aggregate, Formula
from tallystick.definitions.project import Project
from tallystick.sql.expression import split_ratio


@dataclass(frozen=True, slots=True)
class Derivation:
    """A series over others: `tree` and both sides of `ratio` are scalars over the names of operands.

    Operands in `zero_when_empty` count as 0 where they have no value: no rows mean 0 there.
    """

    wanted: Wanted
    operands: Mapping[str, Wanted]
    tree: exp.Expr
    ratio: tuple[exp.Expr, exp.Expr] | None
    zero_when_empty: frozenset[str]


def derivation(wanted: Wanted, project: Project, *, must: bool = False) -> Derivation | None:
    """Return how a derived series follows from others, or None where a query has to compute it.

    With `must`, the operands live in different warehouses, and no query could.
    Raise UnknownNameError or CompileError where it cannot be read at all.
    """
    metric = find_metric(project, wanted.metric)
    if not isinstance(metric.definition, Formula) or wanted.values_limit is not None:
        return None
    check_operands(metric, project)
    names = operands(metric, project.metrics, project.dialect)
    if not must and len({_zone(name, project) for name in names}) > 1:
        return None
    tree = formula_tree(metric, project.metrics, project.dialect)
    ratio = split_ratio(tree)
    if not all(can_combine(each) for each in (tree, *(ratio or ()))):
        return None
    zero = frozenset(name for name in names if _is_zero_when_empty(name, project))
    return Derivation(wanted, {name: replace(wanted, metric=name) for name in names}, tree, ratio, zero)


def _zone(name: str, project: Project) -> str | None:
    definition = project.metrics[name].definition
    assert isinstance(definition, Aggregate)  # noqa: S101 - operands were checked
    return project.sources[definition.source].time_zone


def _is_zero_when_empty(name: str, project: Project) -> bool:
    return means_zero_when_empty(project.metrics[name], project.dialect)
