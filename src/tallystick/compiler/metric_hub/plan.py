"""The analysis plan of an experiment: metrics × statistics × periods × bases × segments (spec metric_hub §9)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tallystick.compiler.metric_hub.windows import Enrollment, Window, windows
from tallystick.definitions.metric_hub import resolved as r
from tallystick.definitions.metric_hub.nouns import Basis, Period
from tallystick.definitions.metric_hub.values import thaw

ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One read-out: a statistic of a metric, in a period, for a population and its segments."""

    period: Period
    metric: str
    statistic: str
    parameters: Mapping[str, Any]
    pre_treatments: tuple[str, ...]
    bases: tuple[Basis, ...]
    segments: tuple[str, ...]
    data_source: str | None
    depends_on: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything an experiment computes, in the order it is read."""

    slug: str
    app: str
    status: str
    unit: str
    reference_branch: str | None
    start_date: dt.date | None
    end_date: dt.date | None
    enrollment_period: int
    enrollments: str
    exposure_signal: str | None
    segments: tuple[str, ...]
    steps: tuple[Step, ...]
    skipped: str | None = None

    @property
    def enrollment(self) -> Enrollment | None:
        """Return the days of enrollment, once the experiment has a start."""
        return Enrollment(start=self.start_date, period=self.enrollment_period) if self.start_date else None

    def windows(self, period: Period) -> tuple[Window, ...]:
        """Return the windows of a period, as far as dates are known."""
        return tuple(windows(period, self.enrollment, self.end_date)) if self.enrollment else ()


def plan(configuration: r.AnalysisConfiguration) -> Plan:
    """Return the plan of a resolved experiment."""
    experiment = configuration.experiment
    signal = experiment.exposure_signal
    segments = tuple(segment.name for segment in experiment.segments)
    return Plan(
        slug=experiment.slug,
        app=experiment.record.app_name,
        status=experiment.status,
        unit=str(experiment.analysis_unit),
        reference_branch=experiment.reference_branch,
        start_date=experiment.start_date,
        end_date=experiment.end_date,
        enrollment_period=experiment.enrollment_period,
        enrollments="custom query" if experiment.enrollment_query else experiment.enrollments_query_type,
        exposure_signal=signal.name if signal else None,
        segments=segments,
        steps=tuple(_steps(configuration, (ALL, *segments))),
        skipped=_why_skipped(experiment),
    )


def _steps(configuration: r.AnalysisConfiguration, segments: tuple[str, ...]) -> Iterator[Step]:
    for period, summaries in configuration.metrics.items():
        for summary in sorted(summaries, key=lambda one: one.key):
            metric = summary.metric
            yield Step(
                period=period,
                metric=metric.name,
                statistic=summary.statistic.name,
                parameters=thaw(summary.statistic.params),
                pre_treatments=tuple(treatment.name for treatment in summary.pre_treatments),
                bases=metric.analysis_bases,
                segments=segments,
                data_source=metric.data_source.name if metric.data_source else None,
                depends_on=tuple(dict.fromkeys(upstream.metric.name for upstream in metric.depends_on or ())),
            )


def _why_skipped(experiment: r.ResolvedExperiment) -> str | None:
    """Say why jetstream would not analyse an experiment, if it would not (spec §9.1)."""
    record = experiment.record
    reasons = (
        (experiment.settings.skip, "the config says skip"),
        (record.is_high_population, "the population is too large"),
        (not experiment.enrollment_period, "there is no enrollment period"),
        (experiment.start_date is None, "there is no start date"),
        (record.is_rollout, "it is a rollout"),
    )
    return next((reason for applies, reason in reasons if applies), None)
