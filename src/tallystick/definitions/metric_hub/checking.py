"""Check a repository by resolving everything in it, as its consumers would (spec metric_hub §8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tallystick.definitions.diagnostics import Diagnostic, Severity, diagnose, nearest
from tallystick.definitions.diagnostics import sort as sorted_findings
from tallystick.definitions.metric_hub import nouns as n
from tallystick.definitions.metric_hub import resolved as r
from tallystick.definitions.metric_hub.analysis import resolve_default, resolve_experiment, resolve_outcome
from tallystick.definitions.metric_hub.collection import Collection
from tallystick.definitions.metric_hub.monitoring import resolve_project
from tallystick.definitions.metric_hub.places import Place
from tallystick.definitions.metric_hub.repository import Repository
from tallystick.definitions.metric_hub.statistics import known_statistics, parameter_problems

DESKTOP = "firefox_desktop"


def check_definitions(repository: Repository) -> tuple[Diagnostic, ...]:
    """Return every finding about a repository that needs no SQL: read, merged and resolved, in order of place."""
    findings = [*repository.diagnostics]
    for tool, collection in (("", repository.shared), *repository.tools.items()):
        findings += check_resolution(collection, own=repository.own.get(tool, repository.shared))
    for collection in (repository.shared, *repository.own.values()):
        findings += check_statistics(collection)
    return sorted_findings(findings)


def check_resolution(collection: Collection, own: Collection | None = None) -> Iterator[Diagnostic]:
    """Resolve every config, outcome and default of a tool on a dummy experiment; yield what goes wrong."""
    own = own or collection
    for slug, config in own.configs.items():
        if config.kind is n.Kind.MONITORING:
            yield from resolve_project(collection, slug).diagnostics
        else:
            yield from resolve_somewhere(collection, slug).diagnostics
    for platform, slug in own.outcomes:
        yield from resolve_outcome(collection, platform, slug).diagnostics
    for name, default in own.defaults.items():
        if default.kind is n.Kind.ANALYSIS and name in collection.definitions:
            yield from resolve_default(collection, name).diagnostics


def resolve_somewhere(
    collection: Collection, slug: str, record: r.ExperimentRecord | None = None
) -> r.AnalysisConfiguration:
    """Resolve an experiment whose app nobody gave: on the platform where most of it resolves.

    The experiment service knows the app, a repository does not (spec §8 resolves on a dummy experiment).
    """
    record = record or r.ExperimentRecord(slug=slug, proposed_enrollment=14)
    best: r.AnalysisConfiguration | None = None
    for platform in candidate_platforms(collection, slug):
        found = resolve_experiment(collection, replace(record, app_name=platform))
        if not found.errors:
            return found
        if best is None or len(found.errors) < len(best.errors):
            best = found
    return best or resolve_experiment(collection, record)


def candidate_platforms(collection: Collection, slug: str) -> list[str]:
    """Return the platforms an experiment may be about, likeliest first: most of its names are defined there."""
    config = collection.configs.get(slug)
    platforms = [DESKTOP, *(name for name in collection.definitions if name not in ("functions", DESKTOP))]
    if config is None:
        return platforms
    names = {reference.name for references in config.periods.values() for reference in references} | {*config.metrics}
    sources = {metric.data_source for metric in config.metrics.values()} - {*config.data_sources}
    segments = {reference.name for reference in config.experiment.segments} - {*config.segments}

    def known_on(platform: str) -> int:
        spec = collection.definitions.get(platform)
        outcomes = sum((platform, reference.name) in collection.outcomes for reference in config.experiment.outcomes)
        if spec is None:
            return outcomes
        return (
            outcomes
            + len(names & {*spec.metrics})
            + len(sources & {*spec.data_sources})
            + len(segments & {*spec.segments})
        )

    return sorted(platforms, key=known_on, reverse=True)


def check_statistics(collection: Collection) -> Iterator[Diagnostic]:
    """Yield statistics and pre-treatments that no consumer implements, and parameters they do not take."""
    severity = Severity.WARNING if collection.mode.is_compat else Severity.ERROR
    for spec in _specs(collection):
        for metric in spec.metrics.values():
            place = metric.places.get("statistics")
            for name, table in (metric.statistics or {}).items():
                yield from _statistic_findings(metric, name, table, place, severity)


def _statistic_findings(
    metric: n.MetricDefinition, name: str, table: n.Frozen, place: Place | None, severity: Severity
) -> Iterator[Diagnostic]:
    if name not in known_statistics():
        at = place.below(name).location if place else None
        message = f"statistic '{name}' of metric '{metric.name}' is not one that any consumer computes"
        yield diagnose("mh-unknown-statistic", message, at, severity=severity, hint=nearest(name, known_statistics()))
        return
    for path, message, hint in parameter_problems(name, table):
        at = place.below(name, *path).location if place else None
        text = f"statistic '{name}' of metric '{metric.name}': {message}"
        yield diagnose("mh-statistic-parameter", text, at, severity=severity, hint=hint)


def _specs(collection: Collection) -> Iterator[n.Spec]:
    yield from collection.configs.values()
    yield from collection.outcomes.values()
    yield from collection.defaults.values()
    yield from collection.definitions.values()
