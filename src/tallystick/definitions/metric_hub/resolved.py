"""What references resolve to: concrete metrics with statistics, for experiments and for monitoring (spec §6).

Every value here is complete; nothing has to be looked up again to write SQL.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tallystick.definitions.diagnostics import Diagnostic, Severity
from tallystick.definitions.metric_hub import nouns as n
from tallystick.definitions.metric_hub.places import NOWHERE, Places

BUILD_ID = "SAFE.SUBSTR(application.build_id, 0, 8)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedJoin:
    """A resolved data source attached to another."""

    data_source: ResolvedDataSource
    relationship: str | None = None
    on_expression: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedDataSource:
    """A data source with all defaults filled in (spec §3.3)."""

    name: str
    from_expression: str
    experiments_column_type: str | None = "simple"
    client_id_column: str = "client_id"
    submission_date_column: str = "submission_date"
    default_dataset: str | None = None
    build_id_column: str = BUILD_ID
    friendly_name: str | None = None
    description: str | None = None
    joins: tuple[ResolvedJoin, ...] = ()
    columns_as_dimensions: bool = False
    analysis_units: tuple[n.Unit, ...] = (n.Unit.CLIENT,)
    group_id_column: str = "profile_group_id"
    glean_client_id_column: str | None = None
    legacy_client_id_column: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedMetric:
    """A metric with its data source; a composite has neither source nor expression but `depends_on`."""

    name: str
    data_source: ResolvedDataSource | None
    select_expression: str | None
    friendly_name: str | None = None
    description: str | None = None
    bigger_is_better: bool = True
    analysis_bases: tuple[n.Basis, ...] = (n.Basis.ENROLLMENTS, n.Basis.EXPOSURES)
    type: str = "scalar"
    category: str | None = None
    depends_on: tuple[Summary, ...] | None = None
    owner: tuple[str, ...] | None = None
    deprecated: bool = False
    level: str | None = None
    analysis_units: tuple[n.Unit, ...] = (n.Unit.CLIENT,)
    places: Places = field(default_factory=lambda: NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Statistic:
    """A statistic by name, with its parameters as written."""

    name: str
    params: n.Frozen


@dataclass(frozen=True, slots=True)
class PreTreatment:
    """A row transform before a statistic."""

    name: str
    args: n.Frozen


@dataclass(frozen=True, slots=True)
class Summary:
    """One metric summarised by one statistic: what an analysis computes."""

    metric: ResolvedMetric
    statistic: Statistic
    pre_treatments: tuple[PreTreatment, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Return what makes a summary unique within a period."""
        return (self.metric.name, self.statistic.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedSegment:
    """A segment with its own kind of data source."""

    name: str
    data_source: n.SegmentDataSourceDefinition
    select_expression: str
    friendly_name: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedExposureSignal:
    """The rows that count as an exposure, and the window in which they do."""

    name: str
    data_source: ResolvedDataSource
    select_expression: str
    friendly_name: str | None = None
    description: str | None = None
    window_start: int | str | None = None
    window_end: int | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentRecord:
    """What the experiment service knows about an experiment (spec §9.1); dates are UTC days."""

    slug: str
    app_name: str = "firefox_desktop"
    type: str = "v6"
    status: str = "Live"
    branches: tuple[str, ...] = ()
    start_date: dt.date | None = None
    end_date: dt.date | None = None
    enrollment_end_date: dt.date | None = None
    proposed_enrollment: int | None = None
    reference_branch: str | None = "control"
    app_id: str | None = None
    outcomes: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    randomization_unit: str | None = None
    is_rollout: bool = False
    is_high_population: bool = False
    is_enrollment_paused: bool | None = None
    channel: str | None = None
    boolean_pref: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedExperiment:
    """An experiment after its config had its say (spec §6.4)."""

    record: ExperimentRecord
    settings: n.ExperimentSettings
    segments: tuple[ResolvedSegment, ...] = ()
    exposure_signal: ResolvedExposureSignal | None = None
    enrollment_query: str | None = None

    @property
    def slug(self) -> str:
        """Return the slug of the experiment."""
        return self.record.slug

    @property
    def start_date(self) -> dt.date | None:
        """Return the first day of enrollment."""
        return _date(self.settings.start_date) or self.record.start_date

    @property
    def end_date(self) -> dt.date | None:
        """Return the day on which the analysis is complete."""
        return _date(self.settings.end_date) or self.record.end_date

    @property
    def status(self) -> str:
        """Return `Complete` if the config ends the experiment, else what the service says."""
        return "Complete" if self.settings.end_date else self.record.status

    @property
    def reference_branch(self) -> str | None:
        """Return the branch others are compared with."""
        return self.settings.reference_branch or self.record.reference_branch

    @property
    def enrollment_period(self) -> int:
        """Return the number of days of enrollment after the first (spec §6.4)."""
        if self.settings.enrollment_period is not None:
            return self.settings.enrollment_period
        if self.record.enrollment_end_date and self.start_date:
            return (self.record.enrollment_end_date - self.start_date).days + 1
        return self.record.proposed_enrollment or 0

    @property
    def last_enrollment_date(self) -> dt.date | None:
        """Return the last day of enrollment."""
        return self.start_date + dt.timedelta(days=self.enrollment_period) if self.start_date else None

    @property
    def analysis_unit(self) -> n.Unit:
        """Return what one row stands for: the config's, else what was randomised."""
        if self.settings.analysis_unit is not None:
            return self.settings.analysis_unit
        return n.Unit.PROFILE_GROUP if self.record.randomization_unit == "group_id" else n.Unit.CLIENT

    @property
    def enrollments_query_type(self) -> str:
        """Return how enrollments are found when there is no custom query (spec §9.1)."""
        default = "normandy" if self.record.app_name == "firefox_desktop" else "glean-event"
        return self.settings.enrollments_query_type or default


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisConfiguration:
    """Everything an experiment's analysis computes; what could not be resolved is in `diagnostics`."""

    experiment: ResolvedExperiment
    metrics: Mapping[n.Period, tuple[Summary, ...]]
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """Return the findings that are errors."""
        return tuple(d for d in self.diagnostics if d.severity is Severity.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedPopulation:
    """Who is monitored, and by what it is broken down (spec §11)."""

    data_source: ResolvedDataSource | None = None
    boolean_pref: str | None = None
    channel: str | None = None
    branches: tuple[str, ...] = ()
    monitor_entire_population: bool = False
    group_by_dimension: ResolvedDimension | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedDimension:
    """A dimension with its data source."""

    name: str
    data_source: ResolvedDataSource
    select_expression: str
    friendly_name: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedAlert:
    """An alert with the metrics it watches."""

    name: str
    type: str
    metrics: tuple[str, ...]
    friendly_name: str | None = None
    description: str | None = None
    parameters: tuple[object, ...] = ()
    min: tuple[float, ...] | None = None
    max: tuple[float, ...] | None = None
    window_size: int | None = None
    max_relative_change: float | None = None
    statistics: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringConfiguration:
    """Everything a monitoring project computes (spec §6.5)."""

    slug: str
    app_name: str
    name: str | None = None
    xaxis: str = "submission_date"
    start_date: dt.date | None = None
    end_date: dt.date | None = None
    reference_branch: str = "control"
    population: ResolvedPopulation = field(default_factory=ResolvedPopulation)
    compact_visualization: bool = False
    skip_default_metrics: bool = False
    skip: bool = False
    is_rollout: bool = False
    metric_groups: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    metrics: tuple[Summary, ...] = ()
    dimensions: tuple[ResolvedDimension, ...] = ()
    alerts: tuple[ResolvedAlert, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """Return the findings that are errors."""
        return tuple(d for d in self.diagnostics if d.severity is Severity.ERROR)


def _date(text: str | None) -> dt.date | None:
    return dt.date.fromisoformat(text) if text else None
