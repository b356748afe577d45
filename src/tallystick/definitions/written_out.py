"""Writing definitions out: what was said in short becomes SQL in the project's dialect, and metrics of their own."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from sqlglot.dialects.dialect import Dialect

from tallystick.definitions.columns import condition_path
from tallystick.definitions.condition import Condition
from tallystick.definitions.condition_sql import kind_of, render
from tallystick.definitions.diagnostics import diagnose, nearest
from tallystick.definitions.drafts import Drafts
from tallystick.definitions.fragment import parse_fragment
from tallystick.definitions.metric import Aggregate, Formula, Metric
from tallystick.definitions.origin import Origin, place_of
from tallystick.definitions.read_aggregate import without_event
from tallystick.definitions.source import Conditions, Source
from tallystick.errors import CompileError, DefinitionError, Location
from tallystick.sql import portable
from tallystick.sql.calendar import Calendar

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


def write_out_conditions(drafts: Drafts, dialect: str) -> None:
    """Write the structured filters of sources and the structured conditions of events out as SQL."""
    for name, source in list(drafts.sources.items()):
        filters = dict(source.filters)
        for label, conditions in source.structured.items():
            text = _joined(conditions, source, source.origin, (f"filters.{label}",), drafts, dialect)
            if text is None:
                drafts.leave_out("source", name)
                drafts.sources.pop(name, None)
            else:
                filters[label] = text
        if name in drafts.sources and source.structured:
            drafts.sources[name] = replace(source, filters=MappingProxyType(filters))
    for name, segment in list(drafts.segments.items()):
        if segment.structured is None:
            continue
        source_of = drafts.sources.get(segment.source)
        text = _joined(segment.structured, source_of, segment.origin, ("where", "sql", "expr"), drafts, dialect)
        if text is None:
            drafts.leave_out(segment.kind, name)
            del drafts.segments[name]
        else:
            drafts.segments[name] = replace(segment, where=text)


def _joined(
    conditions: Conditions, source: Source | None, origin: Origin, paths: tuple[str, ...], drafts: Drafts, dialect: str
) -> str | None:
    """Return conditions as one that holds where all do, or None where one cannot be written, which is reported."""
    texts, before = list(conditions[0]), drafts.errors()
    for index, condition in conditions[1]:
        places = (*(f"{path}.{index}" for path in paths), *paths)
        texts[index] = _as_sql(condition, source, place_of(origin, *places), drafts, dialect) or ""
    if drafts.errors() > before:
        return None
    return texts[0] if len(texts) == 1 else " AND ".join(f"({text})" for text in texts)


def _as_sql(condition: Condition, source: Source | None, at: Location, drafts: Drafts, dialect: str) -> str | None:
    """Return a structured condition as SQL, or None where it does not fit its column, which is reported."""
    kind = kind_of(source, condition.column) if source else None
    zone = (source.time_zone if source else None) or drafts.settings.time_zone
    try:
        return render(condition, kind, dialect if Dialect.get(dialect) else CANONICAL, Calendar(zone))
    except DefinitionError as error:
        drafts.findings.append(diagnose("condition-type", error.message, at, hint=error.hint))
        return None


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
    before = drafts.errors()
    for index, condition in definition.structured:
        at = place_of(metric.origin, condition_path(metric, index), "where")
        where[index] = _as_sql(condition, source, at, drafts, dialect) or ""
    return None if drafts.errors() > before else replace(definition, where=tuple(where))
