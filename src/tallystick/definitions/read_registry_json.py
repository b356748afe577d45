"""Reading a registry given as JSON: factory options and metrics by key (spec oso §14)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from tallystick.definitions.diagnostics import Diagnostic, diagnose, nearest
from tallystick.definitions.json_positions import keys_of
from tallystick.definitions.metric import Metric
from tallystick.definitions.oso_options import OSO_ENTITIES
from tallystick.definitions.oso_registry import Surroundings, definition_of_json, read_registration
from tallystick.definitions.project import Project, Settings
from tallystick.definitions.query_reader import QueryReader
from tallystick.definitions.registry import MetricQueryDef
from tallystick.definitions.registry_values import day_of
from tallystick.errors import Location, ProjectError


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """The metrics a registry lists, in its order, and the findings about it."""

    file: str
    metrics: tuple[Metric, ...]
    findings: tuple[Diagnostic, ...] = ()
    schema: str = "oso"
    start: str | None = None
    dialect: str = "duckdb"


def read_json_registry(path: Path | str, queries_dir: Path | None = None) -> Registry:
    """Read a registry from a JSON file; the SQL of its metrics only if `queries_dir` says where it is.

    Raises ProjectError if the file is missing or is not such a registry.
    """
    path = Path(path)
    text = _text(path)
    data = _parsed(path, text)
    options = data.get("factory_options")
    entries = data.get("metrics")
    if not isinstance(entries, Mapping) or not isinstance(options, Mapping):
        raise ProjectError(f"'{path}' is not a registry", hint='it needs the objects "factory_options" and "metrics"')
    queries: dict[str, MetricQueryDef | object] = {}
    for key, entry in entries.items():
        queries[str(key)] = definition_of_json(entry) if isinstance(entry, Mapping) else entry
    query = QueryReader((queries_dir,)) if queries_dir is not None else None
    audits = options.get("audits") or data.get("factory_audits")
    registration = {**options, "audits": audits, "metric_queries": queries}
    lines, repeated = _places(text, path.name)
    where = Surroundings(file=path.name, lines=lines, query=query)
    metrics, findings = read_registration(registration, where)
    known = [_with_known_entities(metric, findings) for metric in metrics]
    return Registry(
        file=path.name,
        metrics=tuple(known),
        findings=(*repeated, *findings),
        schema=str(options.get("schema") or "oso"),
        start=day_of(options.get("start")),
        dialect=str(options.get("default_dialect") or "duckdb"),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ProjectError(f"'{path}' cannot be read: {error.strerror}", hint="give the path of a registry") from None
    except ValueError:
        raise ProjectError(f"'{path}' is not text", hint="give the path of a registry") from None


def _places(text: str, file: str) -> tuple[Mapping[str, int], list[Diagnostic]]:
    """Return the lines of the metrics of a registry, and a finding for each that is written twice."""
    lines: dict[str, int] = {}
    found: list[Diagnostic] = []
    for outer in keys_of(text):
        for key in keys_of(text, outer.value) if outer.name == "metrics" else ():
            if key.name in lines:
                message = f"the metric '{key.name}' is registered twice; the last one counts"
                hint = f"it is first registered on line {lines[key.name]}"
                found.append(diagnose("duplicate-name", message, Location(file, key.line), hint=hint))
            lines[key.name] = key.line
    return MappingProxyType(lines), found


def _with_known_entities(metric: Metric, findings: list[Diagnostic]) -> Metric:
    """Return a metric without entities that are none of OSO's three, which are reported (spec oso §10)."""
    for name in metric.views.entities:
        if name not in OSO_ENTITIES:
            message = f"metric '{metric.name}': there is no entity '{name}'"
            hint = nearest(name, OSO_ENTITIES)
            findings.append(diagnose("unknown-entity", message, metric.origin.location, hint=hint))
    known = tuple(name for name in metric.views.entities if name in OSO_ENTITIES)
    return replace(metric, views=replace(metric.views, entities=known))


def _parsed(path: Path, text: str) -> Mapping[str, object]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ProjectError(f"'{path}' is not JSON: {error}") from None
    except RecursionError:
        raise ProjectError(f"'{path}' is not a registry: it is nested too deeply") from None
    if not isinstance(data, Mapping):
        raise ProjectError(f"'{path}' is not a registry", hint='it needs the objects "factory_options" and "metrics"')
    return data


def registry_project(registry: Registry, *, compat: str | None = None) -> Project:
    """Return a registry as a project of its own, with OSO's entities."""
    metrics = {metric.name: metric for metric in registry.metrics}
    start = datetime.fromisoformat(registry.start).replace(tzinfo=UTC) if registry.start else None
    return Project(
        root=".",
        settings=Settings(name=registry.schema, dialect=registry.dialect, start=start, compat=compat),
        entities=OSO_ENTITIES,
        metrics=MappingProxyType(metrics),
        diagnostics=registry.findings,
    )
