"""Building what a registry lists: its mistakes cost their own models only, and tables keep to the contract."""

from __future__ import annotations

import duckdb
import pytest

from tallystick.build.report import Action
from tallystick.service.workspace import load

PROJECT = """
[project]
as_of = 2024-03-01T00:00:00Z
start = 2024-01-01
[warehouses.default]
engine = "duckdb"
path = "warehouse.duckdb"
schema = "oso"
"""
HEAD = """
from metrics_tools.definition import MetricMetadata
from metrics_tools.factory import MetricQueryDef, RollingConfig, timeseries_metrics
timeseries_metrics(start="2024-01-01", schema="oso", model_prefix="t", timeseries_sources=["events"], metric_queries={
"""
ROWS = """
CREATE SCHEMA oso;
CREATE TABLE oso.events AS SELECT DATE '2024-01-01' + i::INT AS bucket_day, 'GITHUB' AS event_source,
    'a' || i % 3 AS to_artifact_id, 'u' || i % 2 AS from_artifact_id, 1 AS amount FROM range(60) t(i);
CREATE TABLE oso.artifacts_by_project_v1 AS SELECT * FROM (VALUES ('a0', 'p0'), ('a1', 'p0')) v(artifact_id, project_id);
CREATE TABLE oso.projects_by_collection_v1 AS SELECT * FROM (VALUES ('p0', 'c0')) v(project_id, collection_id)
"""
COLUMNS = [
    "@metrics_sample_date(e.bucket_day) AS metrics_sample_date",
    "e.event_source",
    "e.to_artifact_id",
    "'' AS from_artifact_id",
    "@metric_name() AS metric",
    "SUM(e.amount) AS amount",
]
REST = "FROM oso.events e WHERE e.bucket_day BETWEEN @metrics_start('DATE') AND @metrics_end('DATE') GROUP BY 1, 2, 3, 4, 5"
STARS = f"SELECT {', '.join(COLUMNS)} {REST}"
PEER = (
    "SELECT p.metrics_sample_date, p.event_source, @metrics_entity_type_col('to_{entity_type}_id', table_alias := p),"
    " '' AS from_artifact_id, @metric_name() AS metric, p.amount FROM"
    " @metrics_peer_ref(PEER, time_aggregation := @time_aggregation) AS p"
)


@pytest.fixture
def registry(tmp_path):
    """Return a function that makes a project of a registry's entries and their queries over a small warehouse."""

    def making(entries, **queries):
        (tmp_path / "metrics").mkdir(exist_ok=True)
        (tmp_path / "tally.toml").write_text(PROJECT)
        (tmp_path / "registry.py").write_text(f"{HEAD}{entries}\n}})\n")
        for name, text in {"stars": STARS, **queries}.items():
            (tmp_path / "metrics" / f"{name}.sql").write_text(text)
        if not (tmp_path / "warehouse.duckdb").exists():
            sql(tmp_path, ROWS)
        return tmp_path

    return making


def sql(folder, text):
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        return connection.execute(text).fetchall()


def built(folder):
    with load(folder) as workspace:
        return workspace.build()


def test_metrics_in_a_circle_are_told_and_leave_the_others_alone(registry):
    days = 'time_aggregations=["monthly"], entity_types=["artifact"]'
    entries = "".join(f'"{name}": MetricQueryDef(ref="{name}.sql", {days}),\n' for name in ("stars", "a", "b"))
    report = built(registry(entries, a=PEER.replace("PEER", "b"), b=PEER.replace("PEER", "a")))
    assert {model.name for model in report.failed} == {"a_to_artifact_monthly", "b_to_artifact_monthly"}
    assert all("in a cycle: " in model.error and "→" in model.error for model in report.failed)
    assert [model.name for model in report.models if model.error is None] == ["stars_to_artifact_monthly"]


def test_tables_have_the_columns_of_the_contract(registry):
    entries = "".join(
        f'"{name}": MetricQueryDef(ref="{name}.sql", time_aggregations=["monthly"], entity_types=["project"]),\n'
        for name in ("stars", "wide", "few", "lacking")
    )
    columns = ", ".join([*reversed(COLUMNS), "'usd' AS unit"])
    wide = f"SELECT {columns} {REST.replace('1, 2, 3, 4, 5', '2, 3, 4, 5, 6')}"
    few = STARS.replace("'' AS from_artifact_id, ", "").replace(", 5", "")
    lacking = STARS.replace(", SUM(e.amount) AS amount", "")
    folder = registry(entries, wide=wide, few=few, lacking=lacking)
    report = built(folder)
    assert [(model.name, "no 'amount'" in model.error) for model in report.failed] == [
        ("lacking_to_project_monthly", True)
    ]
    expected = ["metrics_sample_date", "event_source", "to_project_id", "from_artifact_id", "metric", "amount"]
    for name in ("stars", "wide", "few"):
        table = f"oso.{name}_to_project_monthly"
        assert [row[0] for row in sql(folder, f"DESCRIBE {table}")] == expected
        rows = sql(folder, f"SELECT * EXCLUDE (metric) FROM {table} ORDER BY 1")
        assert rows == sql(folder, "SELECT * EXCLUDE (metric) FROM oso.stars_to_project_monthly ORDER BY 1")
        assert len(rows) == 2


def test_a_metric_that_is_not_incremental_is_built_anew_each_time(registry):
    entries = """
    "stars": MetricQueryDef(ref="stars.sql", time_aggregations=["daily"], entity_types=["artifact"]),
    "whole": MetricQueryDef(ref="stars.sql", time_aggregations=["daily"], entity_types=["artifact"], incremental=False),
    """
    folder = registry(entries)
    built(folder)
    sql(folder, "INSERT INTO oso.events VALUES (DATE '2024-01-02', 'GITHUB', 'a9', 'u1', 7)")
    assert {model.action for model in built(folder).models} == {Action.REFRESHED}
    late = "SELECT count(*) FROM oso.{}_to_artifact_daily WHERE to_artifact_id = 'a9'"
    assert sql(folder, late.format("stars")) == [(0,)] and sql(folder, late.format("whole")) == [(1,)]


def test_a_mistake_in_a_query_is_told_where_the_file_is(registry):
    entries = '"bad": MetricQueryDef(ref="bad.sql", time_aggregations=["daily"]),'
    folder = registry(entries)
    (folder / "oso_metrics").mkdir()
    (folder / "oso_metrics" / "bad.sql").write_text("select\n @nothing() as amount")
    with load(folder) as workspace:
        found = [d for d in workspace.diagnostics if d.code == "bad-sql"]
    assert [(d.file, d.line) for d in found] == [("oso_metrics/bad.sql", 2)]
