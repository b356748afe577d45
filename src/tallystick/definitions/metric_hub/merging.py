"""Lay one collection over another: field by field, with the place every surviving field came from (spec §5)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from fnmatch import translate
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeVar

from tallystick.definitions.diagnostics import Diagnostic, Severity, diagnose
from tallystick.definitions.metric_hub import nouns as n
from tallystick.definitions.metric_hub.collection import Collection
from tallystick.definitions.metric_hub.mode import Mode, Quirk
from tallystick.definitions.metric_hub.places import Place
from tallystick.definitions.metric_hub.schema import SLUG

D = TypeVar("D", bound=n.Definition)
_OWN_RULE = frozenset({"name", "place", "places"})


@dataclass(frozen=True, slots=True)
class Merging:
    """How to merge, and what was noticed while doing it."""

    mode: Mode
    findings: list[Diagnostic] = field(default_factory=list)

    def notice(self, quirk: Quirk, message: str, place: Place | None, severity: Severity = Severity.WARNING) -> None:
        """Record a quirk of merging; in strict mode nothing happened that needs a word."""
        if self.mode.is_compat:
            location = place.location if place else None
            self.findings.append(diagnose(quirk.value, message, location, severity=severity))


def merge(base: Collection, overlay: Collection) -> Collection:
    """Return `base` with `overlay` laid over it; neither changes (spec §5.1)."""
    merging = Merging(base.mode)
    return Collection(
        mode=base.mode,
        roots=base.roots + overlay.roots,
        configs=_united(base.configs, overlay.configs, lambda a, b: merge_specs(a, b, merging)),
        defaults=_united(base.defaults, overlay.defaults, lambda a, b: merge_specs(a, b, merging)),
        definitions=_united(base.definitions, overlay.definitions, lambda a, b: merge_specs(a, b, merging)),
        outcomes=_outcomes(base.outcomes, overlay.outcomes, merging),
        functions=MappingProxyType({**base.functions, **overlay.functions}),
        features=MappingProxyType({**base.features, **overlay.features}),
        nimbus=MappingProxyType({**base.nimbus, **overlay.nimbus}),
        diagnostics=(*base.diagnostics, *overlay.diagnostics, *merging.findings),
    )


def merge_specs(base: n.Spec, overlay: n.Spec, merging: Merging) -> n.Spec:
    """Lay one spec over another (spec §5.2, §5.3)."""
    periods = {
        period: overlay.periods.get(period, ()) + base.periods.get(period, ())
        for period in n.Period
        if period in base.periods or period in overlay.periods
    }
    return n.Spec(
        kind=overlay.kind if base.kind is n.Kind.DEFINITION else base.kind,
        slug=base.slug,
        platform=base.platform or overlay.platform,
        metrics=merge_patterned(base.metrics, overlay.metrics, merge_metric, merging),
        periods=MappingProxyType(periods),
        data_sources=merge_patterned(base.data_sources, overlay.data_sources, merge_data_source, merging),
        segments=MappingProxyType({**base.segments, **overlay.segments}),
        segment_data_sources=MappingProxyType({**base.segment_data_sources, **overlay.segment_data_sources}),
        dimensions=_united(base.dimensions, overlay.dimensions, lambda a, b: merge_fields(a, b, merging)),
        parameters=_merge_lost_parameters(base, overlay, merging),
        alerts=MappingProxyType({**base.alerts, **overlay.alerts}),
        experiment=merge_fields(base.experiment, overlay.experiment, merging),
        project=_merge_project(base.project, overlay.project, merging),
        friendly_name=overlay.friendly_name or base.friendly_name,
        description=overlay.description or base.description,
        default_metrics=overlay.default_metrics or base.default_metrics,
        places=base.places + overlay.places,
    )


def merge_fields(base: D, overlay: D, merging: Merging, skip: frozenset[str] = frozenset()) -> D:
    """Merge scalar fields: compat lets only truthy values win, strict everything that was written (spec §5.2)."""
    places = dict(base.places)
    changed: dict[str, Any] = {}
    for name in _scalar_fields(type(base)):  # type: ignore[arg-type]
        if name in skip:
            continue
        theirs, ours = getattr(overlay, name), getattr(base, name)
        if theirs is ours or (theirs == ours and not overlay.written(name)):
            continue
        if theirs if merging.mode.is_compat else overlay.written(name):
            changed[name] = theirs
            if name in overlay.places:
                places[name] = overlay.places[name]
            elif overlay.place is not None:
                places[name] = overlay.place
        elif overlay.written(name) and ours:
            message = f"'{name}' of '{base.name}' keeps {ours!r}: an empty or false override has no effect"
            merging.notice(Quirk.FALSY_IGNORED, message, overlay.places[name])
    place = base.place or overlay.place
    return replace(base, place=place, places=MappingProxyType(places), **changed)


def merge_metric(base: n.MetricDefinition, overlay: n.MetricDefinition, merging: Merging) -> n.MetricDefinition:
    """Merge a metric; compat also takes over the name and the default direction of the overlay (spec §5.2)."""
    merged = merge_fields(base, overlay, merging)
    if not merging.mode.is_compat:
        return replace(merged, statistics=_united_statistics(base.statistics, overlay.statistics))
    if merged.bigger_is_better and not base.bigger_is_better and not overlay.written("bigger_is_better"):
        message = f"bigger_is_better of '{base.name}' becomes true because an overlay mentions the metric"
        merging.notice(Quirk.DIRECTION_FLIPPED, message, overlay.place)
    if base.statistics and overlay.statistics and set(base.statistics) - set(overlay.statistics):
        message = f"the statistics of '{base.name}' are replaced, not extended"
        merging.notice(Quirk.STATISTICS_REPLACED, message, overlay.places.get("statistics"), Severity.INFO)
    if overlay.name != merged.name:
        message = f"metric '{base.name}' is renamed to '{overlay.name}' by the overlay"
        merging.notice(Quirk.WILDCARD_RENAMES, message, overlay.place)
    return replace(merged, name=overlay.name)


def _united_statistics(base: n.Statistics | None, overlay: n.Statistics | None) -> n.Statistics | None:
    """Add the overlay's statistics; `unset = true` in a statistic removes it (strict mode only)."""
    if base is None or overlay is None:
        return base if overlay is None else overlay
    united = {**base, **overlay}
    return MappingProxyType({name: table for name, table in united.items() if table.get("unset") is not True})


def merge_data_source(
    base: n.DataSourceDefinition, overlay: n.DataSourceDefinition, merging: Merging
) -> n.DataSourceDefinition:
    """Merge a data source; its joins are replaced whenever the overlay mentions them (spec §5.2)."""
    merged = merge_fields(base, overlay, merging, skip=frozenset({"joins"}))
    if overlay.joins is None:
        return merged
    places = {**merged.places, "joins": overlay.places["joins"]}
    return replace(merged, joins=overlay.joins, places=MappingProxyType(places))


def merge_patterned(
    base: Mapping[str, D],
    overlay: Mapping[str, D],
    merge_one: Callable[[D, D, Merging], D],
    merging: Merging,
) -> Mapping[str, D]:
    """Merge named definitions whose overlay keys may be wildcards over the keys of the base (spec §5.3)."""
    merged = dict(base)
    for key, definition in overlay.items():
        matches = [key] if key in base and SLUG.match(key) else _matching(key, base)
        for name in matches:
            theirs = definition
            if key != name and not merging.mode.is_compat:
                theirs = replace(definition, name=merged[name].name)
            merged[name] = merge_one(merged[name], theirs, merging)
        if not matches and SLUG.match(key):
            merged[key] = definition
        elif not matches:
            merging.notice(Quirk.WILDCARD_UNMATCHED, f"'{key}' matches nothing and is dropped", definition.place)
    return MappingProxyType(merged)


def _matching(pattern: str, names: Mapping[str, Any]) -> list[str]:
    if SLUG.match(pattern):
        return []
    matcher = re.compile(translate(pattern))
    return [name for name in names if matcher.match(name)]


def _united(base: Mapping[str, Any], overlay: Mapping[str, Any], merge_one: Callable[[Any, Any], Any]) -> Any:
    merged = dict(base)
    for key, theirs in overlay.items():
        merged[key] = merge_one(merged[key], theirs) if key in merged else theirs
    return MappingProxyType(merged)


def _outcomes(
    base: Mapping[tuple[str, str], n.Spec], overlay: Mapping[tuple[str, str], n.Spec], merging: Merging
) -> Mapping[tuple[str, str], n.Spec]:
    """Keep the base's outcomes that the overlay does not have; compat forgets the platform there (spec §5.1)."""
    if not merging.mode.is_compat:
        return MappingProxyType({**base, **overlay})
    slugs = {slug for _, slug in overlay}
    kept = {key: spec for key, spec in base.items() if key[1] not in slugs}
    for (platform, slug), spec in base.items():
        if slug in slugs and (platform, slug) not in overlay:
            message = f"outcome '{slug}' of {platform} is dropped: another platform has one of the same name"
            merging.notice(Quirk.OUTCOME_DROPPED, message, spec.place)
    return MappingProxyType({**overlay, **kept})


def _merge_lost_parameters(base: n.Spec, overlay: n.Spec, merging: Merging) -> Mapping[str, n.ParameterDefinition]:
    """Merge parameters; compat drops the overlay's, as the peer does on the real path (spec §6.1)."""
    if not merging.mode.is_compat:
        return _united(base.parameters, overlay.parameters, merge_parameter)  # type: ignore[no-any-return]
    for name, parameter in overlay.parameters.items():
        message = f"parameter '{name}' is lost when '{overlay.slug}' is merged into its defaults"
        merging.notice(Quirk.PARAMETERS_LOST, message, parameter.place)
    return base.parameters


def merge_parameter(base: n.ParameterDefinition, overlay: n.ParameterDefinition) -> n.ParameterDefinition:
    """Merge an outcome's parameter with an experiment's, which wins (spec §6.1)."""
    default = overlay.default or base.default
    value = overlay.value or base.value or default
    if isinstance(value, Mapping) and isinstance(default, Mapping):
        value = MappingProxyType({**default, **value})
    return replace(
        base,
        friendly_name=overlay.friendly_name or base.friendly_name,
        description=overlay.description or base.description,
        default=default,
        value=value,
        distinct_by_branch=overlay.distinct_by_branch or base.distinct_by_branch,
        places=MappingProxyType({**base.places, **overlay.places}),
    )


def _merge_project(base: n.ProjectSettings, overlay: n.ProjectSettings, merging: Merging) -> n.ProjectSettings:
    own = frozenset({"metrics", "alerts", "population", "metric_groups"})
    groups = _united(base.metric_groups, overlay.metric_groups, lambda a, b: merge_fields(a, b, merging))
    return replace(
        merge_fields(base, overlay, merging, skip=own),
        metrics=base.metrics + overlay.metrics,
        alerts=base.alerts + overlay.alerts,
        metric_groups=groups,
        population=_merge_population(base.population, overlay.population, merging),
    )


def _merge_population(base: n.Population, overlay: n.Population, merging: Merging) -> n.Population:
    merged = merge_fields(base, overlay, merging, skip=frozenset({"branches", "dimensions"}))
    branches = overlay.branches if overlay.branches is not None else base.branches
    if merging.mode.is_compat and base.branches:
        if overlay.branches and overlay.branches != base.branches:
            message = "the branches of the overlay are ignored: those of the defaults are kept"
            merging.notice(Quirk.BRANCHES_REVERSED, message, overlay.places.get("branches"))
        branches = base.branches
    return replace(merged, branches=branches, dimensions=base.dimensions + overlay.dimensions)


@lru_cache(maxsize=32)
def _scalar_fields(noun: type[n.Definition]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(noun) if f.name not in _OWN_RULE)
