"""Findings about the rows behind a registry: its tables of events, and the mappings its entities are reached by.

A registry names no sources, so the tables are those its definitions read. Where the warehouse holds none of them it is
not the one the registry is for, or not filled yet, and nothing is said about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from sqlglot import exp

from tallystick.compiler.binding import named_columns
from tallystick.compiler.contract import tables_of
from tallystick.compiler.definition_context import DefinitionContext, definition_context
from tallystick.compiler.entity_join import base_entity
from tallystick.compiler.entity_paths import anchor, paths
from tallystick.compiler.plan import is_registered
from tallystick.compiler.relations import relation, scope
from tallystick.definitions.diagnostics import Diagnostic, Severity, diagnose
from tallystick.definitions.entity import Entity, RollUp
from tallystick.definitions.metric import Metric, SqlQuery
from tallystick.definitions.origin import Origin
from tallystick.definitions.project import Project
from tallystick.definitions.source import Source
from tallystick.engines.adapter import Engine
from tallystick.errors import MissingTableError, TallystickError
from tallystick.service.data_checks import check_mapping, count_where, no_parent, without_group


@dataclass(frozen=True, slots=True)
class _Events:
    """A table of events as a source, and the entities that metrics over it are counted for."""

    source: Source
    base: str
    targets: tuple[str, ...]


def check_registered(project: Project, engine: Engine) -> Iterator[Diagnostic]:
    """Yield what is missing or odd in the tables that a project's registries read."""
    context = definition_context(project)
    events = _event_tables(context)
    edges = _edges(context, events)
    there = {each.source.name: _columns(engine, each.source) for each in events}
    mapped = {edge.through: _has(engine, project, edge) for _, edge in edges}
    if not any(there.values()) and not any(mapped.values()):
        return
    for each in events:
        if there[each.source.name] is None:
            yield _missing(f"the table '{each.source.table}' that is read", each.source.origin)
    for entity, edge in edges:
        if mapped[edge.through]:
            yield from check_mapping(project, engine, entity, edge)
        else:
            name = f"the mapping '{edge.through}' of {entity.name} to {edge.parent}"
            yield _missing(name, _reader_of(events, edge.parent))
    for each in events:
        columns = there[each.source.name]
        if columns and each.source.entities[each.base].lower() in columns:
            yield from _check_ids(project, engine, each, mapped)


def _event_tables(context: DefinitionContext) -> list[_Events]:
    """Return the tables of events that registered metrics read, each once, in order."""
    found: dict[str, _Events] = {}
    for metric in context.project.metrics.values():
        if not (metric.enabled and is_registered(metric) and isinstance(metric.definition, SqlQuery)):
            continue
        try:
            base, tables = base_entity(metric.definition, context), list(tables_of(metric, context))
        except TallystickError:
            continue  # told where the definition is read
        for table in tables:
            if table.name in context.sources:
                name = _full_name(table)
                each = found.setdefault(name, _events(table, metric, base, context))
                targets = tuple(dict.fromkeys((*each.targets, *metric.views.entities)))
                found[name] = replace(each, targets=targets)
    return list(found.values())


def _events(table: exp.Table, metric: Metric, base: Entity, context: DefinitionContext) -> _Events:
    definition = metric.definition
    named = named_columns(definition.sql, context.dialect_of(definition)) if isinstance(definition, SqlQuery) else ()
    key = f"to_{base.name}_id" if f"to_{base.name}_id" in named else base.key
    source = Source(
        name=table.name,
        table=_full_name(table),
        entities=MappingProxyType({base.name: key}),
        origin=Origin(metric.origin.of("sql")),
    )
    return _Events(source, base.name, ())


def _full_name(table: exp.Table) -> str:
    return ".".join(part.name for part in table.parts)


def _edges(context: DefinitionContext, events: list[_Events]) -> list[tuple[Entity, RollUp]]:
    """Return the roll-ups that lead from the events to what they are counted for."""
    found: dict[RollUp, Entity] = {}
    owners = {edge: entity for entity in context.entities.values() for edge in entity.rolls_up_to}
    for each in events:
        for target in each.targets:
            for way in paths(context.entities, each.base, target):
                found |= {edge: owners[edge] for edge in way}
    return [(entity, edge) for edge, entity in found.items()]


def _columns(engine: Engine, source: Source) -> Mapping[str, str] | None:
    """Return the columns of a source's table by their names in lower case, None where there is no such table."""
    table = exp.to_table(source.table or source.name).sql(engine.dialect)
    try:
        return {name.lower(): kind for name, kind in engine.columns(table).items()}
    except MissingTableError:
        return None


def _has(engine: Engine, project: Project, edge: RollUp) -> bool:
    try:
        return bool(engine.columns(relation(edge.through, project, "mapping").sql(engine.dialect)))
    except MissingTableError:
        return False


def _reader_of(events: list[_Events], parent: str) -> Origin:
    return next((each.source.origin for each in events if parent in each.targets), Origin())


def _missing(what: str, origin: Origin) -> Diagnostic:
    return diagnose(
        "missing-table",
        f"{what} is not in the warehouse",
        origin.location,
        severity=Severity.WARNING,
        hint="what is computed from it cannot be built",
    )


def _check_ids(project: Project, engine: Engine, each: _Events, mapped: Mapping[str, bool]) -> Iterator[Diagnostic]:
    """Yield rows without an id, and things that belong to nothing of an entity metrics are counted for."""
    rows, source = scope(each.source, project, engine.dialect), each.source
    missing = count_where(engine, rows, rows.parse(source.entities[each.base]).is_(exp.null()))
    if missing:
        message = f"{missing} rows of table '{source.name}' have no {each.base}"
        hint = f"they stand together, without an id, in tables of {each.base}s, and count for nothing they belong to"
        yield diagnose("null-id", message, source.origin.location, severity=Severity.WARNING, hint=hint)
    for target in each.targets:
        if target not in project.entities or target == each.base:
            continue
        reach = anchor(source, target, project.entities)
        if all(mapped.get(edge.through) for way in reach.paths for edge in way):
            lost = without_group(project, engine, rows, reach)
            if lost:
                yield no_parent(lost, source, each.base, target, source.origin.location)


def has_registry(project: Project) -> bool:
    """Tell whether a project has metrics that a registry lists."""
    return any(is_registered(metric) for metric in project.metrics.values())
