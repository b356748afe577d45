"""Building what a registry lists: its mistakes cost their own models only, and tables keep to the contract."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import duckdb
import pytest

from tallystick.build.build import build
from tallystick.build.report import Action
from tallystick.cli.main import run
from tallystick.errors import TallystickError
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
END = datetime(2024, 3, 1, tzinfo=UTC)
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
    done = [model.name for model in report.models if model.metric and model.error is None]
    assert done == ["stars_to_artifact_monthly"]


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


DESCRIBED = """
"stars": MetricQueryDef(ref="stars.sql", time_aggregations=["daily", "monthly"], over_all_time=True,
    metadata=MetricMetadata(display_name="Stars", description="Stars given")),
"again": MetricQueryDef(ref="stars.sql", time_aggregations=["monthly"], is_intermediate=True),
"off": MetricQueryDef(ref="stars.sql", time_aggregations=["monthly"], enabled=False,
    metadata=MetricMetadata(display_name="Off", description="Not counted")),
"bad": MetricQueryDef(ref="bad.sql", time_aggregations=["monthly"]),
"""
DERIVED = [
    *(f"{kind}_to_{entity}" for kind in ("timeseries_metrics", "key_metrics") for entity in ("artifact", "project", "collection")),
    "metrics_metadata_stars",
    "metrics_metadata_off",
    "metrics_metadata",
]  # fmt: skip


def test_unions_and_descriptions_are_made_of_what_is_built(registry):
    folder = registry(DESCRIBED, bad="select 1 as amount")
    with load(folder) as workspace:
        assert [model.table for model in workspace.derived()] == DERIVED
        report = workspace.build()
    assert {model.metric for model in report.failed} == {"bad"}
    assert [model.name for model in report.models if model.name in DERIVED] == DERIVED
    views = {row[0] for row in sql(folder, "SELECT view_name FROM duckdb_views() WHERE NOT internal")}
    assert views.intersection(DERIVED) == set(DERIVED[:6])
    rows = sql(folder, "SELECT metric, time_view, sum(amount) FROM oso.timeseries_metrics_to_project GROUP BY ALL")
    assert sorted(rows) == [("GITHUB_stars_daily", "daily", 40), ("GITHUB_stars_monthly", "monthly", 40)]
    assert sql(folder, "SELECT to_collection_id, metric, amount FROM oso.key_metrics_to_collection") == [
        ("c0", "GITHUB_stars_over_all_time", 40)
    ]
    about = "SELECT display_name, metric, len(rendered_sql) FROM oso.metrics_metadata ORDER BY 1"
    assert sql(folder, about) == [("Off", "off", 0), ("Stars", "stars", 9)]


def test_what_is_derived_is_left_alone_until_what_it_is_made_of_changes(registry):
    folder = registry(DESCRIBED)
    built(folder)
    actions = {model.name: model.action for model in built(folder).models}
    assert {actions[name] for name in DERIVED} == {Action.REFRESHED}
    registry(DESCRIBED, stars=STARS.replace("SUM(e.amount)", "SUM(e.amount) + 0.5"))
    actions = {model.name: model.action for model in built(folder).models}
    assert actions["timeseries_metrics_to_project"] == actions["metrics_metadata_stars"] == Action.REBUILT
    assert actions["metrics_metadata_off"] == Action.REFRESHED
    assert sql(folder, "SELECT amount FROM oso.key_metrics_to_collection") == [(40.5,)]


def test_a_union_holds_what_is_built_and_no_more(registry):
    folder = registry(DESCRIBED)
    with load(folder) as workspace:
        assert [m.name for m in workspace.build(["stars_to_project_daily"]).models] == ["stars_to_project_daily"]
        assert [m.name for m in workspace.build(["timeseries_metrics_to_project"]).models] == [DERIVED[1]]
    # All models of a metric are computed together; those of another one are not there.
    metrics = "SELECT DISTINCT metric FROM oso.timeseries_metrics_to_project ORDER BY 1"
    assert sql(folder, metrics) == [("GITHUB_stars_daily",), ("GITHUB_stars_monthly",)]


def test_a_file_may_be_called_like_the_schema(registry):
    folder = registry(DESCRIBED)
    (folder / "warehouse.duckdb").rename(folder / "oso.duckdb")
    (folder / "tally.toml").write_text(PROJECT.replace("warehouse.duckdb", "oso.duckdb"))
    built(folder)
    with duckdb.connect(str(folder / "oso.duckdb")) as connection:
        assert connection.execute("SELECT count(*) FROM oso.oso.key_metrics_to_artifact").fetchall() == [(3,)]


def test_a_limited_warehouse_has_its_unions_too(registry):
    folder = registry(DESCRIBED)
    (folder / "tally.toml").write_text(PROJECT.replace("[warehouses.default]", '[warehouses.default]\nallow = ["oso"]'))
    for _ in range(2):
        assert not built(folder).failed
    assert sql(folder, "SELECT count(*) FROM oso.key_metrics_to_artifact") == [(3,)]


def test_readers_of_a_metric_are_built_anew_when_it_changes(registry):
    entries = "".join(
        f'"{name}": MetricQueryDef(ref="{name}.sql", time_aggregations=["daily"], entity_types=["artifact"]),\n'
        for name in ("stars", "reader", "circle", "other")
    )
    queries = {"reader": PEER.replace("PEER", "stars"), "circle": PEER.replace("PEER", "circle"), "other": STARS}
    folder = registry(entries, **queries)
    built(folder)
    registry(entries, **queries, stars=STARS.replace("SUM(e.amount)", "SUM(e.amount) * 2"))
    actions = {model.metric: model.action for model in built(folder).models if model.metric}
    assert actions["stars"] == actions["reader"] == Action.REBUILT and actions["other"] == Action.REFRESHED
    assert sql(folder, "SELECT DISTINCT amount FROM oso.reader_to_artifact_daily") == [(2,)]


def test_the_profile_decides_values_and_so_what_is_built_anew(registry):
    folder = registry('"stars": MetricQueryDef(ref="stars.sql", time_aggregations=["daily"]),')
    built(folder)
    (folder / "tally.toml").write_text(PROJECT.replace("[project]", '[project]\ncompat = "oso"'))
    tables = [model for model in built(folder).models if model.metric == "stars"]
    assert {model.action for model in tables} == {Action.REBUILT}


@pytest.mark.parametrize("compat", ["", 'compat = "oso"'])
def test_a_definition_that_takes_a_query_per_day_is_built_in_pieces(registry, compat):
    joined = (
        f"WITH a AS ({STARS}), b AS ({STARS}) SELECT a.metrics_sample_date, a.event_source, a.to_artifact_id,"
        " '' AS from_artifact_id, a.metric, a.amount + b.amount AS amount FROM a FULL JOIN b USING (to_artifact_id)"
    )
    entries = """
    "stars": MetricQueryDef(ref="stars.sql", entity_types=["artifact"],
        rolling=RollingConfig(windows=[7], unit="day", cron="@daily")),
    "joined": MetricQueryDef(ref="joined.sql", entity_types=["artifact"],
        rolling=RollingConfig(windows=[7], unit="day", cron="@daily")),
    """
    folder = registry(entries, joined=joined)
    sql(folder, "INSERT INTO oso.events SELECT bucket_day + 60, * EXCLUDE (bucket_day) FROM oso.events")
    (folder / "tally.toml").write_text(PROJECT.replace("as_of = 2024-03", f"{compat}\nas_of = 2024-04"))
    for _ in range(2):
        assert not built(folder).failed
        rows = "SELECT metrics_sample_date, to_artifact_id, amount {} FROM oso.{}_to_artifact_over_7_day_window ORDER BY ALL"
        twice = sql(folder, rows.format("* 2", "stars"))
        assert sql(folder, rows.format("", "joined")) == twice and len({row[0] for row in twice}) == 91


@pytest.mark.parametrize("name", ["timeseries_metrics_to_project", "oso.timeseries_metrics_to_project"])
def test_a_union_is_shown_by_name(registry, name):
    with load(registry(DESCRIBED)) as workspace:
        text = workspace.render(name, dialect="trino")
    assert "FROM oso.stars_to_project_daily" in text and "again_to_project" not in text


def test_the_command_line_knows_what_is_derived(registry, monkeypatch, capsys):
    monkeypatch.chdir(registry(DESCRIBED))
    assert run(["models", "--format", "csv"]) == 0
    assert "metrics_metadata_stars,stars,,metadata," in capsys.readouterr().out
    assert run(["models", "stars", "--format", "csv"]) == 0
    assert "metadata" not in capsys.readouterr().out
    assert run(["render", "key_metrics_to_collection"]) == 0
    assert "stars_to_collection_over_all_time" in capsys.readouterr().out


def test_without_a_registry_nothing_is_derived(tmp_path):
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "stars.sql").write_text(STARS)
    with load(tmp_path) as workspace:
        assert workspace.derived() == ()


@pytest.mark.parametrize("name", ["postgres", "clickhouse"])
def test_unions_follow_the_tables_that_replace_theirs_on_every_engine(registry, live_engines, name):
    place = live_engines(name)
    entries = """
    "stars": MetricQueryDef(ref="stars.sql", time_aggregations=["monthly"], over_all_time=True, entity_types=["artifact"],
        metadata=MetricMetadata(display_name="Stars", description="Stars given")),
    "off": MetricQueryDef(ref="stars.sql", enabled=False, metadata=MetricMetadata(display_name="Off", description="-")),
    """
    folder = registry(entries)
    schema = "oso_" + name
    (folder / "tally.toml").write_text(
        f'{PROJECT.partition("[warehouses")[0]}\n{place.warehouse()}\nschema = "{schema}"\n'
    )
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        place.load("oso.events", connection.execute("SELECT * FROM oso.events").to_arrow_table())
    for factor in (1, 2, 2):
        registry_text = STARS.replace("SUM(e.amount)", f"SUM(e.amount) * {factor}")
        (folder / "metrics" / "stars.sql").write_text(registry_text)
        engine = place.open(schema)
        with load(folder) as workspace:
            report = build(engine, workspace.project, workspace.models(), end=END, now=END, derived=workspace.derived())
        assert report.failed == ()
        total = engine.rows(f"SELECT SUM(amount) AS n FROM {engine.qualified('key_metrics_to_artifact')}")
        assert total == [{"n": 60 * factor}]
        about = engine.rows(f"SELECT display_name FROM {engine.qualified('metrics_metadata')} ORDER BY 1")
        assert about == [{"display_name": "Off"}, {"display_name": "Stars"}]


def test_a_variable_may_stand_for_the_name_in_rows(registry):
    entries = """
    "stars": MetricQueryDef(ref="stars.sql", time_aggregations=["monthly"], entity_types=["artifact"],
        vars={"generated_metric_name": "likes"}),
    """
    folder = registry(entries)
    with load(folder) as workspace:
        assert {d.code for d in workspace.check(offline=True)} == {"undocumented"}
        workspace.build()
    assert sql(folder, "SELECT DISTINCT metric FROM oso.stars_to_artifact_monthly") == [("likes_monthly",)]


JOINED = STARS.replace(
    "oso.events e", "oso.events e LEFT JOIN oso.artifacts_by_project_v1 p ON p.artifact_id = e.to_artifact_id"
)
UNPREFIXED = STARS.replace("oso.events e", "oso.events").replace("e.", "")
INNER = f"WITH base AS ({STARS}) SELECT base.* FROM base"


@pytest.mark.parametrize("text", [STARS, JOINED, UNPREFIXED, INNER])
@pytest.mark.parametrize(("start", "days"), [("2015-01-01", 60), ("2024-02-01", 29)])
def test_history_begins_with_the_first_row_but_not_before_the_registry_says(registry, text, start, days):
    entries = """
    "stars": MetricQueryDef(ref="stars.sql", time_aggregations=["daily"], entity_types=["artifact"],
        rolling=RollingConfig(windows=[7], unit="day", cron="@daily")),
    "reader": MetricQueryDef(ref="reader.sql", time_aggregations=["daily"], entity_types=["artifact"]),
    """
    folder = registry(entries, stars=text, reader=PEER.replace("PEER", "stars"))
    (folder / "tally.toml").write_text(PROJECT.replace("start = 2024-01-01", ""))
    (folder / "registry.py").write_text((folder / "registry.py").read_text().replace('"2024-01-01"', f'"{start}"'))
    assert not built(folder).failed
    for name in ("stars_to_artifact_daily", "reader_to_artifact_daily", "stars_to_artifact_over_7_day_window"):
        assert sql(folder, f"SELECT count(DISTINCT metrics_sample_date) FROM oso.{name}") == [(days,)], name


def test_a_circle_has_no_beginning(registry):
    entries = '"a": MetricQueryDef(ref="a.sql", rolling=RollingConfig(windows=[7], unit="day", cron="@daily")),'
    reading = PEER.replace("time_aggregation := @time_aggregation", "window := 7, unit := 'day'")
    folder = registry(entries, a=reading.replace("PEER", "a"))
    (folder / "tally.toml").write_text(PROJECT.replace("start = 2024-01-01", ""))
    with load(folder) as workspace, pytest.raises(TallystickError):
        workspace.query("a", window=7)


def test_a_registry_as_data_tells_all_it_knows(tmp_path, capsys):
    entry = {"ref": "stars.sql", "time_aggregations": ["monthly"], "entity_types": ["project"]}
    data = {"factory_options": {"schema": "oso", "start": "2024-01-01"}, "metrics": {"stars": entry}}
    (tmp_path / "r.json").write_text(json.dumps(data))
    assert run(["models", "--registry", str(tmp_path / "r.json"), "--format", "json"]) == 0
    table = json.loads(capsys.readouterr().out)[0]
    wanted = {"name": "oso.stars_to_project_monthly", "lookback": 1, "batch_size": 12, "partition": "month"}
    assert wanted.items() <= table.items()


MIXED = f"{PEER} UNION ALL {STARS}".replace("PEER", "stars")


@pytest.mark.parametrize("compat", ["", 'compat = "oso"\n'])
def test_rows_of_other_times_that_a_query_puts_out_are_not_added_again(registry, compat):
    entry = 'MetricQueryDef(ref="{}.sql", time_aggregations=["daily", "monthly"], entity_types=["artifact"])'
    entries = ", ".join(f'"{name}": {entry.format(name)}' for name in ("stars", "peer", "mixed"))
    root = registry(
        entries, peer=PEER.replace("PEER", "stars"), mixed=MIXED.replace("@metric_name()", "@metric_name('more')", 1)
    )
    (root / "tally.toml").write_text(PROJECT.replace("[project]\n", f"[project]\n{compat}"))
    for end in ("2024-01-20", "2024-02-10", "2024-02-11", "2024-03-01"):
        with load(root) as workspace:
            assert not workspace.build(end=end).failed
    for model in ("peer_to_artifact_daily", "mixed_to_artifact_daily", "mixed_to_artifact_monthly"):
        keys = "metrics_sample_date, event_source, to_artifact_id, metric"
        twice = f"SELECT {keys} FROM oso.{model} GROUP BY ALL HAVING count(*) > 1"
        assert sql(root, twice) == [], model
    assert sql(root, "SELECT count(*), sum(amount) FROM oso.mixed_to_artifact_daily") == [(120, 120)]


def test_one_table_of_other_types_does_not_change_those_of_a_union(registry):
    entry = 'MetricQueryDef(ref="{}.sql", time_aggregations=["daily"], entity_types=["artifact"])'
    entries = ", ".join(f'"{name}": {entry.format(name)}' for name in ("stars", "texts"))
    root = registry(entries, texts=STARS.replace("SUM(e.amount)", "max(e.event_source)"))
    with load(root) as workspace:
        workspace.build()
    union = "oso.timeseries_metrics_to_artifact"
    assert sql(root, f"SELECT DISTINCT typeof(amount), typeof(metrics_sample_date) FROM {union}") == [
        ("DOUBLE", "DATE")
    ]
    assert sql(root, f"SELECT sum(amount), count(*) FROM {union}") == [(60, 120)]


def test_a_cast_of_a_column_keeps_its_name(registry):
    text = f"WITH e AS (SELECT bucket_day::DATE, event_source::VARCHAR, to_artifact_id, amount FROM oso.events) {STARS}"
    text = text.replace("FROM oso.events e WHERE", "FROM e WHERE")
    root = registry('"stars": MetricQueryDef(ref="stars.sql", time_aggregations=["daily"], entity_types=["artifact"])', stars=text)  # fmt: skip
    with load(root) as workspace:
        assert not workspace.build().failed
        assert not [found for found in workspace.check() if found.severity == "error"]
    assert sql(root, "SELECT sum(amount) FROM oso.stars_to_artifact_daily") == [(60,)]


def test_a_variable_in_an_interval_is_written_as_every_dialect_takes_it(registry):
    text = STARS.replace("@metrics_start('DATE')", "@metrics_end('DATE') - INTERVAL @rolling_window DAY")
    root = registry(
        '"stars": MetricQueryDef(ref="stars.sql", rolling=RollingConfig(windows=[7], unit="day", cron="@daily"))',
        stars=text,
    )
    with load(root) as workspace:
        rendered = workspace.render("stars", entity="artifact", window=7, dialect="trino", start="2024-02-01", end="2024-02-02")  # fmt: skip
    assert "INTERVAL '7' DAY" in rendered
