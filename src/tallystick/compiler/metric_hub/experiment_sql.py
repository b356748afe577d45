"""Per-unit values of an experiment's metrics: one query per data source, period and basis (spec metric_hub §9.4)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp

from tallystick.compiler.metric_hub.enrollment_sql import annotation, id_column, source_of, span
from tallystick.compiler.metric_hub.skeleton import chain, column, filled, literal, shifted
from tallystick.compiler.metric_hub.tree import from_expression, parse_expression
from tallystick.compiler.metric_hub.windows import Window
from tallystick.definitions.metric_hub import resolved as r
from tallystick.definitions.metric_hub.nouns import Basis, Period
from tallystick.definitions.metric_hub.templates import fill
from tallystick.errors import MacroError

SYMBOLS = ("enrollment_start", "enrollment_end", "analysis_window_start", "analysis_window_end")
_BASE = """
SELECT e.*, w.analysis_window_start, w.analysis_window_end
FROM :enrollments AS e
CROSS JOIN analysis_windows AS w
WHERE :counted
"""
_METRICS = """
SELECT e.analysis_id, e.branch, e.enrollment_date, e.num_enrollment_events, e.exposure_date, e.num_exposure_events,
  e.analysis_window_start, e.analysis_window_end
FROM enrollments AS e
LEFT JOIN :rows AS ds ON :id = e.analysis_id
  AND :day BETWEEN :first AND :last AND :day BETWEEN :from_day AND :to_day AND :counts
GROUP BY ALL
"""

_EXPOSED_IDS = """
SELECT DISTINCT :id AS analysis_id FROM :rows AS x WHERE :day BETWEEN :first AND :last AND :is_exposure
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsTable:
    """One table of per-unit values: what is in it, and the query that fills it."""

    period: Period
    basis: Basis
    data_source: str
    metrics: tuple[str, ...]
    window: Window
    tree: exp.Select


def metric_tables(
    configuration: r.AnalysisConfiguration,
    enrollments: exp.Expr,
    windows: Mapping[Period, Iterable[Window]],
    *,
    compat: bool = True,
) -> Iterator[MetricsTable]:
    """Yield the tables of every period, basis and data source; `enrollments` is the table built before."""
    for period, summaries in configuration.metrics.items():
        for basis in Basis:
            for source, metrics in by_source(summaries, basis).items():
                for window in windows.get(period, ()):
                    tree = metrics_tree(
                        configuration.experiment, source, metrics, enrollments, window, basis, compat=compat
                    )
                    names = tuple(metric.name for metric in metrics)
                    yield MetricsTable(
                        period=period, basis=basis, data_source=source.name, metrics=names, window=window, tree=tree
                    )


def by_source(
    summaries: Iterable[r.Summary], basis: Basis
) -> Mapping[r.ResolvedDataSource, tuple[r.ResolvedMetric, ...]]:
    """Gather the metrics of a period by data source; a composite brings what it depends on."""
    found: dict[str, tuple[r.ResolvedDataSource, dict[str, r.ResolvedMetric]]] = {}
    for metric in _needed(summaries):
        if basis in metric.analysis_bases and metric.data_source is not None:
            source = found.setdefault(metric.data_source.name, (metric.data_source, {}))
            source[1].setdefault(metric.name, metric)
    return {source: tuple(metrics[name] for name in sorted(metrics)) for source, metrics in found.values()}


def _needed(summaries: Iterable[r.Summary]) -> Iterator[r.ResolvedMetric]:
    for summary in summaries:
        if summary.metric.depends_on is None:
            yield summary.metric
        else:
            yield from _needed(summary.metric.depends_on)


def metrics_tree(
    experiment: r.ResolvedExperiment,
    source: r.ResolvedDataSource,
    metrics: Iterable[r.ResolvedMetric],
    enrollments: exp.Expr,
    window: Window,
    basis: Basis,
    *,
    compat: bool = True,
) -> exp.Select:
    """Return one row per enrolled unit, also for those without any data (spec §9.4)."""
    first, last = span(experiment)
    exposed = basis is Basis.EXPOSURES
    anchor = exp.column("exposure_date" if exposed and experiment.exposure_signal is None else "enrollment_date", "e")
    day = column(source.submission_date_column, "ds")
    branch = annotation(source.experiments_column_type, experiment.slug, "ds", compat=compat)
    select = filled(
        _METRICS,
        {"rows": from_expression(source_of(source), None)},
        id=column(id_column(source, experiment.analysis_unit), "ds"),
        day=day,
        first=first + dt.timedelta(days=window.start),
        last=last + dt.timedelta(days=window.end),
        from_day=shifted(anchor.copy(), exp.column("analysis_window_start", "e")),
        to_day=shifted(anchor.copy(), exp.column("analysis_window_end", "e")),
        counts=_counts(day, branch),
    )
    select = select.select(*(exp.column(segment.name, "e") for segment in experiment.segments))
    for metric in metrics:
        select = select.select(exp.alias_(_aggregate(metric, experiment), metric.name))
    select = select.select(*_sanity(source.name, branch))
    steps: list[tuple[str, exp.Expr]] = [("analysis_windows", _windows([window]))]
    counted: exp.Expr = exp.true()
    if exposed and experiment.exposure_signal is not None:
        steps.append(("exposed", _exposed(experiment, experiment.exposure_signal, window)))
        counted = exp.column("analysis_id", "e").isin(query=exp.select("analysis_id").from_("exposed"))
    elif exposed:
        counted = exp.Not(this=exp.Is(this=exp.column("exposure_date", "e"), expression=exp.Null()))
    steps.append(("enrollments", filled(_BASE, {"enrollments": enrollments}, counted=counted)))
    return chain(select, steps)


def _exposed(experiment: r.ResolvedExperiment, signal: r.ResolvedExposureSignal, window: Window) -> exp.Select:
    """Return the ids with at least one exposure in the window of a custom signal."""
    first, last = exposure_window(signal, *span(experiment), window)
    return filled(
        _EXPOSED_IDS,
        {"rows": from_expression(source_of(signal.data_source), None)},
        id=column(id_column(signal.data_source, experiment.analysis_unit), "x"),
        day=column(signal.data_source.submission_date_column, "x"),
        first=first,
        last=last,
        is_exposure=parse_expression(signal.select_expression, f"exposure signal {signal.name}"),
    )


def _aggregate(metric: r.ResolvedMetric, experiment: r.ResolvedExperiment) -> exp.Expr:
    """Return the aggregate of a metric, `{experiment_slug}` filled (the second layer of spec §4.1)."""
    text = str(metric.select_expression)
    try:
        text = fill(text, experiment_slug=experiment.slug) if "{" in text else text
    except MacroError as problem:
        raise MacroError(f"metric {metric.name}: {problem.message}", hint=problem.hint) from None
    return parse_expression(text, f"metric {metric.name}")


def _counts(day: exp.Expr, branch: exp.Expr | None) -> exp.Expr:
    """Return which rows count: on the day of enrollment only those that name the experiment (spec §9.5)."""
    if branch is None:
        return exp.true()
    later = exp.NEQ(this=day.copy(), expression=exp.column("enrollment_date", "e"))
    return exp.paren(exp.or_(later, exp.Not(this=exp.Is(this=branch.copy(), expression=exp.Null()))))


def _sanity(source: str, branch: exp.Expr | None) -> Iterator[exp.Expr]:
    """Yield the columns that tell whether rows contradict the enrollment (spec §9.4)."""
    if branch is None:
        return
    contradicts = exp.NEQ(this=branch.copy(), expression=exp.column("branch", "e"))
    unknown = exp.Is(this=branch.copy(), expression=exp.Null())
    for name, condition in (("has_contradictory_branch", contradicts), ("has_non_enrolled_data", unknown)):
        yield exp.alias_(exp.func("COALESCE", exp.LogicalOr(this=condition), exp.false()), f"{source}_{name}")


def _windows(windows: Iterable[Window]) -> exp.Expr:
    rows = [
        exp.select(
            exp.alias_(literal(window.start), "analysis_window_start"),
            exp.alias_(literal(window.end), "analysis_window_end"),
        )
        for window in windows
    ]
    tree: exp.Expr = rows[0]
    for row in rows[1:]:
        tree = exp.union(tree, row, distinct=False)
    return tree


def exposure_window(
    signal: r.ResolvedExposureSignal, first: dt.date, last: dt.date, window: Window
) -> tuple[dt.date, dt.date]:
    """Return the first and last day on which a custom signal counts (spec §9.4); an end of 0 means the last enrollment."""
    span_days = (last - first).days
    days = dict(zip(SYMBOLS, (0, span_days, window.start + span_days, window.end + span_days), strict=True))
    start = days[signal.window_start] if isinstance(signal.window_start, str) else signal.window_start or 0
    end = days[signal.window_end] if isinstance(signal.window_end, str) else signal.window_end or span_days
    return first + dt.timedelta(days=start), first + dt.timedelta(days=end)
