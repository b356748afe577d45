"""What the metrics of a project read in one pass: aggregates as they are, queries as what they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tallystick.compiler.definition_context import definition_context
from tallystick.compiler.model import Model
from tallystick.compiler.one_pass.grouped_query import GroupedQuery, grouped_query
from tallystick.compiler.one_pass.names import DIALECT
from tallystick.definitions.metric import Aggregate, SqlQuery
from tallystick.definitions.project import Project


@dataclass(frozen=True, slots=True)
class Readable:
    """A project with the sources and dimensions its grouped queries stand for, and these by the name of their metric."""

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
_recent: list[tuple[Project, Readable]] = []


def readable(project: Project) -> Readable:
    """Return what a project's metrics read.

    A project is immutable, so the same one gives the same answer while it is among the last few.
    """
    for known, found in _recent:
        if known is project:
            return found
    _recent.append((project, _readable(project)))
    del _recent[:-_KEPT]
    return _recent[-1][1]


def _readable(project: Project) -> Readable:
    queries: dict[str, GroupedQuery] = {}
    if any(isinstance(metric.definition, SqlQuery) for metric in project.metrics.values()):
        context = definition_context(project, DIALECT)
        found = ((name, grouped_query(metric, context)) for name, metric in project.metrics.items())
        queries = {name: query for name, query in found if query is not None}
        sources = {query.source.name: query.source for query in queries.values()}
        dimensions = {f"{d.source}.{d.name}": d for query in queries.values() for d in query.dimensions}
        project = replace(
            project,
            entities=context.entities,
            sources={**project.sources, **sources},
            dimensions={**project.dimensions, **dimensions},
        )
    return Readable(project, queries)
