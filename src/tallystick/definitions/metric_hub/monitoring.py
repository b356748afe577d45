"""Resolve a monitoring project: definitions ⊕ defaults ⊕ rollout ⊕ config → metrics, alerts (spec metric_hub §6.5)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeVar

from tallystick.definitions.diagnostics import Diagnostic, from_error, nearest
from tallystick.definitions.metric_hub import nouns as n
from tallystick.definitions.metric_hub import resolved as r
from tallystick.definitions.metric_hub.collection import Collection, named
from tallystick.definitions.metric_hub.merging import Merging, merge_specs
from tallystick.definitions.metric_hub.references import (
    DefinitionNotFoundError,
    Scope,
    data_source,
    dedent,
    summaries,
)
from tallystick.errors import DefinitionError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Project:
    """A project while it is resolved: its scope, and what went wrong so far."""

    scope: Scope
    findings: list[Diagnostic] = field(default_factory=list)

    def attempt(self, resolve: Callable[[], T]) -> T | None:
        """Call something that may fail and collect the failure."""
        try:
            return resolve()
        except DefinitionError as problem:
            self.findings.append(from_error("mh-unresolved", problem))
            return None

    def each(self, references: Iterable[n.Reference], resolve: Callable[[n.Reference], T]) -> tuple[T, ...]:
        """Resolve every distinct name; what fails is left out and reported."""
        distinct = {reference.name: reference for reference in references}
        found = (self.attempt(lambda one=one: resolve(one)) for one in distinct.values())  # type: ignore[misc]
        return tuple(item for item in found if item is not None)


def spec_for_project(
    collection: Collection, slug: str, record: r.ExperimentRecord | None = None
) -> tuple[n.Spec, Merging]:
    """Return a project's config over its platform's defaults and definitions (spec §6.5).

    A rollout the experiment service knows needs no config; raises `UnknownNameError` if there is neither.
    """
    projects = {name: config for name, config in collection.configs.items() if config.kind is n.Kind.MONITORING}
    own = projects.get(slug)
    if own is None and record is None:
        named(projects, slug, f"there is no monitoring project '{slug}'")
    platform = (own.project.platform if own else None) or (record.app_name if record else None) or "firefox_desktop"
    merging = Merging(collection.mode)
    shared = collection.definitions.get(platform)
    spec = n.Spec(kind=n.Kind.MONITORING, slug=slug, platform=platform)
    if shared is not None:
        spec = replace(
            spec,
            metrics=shared.metrics,
            data_sources=shared.data_sources,
            dimensions=shared.dimensions,
            places=shared.places,
        )
    layers = [] if own is not None and own.project.skip_default_metrics else [collection.defaults.get(platform)]
    if record is not None and record.is_rollout and record.app_name == "firefox_desktop":
        layers.append(collection.defaults.get("rollout"))
    for layer in (*layers, own):
        if layer is not None and layer.kind is n.Kind.MONITORING:
            spec = merge_specs(spec, layer, merging)
    return replace(spec, slug=slug, platform=platform), merging


def resolve_project(
    collection: Collection, slug: str, record: r.ExperimentRecord | None = None
) -> r.MonitoringConfiguration:
    """Resolve everything a project computes; failures are collected, the rest is still resolved."""
    spec, merging = spec_for_project(collection, slug, record)
    platform = str(spec.platform)
    scope = Scope(collection=collection, spec=spec, platform=platform)
    doing = _Project(scope)
    project = spec.project
    metrics = doing.each(project.metrics, lambda reference: _summaries(doing, reference))
    dimensions = doing.each(project.population.dimensions, lambda reference: _dimension(scope, reference))
    alerts = doing.each(project.alerts, lambda reference: _alert(scope, reference))
    groups = {name: _group(doing, group) for name, group in project.metric_groups.items()}
    population = _population(doing, dimensions)
    return r.MonitoringConfiguration(
        slug=slug,
        app_name=platform,
        name=project.label or (record.slug if record else None),
        xaxis=project.xaxis or "submission_date",
        start_date=_day(project.start_date) or (record.start_date if record else None),
        end_date=_day(project.end_date) or (record.end_date if record else None),
        reference_branch=project.reference_branch or (record and record.reference_branch) or "control",
        population=population,
        compact_visualization=project.compact_visualization,
        skip_default_metrics=project.skip_default_metrics,
        skip=project.skip,
        is_rollout=project.is_rollout or bool(record and record.is_rollout),
        metric_groups=MappingProxyType(groups),
        metrics=tuple(summary for found in metrics for summary in found),
        dimensions=dimensions,
        alerts=alerts,
        diagnostics=tuple(dict.fromkeys((*merging.findings, *doing.findings))),
    )


def _day(text: str | None) -> dt.date | None:
    return dt.date.fromisoformat(text) if text else None


def _found(table: Mapping[str, T], what: str, reference: n.Reference) -> T:
    """Return what a reference of a project means; it must be in the spec itself."""
    if reference.name in table:
        return table[reference.name]
    at = reference.place.location if reference.place else None
    message = f"No definition for {what} {reference.name}."
    raise DefinitionNotFoundError(message, at=at, hint=nearest(reference.name, table))


def _summaries(doing: _Project, reference: n.Reference) -> tuple[r.Summary, ...]:
    _found(doing.scope.spec.metrics, "metric", reference)
    return summaries(doing.scope, reference.name, reference.place)


def _dimension(scope: Scope, reference: n.Reference) -> r.ResolvedDimension:
    definition = _found(scope.spec.dimensions, "dimension", reference)
    if not definition.select_expression or not definition.data_source:
        at = definition.place.location if definition.place else None
        raise DefinitionError(f"dimension {definition.name} needs 'select_expression' and 'data_source'", at=at)
    return r.ResolvedDimension(
        name=definition.name,
        data_source=data_source(scope, definition.data_source, definition.places.get("data_source")),
        select_expression=definition.select_expression,
        friendly_name=dedent(definition.friendly_name),
        description=dedent(definition.description),
    )


def _alert(scope: Scope, reference: n.Reference) -> r.ResolvedAlert:
    definition = _found(scope.spec.alerts, "alert", reference)
    for metric in definition.metrics:
        _found(scope.spec.metrics, "metric", metric)
        summaries(scope, metric.name, metric.place)
    return r.ResolvedAlert(
        name=definition.name,
        type=str(definition.type),
        metrics=tuple(metric.name for metric in definition.metrics),
        friendly_name=dedent(definition.friendly_name),
        description=dedent(definition.description),
        parameters=definition.parameters or (),
        min=definition.min,
        max=definition.max,
        window_size=definition.window_size,
        max_relative_change=definition.max_relative_change,
        statistics=definition.statistics,
    )


def _group(doing: _Project, group: n.MetricGroup) -> tuple[str, ...]:
    listed = {reference.name for reference in doing.scope.spec.project.metrics}
    for reference in group.metrics:
        if reference.name not in listed:
            at = reference.place.location if reference.place else None
            message = (
                f"Metric {reference.name} is part of metric group {group.name} but not referenced as project metric"
            )
            problem = DefinitionError(message, at=at, hint=nearest(reference.name, listed))
            doing.findings.append(from_error("mh-unresolved", problem))
    return tuple(reference.name for reference in group.metrics)


def _population(doing: _Project, dimensions: tuple[r.ResolvedDimension, ...]) -> r.ResolvedPopulation:
    written = doing.scope.spec.project.population
    grouping = written.group_by_dimension
    by = next((dimension for dimension in dimensions if dimension.name == grouping), None)
    if grouping and by is None and grouping not in {reference.name for reference in written.dimensions}:
        place = written.places.get("group_by_dimension")
        message = f"'{grouping}' not listed as dimension, but used for grouping"
        problem = DefinitionError(
            message, at=place.location if place else None, hint="add it to project.population.dimensions"
        )
        doing.findings.append(from_error("mh-unresolved", problem))
    source = None
    if written.data_source:
        place = written.places.get("data_source")
        source = doing.attempt(lambda: data_source(doing.scope, str(written.data_source), place))
    return r.ResolvedPopulation(
        data_source=source,
        boolean_pref=written.boolean_pref,
        channel=written.channel,
        branches=written.branches or (),
        monitor_entire_population=written.monitor_entire_population,
        group_by_dimension=by,
    )
