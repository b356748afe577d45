"""The things a metric-hub file defines, immutable; an unset field is `None` (spec metric_hub §3).

Every noun knows where its fields were written: `places` maps a field to the key that gave it its value,
also after several repositories were merged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from tallystick.definitions.metric_hub.places import NOWHERE, Place, Places

Frozen = Mapping[str, Any]
Statistics = Mapping[str, Frozen]
EMPTY: Frozen = MappingProxyType({})


class Basis(StrEnum):
    """The population an analysis looks at."""

    ENROLLMENTS = "enrollments"
    EXPOSURES = "exposures"


class Unit(StrEnum):
    """What one row of an analysis stands for."""

    CLIENT = "client_id"
    PROFILE_GROUP = "profile_group_id"


class Period(StrEnum):
    """The windows after (or before) enrollment for which metrics are computed (spec metric_hub §9.2)."""

    DAY = "day"
    WEEK = "week"
    DAYS_28 = "days28"
    OVERALL = "overall"
    PREENROLLMENT_WEEK = "preenrollment_week"
    PREENROLLMENT_DAYS_28 = "preenrollment_days28"


PERIOD_KEYS: Mapping[str, Period] = MappingProxyType(
    {
        "daily": Period.DAY,
        "weekly": Period.WEEK,
        "28_day": Period.DAYS_28,
        "overall": Period.OVERALL,
        "preenrollment_weekly": Period.PREENROLLMENT_WEEK,
        "preenrollment_days28": Period.PREENROLLMENT_DAYS_28,
    }
)


@dataclass(frozen=True, slots=True)
class Reference:
    """A name in a list, and where it stands."""

    name: str
    place: Place | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What every noun has: a name, a place, and the places of its fields."""

    name: str
    place: Place | None = field(default=None, compare=False, repr=False)
    places: Places = field(default_factory=lambda: NOWHERE, compare=False, repr=False)

    def written(self, name: str) -> bool:
        """Tell whether a field was given in some file, however empty its value."""
        return name in self.places


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricDefinition(Definition):
    """`[metrics.<slug>]`: an aggregate on one data source, or (with `depends_on`) a composite (spec §3.2, §3.11)."""

    statistics: Statistics | None = None
    select_expression: str | None = None
    data_source: str | None = None
    friendly_name: str | None = None
    description: str | None = None
    bigger_is_better: bool = True
    analysis_bases: tuple[Basis, ...] | None = None
    type: str | None = None
    category: str | None = None
    depends_on: tuple[str, ...] | None = None
    owner: str | tuple[str, ...] | None = None
    deprecated: bool = False
    level: str | None = None
    analysis_units: tuple[Unit, ...] | None = None
    aggregation: str | None = None
    column: str | None = None
    where: tuple[Frozen, ...] = ()
    within_days: int | None = None
    threshold: Frozen | None = None
    scale: float | None = None
    cumulative_window: int | None = None
    incremental_window: int | None = None
    repeat_windows: bool = False

    @property
    def owners(self) -> tuple[str, ...]:
        """Return the owners as a list, however they were written."""
        return (self.owner,) if isinstance(self.owner, str) else self.owner or ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """How a joined data source is attached (spec §3.3)."""

    relationship: str | None = None
    on_expression: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSourceDefinition(Definition):
    """`[data_sources.<slug>]` (spec §3.3)."""

    from_expression: str | None = None
    experiments_column_type: str | None = None
    client_id_column: str | None = None
    submission_date_column: str | None = None
    default_dataset: str | None = None
    build_id_column: str | None = None
    friendly_name: str | None = None
    description: str | None = None
    joins: Mapping[str, Join] | None = None
    columns_as_dimensions: bool | None = None
    analysis_units: tuple[Unit, ...] | None = None
    group_id_column: str | None = None
    glean_client_id_column: str | None = None
    legacy_client_id_column: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentDefinition(Definition):
    """`[segments.<slug>]` (spec §3.5); its window belongs to its data source."""

    data_source: str | None = None
    select_expression: str | None = None
    friendly_name: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentDataSourceDefinition(Definition):
    """`[segments.data_sources.<slug>]` (spec §3.5)."""

    from_expression: str | None = None
    window_start: int = 0
    window_end: int = 0
    client_id_column: str | None = "client_id"
    submission_date_column: str | None = "submission_date"
    default_dataset: str | None = None
    group_id_column: str | None = "profile_group_id"
    glean_client_id_column: str | None = None
    legacy_client_id_column: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionDefinition(Definition):
    """`[dimensions.<slug>]` (spec §3.4)."""

    select_expression: str | None = None
    data_source: str | None = None
    friendly_name: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterDefinition(Definition):
    """`[parameters.<slug>]` (spec §3.7)."""

    friendly_name: str | None = None
    description: str | None = None
    value: str | Mapping[str, str] | None = None
    default: str | Mapping[str, str] | None = None
    distinct_by_branch: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureSignalDefinition(Definition):
    """`[experiment.exposure_signal]` (spec §3.6)."""

    data_source: str | None = None
    select_expression: str | None = None
    friendly_name: str | None = None
    description: str | None = None
    window_start: int | str | None = None
    window_end: int | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentSettings(Definition):
    """`[experiment]` of an analysis config (spec §3.6)."""

    name: str = "experiment"
    enrollment_query: str | None = None
    enrollment_period: int | None = None
    reference_branch: str | None = None
    start_date: str | None = None
    end_date: str | None = None
    segments: tuple[Reference, ...] = ()
    outcomes: tuple[Reference, ...] = ()
    skip: bool = False
    exposure_signal: ExposureSignalDefinition | None = None
    is_private: bool = False
    dataset_id: str | None = None
    sample_size: int | None = None
    analysis_unit: Unit | None = None
    enrollments_query_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricGroup(Definition):
    """`[project.metric_groups.<slug>]` (spec §3.9)."""

    friendly_name: str | None = None
    description: str | None = None
    metrics: tuple[Reference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Population(Definition):
    """`[project.population]` (spec §3.9)."""

    name: str = "population"
    data_source: str | None = None
    boolean_pref: str | None = None
    channel: str | None = None
    branches: tuple[str, ...] | None = None
    dimensions: tuple[Reference, ...] = ()
    monitor_entire_population: bool = False
    group_by_dimension: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectSettings(Definition):
    """`[project]` of a monitoring config; `label` is its `name` key (spec §3.9)."""

    name: str = "project"
    label: str | None = None
    platform: str | None = None
    xaxis: str | None = None
    start_date: str | None = None
    end_date: str | None = None
    metrics: tuple[Reference, ...] = ()
    alerts: tuple[Reference, ...] = ()
    reference_branch: str | None = None
    population: Population = field(default_factory=Population)
    compact_visualization: bool = False
    skip_default_metrics: bool = False
    skip: bool = False
    is_rollout: bool = False
    metric_groups: Mapping[str, MetricGroup] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertDefinition(Definition):
    """`[alerts.<slug>]` (spec §3.9)."""

    type: str | None = None
    metrics: tuple[Reference, ...] = ()
    friendly_name: str | None = None
    description: str | None = None
    parameters: tuple[Any, ...] | None = None
    min: tuple[float, ...] | None = None
    max: tuple[float, ...] | None = None
    window_size: int | None = None
    max_relative_change: float | None = None
    statistics: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Function(Definition):
    """`[functions.<name>]`: a macro of one argument (spec §3.10)."""

    definition: str
    friendly_name: str | None = None
    description: str | None = None

    def __call__(self, select_expr: object) -> str:
        """Expand the macro; literal braces in a definition are doubled."""
        return self.definition.format(select_expr=select_expr)


class Kind(StrEnum):
    """What a file describes."""

    ANALYSIS = "analysis"
    MONITORING = "monitoring"
    DEFINITION = "definition"
    OUTCOME = "outcome"
    NIMBUS = "nimbus"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Everything one file (or several merged ones) says; one shape serves all kinds (spec §1)."""

    kind: Kind
    slug: str
    platform: str | None = None
    metrics: Mapping[str, MetricDefinition] = field(default_factory=lambda: MappingProxyType({}))
    periods: Mapping[Period, tuple[Reference, ...]] = field(default_factory=lambda: MappingProxyType({}))
    data_sources: Mapping[str, DataSourceDefinition] = field(default_factory=lambda: MappingProxyType({}))
    segments: Mapping[str, SegmentDefinition] = field(default_factory=lambda: MappingProxyType({}))
    segment_data_sources: Mapping[str, SegmentDataSourceDefinition] = field(
        default_factory=lambda: MappingProxyType({})
    )
    dimensions: Mapping[str, DimensionDefinition] = field(default_factory=lambda: MappingProxyType({}))
    parameters: Mapping[str, ParameterDefinition] = field(default_factory=lambda: MappingProxyType({}))
    alerts: Mapping[str, AlertDefinition] = field(default_factory=lambda: MappingProxyType({}))
    experiment: ExperimentSettings = field(default_factory=ExperimentSettings)
    project: ProjectSettings = field(default_factory=ProjectSettings)
    friendly_name: str | None = None
    description: str | None = None
    default_metrics: tuple[Reference, ...] = ()
    places: tuple[Place, ...] = field(default=(), compare=False, repr=False)

    @property
    def place(self) -> Place | None:
        """Return the file that has the last word on this spec."""
        return self.places[-1] if self.places else None
