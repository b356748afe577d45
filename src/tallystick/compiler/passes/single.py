"""One query for one series: what every other way of reading it must agree with."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from tallystick.compiler.aggregate_model import read_input
from tallystick.compiler.formula_model import check_operands, formula_model, operands
from tallystick.compiler.lower import lower, to_text
from tallystick.compiler.model import Model, TimeView
from tallystick.compiler.passes.folding import IS_OTHER, folded_model
from tallystick.compiler.plan import find_metric
from tallystick.compiler.series import Wanted
from tallystick.compiler.span import Span
from tallystick.definitions.metric import Aggregate, Metric
from tallystick.definitions.project import Project
from tallystick.errors import CompileError


def model_of(wanted: Wanted) -> Model:
    """Return the model a series holds the values of."""
    time = TimeView(grain=wanted.grain) if wanted.window is None else TimeView(window=wanted.window)
    return Model(wanted.metric, wanted.entity, time, () if wanted.by is None else (wanted.by,))


def single_query(wanted: Wanted, project: Project, span: Span, dialect: str) -> exp.Query:
    """Return the query of one series; raise CompileError, ExpressionError or UnknownNameError."""
    metric, model = find_metric(project, wanted.metric), model_of(wanted)
    if wanted.values_limit is None:
        return lower(model, project, span, dialect)
    if wanted.by is None or wanted.values_limit < 1:
        raise CompileError(f"metric '{metric.name}' is limited in values, but not broken down", hint="name a dimension")

    def leaf(operand: Metric) -> exp.Query:
        assert wanted.values_limit is not None  # noqa: S101 - only called where there is a limit
        if isinstance(operand.definition, Aggregate) and operand.definition.per_unit is not None:
            raise CompileError(
                f"metric '{operand.name}' has values per unit, which others cannot be folded into",
                hint="ask for all values of the dimension",
            )
        read = read_input(replace(model, metric=operand.name), operand, project, dialect)
        ranked = read if operand.name == first.name else read_input(model_first, first, project, dialect)
        return folded_model(read, ranked, wanted.values_limit, project, span)

    first = project.metrics[operands(metric, project.metrics, project.dialect)[0]]
    model_first = replace(model, metric=first.name)
    if isinstance(metric.definition, Aggregate):
        return leaf(metric)
    check_operands(metric, project)
    key = [] if not model.has_entity else [project.entities[model.entity].key]
    return formula_model(metric, project, [*key, wanted.by, IS_OTHER], leaf)


def single_text(wanted: Wanted, project: Project, span: Span, dialect: str) -> str:
    """Return the text of `single_query` in a dialect."""
    return to_text(single_query(wanted, project, span, dialect), dialect, reads=project.dialect, copy=False)
