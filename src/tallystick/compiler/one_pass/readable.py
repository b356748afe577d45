"""What the metrics of a project read in one pass: aggregates as they are, queries as what they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tallystick.compiler.definition_context import definition_context
from tallystick.compiler.model import Model
from tallystick.compiler.one_pass.grouped_query import GroupedQuery, grouped_query
from tallystick.compiler.one_pass.names import DIALECT
from tallystick.definitions.metric import Aggregate, SqlQuery
from tallystick.definitions.oso_options import OSO_ENTITIES
from tallystick.definitions.project import Project


@dataclass(frozen=True, slots=True)
class Readable:
    """A project with the sources and dimensions that grouped queries stand for, and these by the name of their metric."""

    project: Project
    queries: Mapping[str, GroupedQuery]

    def definition(self, metric: str) -> Aggregate | None:
        """Return the aggregate a metric is, or stands for."""
        if metric in self.queries:
            return self.queries[metric].definition
        definition = self.project.metrics[metric].definition
        return definition if isinstance(definition, Aggregate) else None

    def by(self, model: Model) -> tuple[str, ...]:
        """Return the dimensions that the rows of a model are broken down by."""
        return self.queries[model.metric].by if model.metric in self.queries else model.by


_KEPT = 4
_recent: list[tuple[Project, dict[str, GroupedQuery | None]]] = []


def readable(project: Project, metrics: Iterable[str]) -> Readable:
    """Return what some metrics of a project read, with nothing that stands for queries of others."""
    queries = {name: query for name in metrics if (query := _query(project, name)) is not None}
    if not any(isinstance(metric.definition, SqlQuery) for metric in project.metrics.values()):
        return Readable(project, queries)
    sources = {query.source.name: query.source for query in queries.values()}
    dimensions = {f"{d.source}.{d.name}": d for query in queries.values() for d in query.dimensions}
    project = replace(
        project,
        entities=project.entities or OSO_ENTITIES,
        sources={**project.sources, **sources},
        dimensions={**project.dimensions, **dimensions},
    )
    return Readable(project, queries)


def _query(project: Project, name: str) -> GroupedQuery | None:
    """Return what a metric's query stands for, looked at once while its project is among the last few."""
    metric = project.metrics[name]
    if not isinstance(metric.definition, SqlQuery):
        return None
    known = next((found for other, found in _recent if other is project), None)
    if known is None:
        known = {}
        _recent.append((project, known))
        del _recent[:-_KEPT]
    if name not in known:
        known[name] = grouped_query(metric, definition_context(project, DIALECT))
    return known[name]
