"""What a metrics query is about, resolved and checked, before any SQL is written (spec metric_hub §7.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from tallystick.definitions.diagnostics import nearest
from tallystick.definitions.metric_hub import nouns as n
from tallystick.definitions.metric_hub.collection import Collection
from tallystick.definitions.metric_hub.structured import select_expression_of
from tallystick.definitions.metric_hub.templates import expand
from tallystick.errors import CompileError, MacroError, UnknownNameError

GroupBy = Sequence[str] | Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedSource:
    """A data source attached to another."""

    source: SourceQuery
    relationship: str | None = None
    on_expression: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceQuery:
    """A data source with every column name known and its joins resolved."""

    name: str
    from_expression: str
    client_id: str = "client_id"
    submission_date: str = "submission_date"
    default_dataset: str | None = None
    joins: tuple[JoinedSource, ...] = ()

    @property
    def has_client(self) -> bool:
        """Tell whether rows belong to a client."""
        return self.client_id != "NULL"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricColumn:
    """One metric of a query: its alias and its aggregate, macros expanded."""

    name: str
    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsQuery:
    """Metrics by data source in order of first use, and how to group them."""

    parts: tuple[tuple[SourceQuery, tuple[MetricColumn, ...]], ...]
    group_by: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    where: str | None = None
    by_client: bool = True
    by_date: bool = True


def metrics_query(
    collection: Collection,
    metrics: Sequence[str],
    platform: str,
    *,
    group_by: GroupBy = (),
    where: str | None = None,
    group_by_client_id: bool = True,
    group_by_submission_date: bool = True,
) -> MetricsQuery:
    """Resolve the metrics of a query; raises `UnknownNameError` or `CompileError` (spec §7.1)."""
    parts: dict[str, tuple[SourceQuery, list[MetricColumn]]] = {}
    for name in metrics if collection.mode.is_compat else dict.fromkeys(metrics):
        metric = require_metric(collection, name, platform)
        source = metric_source(collection, metric, platform)
        columns = parts.setdefault(source.name, (source, []))[1]
        columns.append(MetricColumn(name=metric.name, sql=metric_sql(collection, metric)))
    grouping = group_by if isinstance(group_by, Mapping) else {column: column for column in group_by}
    return MetricsQuery(
        parts=tuple((source, tuple(columns)) for source, columns in parts.values()),
        group_by=MappingProxyType(dict(grouping)),
        where=where,
        by_client=group_by_client_id,
        by_date=group_by_submission_date,
    )


def require_metric(collection: Collection, name: str, platform: str) -> n.MetricDefinition:
    """Return a metric or raise with the nearest name."""
    metric = collection.metric(name, platform)
    if metric is not None:
        return metric
    spec = collection.definitions.get(platform)
    hint = nearest(name, spec.metrics) if spec else nearest(platform, collection.definitions)
    raise UnknownNameError(f"No definition for metric {name} on platform {platform} found.", hint=hint)


def metric_sql(collection: Collection, metric: n.MetricDefinition) -> str:
    """Return the aggregate of a metric with its macros expanded."""
    expression = select_expression_of(metric)
    if expression is None:
        message = f"No definition for metric {metric.name}"
        hint = "a composite metric only has statistics" if metric.depends_on else "it has no select_expression"
        raise CompileError(message, at=metric.place.location if metric.place else None, hint=hint)
    try:
        return expand(expression, collection.functions)
    except MacroError as problem:
        place = metric.places.get("select_expression", metric.place)
        raise MacroError(problem.message, at=place.location if place else None, hint=problem.hint) from None


def metric_source(collection: Collection, metric: n.MetricDefinition, platform: str) -> SourceQuery:
    """Return the resolved data source of a metric."""
    if select_expression_of(metric) is None:
        metric_sql(collection, metric)
    at = metric.place.location if metric.place else None
    if not metric.data_source:
        raise CompileError(f"No data source for metric {metric.name}", at=at)
    if collection.data_source(metric.data_source, platform) is None:
        place = metric.places.get("data_source")
        known = collection.spec_of(platform).data_sources
        raise CompileError(
            f"No valid data source definition found for metric {metric.name}",
            at=place.location if place else at,
            hint=nearest(metric.data_source, known),
        )
    return source_query(collection, metric.data_source, platform)


def source_query(
    collection: Collection, name: str, platform: str, path: tuple[str, ...] = (), *, ignore_joins: bool = False
) -> SourceQuery:
    """Resolve a data source and what it joins; a join that leads back to itself is an error (spec §7.1)."""
    definition = collection.data_source(name, platform)
    if definition is None:
        spec = collection.definitions.get(platform)
        hint = nearest(name, spec.data_sources) if spec else nearest(platform, collection.definitions)
        raise UnknownNameError(f"No definition for data source {name} on platform {platform} found.", hint=hint)
    if name in path:
        cycle = " → ".join((*path[path.index(name) :], name))
        place = definition.places.get("joins")
        raise CompileError(f"data sources join in a circle: {cycle}", at=place.location if place else None)
    joins = tuple(
        _joined(collection, definition, target, join, platform, (*path, name))
        for target, join in ({} if ignore_joins else definition.joins or {}).items()
    )
    return SourceQuery(
        name=definition.name,
        from_expression=str(definition.from_expression),
        client_id=definition.client_id_column or "client_id",
        submission_date=definition.submission_date_column or "submission_date",
        default_dataset=definition.default_dataset,
        joins=tuple(join for join in joins if join is not None),
    )


def _joined(
    collection: Collection,
    outer: n.DataSourceDefinition,
    target: str,
    join: n.Join,
    platform: str,
    path: tuple[str, ...],
) -> JoinedSource | None:
    if outer.client_id_column == "NULL" and not join.on_expression:
        return None
    if collection.data_source(target, platform) is None:
        place = outer.places.get("joins")
        raise CompileError(
            f"data source {outer.name} joins the unknown data source '{target}'",
            at=place.below(target).location if place else None,
            hint=nearest(target, collection.spec_of(platform).data_sources),
        )
    return JoinedSource(
        source=source_query(collection, target, platform, path),
        relationship=join.relationship,
        on_expression=join.on_expression,
    )
