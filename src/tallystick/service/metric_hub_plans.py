"""Read-outs of a metric-hub clone's experiments and monitoring projects: the plan, and the SQL that fills it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sqlglot import exp

from tallystick.compiler.metric_hub.enrollment_sql import enrollments_tree, exposures_tree, span
from tallystick.compiler.metric_hub.experiment_sql import metric_tables
from tallystick.compiler.metric_hub.monitoring_sql import queries
from tallystick.compiler.metric_hub.plan import Plan, plan
from tallystick.compiler.metric_hub.tree import to_sql
from tallystick.compiler.metric_hub.windows import Window
from tallystick.definitions.diagnostics import Diagnostic, from_error
from tallystick.definitions.metric_hub import resolved as r
from tallystick.definitions.metric_hub.analysis import resolve_experiment
from tallystick.definitions.metric_hub.checking import resolve_somewhere
from tallystick.definitions.metric_hub.collection import Collection, named
from tallystick.definitions.metric_hub.mode import Mode
from tallystick.definitions.metric_hub.monitoring import resolve_project
from tallystick.definitions.metric_hub.nouns import Kind, Period
from tallystick.definitions.metric_hub.repository import open_repository
from tallystick.errors import TallystickError
from tallystick.service.metric_hub import collection_of

Cells = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentReading:
    """An experiment as a door shows it: facts, one row per read-out, named queries, and what went wrong."""

    facts: Cells
    rows: list[Cells]
    queries: dict[str, str]
    diagnostics: tuple[Diagnostic, ...]
    columns: tuple[str, ...] = ("period", "metric", "statistic", "parameters", "bases", "segments", "source")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectReading:
    """A monitoring project as a door shows it."""

    facts: Cells
    rows: list[Cells]
    alerts: list[Cells]
    queries: dict[str, str]
    diagnostics: tuple[Diagnostic, ...]
    columns: tuple[str, ...] = ("metric", "statistic", "parameters", "type", "source", "group")


def _collection(folder: Path, tool: str, *, strict: bool) -> Collection:
    return collection_of(open_repository(folder, Mode.STRICT if strict else Mode.COMPAT), tool)


def read_experiment(  # noqa: PLR0913 - the facts an experiment service would give
    folder: Path,
    slug: str,
    *,
    tool: str = "jetstream",
    strict: bool = False,
    app_name: str | None = None,
    app_id: str | None = None,
    start: dt.date | None = None,
    end: dt.date | None = None,
    enrollment_days: int | None = None,
    reference: str = "control",
    enrollments: str = "enrollments",
    dialect: str = "bigquery",
    with_sql: bool = True,
) -> ExperimentReading:
    """Resolve an experiment and write its queries; raises `UnknownNameError` for a slug without a config."""
    collection = _collection(folder, tool, strict=strict)
    configs = {name: spec for name, spec in collection.configs.items() if spec.kind is Kind.ANALYSIS}
    named(configs, slug, f"there is no experiment '{slug}'")
    record = r.ExperimentRecord(
        slug=slug,
        app_id=app_id,
        start_date=start,
        end_date=end,
        proposed_enrollment=enrollment_days,
        reference_branch=reference,
    )
    if app_name is None:
        found = resolve_somewhere(collection, slug, record)
    else:
        found = resolve_experiment(collection, replace(record, app_name=app_name))
    made = plan(found)
    written, problems = _experiment_sql(found, made, enrollments, dialect) if with_sql else ({}, [])
    return ExperimentReading(
        facts=_experiment_facts(made), rows=_rows(made), queries=written, diagnostics=(*found.errors, *problems)
    )


def _experiment_facts(made: Plan) -> Cells:
    return {
        "experiment": made.slug,
        "app": made.app,
        "status": made.status,
        "unit": made.unit,
        "reference branch": made.reference_branch,
        "dates": f"{made.start_date or '?'} to {made.end_date or '?'}",
        "enrollment": f"{made.enrollment_period} days after the first, {made.enrollments}",
        "exposure signal": made.exposure_signal or "none",
        "segments": ", ".join(made.segments) or "none",
        **({"skipped": made.skipped} if made.skipped else {}),
    }


def _rows(made: Plan) -> list[Cells]:
    return [
        {
            "period": str(step.period),
            "metric": step.metric,
            "statistic": step.statistic,
            "parameters": _listed(step.parameters, step.pre_treatments),
            "bases": ", ".join(step.bases),
            "segments": len(step.segments),
            "source": step.data_source or "+".join(step.depends_on),
        }
        for step in made.steps
    ]


def _listed(parameters: object, treatments: tuple[str, ...] = ()) -> str | None:
    pairs = [f"{key}={value}" for key, value in dict(parameters).items()]  # type: ignore[call-overload]
    return ", ".join([*treatments, *pairs]) or None


def _experiment_sql(
    found: r.AnalysisConfiguration, made: Plan, enrollments: str, dialect: str
) -> tuple[dict[str, str], list[Diagnostic]]:
    """Write every query; one that cannot be written is reported and does not stop the others."""
    written: dict[str, str] = {}
    problems: list[Diagnostic] = []

    def keep(name: str, trees: Iterator[tuple[str, exp.Expr]]) -> None:
        try:
            for label, tree in trees:
                written[label] = to_sql(tree, dialect)
        except TallystickError as problem:
            problems.append(from_error("mh-sql", TallystickError(f"{name}: {problem.message}", hint=problem.hint)))

    keep("enrollments", _enrollment_queries(found, enrollments))
    for period in found.metrics:
        keep(f"metrics of period {period}", _metric_queries(found, made, period, enrollments))
    return written, problems


def _enrollment_queries(found: r.AnalysisConfiguration, table: str) -> Iterator[tuple[str, exp.Expr]]:
    yield f"enrollments → {table}", enrollments_tree(found.experiment)
    yield "exposures", exposures_tree(found.experiment, span(found.experiment)[1])


def _metric_queries(
    found: r.AnalysisConfiguration, made: Plan, period: Period, table: str
) -> Iterator[tuple[str, exp.Expr]]:
    windows = made.windows(period)[-1:] or (Window(0, 0),)
    only = replace(found, metrics={period: found.metrics[period]})
    for one in metric_tables(only, exp.to_table(table), {period: windows}):
        yield f"metrics: {one.period} {one.window.index}, {one.basis}, {one.data_source}", one.tree


def read_project(
    folder: Path,
    slug: str,
    *,
    tool: str = "opmon",
    strict: bool = False,
    day: dt.date,
    dialect: str = "bigquery",
    with_sql: bool = True,
) -> ProjectReading:
    """Resolve a monitoring project and write its queries for a day; raises `UnknownNameError`."""
    found = resolve_project(_collection(folder, tool, strict=strict), slug)
    written: dict[str, str] = {}
    problems: list[Diagnostic] = []
    if with_sql:
        try:
            written = _project_sql(found, day, dialect)
        except TallystickError as problem:
            problems.append(from_error("mh-sql", problem))
    return ProjectReading(
        facts=_project_facts(found),
        rows=_project_rows(found),
        alerts=_alert_rows(found),
        queries=written,
        diagnostics=(*found.errors, *problems),
    )


def _project_sql(found: r.MonitoringConfiguration, day: dt.date, dialect: str) -> dict[str, str]:
    made = queries(found, day)
    trees: dict[str, exp.Expr] = {"population": made.population, "metrics": made.metrics}
    trees |= {f"statistic {name}": tree for name, tree in made.statistics.items()}
    trees |= {f"alert {name}": tree for name, tree in made.alerts.items()}
    return {name: to_sql(tree, dialect) for name, tree in trees.items()}


def _project_facts(found: r.MonitoringConfiguration) -> Cells:
    population = found.population
    return {
        "project": found.slug,
        "name": found.name,
        "app": found.app_name,
        "axis": found.xaxis,
        "dates": f"{found.start_date or '?'} to {found.end_date or '?'}",
        "reference branch": found.reference_branch,
        "population": population.data_source.name if population.data_source else None,
        "branches": ", ".join(population.branches)
        or ("all clients" if population.monitor_entire_population else "none"),
        "dimensions": ", ".join(dimension.name for dimension in found.dimensions) or "none",
        **({"skipped": "the config says skip"} if found.skip else {}),
    }


def _project_rows(found: r.MonitoringConfiguration) -> list[Cells]:
    groups = {metric: name for name, metrics in found.metric_groups.items() for metric in metrics}
    return [
        {
            "metric": summary.metric.name,
            "statistic": summary.statistic.name,
            "parameters": _listed(summary.statistic.params),
            "type": summary.metric.type,
            "source": summary.metric.data_source.name if summary.metric.data_source else None,
            "group": groups.get(summary.metric.name),
        }
        for summary in sorted(found.metrics, key=lambda one: one.key)
    ]


def _alert_rows(found: r.MonitoringConfiguration) -> list[Cells]:
    return [
        {
            "alert": alert.name,
            "type": alert.type,
            "metrics": ", ".join(alert.metrics),
            "bounds": _listed({"min": alert.min, "max": alert.max, "change": alert.max_relative_change}),
        }
        for alert in found.alerts
    ]
