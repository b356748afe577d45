"""Which definitions are computed together with others, and what they stand for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from one_pass_world import project
from tallystick.compiler.definition_context import definition_context
from tallystick.compiler.one_pass.grouped_query import GroupedQuery, grouped_query
from tallystick.compiler.one_pass.readable import readable
from tallystick.definitions.metric import Metric, SqlQuery, Views
from tallystick.definitions.oso_options import OsoOptions
from tallystick.sql.calendar import UTC_CALENDAR, Calendar
from tallystick.sql.grain import Grain

VIEWS = Views(entities=("artifact", "project"), grains=(Grain.DAY, Grain.MONTH), all_time=True)
HEAD = "@metrics_sample_date(e.time) AS metrics_sample_date, e.country AS event_source, e.artifact_id, '' AS from_artifact_id"
PLAIN = (
    f"SELECT {HEAD}, @metric_name() AS metric, SUM(e.x) AS amount FROM main.events AS e"
    " WHERE e.kind = 'a' AND e.time BETWEEN @metrics_start('DATE') AND @metrics_end('DATE')"
    " GROUP BY 1, metric, from_artifact_id, artifact_id, event_source"
)


def found(sql: str, views: Views = VIEWS, zone: str = "UTC", settings=None, **options) -> GroupedQuery | None:
    """Return what a definition stands for in a small project with other settings."""
    made = project([], Calendar(zone), views)
    metric = Metric(name="m", views=views, definition=SqlQuery(sql=sql, **options))
    made = replace(made, metrics={"m": metric}, settings=replace(made.settings, **(settings or {})))
    return grouped_query(metric, definition_context(made, "duckdb"))


def test_a_grouped_select_stands_for_a_source_an_aggregate_and_dimensions():
    query = found(PLAIN)
    assert query is not None
    assert (query.source.table, query.source.time, query.source.time_is_date) == ("main.events", "time", True)
    assert dict(query.source.entities) == {"artifact": "artifact_id"}
    assert (query.definition.expr, query.definition.where) == ("SUM(x)", ("kind = 'a'",))
    assert [(d.name, d.sql, d.source) for d in query.dimensions] == [("event_source", "country", query.source.name)]
    names = ["metrics_sample_date", "event_source", "artifact_id", "from_artifact_id", "metric", "amount"]
    assert [name for name, _ in query.columns["artifact"]] == names
    assert [name for name, _ in query.columns["project"]] == [
        n.replace("artifact_id", "project_id", n[0] == "a") for n in names
    ]


@pytest.mark.parametrize(
    "sql",
    [
        PLAIN.replace("e.", "").replace(" AS e WHERE", " WHERE"),
        PLAIN.replace(" AS e ", " ").replace("e.", "events."),
        PLAIN.replace("BETWEEN @metrics_start('DATE') AND", ">= @metrics_start('DATE') AND e.time <"),
        PLAIN.replace("e.kind = 'a' AND e.time", "(e.kind = 'a') AND (e.time").replace("GROUP", ") GROUP"),
        PLAIN.replace("SUM(e.x)", "CAST(COUNT(DISTINCT CASE WHEN e.x > 1 THEN e.user_id END) AS DOUBLE)"),
        PLAIN.replace("SUM(e.x)", "SUM(e.x) / COUNT(*)"),
        PLAIN.replace("@metric_name()", "@metrics_name(CONCAT(e.name, '_seen'))"),
        PLAIN.replace("event_source\n", "event_source,\n"),
    ],
)  # fmt: skip
def test_it_is_known_however_it_is_written(sql):
    assert found(sql) is not None


@pytest.mark.parametrize(
    "sql",
    [
        PLAIN + " HAVING SUM(e.x) > 1",
        PLAIN + " LIMIT 5",
        PLAIN.replace("SELECT", "SELECT DISTINCT", 1),
        f"WITH e AS (SELECT * FROM main.events) {PLAIN.replace('main.events AS e', 'e')}",
        PLAIN.replace("main.events AS e", "(SELECT * FROM main.events) AS e"),
        PLAIN.replace("AS e ", "AS e JOIN main.projects AS p ON p.artifact_id = e.artifact_id "),
        PLAIN.replace("AS e ", "AS e TABLESAMPLE 10 PERCENT "),
        PLAIN.replace("main.events", "main.others"),
        PLAIN.replace("e.kind = 'a'", "e.kind IN (SELECT kind FROM main.kinds)"),
        PLAIN.replace("e.kind = 'a'", "e.time > CURRENT_DATE - 30"),
        PLAIN.replace("e.kind = 'a'", "random() > 0.5"),
        PLAIN.replace("e.kind = 'a'", "transaction_timestamp() > e.time"),
        PLAIN.replace("e.kind = 'a'", "current_localtimestamp() > e.time"),
        PLAIN.replace("e.kind = 'a'", "age(e.time) < INTERVAL 30 DAY"),
        PLAIN.replace("e.kind = 'a'", "e.kind = @metric_name('x')"),
        PLAIN.replace("SUM(e.x)", "SUM(e.x) FILTER (WHERE e.kind = @metric_name())"),
        PLAIN.replace("SUM(e.x)", "COUNT(*) FILTER (WHERE e.time = @metrics_end('DATE'))"),
        PLAIN.replace("'' AS from_artifact_id", "artifact_id AS from_artifact_id"),
        PLAIN.replace("e.kind = 'a'", "e.x > @rolling_window"),
        PLAIN.replace("e.kind = 'a'", "e.kind = @entity_type"),
        PLAIN.replace("e.kind = 'a'", "e.name >= @metrics_start('DATE')"),
        PLAIN.replace("e.kind = 'a' AND e.time BETWEEN @metrics_start('DATE') AND @metrics_end('DATE')", "e.kind = 'a'"),
        PLAIN.replace("e.time BETWEEN", "e.other BETWEEN"),
        PLAIN.replace("BETWEEN", "NOT BETWEEN"),
        PLAIN.replace("BETWEEN @metrics_start('DATE') AND", "> @metrics_start('DATE') AND e.time <"),
        PLAIN.replace("@metrics_end('DATE')", "@metrics_end('WEEK')"),
        PLAIN.replace("AND e.time", "OR e.time"),
        PLAIN.replace("SUM(e.x)", "MEDIAN(e.x)"),
        PLAIN.replace("SUM(e.x)", "SUM(e.x) / @metrics_sample_interval_length(e.time, 'day')"),
        PLAIN.replace("SUM(e.x)", "SUM(SUM(e.x)) OVER ()"),
        PLAIN.replace("SUM(e.x)", "e.x"),
        PLAIN.replace("@metric_name()", "UPPER(@metrics_name(e.name))"),
        PLAIN.replace("artifact_id, event_source", "artifact_id, event_source, e.name"),
        PLAIN.replace(", event_source", ", event_source, e.name"),
        PLAIN.replace("artifact_id, event_source", "artifact_id"),
        PLAIN.replace("GROUP BY 1, metric, from_artifact_id, artifact_id, event_source", "GROUP BY ALL"),
        PLAIN.replace("GROUP BY 1, metric,", "GROUP BY ROLLUP (1), metric,"),
        PLAIN.replace("e.artifact_id,", "UPPER(e.artifact_id) AS artifact_id,"),
        PLAIN.replace("SUM(e.x) AS amount", "SUM(e.x) AS total"),
        f"{PLAIN} UNION ALL {PLAIN}",
        "SELECT * FROM main.events",
        "SELECT @unknown()",
    ],
)  # fmt: skip
def test_what_does_more_is_left_to_its_own_query(sql):
    assert sql != PLAIN
    assert found(sql) is None


def test_what_is_run_in_full_or_as_oso_does_is_left_to_its_own_query():
    assert found(PLAIN, incremental=False) is None
    assert found(PLAIN, settings={"compat": "oso"}) is None
    assert found(PLAIN, dialect="trino") is None
    assert found(PLAIN, dialect="duckdb", settings={"dialect": "bigquery"}) is None
    assert found(PLAIN, views=replace(VIEWS, entities=("all",))) is None
    assert found(PLAIN, views=replace(VIEWS, entities=("artifact", "country"))) is None


def test_days_are_local_where_the_time_of_a_source_is_an_instant():
    assert "Europe/Berlin" in str(found(PLAIN, zone="Europe/Berlin").source.time)


def test_the_registry_says_when_history_begins():
    assert str(found(PLAIN, oso=OsoOptions(start="2020-02-01")).start) == "2020-02-01"
    assert found(PLAIN).start is None


def test_definitions_over_the_same_rows_share_a_source():
    made = project([], UTC_CALENDAR, VIEWS)
    texts = {"one": PLAIN, "two": PLAIN.replace("SUM(e.x)", "COUNT(*)"), "three": PLAIN.replace("e.country", "e.name")}
    metrics = {name: Metric(name=name, views=VIEWS, definition=SqlQuery(sql=sql)) for name, sql in texts.items()}
    reads = readable(replace(made, metrics=metrics), texts)
    names = [reads.queries[name].source.name for name in texts]
    assert names[0] == names[1] != names[2]
    assert {*names, "events"} == set(reads.project.sources)
    assert set(readable(replace(made, metrics=metrics), ["three"]).queries) == {"three"}
    assert readable(made, []).project is made
