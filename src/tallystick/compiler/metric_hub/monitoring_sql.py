"""Operational monitoring as SQL: population, per-client metrics, statistics, alerts (spec metric_hub §11, §10.4)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp

from tallystick.compiler.metric_hub.enrollment_sql import source_of
from tallystick.compiler.metric_hub.skeleton import all_of, chain, column, filled, literal
from tallystick.compiler.metric_hub.tree import from_expression, parse_expression
from tallystick.definitions.metric_hub import resolved as r
from tallystick.errors import CompileError

MAX_ROWS = 10_000
"""Clients with more rows than this on a day are not people."""
BUILD_DAYS = 14
Z_90 = 1.6448536269514722
GLEAN_LESS = frozenset({"firefox_desktop"})
"""Apps whose experiments are in `environment`, not in `ping_info`."""

_POPULATION = """
SELECT :day AS submission_date, CAST(:client AS STRING) AS client_id, :build AS build_id, :branch AS branch
FROM :rows AS p
WHERE :on_days AND :on_channel
GROUP BY ALL
HAVING COUNT(*) <= :most
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringQueries:
    """The queries of one run of a project, in the order in which they feed each other."""

    population: exp.Select
    metrics: exp.Select
    statistics: Mapping[str, exp.Expr]
    alerts: Mapping[str, exp.Expr]


def queries(
    project: r.MonitoringConfiguration,
    day: dt.date,
    *,
    metrics_table: str = "metrics",
    statistics_table: str = "statistics",
) -> MonitoringQueries:
    """Return every query of a run for a day; raises `CompileError` for a project without a population."""
    people = population_tree(project, day)
    return MonitoringQueries(
        population=people,
        metrics=metrics_tree(project, day, people),
        statistics={
            f"{summary.metric.name}.{summary.statistic.name}": statistic_tree(project, summary, metrics_table)
            for summary in project.metrics
        },
        alerts={alert.name: alert_tree(project, alert, statistics_table) for alert in project.alerts},
    )


def population_tree(project: r.MonitoringConfiguration, day: dt.date) -> exp.Select:
    """Return one row per client and axis value: build, dimensions as text, branch."""
    population = project.population
    source = population.data_source
    if source is None:
        raise CompileError(f"project {project.slug} has no population", hint="set project.population.data_source")
    date = column(source.submission_date_column, "p")
    select = filled(
        _POPULATION,
        {"rows": from_expression(source_of(source), None)},
        day=date,
        client=column(source.client_id_column, "p"),
        build=_build(project, source, "p"),
        branch=_branch(project),
        on_days=_days(project, date, day),
        on_channel=_channel(population.channel),
        most=MAX_ROWS,
    )
    for dimension in project.dimensions:
        value = column(dimension.select_expression, "p", f"dimension {dimension.name}")
        select = select.select(exp.alias_(exp.cast(value, exp.DataType.Type.TEXT), dimension.name))
    if population.branches:
        known = [exp.Literal.string(branch) for branch in population.branches]
        return exp.select("*").from_(select.subquery("everyone")).where(exp.column("branch").isin(*known))
    return select


def _by_build(project: r.MonitoringConfiguration) -> bool:
    return project.xaxis == "build_id"


def _build(project: r.MonitoringConfiguration, source: r.ResolvedDataSource, rows: str) -> exp.Expr:
    return column(source.build_id_column, rows) if _by_build(project) else exp.null()


def _days(project: r.MonitoringConfiguration, date: exp.Expr, day: dt.date) -> exp.Expr:
    """Return which rows a run reads: those of the day, or of two weeks when the axis is the build."""
    if not _by_build(project):
        return exp.EQ(this=date.copy(), expression=literal(day))
    first = day - dt.timedelta(days=BUILD_DAYS)
    return exp.Between(this=date.copy(), low=literal(first), high=literal(day))


def _channel(channel: str | None) -> exp.Expr:
    if channel is None:
        return exp.true()
    return exp.EQ(this=exp.column("normalized_channel", "p"), expression=exp.Literal.string(channel))


def _branch(project: r.MonitoringConfiguration) -> exp.Expr:
    """Return which group a client is in (spec §11)."""
    population = project.population
    slug = exp.Literal.string(project.slug).sql("bigquery")
    path = "environment" if project.app_name in GLEAN_LESS else "ping_info"
    annotated = column(f"mozfun.map.get_key({path}.experiments, {slug}).branch", "p")
    if population.branches:
        return annotated
    if population.boolean_pref:
        pref = column(population.boolean_pref, "p", "boolean_pref")
        return exp.case().when(pref, exp.Literal.string("enabled")).else_(exp.Literal.string("disabled"))
    if population.monitor_entire_population:
        return exp.Literal.string("active")
    nobody = exp.Is(this=annotated, expression=exp.Null())
    return exp.case().when(nobody, exp.Literal.string("disabled")).else_(exp.Literal.string("enabled"))


def metrics_tree(project: r.MonitoringConfiguration, day: dt.date, people: exp.Select) -> exp.Select:
    """Return the population with every metric; a source without clients repeats its values on every row."""
    grouping = project.population.group_by_dimension
    names = [dimension.name for dimension in project.dimensions]
    keys = ["submission_date", "client_id", "build_id", "branch", *names]
    body = exp.select(*(exp.column(key, "population") for key in keys)).from_("population")
    steps: list[tuple[str, exp.Expr]] = [("population", people)]
    for source, metrics in _by_source(project).items():
        step = f"metrics_{source.name}"
        steps.append((step, _source_tree(project, source, metrics, day)))
        same = _join_keys(project, source, grouping)
        on = [exp.NullSafeEQ(this=exp.column(key, step), expression=exp.column(key, "population")) for key in same]
        body = body.join(exp.to_table(step), on=exp.and_(*on), join_type="left")
        body = body.select(*(exp.column(metric.name, step) for metric in metrics))
    return chain(body, steps)


def _by_source(project: r.MonitoringConfiguration) -> Mapping[r.ResolvedDataSource, list[r.ResolvedMetric]]:
    found: dict[str, tuple[r.ResolvedDataSource, dict[str, r.ResolvedMetric]]] = {}
    for summary in project.metrics:
        metric = summary.metric
        for one in [metric] if metric.depends_on is None else [up.metric for up in metric.depends_on]:
            if one.data_source is not None:
                found.setdefault(one.data_source.name, (one.data_source, {}))[1].setdefault(one.name, one)
    return {source: [metrics[name] for name in sorted(metrics)] for source, metrics in found.values()}


def _join_keys(
    project: r.MonitoringConfiguration, source: r.ResolvedDataSource, grouping: r.ResolvedDimension | None
) -> list[str]:
    return [
        *(["submission_date"] if source.submission_date_column != "NULL" else []),
        *(["client_id"] if source.client_id_column != "NULL" else []),
        *(["build_id"] if _by_build(project) else []),
        *([grouping.name] if grouping is not None else []),
    ] or ["submission_date"]


def _source_tree(
    project: r.MonitoringConfiguration, source: r.ResolvedDataSource, metrics: list[r.ResolvedMetric], day: dt.date
) -> exp.Select:
    grouping = project.population.group_by_dimension
    date = column(source.submission_date_column, "ds")
    skeleton = "SELECT :day AS submission_date FROM :rows AS ds WHERE :on_days GROUP BY ALL"
    select = filled(
        skeleton, {"rows": from_expression(source_of(source), None)}, day=date, on_days=_days(project, date, day)
    )
    if source.client_id_column != "NULL":
        client = exp.cast(column(source.client_id_column, "ds"), exp.DataType.Type.TEXT)
        select = select.select(exp.alias_(client, "client_id"))
    if _by_build(project):
        select = select.select(exp.alias_(_build(project, source, "ds"), "build_id"))
    if grouping is not None:
        value = column(grouping.select_expression, "ds", f"dimension {grouping.name}")
        select = select.select(exp.alias_(exp.cast(value, exp.DataType.Type.TEXT), grouping.name))
    for metric in metrics:
        aggregate = parse_expression(str(metric.select_expression), f"metric {metric.name}")
        select = select.select(exp.alias_(aggregate, metric.name))
    return select


def statistic_tree(project: r.MonitoringConfiguration, summary: r.Summary, metrics_table: str) -> exp.Expr:
    """Return one statistic as rows (…, metric, statistic, point, lower, upper, parameter) (spec §10.4)."""
    name, metric = summary.statistic.name, summary.metric
    value = exp.column(metric.name, "m")
    if name == "percentile":
        return _percentiles(project, summary, metrics_table)
    if metric.type == "histogram":
        raise CompileError(f"statistic {name} is not implemented for type histogram (metric {metric.name})")
    points: dict[str, exp.Expr] = {
        "count": exp.Count(this=value),
        "sum": exp.Sum(this=value),
        "mean": exp.Avg(this=value),
        "quantile": exp.ApproxQuantile(this=value, quantile=literal(0.5)),
    }
    parameter: str | None = None
    if name == "total_ratio":
        parameter = str(summary.statistic.params.get("denominator_metric"))
        total = exp.func("NULLIF", exp.Sum(this=exp.column(parameter, "m")), literal(0))
        points[name] = exp.Div(this=exp.Sum(this=value), expression=total, typed=False, safe=False)
    if name not in points:
        raise CompileError(
            f"Statistic '{name}' does not exist.", hint="count, sum, mean, total_ratio, quantile, percentile"
        )
    return _row(project, summary, points[name], None, None, parameter).from_(
        exp.alias_(exp.to_table(metrics_table), "m", table=True)
    )


def _keys(project: r.MonitoringConfiguration) -> list[str]:
    return ["submission_date", "build_id", "branch", *(dimension.name for dimension in project.dimensions)]


def _row(
    project: r.MonitoringConfiguration,
    summary: r.Summary,
    point: exp.Expr,
    lower: exp.Expr | None,
    upper: exp.Expr | None,
    parameter: str | None,
    rows: str = "m",
) -> exp.Select:
    keys = [exp.column(key, rows) for key in _keys(project)]
    values: dict[str, exp.Expr] = {
        "metric": exp.Literal.string(summary.metric.name),
        "statistic": exp.Literal.string(summary.statistic.name),
        "point": exp.cast(point, exp.DataType.Type.DOUBLE),
        "lower": exp.cast(lower or exp.null(), exp.DataType.Type.DOUBLE),
        "upper": exp.cast(upper or exp.null(), exp.DataType.Type.DOUBLE),
        "parameter": exp.Literal.string(parameter) if parameter is not None else exp.cast("NULL", "TEXT"),
    }
    select = exp.select(*keys, *(exp.alias_(value, name) for name, value in values.items()))
    return select.group_by(*(key.copy() for key in keys))


def _percentiles(project: r.MonitoringConfiguration, summary: r.Summary, metrics_table: str) -> exp.Expr:
    """Return percentiles with 90 % intervals: every client has one vote, spread over its histogram (spec §10.4).

    The interval is that of the order statistic at a Binomial(n, p) position, in its normal approximation; the
    position is exact, not drawn.
    """
    keys = _keys(project)
    votes = _votes(summary, keys, metrics_table)
    window = [exp.column(key) for key in keys]
    total = exp.Window(this=exp.Sum(this=exp.column("weight")), partition_by=[key.copy() for key in window])
    upto = exp.Window(
        this=exp.Sum(this=exp.column("weight")),
        partition_by=[key.copy() for key in window],
        order=exp.Order(expressions=[exp.Ordered(this=exp.column("vote"), nulls_first=True)]),
    )
    cumulative = exp.select(*window, "vote", exp.alias_(upto, "upto"), exp.alias_(total, "total")).from_("votes")
    selects = [
        _percentile_row(project, summary, float(p)) for p in summary.statistic.params.get("percentiles", (50, 90, 99))
    ]
    body: exp.Expr = selects[0]
    for select in selects[1:]:
        body = exp.union(body, select, distinct=False)
    query = exp.select("*").from_(exp.Subquery(this=body, alias=exp.TableAlias(this=exp.to_identifier("percentiles"))))
    return chain(query, [("votes", votes), ("cumulative", cumulative)])


def _votes(summary: r.Summary, keys: list[str], metrics_table: str) -> exp.Select:
    value = exp.column(summary.metric.name, "m")
    rows = exp.alias_(exp.to_table(metrics_table), "m", table=True)
    select = exp.select(*(exp.column(key, "m") for key in keys))
    if summary.metric.type != "histogram":
        present = exp.Not(this=exp.Is(this=value.copy(), expression=exp.Null()))
        votes = select.select(exp.alias_(value, "vote"), exp.alias_(exp.Count(this=exp.Star()), "weight"))
        grouped = [*(exp.column(key, "m") for key in keys), value.copy()]
        return votes.from_(rows).where(present).group_by(*grouped)
    skeleton = """
    SELECT CAST(h.key AS FLOAT64) AS vote,
      SUM(h.value / NULLIF((SELECT SUM(t.value) FROM UNNEST(:buckets) AS t), 0)) AS weight
    FROM :rows AS m CROSS JOIN UNNEST(:buckets) AS h
    GROUP BY h.key
    """
    votes = filled(skeleton, {"rows": exp.to_table(metrics_table)}, buckets=value)
    return votes.select(*(exp.column(key, "m") for key in keys)).group_by(*(exp.column(key, "m") for key in keys))


def _percentile_row(project: r.MonitoringConfiguration, summary: r.Summary, percentile: float) -> exp.Select:
    def at(shift: float) -> exp.Expr:
        skeleton = "SELECT MIN(IF(c.upto >= (:p + :shift * SQRT(:p * (1 - :p) / c.total)) * c.total, c.vote, NULL))"
        tree: exp.Expr = filled(skeleton, p=percentile / 100, shift=shift).selects[0]
        return tree

    name = str(int(percentile)) if percentile.is_integer() else str(percentile)
    return _row(project, summary, at(0.0), at(-Z_90), at(Z_90), name, rows="c").from_(
        exp.alias_(exp.to_table("cumulative"), "c", table=True)
    )


def alert_tree(project: r.MonitoringConfiguration, alert: r.ResolvedAlert, statistics_table: str) -> exp.Expr:
    """Return the rows for which an alert fires, with its message (spec §11)."""
    rows = exp.alias_(exp.to_table(statistics_table), "s", table=True)
    columns = [exp.column(key, "s") for key in (*_keys(project), "metric", "statistic", "parameter")]
    match alert.type:
        case "threshold":
            conditions = list(_thresholds(alert))
            message = exp.case()
            for condition, text in conditions:
                message = message.when(condition.copy(), exp.Literal.string(text))
            select = exp.select(*columns, exp.alias_(message, "message")).from_(rows)
            return select.where(_watched(alert), exp.or_(*(condition for condition, _ in conditions)))
        case "ci_overlap":
            return _overlap(project, alert, columns, rows)
        case _:
            return _average(project, alert, columns, rows)


def _watched(alert: r.ResolvedAlert) -> exp.Expr:
    """Return which statistics an alert is about: its metrics, and its statistics and parameters if it names any."""

    def among(name: str, values: tuple[object, ...] | None) -> exp.Expr | None:
        texts = [exp.Literal.string(f"{value:g}" if isinstance(value, float) else str(value)) for value in values or ()]
        return exp.column(name, "s").isin(*texts) if texts else None

    by_parameter = among("parameter", alert.parameters) if alert.type != "threshold" else None
    return all_of([among("metric", alert.metrics), among("statistic", alert.statistics), by_parameter])


def _thresholds(alert: r.ResolvedAlert) -> Iterator[tuple[exp.Expr, str]]:
    for bounds, key, operator, text in (
        (alert.max, "lower", exp.GT, "Value above threshold"),
        (alert.min, "upper", exp.LT, "Value below threshold"),
    ):
        value = exp.func("COALESCE", exp.column(key, "s"), exp.column("point", "s"))
        for number, bound in enumerate(bounds or ()):
            beyond = operator(this=value.copy(), expression=literal(bound))
            if number < len(alert.parameters):
                parameter = exp.Literal.string(str(alert.parameters[number]))
                same = exp.EQ(this=exp.column("parameter", "s"), expression=parameter)
                yield exp.and_(same, beyond), text
            else:
                yield beyond, text


def _overlap(
    project: r.MonitoringConfiguration, alert: r.ResolvedAlert, columns: list[exp.Column], rows: exp.Expr
) -> exp.Expr:
    """Compare a branch's interval with the reference branch's, on the same axis value, dimensions and parameter."""
    reference = exp.alias_(exp.to_table(rows.this.name), "r", table=True)
    keys = [key.name for key in columns if key.name != "branch"]
    same = [exp.NullSafeEQ(this=exp.column(key, "r"), expression=exp.column(key, "s")) for key in keys]
    theirs = exp.EQ(this=exp.column("branch", "r"), expression=exp.Literal.string(project.reference_branch))
    ours = exp.NEQ(this=exp.column("branch", "s"), expression=exp.Literal.string(project.reference_branch))
    disjoint = exp.or_(
        exp.GT(this=exp.column("lower", "s"), expression=exp.column("upper", "r")),
        exp.LT(this=exp.column("upper", "s"), expression=exp.column("lower", "r")),
    )
    text = exp.Literal.string("Significant difference between branches")
    return (
        exp.select(*columns, exp.alias_(text, "message"))
        .from_(rows)
        .join(reference, on=exp.and_(*same, theirs), join_type="inner")
        .where(ours, disjoint, _watched(alert))
    )


def _average(
    project: r.MonitoringConfiguration, alert: r.ResolvedAlert, columns: list[exp.Column], rows: exp.Expr
) -> exp.Expr:
    """Compare the mean of the last points with the mean of as many before them, without overlap."""
    size = int(alert.window_size or 1)
    axis = "build_id" if _by_build(project) else "submission_date"
    partition = [
        exp.column(c.name, "s")
        for c in columns
        if c.name != axis and not (axis == "build_id" and c.name == "submission_date")
    ]

    def over(aggregate: exp.Expr, start: int, end: int) -> exp.Expr:
        spec = exp.WindowSpec(
            kind="ROWS",
            start=literal(start),
            start_side="PRECEDING",
            end="CURRENT ROW" if end == 0 else literal(end),
            end_side=None if end == 0 else "PRECEDING",
        )
        return exp.Window(
            this=aggregate,
            partition_by=[key.copy() for key in partition],
            order=exp.Order(expressions=[exp.Ordered(this=exp.column(axis, "s"), nulls_first=True)]),
            spec=spec,
        )

    point = exp.column("point", "s")
    inner = exp.select(
        *columns,
        exp.alias_(over(exp.Avg(this=point), size - 1, 0), "last_mean"),
        exp.alias_(over(exp.Avg(this=point.copy()), 2 * size - 1, size), "mean_before"),
        exp.alias_(over(exp.Count(this=point.copy()), 2 * size - 1, size), "points_before"),
    ).from_(rows)
    inner = inner.where(_watched(alert))
    skeleton = """
    SELECT a.*, 'Significant difference to historical data' AS message
    FROM :rows AS a
    WHERE a.points_before = :size AND ABS(a.last_mean - a.mean_before) / NULLIF(ABS(a.last_mean), 0) > :most
    """
    return filled(skeleton, {"rows": exp.Subquery(this=inner)}, size=size, most=float(alert.max_relative_change or 0))
