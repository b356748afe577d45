"""The project: all definitions of a folder, resolved and immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from tallystick.definitions.collect_settings import CollectSettings
from tallystick.definitions.diagnostics import Diagnostic, Severity
from tallystick.definitions.entity import Entity
from tallystick.definitions.metric import Metric, Views
from tallystick.definitions.origin import Origin
from tallystick.definitions.source import Dimension, Segment, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Warehouse:
    """Where rows live and models are written: an engine, its connection settings and Tallystick's own schema.

    `storage` is how models are kept: `change_points` read through views, or `dense` rows in tables. Where `allow` names
    schemas or tables, nothing else is read. A query of which the planner expects more than `max_cost` is not run.
    """

    name: str = "default"
    engine: str = "duckdb"
    path: str | None = None
    schema: str = "tally"
    storage: str = "change_points"
    allow: tuple[str, ...] = ()
    max_cost: float | None = None
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    origin: Origin = field(default_factory=Origin, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What holds for a whole project; `as_of` fixes its clock (UTC), `week_start` is 1 for Monday, 7 for Sunday.

    `allow_functions` are names or patterns such as `mozfun.*` that the guard lets pass beyond the ones it knows.
    """

    name: str = "project"
    time_zone: str = "UTC"
    week_start: int = 1
    as_of: datetime | None = None
    dialect: str | None = None
    start: datetime | None = None
    compat: str | None = None
    lookback: int = 3
    allow_functions: tuple[str, ...] = ()
    views: Views = field(default_factory=Views)
    collect: CollectSettings = field(default_factory=CollectSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Every definition by name. What had an error is left out and explained in `diagnostics`.

    `flawed` are metrics left out that could be read: their columns can still be checked, so that all is told at once.
    `left_out` are the names of all metrics that are.
    """

    root: str
    settings: Settings = field(default_factory=Settings)
    warehouses: Mapping[str, Warehouse] = field(default_factory=lambda: MappingProxyType({"default": Warehouse()}))
    sources: Mapping[str, Source] = field(default_factory=lambda: MappingProxyType({}))
    entities: Mapping[str, Entity] = field(default_factory=lambda: MappingProxyType({}))
    segments: Mapping[str, Segment] = field(default_factory=lambda: MappingProxyType({}))
    dimensions: Mapping[str, Dimension] = field(default_factory=lambda: MappingProxyType({}))
    metrics: Mapping[str, Metric] = field(default_factory=lambda: MappingProxyType({}))
    diagnostics: tuple[Diagnostic, ...] = ()
    flawed: tuple[Metric, ...] = ()
    left_out: frozenset[str] = frozenset()

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """Return the findings that keep a definition from being used."""
        return tuple(d for d in self.diagnostics if d.severity is Severity.ERROR)

    @property
    def warehouse(self) -> Warehouse:
        """Return the default warehouse."""
        return self.warehouses.get("default") or next(iter(self.warehouses.values()))

    @property
    def dialect(self) -> str:
        """Return the dialect definitions are written in: the project's, else its warehouse's."""
        return self.settings.dialect or self.warehouse.engine
