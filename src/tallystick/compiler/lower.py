"""From a model to its SQL tree, and from the tree to text in a dialect."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sqlglot import exp

from tallystick.compiler.aggregate_model import aggregate_model, read_input
from tallystick.compiler.formula_model import check_operands, formula_model
from tallystick.compiler.model import Model
from tallystick.compiler.span import Span
from tallystick.definitions.entity import ALL
from tallystick.definitions.metric import Aggregate, Formula, Metric
from tallystick.definitions.project import Project
from tallystick.errors import CompileError
from tallystick.sql import portable


def lower(model: Model, project: Project, span: Span, dialect: str, extra: Iterable[str] = ()) -> exp.Query:
    """Return the direct query of a model over a span, in trees of the dialect; `extra` are more SQL conditions."""
    return _lower(model, project.metrics[model.metric], project, span, dialect, tuple(extra))


def _lower(
    model: Model, metric: Metric, project: Project, span: Span, dialect: str, extra: tuple[str, ...]
) -> exp.Select:
    definition = metric.definition
    if isinstance(definition, Aggregate):
        return aggregate_model(read_input(model, metric, project, dialect, extra), project, span)
    if isinstance(definition, Formula):
        check_operands(metric, project)
        names = [*([] if model.entity == ALL else [project.entities[model.entity].key]), *model.by]

        def leaf(operand: Metric) -> exp.Select:
            return _lower(replace(model, metric=operand.name), operand, project, span, dialect, extra)

        return formula_model(metric, project, names, leaf)
    raise CompileError(f"metric '{metric.name}' is a whole query and has no parts to break down or filter")


def to_text(tree: exp.Expression, dialect: str, *, pretty: bool = True) -> str:
    """Write a tree in a dialect."""
    return portable.rewrite(tree, dialect).sql(dialect, pretty=pretty)
