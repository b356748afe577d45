"""The definition hash: what changes numbers changes it, text and labels do not (DESIGN §5)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from tallystick.compiler.binding import bound_template
from tallystick.compiler.definition_context import key_of
from tallystick.compiler.formula_model import operands
from tallystick.compiler.model import Model
from tallystick.compiler.relations import parse_sql
from tallystick.definitions.conditions import conditions
from tallystick.definitions.metric import Aggregate, Formula, Metric, SqlQuery
from tallystick.definitions.project import Project
from tallystick.definitions.source import Source
from tallystick.errors import TallystickError
from tallystick.sql.macro_calls import arguments_of, calls


def definition_hash(model: Model, project: Project) -> str:
    """Return 16 hexadecimal digits over everything that decides a model's values."""
    return _hash(model, _metric_facts(project.metrics[model.metric], project), _edges(project), project)


def definition_hashes(models: Iterable[Model], project: Project) -> dict[Model, str]:
    """Return the hashes of several models; what those of one metric have in common is gathered once."""
    facts: dict[str, dict[str, Any]] = {}
    edges = _edges(project)
    found: dict[Model, str] = {}
    for model in models:
        if model.metric not in facts:
            facts[model.metric] = _metric_facts(project.metrics[model.metric], project)
        found[model] = _hash(model, facts[model.metric], edges, project)
    return found


def _hash(model: Model, metric_facts: dict[str, Any], edges: dict[str, Any], project: Project) -> str:
    metric = project.metrics[model.metric]
    facts = {
        "metric": metric_facts,
        "entity": model.entity,
        "edges": edges if model.has_entity else None,
        "time": model.time.suffix,
        "by": {name: _dimension(name, metric, project) for name in model.by},
        "zone": project.settings.time_zone,
        "week_start": project.settings.week_start,
        "start": project.settings.start.isoformat() if project.settings.start else None,
    }
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _metric_facts(metric: Metric, project: Project) -> dict[str, Any]:
    definition = metric.definition
    if isinstance(definition, Aggregate):
        dialect = definition.dialect or project.dialect
        return {
            **({"per_unit": asdict(definition.per_unit)} if definition.per_unit else {}),
            "expr": _normal(definition.expr, dialect),
            "where": sorted(_normal(text, dialect) for text in conditions(project, metric)),
            "source": _source_facts(project.sources[definition.source], dialect),
        }
    if isinstance(definition, Formula):
        names = operands(metric, project.metrics, project.dialect)
        return {
            "expr": _normal(definition.expr, project.dialect),
            "operands": {name: _metric_facts(project.metrics[name], project) for name in names},
        }
    return _query_facts(metric, definition, project, frozenset())


def _query_facts(metric: Metric, definition: SqlQuery, project: Project, readers: frozenset[str]) -> dict[str, Any]:
    """Return what decides the values of a query; the metrics it reads do, too."""
    return {
        "sql": definition.sql,
        "vars": dict(definition.vars),
        "label": definition.label,
        "dialect": definition.dialect or project.dialect,
        "sources": {
            name: _source_facts(project.sources[name], definition.dialect or project.dialect)
            if name in project.sources
            else None
            for name in sorted(definition.sources)
        },
        "since": definition.oso.start if definition.oso is not None else None,
        "compat": project.settings.compat,
        "cron": definition.cron if project.settings.compat else None,
        "peers": {
            peer.name: _query_facts(peer, peer.definition, project, readers | {metric.name})
            if isinstance(peer.definition, SqlQuery)
            else _metric_facts(peer, project)
            for peer in _peers(definition, project)
            if peer.name not in readers | {metric.name}
        },
    }


def _peers(definition: SqlQuery, project: Project) -> Iterator[Metric]:
    """Yield the metrics a query reads; none where it cannot be read itself."""
    try:
        template = bound_template(definition.sql, definition.dialect or project.dialect)
    except TallystickError:
        return
    keys = {arguments_of(node)["name"].name for node, macro in calls(template) if macro.name == "metrics_peer_ref"}
    if keys:
        yield from (metric for metric in project.metrics.values() if key_of(metric) in keys)


def _source_facts(source: Source, dialect: str) -> dict[str, Any]:
    return {
        "table": source.table,
        "sql": _normal(source.sql, dialect) if source.sql else None,
        "file": source.file,
        "time": source.time,
        "is_date": source.time_is_date,
        "zone": source.time_zone,
        "entities": dict(source.entities),
        "columns": {name: column.sql for name, column in source.columns.items() if column.sql},
    }


def _edges(project: Project) -> dict[str, list[dict[str, Any]]]:
    return {name: [asdict(edge) for edge in entity.rolls_up_to] for name, entity in sorted(project.entities.items())}


def _dimension(name: str, metric: Metric, project: Project) -> str:
    source = metric.definition.source if isinstance(metric.definition, Aggregate) else None
    dimension = project.dimensions.get(name)
    return dimension.sql if dimension is not None and dimension.source == source else name


def _normal(text: str, dialect: str) -> str:
    return parse_sql(text, dialect).sql(dialect)
