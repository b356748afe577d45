"""Resolving names: drafts of definitions become one project, and what cannot be resolved becomes findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

from sqlglot.dialects.dialect import Dialect

from tallystick.definitions.clashes import find_clashes
from tallystick.definitions.columns import check_columns, projected, segment_columns, source_columns
from tallystick.definitions.conditions import conditions, expand, named_conditions
from tallystick.definitions.diagnostics import Severity, diagnose, misspelled, nearest, sort
from tallystick.definitions.drafts import Drafts
from tallystick.definitions.entity import ALL, Entity
from tallystick.definitions.fragment import check_condition, check_expression, check_query
from tallystick.definitions.graph import ARROW, cycles
from tallystick.definitions.metric import SqlQuery
from tallystick.definitions.origin import place_of
from tallystick.definitions.project import Project, Settings
from tallystick.definitions.read_entity import default_key
from tallystick.definitions.remarks import find_remarks
from tallystick.definitions.resolve_metrics import FACTORY_ENTITIES, resolve_metrics
from tallystick.definitions.source import Dimension, Segment, Source
from tallystick.definitions.written_out import write_out_conditions
from tallystick.errors import DefinitionError

__all__ = ["check_columns", "conditions", "resolve"]

K = TypeVar("K")
V = TypeVar("V")


def resolve(drafts: Drafts, root: str) -> Project:
    """Return the project of all definitions that hold together; every other one is explained in its diagnostics."""
    drafts.settings = _settings(drafts)
    dialect = _dialect(drafts)
    _resolve_entities(drafts)
    write_out_conditions(drafts, dialect)
    _check_sources(drafts, dialect)
    _check_segments(drafts, dialect)
    _check_dimensions(drafts, dialect)
    _check_defaults(drafts)
    find_clashes(drafts)
    metrics = resolve_metrics(drafts, dialect)
    project = Project(
        root=root,
        settings=drafts.settings,
        warehouses=_frozen(drafts.warehouses),
        sources=_frozen(drafts.sources),
        entities=_frozen(drafts.entities),
        segments=_frozen(drafts.segments),
        dimensions=_frozen(drafts.dimensions),
        metrics=_frozen(metrics),
        flawed=tuple(drafts.flawed),
        left_out=frozenset(drafts.broken.get("metric", ())),
    )
    return replace(project, diagnostics=sort([*drafts.findings, *find_remarks(project, drafts)]))


def _frozen(names: dict[K, V]) -> Mapping[K, V]:
    return MappingProxyType(names)


# -- settings ---------------------------------------------------------------------------------------------------------


def _settings(drafts: Drafts) -> Settings:
    """Return the settings with a dialect that exists."""
    dialect = drafts.settings.dialect
    if dialect is None or Dialect.get(dialect):
        return drafts.settings
    at = place_of(drafts.settings_origin, "project.dialect")
    hint = nearest(dialect, (name for name in Dialect.classes if name))
    drafts.findings.append(diagnose("bad-value", f"'{dialect}' is not an SQL dialect", at, hint=hint))
    return replace(drafts.settings, dialect=None)


def _dialect(drafts: Drafts) -> str:
    if drafts.settings.dialect:
        return drafts.settings.dialect
    warehouse = drafts.warehouses.get("default") or next(iter(drafts.warehouses.values()))
    if Dialect.get(warehouse.engine):
        return warehouse.engine
    at = place_of(drafts.settings_origin, f"warehouses.{warehouse.name}.engine", "warehouse.engine")
    hint = nearest(warehouse.engine, (name for name in Dialect.classes if name))
    message = f"'{warehouse.engine}' is not an engine whose SQL can be written"
    drafts.findings.append(diagnose("bad-value", message, at, hint=hint))
    drafts.settings = replace(drafts.settings, dialect="duckdb")
    return "duckdb"


# -- entities ---------------------------------------------------------------------------------------------------------


def _resolve_entities(drafts: Drafts) -> None:
    """Add entities that are only mentioned, fill in keys of parents, and cut cycles."""
    mentioned = [
        (name, source.origin, f"entities.{name}") for source in drafts.sources.values() for name in source.entities
    ]
    mentioned += [
        (edge.parent, entity.origin, "rolls_up_to")
        for entity in drafts.entities.values()
        for edge in entity.rolls_up_to
    ]
    declared = {*drafts.entities, *drafts.broken.get("entity", ())}
    for name, origin, path in mentioned:
        if name not in declared:
            drafts.entities.setdefault(name, Entity(name=name, key=default_key(name), origin=origin.below(path)))
            meant = misspelled(name, declared)
            if meant:
                message = f"entity '{name}' is defined nowhere and taken as a new one"
                drafts.findings.append(
                    diagnose(
                        "undeclared-entity",
                        message,
                        origin.of(path),
                        severity=Severity.WARNING,
                        hint=f"did you mean '{meant}'?",
                    )
                )
    for name, entity in drafts.entities.items():
        edges = tuple(
            replace(edge, parent_key=edge.parent_key or _key(drafts.entities, edge.parent))
            for edge in entity.rolls_up_to
        )
        drafts.entities[name] = replace(entity, rolls_up_to=edges)
    _cut_entity_cycles(drafts)


def _key(entities: Mapping[str, Entity], name: str) -> str:
    return entities[name].key if name in entities else default_key(name)


def _cut_entity_cycles(drafts: Drafts) -> None:
    edges = {name: [edge.parent for edge in entity.rolls_up_to] for name, entity in drafts.entities.items()}
    for cycle in cycles(edges):
        at = place_of(drafts.entities[cycle[0]].origin, "rolls_up_to")
        hint = "take one of these roll-ups away"
        drafts.findings.append(
            diagnose("entity-cycle", f"entities roll up into themselves: {ARROW.join(cycle)}", at, hint=hint)
        )
        for name in cycle:
            drafts.leave_out("entity", name)
            drafts.entities.pop(name, None)


def _check_defaults(drafts: Drafts) -> None:
    """Take entities that do not exist out of the defaults of all metrics."""
    views = drafts.settings.views
    known = {*drafts.entities, ALL}
    if any(isinstance(metric.definition, SqlQuery) for metric in drafts.metrics.values()):
        known |= FACTORY_ENTITIES
    for index, name in enumerate(views.entities):
        if name not in known:
            at = place_of(drafts.settings_origin, f"defaults.entities.{index}", f"defaults.entity_types.{index}")
            drafts.findings.append(drafts.missing("entity", name, "[defaults]", at, known))
    entities = tuple(name for name in views.entities if name in known)
    drafts.settings = replace(drafts.settings, views=replace(views, entities=entities))


# -- sources ----------------------------------------------------------------------------------------------------------


def _check_sources(drafts: Drafts, dialect: str) -> None:
    for source in list(drafts.sources.values()):
        before = drafts.errors()
        if source.warehouse is not None and source.warehouse not in drafts.warehouses:
            hint = nearest(source.warehouse, drafts.warehouses)
            at = place_of(source.origin, "warehouse")
            drafts.findings.append(
                diagnose("unknown-warehouse", f"there is no warehouse '{source.warehouse}'", at, hint=hint)
            )
        _check_source_sql(source, drafts, dialect)
        if drafts.errors() == before and (stored := projected(source, dialect)) is not None:
            drafts.findings.extend(source_columns(source, stored, dialect))
        if drafts.errors() > before:
            drafts.leave_out("source", source.name)
            del drafts.sources[source.name]


def _check_source_sql(source: Source, drafts: Drafts, dialect: str) -> None:
    try:
        if source.sql is not None:
            check_query(source.sql, dialect, drafts.settings.allow_functions)
    except DefinitionError as error:
        drafts.report_sql(error, source.origin, "sql", "file", "from_expression")
    named = named_conditions(source, {})
    fragments = [(f"columns.{column.name}.sql", column.sql) for column in source.columns.values()]
    fragments += [(f"filters.{name}", text) for name, text in source.filters.items()]
    fragments.append(("time", source.time))
    for key, text in fragments:
        if text is None:
            continue
        try:
            check = check_condition if key.startswith("filters.") else check_expression
            check(text, dialect, drafts.settings.allow_functions)
            if key.startswith("filters."):
                expand(key.removeprefix("filters."), named, dialect)
        except DefinitionError as error:
            drafts.report_sql(error, source.origin, key)


# -- parts of sources -------------------------------------------------------------------------------------------------


def _check_segments(drafts: Drafts, dialect: str) -> None:
    for segment in list(drafts.segments.values()):
        before = drafts.errors()
        if source := _known_source(segment, segment.kind, drafts):
            try:
                check_condition(segment.where, dialect, drafts.settings.allow_functions)
                expand(segment.name, named_conditions(source, drafts.segments), dialect)
            except DefinitionError as error:
                drafts.report_sql(error, segment.origin, "where", "sql", "expr")
            if drafts.errors() == before and (stored := projected(source, dialect)) is not None:
                drafts.findings.extend(segment_columns(segment, source, stored, drafts.segments, dialect))
        if drafts.errors() > before:
            drafts.leave_out(segment.kind, segment.name)
            del drafts.segments[segment.name]


def _check_dimensions(drafts: Drafts, dialect: str) -> None:
    for dimension in list(drafts.dimensions.values()):
        before = drafts.errors()
        if _known_source(dimension, "dimension", drafts):
            try:
                check_expression(dimension.sql, dialect, drafts.settings.allow_functions)
            except DefinitionError as error:
                places = ("sql", "expr", "expression", "select_expression")
                drafts.report_sql(error, dimension.origin, *places)
        if drafts.errors() > before:
            drafts.leave_out("dimension", dimension.name)
            del drafts.dimensions[dimension.name]


def _known_source(noun: Segment | Dimension, what: str, drafts: Drafts) -> Source | None:
    if noun.source in drafts.sources:
        return drafts.sources[noun.source]
    at = place_of(noun.origin, "source", "data_source")
    drafts.findings.append(drafts.missing("source", noun.source, f"{what} '{noun.name}'", at, drafts.sources))
    return None
