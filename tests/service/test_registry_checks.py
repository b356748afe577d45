"""What `check` says about the rows a registry is computed from."""

from __future__ import annotations

import duckdb
import pytest

from tallystick.service.workspace import load

REGISTRY = """
from metrics_tools.factory import MetricQueryDef, timeseries_metrics
timeseries_metrics(start="2024-01-01", schema="oso", model_prefix="t", timeseries_sources=["events"], metric_queries={
    "stars": MetricQueryDef(ref="stars.sql", time_aggregations=["daily"], entity_types=["artifact", "project"]),
    "again": MetricQueryDef(ref="quoted.sql", time_aggregations=["daily"], entity_types=["project"]),
    "bad": MetricQueryDef(ref="bad.sql", time_aggregations=["daily"]),
    "off": MetricQueryDef(ref="stars.sql", time_aggregations=["daily"], enabled=False),
})
"""
STARS = """SELECT @metrics_sample_date(e.bucket_day) AS metrics_sample_date, e.event_source, e.to_artifact_id,
'' AS from_artifact_id, @metric_name() AS metric, SUM(e.amount) AS amount
FROM oso.events e WHERE e.bucket_day BETWEEN @metrics_start('DATE') AND @metrics_end('DATE') GROUP BY 1, 2, 3, 4, 5"""
EVENTS = "CREATE TABLE oso.events AS SELECT * FROM (VALUES {}) v(bucket_day, event_source, to_artifact_id, amount)"
MAPPING = "CREATE TABLE oso.artifacts_by_project_v1 AS SELECT * FROM (VALUES {}) v(artifact_id, project_id)"
ROW = "(DATE '2024-01-01', 'GITHUB', {}, 1)"


@pytest.fixture
def findings(tmp_path):
    def check(*statements: str) -> list[tuple[str, str, str | None]]:
        (tmp_path / "metrics").mkdir()
        (tmp_path / "tally.toml").write_text('[warehouse]\npath = "w.duckdb"\nschema = "oso"\n')
        (tmp_path / "registry.py").write_text(REGISTRY)
        (tmp_path / "metrics" / "stars.sql").write_text(STARS)
        quoted = STARS.replace("oso.events e", '"oso"."events" AS e')
        (tmp_path / "metrics" / "quoted.sql").write_text(quoted)
        (tmp_path / "metrics" / "bad.sql").write_text("select from where")
        if statements:
            with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
                for statement in ("CREATE SCHEMA oso", *statements):
                    connection.execute(statement)
        with load(tmp_path) as workspace:
            found = [(d.code, d.message, d.file) for d in workspace.check()]
        return [each for each in found if each[0] not in ("undocumented", "bad-sql")]

    return check


def test_clean_rows_have_no_findings(findings):
    assert findings(EVENTS.format(ROW.format("'a'")), MAPPING.format("('a', 'p')")) == []


def test_every_oddity_is_named_once(findings):
    rows = ", ".join(map(ROW.format, ("'a'", "'z'", "NULL")))
    assert findings(EVENTS.format(rows), MAPPING.format("('a', 'p'), ('a', 'p'), ('b', NULL)")) == [
        ("duplicate-mapping", "mapping 'oso.artifacts_by_project_v1' of artifact to project repeats 1 pairs; each counts once", None),
        ("null-id", "mapping 'oso.artifacts_by_project_v1' of artifact to project has 1 rows without an id", None),
        ("no-parent", "1 of the artifacts in source 'events' belong to no project: z", "metrics/stars.sql"),
        ("null-id", "1 rows of table 'events' have no artifact", "metrics/stars.sql"),
    ]  # fmt: skip


def test_a_table_that_is_missing_among_others_is_named(findings):
    assert findings(EVENTS.format(ROW.format("'a'"))) == [
        (
            "missing-table",
            "the mapping 'oso.artifacts_by_project_v1' of artifact to project is not in the warehouse",
            "metrics/stars.sql",
        )
    ]


def test_events_that_are_missing_are_named(findings):
    found = findings(MAPPING.format("('a', 'p')"))
    assert found == [
        ("missing-table", "the table 'oso.events' that is read is not in the warehouse", "metrics/stars.sql")
    ]


def test_nothing_is_said_about_a_warehouse_that_is_not_filled_yet(findings):
    assert findings() == []
