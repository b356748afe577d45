"""SQL of experiments and monitoring, run on DuckDB where no BigQuery function is in the way."""

from __future__ import annotations

import datetime as dt

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from hub import BASE
from tallystick.compiler.metric_hub.enrollment_sql import enrollments_tree
from tallystick.compiler.metric_hub.experiment_sql import exposure_window, metric_tables
from tallystick.compiler.metric_hub.monitoring_sql import queries
from tallystick.compiler.metric_hub.plan import plan
from tallystick.compiler.metric_hub.tree import to_sql
from tallystick.compiler.metric_hub.windows import Enrollment, Window, completed, due, overall, windows
from tallystick.definitions.metric_hub.analysis import resolve_experiment
from tallystick.definitions.metric_hub.checking import resolve_somewhere
from tallystick.definitions.metric_hub.monitoring import resolve_project
from tallystick.definitions.metric_hub.nouns import Basis, Period
from tallystick.definitions.metric_hub.resolved import ExperimentRecord, ResolvedDataSource, ResolvedExposureSignal
from tallystick.errors import CompileError, UsageError

D = dt.date
EXPERIMENT = {
    **BASE,
    "definitions/app.toml": """
[metrics.clicks]
select_expression = '{{agg_sum("n")}}'
data_source = "events"
[metrics.clicks.statistics.linear_model_mean]
[data_sources.events]
from_expression = "events"
submission_date_column = "day"
experiments_column_type = "none"
[segments.heavy]
select_expression = '{{agg_any("n > 2")}}'
data_source = "before"
[segments.data_sources.before]
from_expression = "events"
submission_date_column = "day"
window_start = -3
window_end = -1
""",
    "e.toml": """
[experiment]
enrollment_query = "SELECT client_id, branch, enrollment_date FROM enrolled"
enrollment_period = 2
segments = ["heavy"]
[experiment.exposure_signal]
name = "saw"
friendly_name = "saw"
description = "saw"
data_source = "events"
select_expression = "n = 7"
[metrics]
weekly = ["clicks"]
""",
}
RECORD = ExperimentRecord(slug="e", app_name="app", start_date=D(2024, 1, 10), end_date=D(2024, 2, 1))


@pytest.fixture
def connection():
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE enrolled AS SELECT * FROM (VALUES ('a', 'control', DATE '2024-01-10'), ('b', 'new', DATE '2024-01-11'), "
        "('c', 'new', DATE '2024-01-12'), ('late', 'new', DATE '2024-02-12')) t(client_id, branch, enrollment_date)"
    )
    connection.execute(
        "CREATE TABLE events AS SELECT * FROM (VALUES ('a', DATE '2024-01-08', 5), ('a', DATE '2024-01-10', 1), "
        "('a', DATE '2024-01-16', 2), ('a', DATE '2024-01-17', 100), ('b', DATE '2024-01-12', 7), "
        "('b', DATE '2024-01-10', 50)) t(client_id, day, n)"
    )
    return connection


def rows(connection, tree) -> list[dict]:
    cursor = connection.execute(to_sql(tree, "duckdb"))
    names = [column[0] for column in cursor.description]
    return sorted((dict(zip(names, row, strict=True)) for row in cursor.fetchall()), key=lambda row: row["analysis_id"])


def test_enrollments_carry_segments_and_first_exposures(build, connection):
    found = resolve_experiment(build(EXPERIMENT), RECORD)
    assert not found.errors
    table = rows(connection, enrollments_tree(found.experiment))
    assert [(r["analysis_id"], r["branch"], r["heavy"], r["exposure_date"]) for r in table] == [
        ("a", "control", True, None),
        ("b", "new", True, D(2024, 1, 12)),
        ("c", "new", False, None),
    ]


def test_every_enrolled_client_has_one_row_per_window(build, connection):
    found = resolve_experiment(build(EXPERIMENT), RECORD)
    connection.execute(f"CREATE TABLE enrollments_e AS {to_sql(enrollments_tree(found.experiment), 'duckdb')}")
    tables = {t.basis: t for t in metric_tables(found, exp.to_table("enrollments_e"), {Period.WEEK: [Window(0, 6)]})}
    assert [(r["analysis_id"], r["clicks"]) for r in rows(connection, tables[Basis.ENROLLMENTS].tree)] == [
        ("a", 3),
        ("b", 7),
        ("c", 0),
    ]
    assert [(r["analysis_id"], r["clicks"]) for r in rows(connection, tables[Basis.EXPOSURES].tree)] == [("b", 7)]


def test_the_plan_lists_what_is_computed(build):
    made = plan(resolve_experiment(build(EXPERIMENT), RECORD))
    (step,) = made.steps
    assert (step.metric, step.statistic, step.period, step.segments) == (
        "clicks",
        "linear_model_mean",
        "week",
        ("all", "heavy"),
    )
    assert (made.exposure_signal, made.reference_branch, made.enrollments) == ("saw", "control", "custom query")
    assert made.windows(Period.WEEK) == (Window(0, 6, 1), Window(7, 13, 2))


def test_a_query_for_the_other_unit_is_refused(build):
    files = {**EXPERIMENT, "e.toml": EXPERIMENT["e.toml"].replace("client_id, branch", "profile_group_id, branch")}
    with pytest.raises(CompileError, match="gives profile_group_id"):
        enrollments_tree(resolve_experiment(build(files), RECORD).experiment)


@pytest.mark.parametrize("kind", ["normandy", "glean-event", "cirrus", "fenix-fallback", "background-update"])
def test_every_kind_of_enrollment_is_bigquery(build, kind):
    files = {
        **BASE,
        "e.toml": f"[experiment]\nenrollments_query_type = '{kind}'\nenrollment_period = 7\nsample_size = 10\n",
    }
    record = ExperimentRecord(slug="it's", app_name="firefox_desktop", start_date=D(2024, 1, 1))
    collection = build({**files, "it's.toml": files["e.toml"]})
    sql = to_sql(enrollments_tree(resolve_experiment(collection, record).experiment))
    assert sqlglot.parse_one(sql, read="bigquery")
    assert "sample_id < 10" in sql


def test_all_resolvable_experiments_of_the_part_give_sql(repository):
    collection = repository.tools["jetstream"]
    slug = "all-users-day-5-reengagement-push-2-ai-controls"
    record = ExperimentRecord(slug=slug, proposed_enrollment=7, start_date=D(2026, 1, 1))
    found = resolve_somewhere(collection, slug, record)
    assert not found.errors
    made = plan(found)
    tables = list(
        metric_tables(found, exp.to_table("e"), {period: made.windows(period)[:1] for period in found.metrics})
    )
    assert len(tables) > 10
    for table in tables:
        assert sqlglot.parse_one(to_sql(table.tree), read="bigquery")


TWO_WEEKS = Enrollment(start=D(2024, 1, 1), period=7)


def test_a_series_waits_for_the_last_enrolled_client():
    assert TWO_WEEKS.last == D(2024, 1, 8)
    assert [completed(Period.WEEK, TWO_WEEKS, D(2024, 1, 8) + dt.timedelta(days=n)) for n in (5, 6, 12, 13)] == [
        0,
        1,
        1,
        2,
    ]
    assert due(Period.WEEK, TWO_WEEKS, D(2024, 1, 14), None) is None
    assert due(Period.WEEK, TWO_WEEKS, D(2024, 1, 15), None) == Window(0, 6, 1)
    assert due(Period.WEEK, TWO_WEEKS, D(2024, 1, 16), None) is None
    assert due(Period.DAY, TWO_WEEKS, D(2024, 1, 10), None) == Window(1, 1, 2)


def test_single_windows_have_their_day():
    end = D(2024, 2, 1)
    assert due(Period.PREENROLLMENT_WEEK, TWO_WEEKS, D(2024, 1, 9), end) == Window(-7, -1)
    assert due(Period.PREENROLLMENT_DAYS_28, TWO_WEEKS, D(2024, 1, 10), end) is None
    assert due(Period.OVERALL, TWO_WEEKS, end, end) == Window(0, 23)
    assert due(Period.OVERALL, TWO_WEEKS, end, None) is None
    with pytest.raises(UsageError, match="before enrollment does"):
        overall(TWO_WEEKS, D(2024, 1, 2))


def test_a_series_is_the_union_of_what_is_due():
    end = D(2024, 3, 1)
    days = [D(2024, 1, 1) + dt.timedelta(days=n) for n in range((end - D(2024, 1, 1)).days + 1)]
    for period in (Period.DAY, Period.WEEK, Period.DAYS_28):
        assert tuple(w for day in days if (w := due(period, TWO_WEEKS, day, end))) == tuple(
            windows(period, TWO_WEEKS, end)
        )


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        (None, None, (D(2024, 1, 1), D(2024, 1, 8))),
        (1, 3, (D(2024, 1, 2), D(2024, 1, 4))),
        (0, 0, (D(2024, 1, 1), D(2024, 1, 8))),
        ("analysis_window_start", "analysis_window_end", (D(2024, 1, 8), D(2024, 1, 14))),
        ("enrollment_start", "enrollment_end", (D(2024, 1, 1), D(2024, 1, 8))),
    ],
)
def test_the_window_of_a_signal(start, end, days):
    source = ResolvedDataSource(name="d", from_expression="t")
    signal = ResolvedExposureSignal(
        name="s", data_source=source, select_expression="1", window_start=start, window_end=end
    )
    assert exposure_window(signal, D(2024, 1, 1), D(2024, 1, 8), Window(0, 6)) == days


PROJECT = {
    **BASE,
    "definitions/app.toml": """
[metrics.clicks]
select_expression = '{{agg_sum("n")}}'
data_source = "events"
[metrics.clicks.statistics.percentile]
percentiles = [50]
[metrics.clicks.statistics.mean]
[data_sources.events]
from_expression = "events"
submission_date_column = "day"
[dimensions.os]
select_expression = "os"
data_source = "events"
""",
    "p.toml": """
[project]
platform = "app"
metrics = ["clicks"]
alerts = ["high", "moved", "apart"]
[project.population]
data_source = "events"
monitor_entire_population = true
dimensions = ["os"]
[alerts.high]
type = "threshold"
metrics = ["clicks"]
max = [3]
[alerts.moved]
type = "avg_diff"
metrics = ["clicks"]
window_size = 2
max_relative_change = 0.5
[alerts.apart]
type = "ci_overlap"
metrics = ["clicks"]
""",
}


@pytest.fixture
def monitoring(build):
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE events AS SELECT 'c' || i AS client_id, DATE '2024-01-05' AS day, i AS n, 'Linux' AS os FROM range(1, 102) t(i)"
    )
    found = resolve_project(build(PROJECT), "p")
    assert not found.errors
    made = queries(found, D(2024, 1, 5))
    connection.execute(f"CREATE TABLE metrics AS {to_sql(made.metrics, 'duckdb')}")
    return connection, made


def test_monitoring_statistics_are_right(monitoring):
    connection, made = monitoring
    assert connection.execute("SELECT COUNT(*), MIN(branch), MIN(os), SUM(clicks) FROM metrics").fetchall() == [
        (101, "active", "Linux", 5151)
    ]
    (mean,) = connection.execute(to_sql(made.statistics["clicks.mean"], "duckdb")).fetchall()
    assert mean[4:7] == ("clicks", "mean", 51.0)
    (median,) = connection.execute(to_sql(made.statistics["clicks.percentile"], "duckdb")).fetchall()
    point, lower, upper, parameter = median[6:10]
    assert (point, parameter) == (51.0, "50")
    assert (lower, upper) == (43.0, 59.0)


def test_alerts_fire_where_they_should(monitoring):
    connection, made = monitoring
    connection.execute(
        "CREATE TABLE statistics AS SELECT DATE '2024-01-01' + CAST(i AS INT) AS submission_date, NULL AS build_id, b AS branch, "
        "'Linux' AS os, 'clicks' AS metric, 'mean' AS statistic, p AS point, p - 0.1 AS lower, p + 0.1 AS upper, NULL AS parameter "
        "FROM (VALUES (0, 'control', 1.0), (1, 'control', 1.0), (2, 'control', 5.0), (3, 'control', 5.0), (3, 'new', 1.0)) t(i, b, p)"
    )
    fired = {
        name: [(row[0], row[2], row[-1]) for row in connection.execute(to_sql(tree, "duckdb")).fetchall()]
        for name, tree in made.alerts.items()
    }
    assert sorted(fired["high"]) == [
        (D(2024, 1, 3), "control", "Value above threshold"),
        (D(2024, 1, 4), "control", "Value above threshold"),
    ]
    assert [(row[0], row[1]) for row in fired["moved"]] == [(D(2024, 1, 4), "control")]
    assert fired["apart"] == [(D(2024, 1, 4), "new", "Significant difference between branches")]
