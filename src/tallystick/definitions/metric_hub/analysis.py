"""Resolve an experiment: defaults ⊕ config ⊕ outcomes → metrics × statistics × periods (spec metric_hub §6.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from tallystick.definitions.diagnostics import Diagnostic, Severity, from_error
from tallystick.definitions.metric_hub import nouns as n
from tallystick.definitions.metric_hub import resolved as r
from tallystick.definitions.metric_hub.collection import Collection
from tallystick.definitions.metric_hub.merging import (
    Merging,
    merge_data_source,
    merge_metric,
    merge_parameter,
    merge_patterned,
    merge_specs,
)
from tallystick.definitions.metric_hub.mode import Quirk
from tallystick.definitions.metric_hub.references import (
    DefinitionNotFoundError,
    Scope,
    data_source,
    dedent,
    is_complete,
    nearest,
    summaries,
)
from tallystick.definitions.metric_hub.templates import expand_parametrized, render
from tallystick.errors import DefinitionError, MacroError


@dataclass(slots=True)
class _Findings:
    """What went wrong or was noticed while one experiment was resolved."""

    items: list[Diagnostic] = field(default_factory=list)

    def error(self, problem: DefinitionError, code: str = "mh-unresolved") -> None:
        """Record an error that keeps one part from being resolved."""
        self.items.append(from_error(code, problem))


def spec_for_experiment(collection: Collection, record: r.ExperimentRecord) -> tuple[n.Spec, Merging]:
    """Return the defaults of the experiment's app and type with its own config laid over (spec §6.1, 1-2)."""
    merging = Merging(collection.mode)
    spec = n.Spec(kind=n.Kind.ANALYSIS, slug=record.slug, platform=record.app_name)
    for name in (record.app_name, record.type):
        default = collection.defaults.get(name)
        if default is not None and default.kind is n.Kind.ANALYSIS:
            spec = default if not spec.places else merge_specs(spec, default, merging)
    own = collection.configs.get(record.slug)
    if own is not None:
        spec = merge_specs(spec, own, merging)
    return replace(spec, slug=record.slug), merging


def resolve_experiment(collection: Collection, record: r.ExperimentRecord) -> r.AnalysisConfiguration:
    """Resolve everything an experiment computes; failures are collected, the rest is still resolved (spec §6)."""
    spec, merging = spec_for_experiment(collection, record)
    return _resolve(collection, record, spec, merging)


def resolve_outcome(collection: Collection, platform: str, slug: str) -> r.AnalysisConfiguration:
    """Resolve an outcome as if an experiment without anything of its own used it (spec §8)."""
    record = r.ExperimentRecord(slug="dummy-experiment", app_name=platform, outcomes=(slug,))
    spec = n.Spec(kind=n.Kind.ANALYSIS, slug=record.slug, platform=platform)
    return _resolve(collection, record, spec, Merging(collection.mode))


def resolve_default(collection: Collection, name: str, platform: str | None = None) -> r.AnalysisConfiguration:
    """Resolve the metrics that every experiment of a platform computes."""
    record = r.ExperimentRecord(slug="dummy-experiment", app_name=platform or name)
    return _resolve(collection, record, collection.defaults[name], Merging(collection.mode))


def _resolve(
    collection: Collection, record: r.ExperimentRecord, spec: n.Spec, merging: Merging
) -> r.AnalysisConfiguration:
    findings = _Findings()
    spec = _with_outcomes(collection, record, spec, findings, merging)
    _check_parameters(spec, findings)
    settings = spec.experiment
    experiment = r.ResolvedExperiment(record=record, settings=settings)
    scope = Scope(collection=collection, spec=spec, platform=record.app_name, experiment=template_values(experiment))
    experiment = replace(
        experiment,
        segments=_segments(scope, record, settings, findings),
        exposure_signal=_exposure_signal(scope, settings, findings),
        enrollment_query=_enrollment_query(scope, settings, findings),
    )
    metrics = {period: _period(scope, spec.periods.get(period, ()), findings) for period in n.Period}
    _notice_ignored_entries(scope, merging)
    return r.AnalysisConfiguration(
        experiment=experiment,
        metrics=MappingProxyType(metrics),
        diagnostics=tuple(dict.fromkeys((*merging.findings, *findings.items))),
    )


def _with_outcomes(
    collection: Collection, record: r.ExperimentRecord, spec: n.Spec, findings: _Findings, merging: Merging
) -> n.Spec:
    """Lay the spec over the outcomes it uses: the spec wins (spec §6.1, 3)."""
    own = {reference.name: reference for reference in spec.experiment.outcomes}
    for slug in dict.fromkeys((*record.outcomes, *own)):
        outcome = collection.outcomes.get((record.app_name, slug))
        if outcome is None:
            known = [name for platform, name in collection.outcomes if platform == record.app_name]
            message = f"Outcome {slug} doesn't support the platform '{record.app_name}'"
            place = own[slug].place if slug in own else None
            at = place.location if place else None
            findings.error(DefinitionNotFoundError(message, at=at, hint=nearest(slug, known)))
            continue
        spec = _lay_over(spec, outcome, merging)
    return spec


def _lay_over(spec: n.Spec, outcome: n.Spec, merging: Merging) -> n.Spec:
    parameters = dict(outcome.parameters)
    for name, parameter in spec.parameters.items():
        parameters[name] = merge_parameter(parameters[name], parameter) if name in parameters else parameter
    return replace(
        spec,
        metrics=merge_patterned(outcome.metrics, spec.metrics, merge_metric, merging),
        data_sources=merge_patterned(outcome.data_sources, spec.data_sources, merge_data_source, merging),
        parameters=MappingProxyType(parameters),
        periods=_united_periods(spec.periods, outcome_periods(outcome)),
    )


def outcome_periods(outcome: n.Spec) -> Mapping[n.Period, tuple[n.Reference, ...]]:
    """Return when the metrics of an outcome are computed: weekly and overall unless it says so (spec §3.8)."""
    if outcome.periods:
        return outcome.periods
    every = tuple(n.Reference(name, metric.place) for name, metric in outcome.metrics.items())
    return {n.Period.WEEK: every, n.Period.OVERALL: every}


def _united_periods(
    first: Mapping[n.Period, tuple[n.Reference, ...]], second: Mapping[n.Period, tuple[n.Reference, ...]]
) -> Mapping[n.Period, tuple[n.Reference, ...]]:
    return MappingProxyType({period: first.get(period, ()) + second.get(period, ()) for period in n.Period})


def _check_parameters(spec: n.Spec, findings: _Findings) -> None:
    for name, parameter in spec.parameters.items():
        at = parameter.place.location if parameter.place else None
        given = [value for value in (parameter.value, parameter.default) if value is not None]
        if not given:
            findings.error(DefinitionError(f"Parameter {name} has neither value nor default", at=at))
        elif parameter.distinct_by_branch and not all(isinstance(value, Mapping) for value in given):
            message = (
                f"Parameter {name} configured to be distinct by branch, a mapping expected in the following format: "
                'for values: value.branch_1 = "1" and defaults: default.branch_1 = "1"'
            )
            findings.error(DefinitionError(message, at=at))
        elif not parameter.distinct_by_branch and any(isinstance(value, Mapping) for value in given):
            message = f"Parameter {name}: wrong value type provided, a string expected"
            findings.error(DefinitionError(message, at=at, hint="or set distinct_by_branch = true"))


def template_values(experiment: r.ResolvedExperiment) -> Mapping[str, object]:
    """Return what a template may read from `experiment` (spec §4.2)."""
    record, settings = experiment.record, experiment.settings
    dates = {
        "start_date": experiment.start_date,
        "end_date": experiment.end_date,
        "last_enrollment_date": experiment.last_enrollment_date,
    }
    return MappingProxyType(
        {
            "normandy_slug": record.slug,
            "experimenter_slug": record.slug,
            "slug": record.slug,
            "type": record.type,
            "status": experiment.status,
            "branches": record.branches,
            "app_name": record.app_name,
            "app_id": record.app_id,
            "channel": record.channel,
            "outcomes": record.outcomes,
            "is_rollout": record.is_rollout,
            "reference_branch": experiment.reference_branch,
            "enrollment_period": experiment.enrollment_period,
            "proposed_enrollment": experiment.enrollment_period,
            "analysis_unit": str(experiment.analysis_unit),
            "sample_size": settings.sample_size,
            "is_private": settings.is_private,
            "dataset_id": settings.dataset_id,
            "skip": settings.skip,
            **{name: None if day is None else f"{day} 00:00:00+00:00" for name, day in dates.items()},
            **{f"{name}_str": None if day is None else day.isoformat() for name, day in dates.items()},
        }
    )


def _segments(
    scope: Scope, record: r.ExperimentRecord, settings: n.ExperimentSettings, findings: _Findings
) -> tuple[r.ResolvedSegment, ...]:
    references = (*settings.segments, *(n.Reference(name) for name in record.segments))
    found: dict[str, r.ResolvedSegment] = {}
    for reference in references:
        if reference.name in found:
            continue
        try:
            found[reference.name] = resolve_segment(scope, reference)
        except DefinitionError as problem:
            findings.error(problem)
    return tuple(found.values())


def resolve_segment(scope: Scope, reference: n.Reference) -> r.ResolvedSegment:
    """Resolve a segment and its data source, own spec first; raises `DefinitionError` (spec §3.5)."""
    name, collection, platform = reference.name, scope.collection, scope.platform
    definition = scope.spec.segments.get(name) or collection.segment(name, platform)
    at = reference.place.location if reference.place else None
    if definition is None:
        shared = collection.definitions.get(platform)
        known = {*scope.spec.segments, *(shared.segments if shared else ())}
        message = f"Could not find definition for segment '{name}'"
        raise DefinitionNotFoundError(message, at=at, hint=nearest(name, known))
    source_name = str(definition.data_source)
    source = scope.spec.segment_data_sources.get(source_name) or collection.segment_data_source(source_name, platform)
    if source is None:
        shared = collection.definitions.get(platform)
        known = {*scope.spec.segment_data_sources, *(shared.segment_data_sources if shared else ())}
        place = definition.places.get("data_source")
        message = f"Could not find definition for segment data source '{source_name}'"
        raise DefinitionNotFoundError(message, at=place.location if place else at, hint=nearest(source_name, known))
    return r.ResolvedSegment(
        name=definition.name,
        data_source=_segment_source(scope, source),
        select_expression=_expanded(scope, definition),
        friendly_name=dedent(definition.friendly_name),
        description=dedent(definition.description),
    )


def _expanded(scope: Scope, definition: n.SegmentDefinition) -> str:
    try:
        return expand_parametrized(str(definition.select_expression), scope.collection.functions, scope.spec.parameters)
    except MacroError as problem:
        place = definition.places.get("select_expression")
        raise MacroError(problem.message, at=place.location if place else None, hint=problem.hint) from None


def _segment_source(scope: Scope, source: n.SegmentDataSourceDefinition) -> n.SegmentDataSourceDefinition:
    """Render the from-expression, unconditionally; compat also drops the default dataset (spec §3.5)."""
    try:
        text = render(str(source.from_expression), {"experiment": scope.experiment or {}})
    except MacroError as problem:
        place = source.places.get("from_expression")
        raise MacroError(problem.message, at=place.location if place else None, hint=problem.hint) from None
    dataset = None if scope.collection.mode.is_compat else source.default_dataset
    return replace(source, from_expression=text, default_dataset=dataset)


def _exposure_signal(
    scope: Scope, settings: n.ExperimentSettings, findings: _Findings
) -> r.ResolvedExposureSignal | None:
    signal = settings.exposure_signal
    if signal is None:
        return None
    try:
        source = data_source(scope, str(signal.data_source), signal.places.get("data_source"))
    except DefinitionError as problem:
        findings.error(problem)
        return None
    return r.ResolvedExposureSignal(
        name=signal.name,
        data_source=source,
        select_expression=str(signal.select_expression),
        friendly_name=dedent(signal.friendly_name),
        description=dedent(signal.description),
        window_start=signal.window_start,
        window_end=signal.window_end,
    )


def _enrollment_query(scope: Scope, settings: n.ExperimentSettings, findings: _Findings) -> str | None:
    if settings.enrollment_query is None:
        return None
    place = settings.places.get("enrollment_query")
    at = place.location if place else None
    if "experiment.enrollment_query" in settings.enrollment_query:
        findings.error(DefinitionError("Not a valid enrollment_query: it refers to itself", at=at))
        return None
    try:
        return render(settings.enrollment_query, {"experiment": scope.experiment or {}})
    except MacroError as problem:
        findings.error(MacroError(problem.message, at=at, hint=problem.hint))
        return None


def _period(scope: Scope, references: Iterable[n.Reference], findings: _Findings) -> tuple[r.Summary, ...]:
    """Resolve one period: of summaries with the same key the last listed counts, in reverse order (spec §6.2)."""
    found: list[r.Summary] = []
    for reference in references:
        try:
            found += summaries(scope, reference.name, reference.place)
        except DefinitionError as problem:
            findings.error(problem)
    kept: dict[tuple[str, str], r.Summary] = {}
    for summary in reversed(found):
        kept.setdefault(summary.key, summary)
    return tuple(kept.values())


def _notice_ignored_entries(scope: Scope, merging: Merging) -> None:
    """Report what compat throws away from entries that only add to a shared metric (spec §6.2)."""
    used = {"statistics", "analysis_bases", "analysis_units"}
    for name, entry in scope.spec.metrics.items():
        if is_complete(entry) or scope.collection.metric(name, scope.platform) is None:
            continue
        for key in sorted(set(entry.places) - used):
            message = f"'{key}' of metric '{name}' is ignored: the entry has no select_expression with data_source"
            merging.notice(Quirk.ENTRY_IGNORED, message, entry.places[key], Severity.WARNING)
