"""What SQL definitions are compiled against: a project's entities, sources and peers, and the dialect wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from sqlglot import exp

from tallystick.compiler.entity_paths import Path
from tallystick.compiler.model import TimeView
from tallystick.compiler.plan import metric_models
from tallystick.definitions.entity import Entity
from tallystick.definitions.metric import Metric, SqlQuery
from tallystick.definitions.oso_options import OSO_ENTITIES
from tallystick.definitions.project import Project
from tallystick.sql.calendar import Calendar

OSO = "oso"
"""The compatibility profile that repeats OSO's behaviour where it differs (spec oso §9)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A metric other definitions may read: its key, the name of its tables, and which of them exist."""

    key: str
    name: str
    models: frozenset[tuple[str, TimeView]]
    enabled: bool = True
    cron: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionContext:
    """The surroundings of SQL definitions.

    `sources` are the bare names of tables whose rows carry the base entity's key (spec oso §1), `schema` is where
    the tables of peers are, `dialect` the one SQL is produced in. `memo` holds mappings that were built before, `trees`
    by entity the last metric that was specialised for it.
    """

    project: Project
    sources: frozenset[str]
    peers: Mapping[str, Peer]
    schema: str | None
    dialect: str
    memo: dict[tuple[str, str], tuple[tuple[Path, ...], exp.Query]] = field(
        default_factory=dict, repr=False, compare=False
    )
    trees: dict[str, tuple[Metric, exp.Query]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def entities(self) -> Mapping[str, Entity]:
        """Return the project's entities, or OSO's three levels where it declares none (spec oso §6)."""
        return self.project.entities or OSO_ENTITIES

    @property
    def calendar(self) -> Calendar:
        """Return the project's calendar."""
        return Calendar(self.project.settings.time_zone, self.project.settings.week_start)

    @property
    def start(self) -> date | None:
        """Return the first day of history, if the project says one."""
        start = self.project.settings.start
        return start.date() if start is not None else None

    @property
    def is_oso(self) -> bool:
        """Tell whether OSO's behaviour is wanted where it differs from the right one."""
        return self.project.settings.compat == OSO

    def dialect_of(self, definition: SqlQuery) -> str:
        """Return the dialect a definition is written in."""
        return definition.dialect or self.project.dialect


_KEPT = 8
_recent: list[DefinitionContext] = []


def definition_context(project: Project, dialect: str | None = None, *, schema: str | None = None) -> DefinitionContext:
    """Return the context of a project's SQL definitions; `schema` is the warehouse's own unless given.

    A project is immutable, so the same call gives the same context while it is among the last few.
    """
    place = schema if schema is not None else project.warehouse.schema
    written: str = dialect or project.dialect
    for known in _recent:
        if known.project is project and (known.schema, known.dialect) == (place, written):
            return known
    _recent.append(_new_context(project, written, place))
    del _recent[:-_KEPT]
    return _recent[-1]


def _new_context(project: Project, dialect: str, schema: str) -> DefinitionContext:
    tables = {(source.table or source.name).rpartition(".")[2] for source in project.sources.values()}
    named = {
        name.rpartition(".")[2]
        for metric in project.metrics.values()
        if isinstance(metric.definition, SqlQuery)
        for name in metric.definition.sources
    }
    return DefinitionContext(
        project=project,
        sources=frozenset(tables | named | set(project.sources)),
        peers=peers_of(project),
        schema=schema,
        dialect=dialect,
    )


def key_of(metric: Metric) -> str:
    """Return the key a metric is known by to its peers and in rows, whatever its tables are called."""
    definition = metric.definition
    return (definition.label if isinstance(definition, SqlQuery) else None) or metric.name


def peers_of(project: Project) -> dict[str, Peer]:
    """Return every metric of a project as a peer, by key."""
    return {
        key_of(metric): Peer(
            key=key_of(metric),
            name=metric.name,
            models=frozenset((model.entity, model.time) for model in metric_models(metric, project) if not model.by),
            enabled=metric.enabled,
            cron=metric.definition.cron if isinstance(metric.definition, SqlQuery) else None,
        )
        for metric in project.metrics.values()
    }
