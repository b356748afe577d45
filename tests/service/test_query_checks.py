"""What `check` says about queries before they are run: columns no table has, and what the warehouse refuses."""

from __future__ import annotations

import duckdb
import pytest

from tallystick.service.workspace import load

STARS = """SELECT @metrics_sample_date(e.bucket_day) AS metrics_sample_date, e.event_source, e.to_artifact_id,
'' AS from_artifact_id, @metric_name() AS metric, SUM(e.amount) AS amount
FROM oso.events e WHERE e.bucket_day BETWEEN @metrics_start('DATE') AND @metrics_end('DATE') GROUP BY 1, 2, 3, 4, 5"""
PEER = """SELECT p.metrics_sample_date, p.event_source, p.to_artifact_id, '' AS from_artifact_id, @metric_name() AS metric,
p.amount FROM @metrics_peer_ref(stars, time_aggregation := @time_aggregation) AS p"""
EVENTS = """CREATE SCHEMA oso;
CREATE TABLE oso.events AS SELECT * FROM (VALUES (DATE '2024-01-01', 'GITHUB', 'a', 1)) v(bucket_day, event_source, to_artifact_id, amount)"""
REGISTRY = """
from metrics_tools.factory import MetricQueryDef, timeseries_metrics
timeseries_metrics(start="2024-01-01", schema="oso", model_prefix="t", timeseries_sources=["events"], metric_queries={
    name: MetricQueryDef(ref=ref, time_aggregations=["daily"], entity_types=["artifact"])
    for name, ref in [("stars", "stars.sql"), ("again", "stars.sql"), ("peer", "peer.sql")]
})
"""


@pytest.fixture
def checked(tmp_path):
    """Return a function that tells the errors in a registry whose first query is the one given."""

    def check(text: str):
        (tmp_path / "metrics").mkdir(exist_ok=True)
        (tmp_path / "tally.toml").write_text('[warehouse]\npath = "w.duckdb"\nschema = "oso"\n')
        (tmp_path / "registry.py").write_text(REGISTRY)
        (tmp_path / "metrics" / "stars.sql").write_text(text)
        (tmp_path / "metrics" / "peer.sql").write_text(PEER)
        with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
            connection.execute(EVENTS)
        with load(tmp_path) as workspace:
            return [found for found in workspace.check() if found.severity == "error"]

    return check


def test_queries_that_can_be_run_have_no_findings_though_their_peers_are_not_built(checked):
    assert checked(STARS) == []


def test_a_misspelt_column_is_told_once_where_it_is_written(checked):
    (found,) = checked(STARS.replace("e.amount", "e.amuont"))
    assert (found.code, found.message) == ("unknown-column", "table 'oso.events' has no column 'amuont'")
    assert (found.file, found.line, found.column) == ("metrics/stars.sql", 2, 57)
    assert found.hint == "did you mean 'amount'?"


def test_what_the_warehouse_refuses_is_told_once(checked):
    (found,) = checked(STARS.replace("SUM(e.amount)", "SUM(e.event_source || 'x')"))
    assert (found.code, found.file) == ("bad-sql", "metrics/stars.sql")
    assert "'sum(VARCHAR)'" in found.message


def test_what_cannot_be_bound_to_dates_is_told(checked):
    (found,) = checked(STARS.replace("@metrics_end('DATE')", "@metrics_end('DATUM')"))
    assert (found.code, found.file, found.line) == ("bad-definition", "metrics/stars.sql", 3)
    assert "'DATUM' is not a type of date" in found.message


@pytest.mark.parametrize(
    ("of", "instead", "message"),
    [
        ("SUM(e.amount)", "max(e.event_source)", "'amount' as VARCHAR, and every metric table has a number there"),
        ("@metrics_sample_date(e.bucket_day)", "'today'", "'metrics_sample_date' as VARCHAR"),
    ],
)
def test_columns_that_hold_something_else_than_the_contract_says_are_told(checked, of, instead, message):
    (found,) = checked(STARS.replace(of, instead, 1))
    assert (found.code, found.file) == ("column-type", "metrics/stars.sql")
    assert message in found.message


def test_a_missing_column_is_told_once(checked):
    found = checked(STARS.replace(", SUM(e.amount) AS amount", ""))
    assert [each.code for each in found] == ["missing-column"] * 2  # of each metric with that text


def test_a_query_of_a_native_project_is_looked_at_too(tmp_path):
    (tmp_path / "tally.toml").write_text('[warehouse]\npath = "w.duckdb"\n')
    (tmp_path / "definitions").mkdir()
    text = STARS.replace("e.event_source", "e.event_sauce")
    (tmp_path / "definitions" / "m.toml").write_text(
        f'[metrics.stars]\nsources = ["events"]\nentities = ["artifact"]\ngrains = ["day"]\nsql = """\n{text}\n"""\n'
    )
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute(EVENTS)
    with load(tmp_path) as workspace:
        (found,) = [each for each in workspace.check() if each.code == "unknown-column"]
    assert (found.file, found.line, found.hint) == ("definitions/m.toml", 6, "did you mean 'event_source'?")
