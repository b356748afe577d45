"""Reading a registry given as JSON: factory options and metrics by key (spec oso §14)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from tallystick.definitions.diagnostics import Diagnostic
from tallystick.definitions.metric import Metric
from tallystick.definitions.oso_options import OSO_ENTITIES
from tallystick.definitions.oso_registry import Surroundings, definition_of_json, read_registration
from tallystick.definitions.project import Project, Settings
from tallystick.definitions.query_reader import QueryReader
from tallystick.definitions.registry import MetricQueryDef
from tallystick.definitions.registry_values import day_of
from tallystick.errors import ProjectError


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
    data = _parsed(path)
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
    metrics, findings = read_registration(registration, Surroundings(file=path.name, query=query))
    return Registry(
        file=path.name,
        metrics=tuple(metrics),
        findings=tuple(findings),
        schema=str(options.get("schema") or "oso"),
        start=day_of(options.get("start")),
        dialect=str(options.get("default_dialect") or "duckdb"),
    )


def _parsed(path: Path) -> Mapping[str, object]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProjectError(f"'{path}' cannot be read: {error.strerror}", hint="give the path of a registry") from None
    except ValueError as error:
        raise ProjectError(f"'{path}' is not JSON: {error}") from None
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
