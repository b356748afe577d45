"""SQL as metric-hub's consumers get it, byte for byte, and as it should be."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import duckdb
import pytest

from hub import BASE, expected, rows
from tallystick import metric_hub
from tallystick.compiler.metric_hub import legacy_sql
from tallystick.compiler.metric_hub.query import metrics_query, source_query
from tallystick.compiler.metric_hub.tree import metrics_tree, to_sql
from tallystick.definitions.metric_hub.mode import Mode
from tallystick.errors import CompileError, MacroError, UnknownNameError

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare_metric_hub.py"
SOURCES = {
    "default": {},
    "where": {"where": "submission_date = '2023-01-01'"},
    "no_select": {"select_fields": False},
    "ignore_joins": {"ignore_joins": True},
    "no_select_where": {"select_fields": False, "where": "submission_date = '2023-01-01'"},
}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("compare_metric_hub", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_metric_is_byte_equal_in_every_variant(script, part):
    verdicts = script.compare(metric_hub.load(part), rows("metric_sql"), expected("variants"))
    assert {variant: dict(counts) for variant, counts in verdicts.items()} == {
        variant: {"byte-equal": 118} for variant in expected("variants")
    }


@pytest.mark.parametrize(
    ("got", "want", "verdict"),
    [
        (None, "SELECT 1", "missing"),
        ("SELECT  1", "SELECT 1", "whitespace-equal"),
        ("select A from t", "SELECT a FROM t", "tree-equal"),
        ("SELECT 1", "SELECT 2", "different"),
        ("SELECT", "(", "different"),
    ],
)
def test_the_script_tells_verdicts_apart(script, got, want, verdict):
    assert script.verdict(got, want) == verdict


def test_every_data_source_is_byte_equal(repository):
    collections = {"definitions": repository.shared, "looker": repository.tools["looker"]}
    different = [
        (row["platform"], row["data_source"], variant)
        for row in rows("data_source_sql")
        for variant, want in row["sql"].items()
        if legacy_sql.source_sql(
            source_query(collections[row["collection"]], row["data_source"], row["platform"]), **SOURCES[variant]
        )
        != want
    ]
    assert not different


def test_ignored_joins_may_lead_nowhere(write):
    text = "[data_sources.x]\nfrom_expression='x'\n[data_sources.x.joins.y]\n"
    hub = metric_hub.load(write({"definitions/app.toml": text}))
    assert "y" not in hub.get_data_source_sql("x", "app", ignore_joins=True)
    with pytest.raises(CompileError, match="unknown data source 'y'"):
        hub.get_data_source_sql("x", "app")


def test_two_sources_are_joined_as_the_peer_does(build):
    sql = legacy_sql.metrics_sql(metrics_query(build(BASE), ["m2", "m1"], "firefox_desktop", group_by=["c"]))
    assert sql.startswith("(\nWITH d2 AS (\n    SELECT\n        client_id AS client_id,\n")
    assert sql.endswith(
        "FROM\n    d2\nFULL OUTER JOIN d1\n    ON\n"
        "        d1.submission_date = d2.submission_date AND\n"
        "        d1.client_id = d2.client_id \n"
        "        AND d1.c = d2.c \n        )"
    )


@pytest.mark.parametrize(
    ("definition", "error", "message"),
    [
        ("", UnknownNameError, "No definition for metric r on platform fenix found."),
        ("[metrics.r]\ndepends_on=['a']\n", CompileError, "No definition for metric r"),
        ("[metrics.r]\nselect_expression='1'\n", CompileError, "No data source for metric r"),
        (
            "[metrics.r]\nselect_expression='1'\ndata_source='x'\n",
            CompileError,
            "No valid data source definition found for metric r",
        ),
        (
            "[metrics.r]\nselect_expression='1'\ndata_source='x'\n[data_sources.x]\nfrom_expression='x'\n[data_sources.x.joins.y]\n",
            CompileError,
            "unknown data source 'y'",
        ),
        (
            "[metrics.r]\nselect_expression='1'\ndata_source='x'\n[data_sources.x]\nfrom_expression='x'\n[data_sources.x.joins.x]\n",
            CompileError,
            "in a circle: x → x",
        ),
        (
            "[metrics.r]\nselect_expression='{{agg_nope(\"x\")}}'\ndata_source='x'\n[data_sources.x]\nfrom_expression='x'\n",
            MacroError,
            "'agg_nope' is undefined",
        ),
        (
            "[metrics.r]\nselect_expression='{{agg_sum(\"x\"}}'\ndata_source='x'\n[data_sources.x]\nfrom_expression='x'\n",
            MacroError,
            r"unexpected '}', expected '\)'",
        ),
    ],
)
def test_what_cannot_be_compiled_says_why(build, definition, error, message):
    collection = build({**BASE, "definitions/fenix.toml": definition})
    with pytest.raises(error, match=message):
        legacy_sql.metrics_sql(metrics_query(collection, ["r"], "fenix"))


TWO = {
    "definitions/app.toml": """
[metrics.clicks]
select_expression = "SUM(n)"
data_source = "events"
[metrics.visits]
select_expression = "COUNT(*)"
data_source = "pages"
[metrics.by_country]
select_expression = "SUM(n) + COUNTIF(countries.name = 'Chile')"
data_source = "joined"
[data_sources.events]
from_expression = "{dataset}.events"
default_dataset = "main"
submission_date_column = "day"
[data_sources.pages]
from_expression = "(SELECT * FROM pages)"
submission_date_column = "day"
[data_sources.countries]
from_expression = "countries"
client_id_column = "NULL"
[data_sources.joined]
from_expression = "events"
submission_date_column = "day"
[data_sources.joined.joins.countries]
relationship = "one_to_many"
on_expression = "joined.country = countries.code"
"""
}


@pytest.fixture
def rows_of():
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE events AS SELECT * FROM (VALUES ('a', DATE '2024-01-01', 'CL', 2), ('b', DATE '2024-01-01', 'DE', 3), "
        "(NULL, DATE '2024-01-02', 'CL', 5)) t(client_id, day, country, n)"
    )
    connection.execute(
        "CREATE TABLE pages AS SELECT * FROM (VALUES ('b', DATE '2024-01-01'), ('c', DATE '2024-01-03'), "
        "(NULL, DATE '2024-01-02'), (NULL, DATE '2024-01-02')) t(client_id, day)"
    )
    connection.execute("CREATE TABLE countries AS SELECT 'CL' AS code, 'Chile' AS name")
    return lambda sql: connection.execute(sql).fetchall()


def corrected(collection, metrics, **options) -> str:
    return to_sql(metrics_tree(metrics_query(collection, metrics, "app", **options)), "duckdb")


def test_rows_of_any_source_keep_their_keys(build, rows_of):
    sql = corrected(build(TWO, mode=Mode.STRICT), ["clicks", "visits"])
    assert sorted(rows_of(sql), key=str) == sorted(
        [
            ("a", __import__("datetime").date(2024, 1, 1), 2, None),
            ("b", __import__("datetime").date(2024, 1, 1), 3, 1),
            ("c", __import__("datetime").date(2024, 1, 3), None, 1),
            (None, __import__("datetime").date(2024, 1, 2), 5, 2),
        ],
        key=str,
    )


def test_no_keys_gives_one_row_of_totals(build, rows_of):
    sql = corrected(
        build(TWO, mode=Mode.STRICT), ["clicks", "visits"], group_by_client_id=False, group_by_submission_date=False
    )
    assert rows_of(sql) == [(10, 4)]


def test_joined_sources_keep_their_alias_and_the_condition_stays_outside(build, rows_of):
    sql = corrected(
        build(TWO, mode=Mode.STRICT),
        ["by_country"],
        group_by={"land": "countries.name"},
        where="n < 5",
        group_by_client_id=False,
        group_by_submission_date=False,
    )
    assert sorted(rows_of(sql), key=str) == [("Chile", 3), (None, 3)]


def test_repeated_metrics_count_once_and_aliases_may_not_clash(build):
    strict = build(TWO, mode=Mode.STRICT)
    assert corrected(strict, ["visits", "visits"]).count("COUNT(*)") == 1
    with pytest.raises(CompileError, match="called 'visits'"):
        corrected(strict, ["visits"], group_by={"visits": "day"})


def test_a_dataset_nobody_names_is_an_error(build):
    strict = build(
        {"definitions/app.toml": TWO["definitions/app.toml"].replace('default_dataset = "main"\n', "")},
        mode=Mode.STRICT,
    )
    with pytest.raises(CompileError, match="template but no value was provided"):
        corrected(strict, ["clicks"])
    assert '"nightly"."events"' in to_sql(
        metrics_tree(metrics_query(strict, ["clicks"], "app"), dataset="nightly"), "duckdb"
    ) or "nightly.events" in to_sql(metrics_tree(metrics_query(strict, ["clicks"], "app"), dataset="nightly"), "duckdb")


def test_every_metric_of_the_part_parses_in_duckdb_after_correction(repository):
    for platform, spec in repository.shared.definitions.items():
        for name in spec.metrics:
            tree = metrics_tree(metrics_query(repository.shared, [name], platform), dataset="main")
            assert duckdb.extract_statements(to_sql(tree, "duckdb"))
