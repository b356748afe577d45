"""What an SQL definition is compiled against: entities, sources, peers, calendar and dialects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType

from tallystick.compiler.model import TimeView
from tallystick.definitions.entity import Entity
from tallystick.definitions.metric import Metric, SqlQuery
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

    `sources` are the bare names of the tables that carry the base entity's key (spec oso §1), `tables` the table of
    each source by name, `schema` the place of the peers' tables, `start` the first day of history, `dialect` the
    dialect of the SQL that is produced; definitions name their own or use `definition_dialect`.
    """

    entities: Mapping[str, Entity]
    sources: frozenset[str] = frozenset()
    tables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    peers: Mapping[str, Peer] = field(default_factory=lambda: MappingProxyType({}))
    base: str | None = None
    schema: str | None = None
    dialect: str = "duckdb"
    definition_dialect: str | None = None
    calendar: Calendar = field(default_factory=Calendar)
    start: date | None = None
    compat: str | None = None

    @property
    def is_oso(self) -> bool:
        """Tell whether OSO's behaviour is wanted where it differs from the right one."""
        return self.compat == OSO

    def dialect_of(self, definition: SqlQuery) -> str:
        """Return the dialect a definition is written in."""
        return definition.dialect or self.definition_dialect or self.dialect


def time_views(metric: Metric) -> tuple[TimeView, ...]:
    """Return the time views of a metric in order: rolling windows, grains, all time (spec oso §2)."""
    views = metric.views
    return (
        *(TimeView(window=window) for window in views.rolling),
        *(TimeView(grain=grain) for grain in views.grains),
        *((TimeView(),) if views.all_time else ()),
    )


def key_of(metric: Metric) -> str:
    """Return the key a metric is known by to its peers and in rows, whatever its tables are called."""
    definition = metric.definition
    return (definition.label if isinstance(definition, SqlQuery) else None) or metric.name


def peers_of(metrics: Mapping[str, Metric]) -> dict[str, Peer]:
    """Return every metric as a peer, by key."""
    return {
        key_of(metric): Peer(
            key=key_of(metric),
            name=metric.name,
            models=frozenset((entity, view) for entity in metric.views.entities for view in time_views(metric)),
            enabled=metric.enabled,
            cron=metric.definition.cron if isinstance(metric.definition, SqlQuery) else None,
        )
        for metric in metrics.values()
    }
