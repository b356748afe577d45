"""Resolve the names a spec refers to, own definitions first, as pure look-ups (spec metric_hub §6.2)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from tallystick.definitions import diagnostics
from tallystick.definitions.metric_hub import nouns as n
from tallystick.definitions.metric_hub import resolved as r
from tallystick.definitions.metric_hub import schema
from tallystick.definitions.metric_hub.collection import Collection
from tallystick.definitions.metric_hub.places import Place
from tallystick.definitions.metric_hub.structured import select_expression_of
from tallystick.definitions.metric_hub.templates import expand_parametrized, placeholders, refers_to, render
from tallystick.errors import DefinitionError, Location, MacroError


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the hint for a name; remembered, because resolution asks the same again on every platform it tries."""
    return _nearest(name, frozenset(known))


@lru_cache(maxsize=4096)
def _nearest(name: str, known: frozenset[str]) -> str | None:
    return diagnostics.nearest(name, known)


class DefinitionNotFoundError(DefinitionError):
    """A name is referred to that nothing defines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where names are looked up: the own spec, then the collection's definitions of one platform."""

    collection: Collection
    spec: n.Spec
    platform: str
    experiment: Mapping[str, object] | None = None
    only_spec: bool = False
    path: tuple[str, ...] = ()
    completed: dict[str, n.MetricDefinition] = field(default_factory=dict, compare=False, repr=False)

    def shared_metric(self, name: str) -> n.MetricDefinition | None:
        """Return the collection's definition of a metric.

        In compat, completing an entry of the spec changes what the rest of the same resolution finds here; the
        peer lets this leak into other resolutions, too, which a scope of its own per resolution prevents.
        """
        if self.only_spec:
            return None
        return self.completed.get(name) or self.collection.metric(name, self.platform)

    @property
    def known_metrics(self) -> list[str]:
        """Return every metric that could be referred to."""
        shared = self.collection.definitions.get(self.platform)
        return [*self.spec.metrics, *(shared.metrics if shared else ())]

    def inside(self, metric: str) -> Scope:
        """Return the scope for what a metric depends on; raises `DefinitionError` for a cycle."""
        if metric in self.path:
            cycle = " → ".join((*self.path[self.path.index(metric) :], metric))
            raise DefinitionError(f"metric {metric} depends on itself: {cycle}")
        return replace(self, path=(*self.path, metric))


def summaries(scope: Scope, name: str, at: Place | None = None) -> tuple[r.Summary, ...]:
    """Resolve a metric reference into one summary per statistic; raises `DefinitionError`."""
    try:
        definition = _find(scope, name)
        return _summaries_of(scope, definition)
    except DefinitionError as problem:
        if problem.at is None and at is not None:
            raise _located(problem, at) from None
        raise


def _located(problem: DefinitionError, at: Place) -> DefinitionError:
    return type(problem)(problem.message, at=at.location, hint=problem.hint)


def _find(scope: Scope, name: str) -> n.MetricDefinition:
    """Return the definition a name means here, an incomplete entry completed from the collection (spec §6.2)."""
    own = scope.spec.metrics.get(name)
    if own is not None and scope.collection.mode.is_compat:
        name = own.name
    shared = scope.shared_metric(name)
    if own is None:
        if shared is None:
            message = f"Could not locate metric {name}"
            raise DefinitionNotFoundError(message, hint=nearest(name, scope.known_metrics))
        return _complete(shared, name)
    if is_complete(own):
        return own
    if shared is None:
        message = f"No default definition found for referenced metric {name}"
        raise DefinitionNotFoundError(message, at=_at(own), hint=nearest(name, set(scope.known_metrics) - {name}))
    shared = _complete(shared, name)
    if scope.collection.mode.is_compat:
        scope.completed[name] = replace(
            shared,
            statistics=own.statistics,
            analysis_bases=own.analysis_bases or shared.analysis_bases,
            analysis_units=own.analysis_units or shared.analysis_units,
        )
        return scope.completed[name]
    given = {key: getattr(own, key) for key in own.places}
    united = {**(shared.statistics or {}), **(own.statistics or {})} or None
    return replace(shared, **{**given, "statistics": united}, places={**shared.places, **own.places})


def _complete(shared: n.MetricDefinition, name: str) -> n.MetricDefinition:
    """Refuse a definition that only adds statistics to a metric nobody defines."""
    if is_complete(shared):
        return shared
    message = f"No default definition found for referenced metric {name}: it only has statistics, no select_expression"
    raise DefinitionNotFoundError(
        message, at=_at(shared), hint="define select_expression and data_source in definitions/"
    )


def is_complete(definition: n.MetricDefinition) -> bool:
    """Tell whether a definition says itself what is computed."""
    has_sql = definition.select_expression is not None or definition.aggregation is not None
    return bool(definition.depends_on) or (has_sql and definition.data_source is not None)


def _at(definition: n.Definition, *keys: str) -> Location | None:
    for key in keys:
        if key in definition.places:
            return definition.places[key].location
    return definition.place.location if definition.place else None


def _summaries_of(scope: Scope, definition: n.MetricDefinition) -> tuple[r.Summary, ...]:
    metric = _composite(scope, definition) if definition.depends_on else _metric(scope, definition)
    if definition.statistics is None:
        message = f"No statistical treatment defined for metric '{definition.name}'"
        hint = f"add [metrics.{definition.name}.statistics.<statistic>]"
        raise DefinitionError(message, at=_at(definition), hint=hint)
    if not definition.statistics:
        message = f"Metric {definition.name} has no statistical treatment defined."
        raise DefinitionError(message, at=_at(definition, "statistics"))
    return tuple(_summary(metric, definition, name, table) for name, table in definition.statistics.items())


def _summary(metric: r.ResolvedMetric, definition: n.MetricDefinition, name: str, table: n.Frozen) -> r.Summary:
    params = {key: value for key, value in table.items() if key != "pre_treatments"}
    treatments = tuple(_pre_treatment(definition, name, item) for item in table.get("pre_treatments", ()))
    return r.Summary(metric, r.Statistic(name, params), treatments)


def _pre_treatment(definition: n.MetricDefinition, statistic: str, item: object) -> r.PreTreatment:
    if isinstance(item, str):
        return r.PreTreatment(item, {})
    if isinstance(item, Mapping) and isinstance(item.get("name"), str):
        return r.PreTreatment(item["name"], {key: value for key, value in item.items() if key != "name"})
    message = f"a pre-treatment of statistic '{statistic}' of metric '{definition.name}' needs a 'name'"
    raise DefinitionError(message, at=_at(definition, "statistics"), hint='write "log" or {name = "log", base = 2}')


def _composite(scope: Scope, definition: n.MetricDefinition) -> r.ResolvedMetric:
    inner = scope.inside(definition.name)
    upstream: list[r.Summary] = []
    for name in definition.depends_on or ():
        upstream += _upstream(inner, definition, name)
    return _made(scope, definition, None, None, tuple(upstream))


def _upstream(scope: Scope, definition: n.MetricDefinition, name: str) -> tuple[r.Summary, ...]:
    """Resolve what a composite depends on; compat asks the collection first, unlike everywhere else (spec §6.2)."""
    shared = scope.shared_metric(name)
    if shared is None and name not in scope.spec.metrics:
        message = f"No definition found for referenced upstream metric {name}"
        place = definition.places.get("depends_on")
        raise DefinitionNotFoundError(
            message, at=place.location if place else _at(definition), hint=nearest(name, scope.known_metrics)
        )
    if scope.collection.mode.is_compat and shared is not None:
        return _summaries_of(scope, _complete(shared, name))
    return summaries(scope, name)


def _metric(scope: Scope, definition: n.MetricDefinition) -> r.ResolvedMetric:
    source = data_source(scope, str(definition.data_source), definition.places.get("data_source"))
    expression = str(select_expression_of(definition))
    try:
        sql = expand_parametrized(expression, scope.collection.functions, scope.spec.parameters)
    except MacroError as problem:
        at = problem.at or _at(definition, "select_expression")
        raise MacroError(problem.message, at=at, hint=problem.hint) from None
    metric = _made(scope, definition, source, sql, None)
    _check_units(scope, metric, source, definition)
    return metric


def _made(
    scope: Scope,
    definition: n.MetricDefinition,
    source: r.ResolvedDataSource | None,
    sql: str | None,
    upstream: tuple[r.Summary, ...] | None,
) -> r.ResolvedMetric:
    return r.ResolvedMetric(
        name=definition.name,
        data_source=source,
        select_expression=sql,
        friendly_name=dedent(definition.friendly_name),
        description=dedent(definition.description),
        bigger_is_better=definition.bigger_is_better,
        analysis_bases=definition.analysis_bases or (n.Basis.ENROLLMENTS, n.Basis.EXPOSURES),
        type=definition.type or "scalar",
        category=definition.category,
        depends_on=upstream,
        owner=definition.owners or None,
        deprecated=definition.deprecated,
        level=definition.level,
        analysis_units=definition.analysis_units or units_of(scope.platform),
        places=definition.places,
    )


def dedent(text: str | None) -> str | None:
    """Return a text without its common indentation."""
    return textwrap.dedent(text) if text else text


def units_of(platform: str) -> tuple[n.Unit, ...]:
    """Return the units a platform supports by default (spec §3.2)."""
    return (n.Unit.CLIENT, n.Unit.PROFILE_GROUP) if platform == "firefox_desktop" else (n.Unit.CLIENT,)


def _check_units(
    scope: Scope, metric: r.ResolvedMetric, source: r.ResolvedDataSource, definition: n.MetricDefinition
) -> None:
    if set(metric.analysis_units) <= set(source.analysis_units):
        return
    raise DefinitionError(
        f"data_source {source.name} (app: {scope.platform}) does not support all analysis_units specified by metric "
        f"{metric.name}: analysis_units for metric: {[str(u) for u in metric.analysis_units]}, "
        f"analysis_units for data_source: {[str(u) for u in source.analysis_units]}",
        at=_at(definition, "analysis_units"),
        hint=f"set analysis_units = {[str(u) for u in source.analysis_units]} on the metric",
    )


def data_source(scope: Scope, name: str, at: Place | None, path: tuple[str, ...] = ()) -> r.ResolvedDataSource:
    """Resolve a data source, own spec first; raises `DefinitionError` (spec §3.3, §4.3)."""
    definition = scope.spec.data_sources.get(name)
    if definition is None and not scope.only_spec:
        definition = scope.collection.data_source(name, scope.platform)
    if definition is None or not schema.SLUG.match(name):
        shared = scope.collection.definitions.get(scope.platform)
        known = {*scope.spec.data_sources, *(shared.data_sources if shared else ())}
        message = f"No default definition for data source '{name}' [{scope.platform}] found"
        raise DefinitionNotFoundError(message, at=at.location if at else None, hint=nearest(name, known - {name}))
    if name in path:
        cycle = " → ".join((*path[path.index(name) :], name))
        raise DefinitionError(f"data sources join in a circle: {cycle}", at=_at(definition, "joins"))
    return r.ResolvedDataSource(
        name=definition.name,
        from_expression=_from_expression(scope, definition),
        experiments_column_type=_column_type(definition),
        client_id_column=definition.client_id_column or "client_id",
        submission_date_column=definition.submission_date_column or "submission_date",
        default_dataset=definition.default_dataset,
        build_id_column=definition.build_id_column or r.BUILD_ID,
        friendly_name=dedent(definition.friendly_name),
        description=dedent(definition.description),
        joins=tuple(
            r.ResolvedJoin(
                data_source=data_source(scope, target, definition.places.get("joins"), (*path, name)),
                relationship=_relationship(definition, target, join),
                on_expression=join.on_expression,
            )
            for target, join in (definition.joins or {}).items()
        ),
        columns_as_dimensions=bool(definition.columns_as_dimensions),
        analysis_units=definition.analysis_units or units_of(scope.platform),
        group_id_column=definition.group_id_column or "profile_group_id",
        glean_client_id_column=definition.glean_client_id_column,
        legacy_client_id_column=definition.legacy_client_id_column,
    )


def _relationship(definition: n.DataSourceDefinition, target: str, join: n.Join) -> str | None:
    if join.relationship is None or join.relationship in schema.RELATIONSHIPS:
        return join.relationship
    place = definition.places.get("joins")
    raise DefinitionError(
        f"data source {definition.name}: '{join.relationship}' is not a relationship of a join",
        at=place.below(target, "relationship").location if place else _at(definition),
        hint=nearest(join.relationship, schema.RELATIONSHIPS),
    )


def _column_type(definition: n.DataSourceDefinition) -> str | None:
    written = definition.experiments_column_type
    if written is None:
        return "simple"
    if written.lower() == "none":
        return None
    if written in schema.COLUMN_TYPES:
        return written
    allowed = (None, *schema.COLUMN_TYPES)
    raise DefinitionError(
        f"experiments_column_type '{written}' must be one of: {allowed}",
        at=_at(definition, "experiments_column_type"),
        hint=nearest(written, schema.COLUMN_TYPES),
    )


def _from_expression(scope: Scope, definition: n.DataSourceDefinition) -> str:
    text, at = definition.from_expression, _at(definition, "from_expression")
    if text is None:
        raise DefinitionError(f"data source {definition.name} has no 'from_expression'", at=at)
    if refers_to(text, "experiment"):
        if scope.experiment is None:
            raise DefinitionError(
                f"{definition.name}: from_expression references `experiment`, but no experiment is available in "
                "this context.",
                at=at,
            )
        try:
            text = render(text, {"experiment": scope.experiment})
        except MacroError as problem:
            raise MacroError(problem.message, at=at, hint=problem.hint) from None
    _check_placeholders(definition, text, at)
    return text


def _check_placeholders(definition: n.DataSourceDefinition, text: str, at: Location | None) -> None:
    names = placeholders(text)
    if unsupported := [name for name in names if name != "dataset"]:
        message = (
            f"{definition.name}: from_expression contains unsupported placeholder(s) {unsupported}. "
            "Only `{dataset}` is substituted here."
        )
        hint = "write {{experiment.normandy_slug}} for the experiment; double a brace that is meant literally"
        raise DefinitionError(message, at=at, hint=hint)
    if "dataset" in names and not definition.default_dataset:
        message = (
            f"{definition.name}: from_expression contains a `{{dataset}}` template but no value was provided "
            "and `default_dataset` is not set."
        )
        raise DefinitionError(message, at=at, hint='set default_dataset = "…"')
