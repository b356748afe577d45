"""From a model to its SQL tree, and from the tree to text in a dialect."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlglot import exp

from tallystick.compiler.aggregate_model import BUCKET, aggregate_model, read_input
from tallystick.compiler.definition_context import definition_context
from tallystick.compiler.formula_model import Leaf, check_operands, formula_model, operands
from tallystick.compiler.model import Model
from tallystick.compiler.span import Span
from tallystick.compiler.sql_definition import Stage, compile_definition
from tallystick.compiler.unit_model import unit_model
from tallystick.definitions.entity import ALL
from tallystick.definitions.metric import Aggregate, Metric, SqlQuery
from tallystick.definitions.project import Project
from tallystick.errors import CompileError
from tallystick.sql import portable
from tallystick.sql.macro_calls import spelled_out


def lower(
    model: Model, project: Project, span: Span, dialect: str, extra: Iterable[str] = (), *, marked: bool = False
) -> exp.Query:
    """Return the direct query of a model over a span, in trees of the dialect; `extra` are more SQL conditions.

    With `marked`, nodes that come from the user's definitions carry a note (`positions.is_of_definition`).
    """
    return _lower(model, project.metrics[model.metric], _Target(project, span, dialect, tuple(extra), marked))


def lower_from_parts(model: Model, project: Project, leaf: Leaf) -> exp.Query:
    """Return the query of a derived model over operands that are read as `leaf` says: bucket, keys, value and n."""
    return formula_model(project.metrics[model.metric], project, key_columns(model, project), leaf)


def key_columns(model: Model, project: Project) -> list[str]:
    """Return the names of a model's entity and breakdown columns."""
    return [*([] if model.entity == ALL else [project.entities[model.entity].key]), *model.by]


@dataclass(frozen=True, slots=True)
class _Target:
    """What every part of a query is lowered for."""

    project: Project
    span: Span
    dialect: str
    extra: tuple[str, ...]
    marked: bool


def _lower(model: Model, metric: Metric, target: _Target) -> exp.Query:
    definition, project = metric.definition, target.project
    if isinstance(definition, SqlQuery):
        return _definition(model, metric, target)
    if isinstance(definition, Aggregate):
        read = read_input(model, metric, project, target.dialect, target.extra, marked=target.marked)
        if definition.per_unit is not None:
            return unit_model(read, definition.per_unit, project, target.span)
        return aggregate_model(read, project, target.span)
    check_operands(metric, project)

    def leaf(operand: Metric) -> exp.Query:
        return _lower(replace(model, metric=operand.name), operand, target)

    return formula_model(metric, project, key_columns(model, project), leaf, marked=target.marked)


def _definition(model: Model, metric: Metric, target: _Target) -> exp.Query:
    """Return the query of an SQL definition in its own columns (spec oso §1); without a span its macros are kept."""
    span = target.span
    if target.extra or model.by:
        raise CompileError(
            f"metric '{metric.name}' is a whole query and cannot be filtered or broken down from outside",
            hint="write the condition into its SQL",
        )
    context = definition_context(target.project, target.dialect)
    if not span.is_bound:
        return compile_definition(metric, model, context, stage=Stage.INTERMEDIATE, marked=target.marked)
    assert span.last_day is not None  # noqa: S101 - a bound span has an end
    until = span.last_day + timedelta(days=1)
    return compile_definition(
        metric, model, context, start=span.first_day, end=until, as_of=span.last_day, marked=target.marked
    )


def bucket_column(metric: Metric) -> str:
    """Return the name of a model's time column: SQL definitions bring OSO's."""
    return "metrics_sample_date" if isinstance(metric.definition, SqlQuery) else BUCKET


def source_names(project: Project, metric: Metric) -> tuple[str, ...]:
    """Return the sources a metric is finally computed from, as far as its definition tells."""
    found: dict[str, None] = {}
    for name in operands(metric, project.metrics, project.dialect):
        definition = project.metrics[name].definition
        if isinstance(definition, Aggregate):
            found[definition.source] = None
        elif isinstance(definition, SqlQuery):
            found |= dict.fromkeys(name for name in definition.sources if name in project.sources)
    return tuple(found)


def to_text(tree: exp.Expr, dialect: str, *, reads: str = "duckdb", pretty: bool = True, copy: bool = True) -> str:
    """Write a tree in a dialect, `reads` being the one its definitions are in; macros keep their lower-case names.

    Unless `copy`, the tree itself is taken apart for it: quicker where it has served its purpose.
    """
    written = written_tree(tree, dialect, reads=reads, copy=copy)
    return str(written.sql(dialect, pretty=pretty, normalize_functions=False, copy=False))


def written_tree(tree: exp.Expr, dialect: str, *, reads: str = "duckdb", copy: bool = True) -> exp.Expr:
    """Return a tree in the words of a dialect: what is left is writing it down."""
    return spelled_out(portable.rewrite(tree, dialect, reads=reads, copy=copy), dialect, copy=False)
