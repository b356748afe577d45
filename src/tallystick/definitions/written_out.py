"""Writing metrics out: what was said in short becomes expressions in the project's dialect, and metrics of their own."""

from __future__ import annotations

from dataclasses import replace

from sqlglot.dialects.dialect import Dialect

from tallystick.definitions.columns import condition_path
from tallystick.definitions.condition_sql import kind_of, render
from tallystick.definitions.diagnostics import diagnose, nearest
from tallystick.definitions.drafts import Drafts
from tallystick.definitions.fragment import parse_fragment
from tallystick.definitions.metric import Aggregate, Formula, Metric
from tallystick.definitions.origin import place_of
from tallystick.definitions.read_aggregate import without_event
from tallystick.definitions.source import Source
from tallystick.errors import CompileError, DefinitionError
from tallystick.sql import portable

CANONICAL = "duckdb"
"""The dialect our own spellings are in."""


def write_out(drafts: Drafts, dialect: str) -> None:
    """Add the operands of ratios to the drafts and write every definition out in the project's dialect."""
    for metric in list(drafts.metrics.values()):
        if isinstance(metric.definition, Formula):
            for operand in metric.definition.operands:
                drafts.add("metric", operand, drafts.metrics)
    for name, metric in list(drafts.metrics.items()):
        if not isinstance(metric.definition, Aggregate):
            continue
        written = _written(metric, metric.definition, drafts, dialect)
        if written is None:
            drafts.leave_out("metric", name)
            del drafts.metrics[name]
        else:
            drafts.metrics[name] = replace(metric, definition=written)


def _written(metric: Metric, definition: Aggregate, drafts: Drafts, dialect: str) -> Aggregate | None:
    """Return the definition written out, or None where that is not possible, which is reported."""
    if definition.is_canonical:
        spelled = _in_dialect(metric, definition, drafts, definition.dialect or dialect)
        if spelled is None:
            return None
        definition = spelled
    if definition.structured:
        rendered = _rendered(metric, definition, drafts, definition.dialect or dialect)
        if rendered is None:
            return None
        definition = rendered
    if definition.per_distinct is not None:
        return _per_distinct(metric, definition, definition.per_distinct, drafts)
    return definition


def _in_dialect(metric: Metric, definition: Aggregate, drafts: Drafts, dialect: str) -> Aggregate | None:
    """Return the definition with its expression in the words of a dialect."""
    if dialect == CANONICAL or not Dialect.get(dialect):
        return replace(definition, is_canonical=False)
    try:
        tree = portable.rewrite(parse_fragment(definition.expr, CANONICAL), dialect)
    except CompileError as error:
        at = place_of(metric.origin, "aggregation", "numerator")
        drafts.findings.append(diagnose("bad-expression", error.message, at, hint=error.hint))
        return None
    return replace(definition, expr=tree.sql(dialect), is_canonical=False)


def _per_distinct(metric: Metric, definition: Aggregate, entity: str, drafts: Drafts) -> Aggregate | None:
    """Divide by the different things of an entity; a definition without expression is their number alone."""
    source = _source(definition, drafts)
    if source is None:
        # The side that counts the event reports it; without one there is nobody else to.
        return None if metric.operand_of else replace(definition, per_distinct=None)
    if entity not in source.entities:
        at = place_of(metric.origin, "per_distinct")
        message = f"metric '{metric.operand_of or metric.name}': source '{source.name}' does not carry '{entity}'"
        hint = nearest(entity, source.entities) or f"add {entity} to the source's entities"
        drafts.findings.append(diagnose("unknown-entity", message, at, hint=hint))
        return None
    things = f"count(distinct {source.entities[entity]})"
    if definition.expr:
        return replace(definition, expr=f"({definition.expr}) / {things}", per_distinct=None)
    if not definition.source:
        definition = without_event(definition)
    return replace(definition, source=source.name, expr=things, per_distinct=None)


def _source(definition: Aggregate, drafts: Drafts) -> Source | None:
    """Return the source of a definition or of its event, if there is one."""
    if definition.source:
        return drafts.sources.get(definition.source)
    segment = drafts.segments.get(definition.where[0])
    return drafts.sources.get(segment.source) if segment else None


def _rendered(metric: Metric, definition: Aggregate, drafts: Drafts, dialect: str) -> Aggregate | None:
    """Return the definition with its structured conditions as SQL."""
    source, where = _source(definition, drafts), list(definition.where)
    written = dialect if Dialect.get(dialect) else CANONICAL
    before = drafts.errors()
    for index, condition in definition.structured:
        kind = kind_of(source, condition.column) if source else None
        try:
            where[index] = render(condition, kind, written)
        except DefinitionError as error:
            at = place_of(metric.origin, condition_path(metric, index), "where")
            drafts.findings.append(diagnose("condition-type", error.message, at, hint=error.hint))
    return None if drafts.errors() > before else replace(definition, where=tuple(where))
