"""A warehouse limited to named schemas and tables."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from live_engines import Live
from tallystick.definitions.load import load
from tallystick.engines.connect import connect
from tallystick.engines.governed import GovernedEngine
from tallystick.errors import AccessRefusedError
from tallystick.service.check import check
from tallystick.service.workspace import load as open_project


@pytest.fixture
def governed(live: Live) -> GovernedEngine:
    live.load("shop.orders", pa.table({"n": [1]}))
    live.load("hr.salaries", pa.table({"n": [1]}))
    live.load("hr.teams", pa.table({"n": [7]}))
    return GovernedEngine(live.open(), ["shop", "hr.teams"], "default")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT n FROM shop.orders",
        "SELECT n FROM hr.teams",
        "WITH salaries AS (SELECT n FROM shop.orders) SELECT n FROM salaries",
        "SELECT 1 AS n",
        "SELECT n FROM shop.orders UNION ALL SELECT n FROM hr.teams",
    ],
)
def test_what_is_named_can_be_read(governed: GovernedEngine, query: str) -> None:
    assert governed.run(query).column_names == ["n"]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT n FROM hr.salaries",
        "SELECT n FROM shop.orders WHERE n IN (SELECT n FROM hr.salaries)",
        "WITH s AS (SELECT n FROM hr.salaries) SELECT n FROM s",
        "WITH salaries AS (SELECT 1 AS n) SELECT n FROM hr.salaries",
        "SELECT o.n FROM shop.orders AS o JOIN HR.Salaries AS s ON s.n = o.n",
        "SELECT n FROM salaries",
        "WITH salaries AS (SELECT n FROM salaries) SELECT n FROM salaries",
        "SELECT n FROM (WITH salaries AS (SELECT 1 AS n) SELECT n FROM salaries) AS s CROSS JOIN salaries",
        "WITH a AS (SELECT n FROM salaries), salaries AS (SELECT 1 AS n) SELECT n FROM a",
        "SELECT n FROM elsewhere.shop.salaries",
        "SELECT n FROM hr.shop.salaries",
    ],
)
def test_what_is_not_named_is_refused_before_it_runs(governed: GovernedEngine, query: str) -> None:
    for ask in (governed.run, governed.rows, governed.execute, lambda sql: governed.create_as("stolen", sql)):
        with pytest.raises(AccessRefusedError, match="salaries"):
            ask(query)
    assert "stolen" not in governed.tables()


def test_a_name_in_reach_of_its_with_clause_is_no_table(governed: GovernedEngine) -> None:
    ask = "WITH a AS (SELECT n FROM shop.orders), b AS (SELECT n FROM a) SELECT n FROM (SELECT n FROM b) AS c"
    assert governed.rows(ask) == [{"n": 1}]


def test_statements_that_hide_what_they_read_are_refused(governed: GovernedEngine) -> None:
    for statement in ("EXPLAIN ANALYZE SELECT n FROM hr.salaries", "SELECT * FROM query('SELECT n FROM hr.salaries')"):
        with pytest.raises(AccessRefusedError):
            governed.run(statement)


def test_clickhouse_reads_a_table_behind_in(live_engines) -> None:
    place = live_engines("clickhouse")
    place.load("shop.orders", pa.table({"n": [1]}))
    governed = GovernedEngine(place.open(), ["shop"], "default")
    with pytest.raises(AccessRefusedError, match=r"hr\.salaries"):
        governed.run("SELECT n FROM shop.orders WHERE n IN hr.salaries")
    assert governed.rows("WITH s AS (SELECT 1 AS n) SELECT n FROM shop.orders WHERE n IN s") == [{"n": 1}]


def test_only_the_own_schema_is_written(governed: GovernedEngine) -> None:
    for statement in (
        "DELETE FROM shop.orders WHERE n = 1",
        "INSERT INTO shop.orders SELECT n FROM hr.teams",
        "DROP TABLE shop.orders",
        "CREATE TABLE shop.copy AS SELECT n FROM shop.orders",
    ):
        with pytest.raises(AccessRefusedError, match="be written"):
            governed.execute(statement)
    assert governed.rows("SELECT n FROM shop.orders") == [{"n": 1}]


def test_a_limited_warehouse_is_built_and_asked(tmp_path: Path, live_engines) -> None:
    place = live_engines("duckdb")
    place.load("shop.orders", pa.table({"day": [date(2024, 1, 1), date(2024, 1, 2)], "paid": [3, 4]}))
    (tmp_path / "tally.toml").write_text(
        '[project]\nas_of = 2024-01-09\n[warehouse]\nallow = ["shop"]\n'
        f'path = "{place.options["path"]}"\n[defaults]\nrolling = [7]\nall_time = true\n'
    )
    (tmp_path / "definitions").mkdir()
    (tmp_path / "definitions" / "shop.toml").write_text(
        '[sources.orders]\ntable = "shop.orders"\ntime = "day"\n[metrics.paid]\nsource = "orders"\nexpr = "sum(paid)"\n'
    )
    with open_project(tmp_path) as workspace:
        assert not [finding for finding in workspace.check() if finding.severity == "error"]
        assert not workspace.build().failed
        assert not workspace.build().failed
        assert workspace.query("paid", all_time=True).column("value").to_pylist() == [7]


def test_own_tables_are_written_and_read(governed: GovernedEngine) -> None:
    governed.create_as("built", "SELECT n FROM shop.orders")
    assert governed.rows(f"SELECT n FROM {governed.qualified('built')}") == [{"n": 1}]


def test_a_view_reads_what_lies_beside_it_and_nothing_else_by_a_bare_name(live_engines) -> None:
    place = live_engines("duckdb")
    place.load("main.salaries", pa.table({"n": [1]}))
    place.load("main.built", pa.table({"n": [2]}))
    governed = GovernedEngine(place.open(), ["shop"], "default")
    governed.write("built", pa.table({"n": [3]}))
    view = governed.qualified("seen")
    governed.execute(f"CREATE VIEW {view} AS SELECT n FROM built")
    assert governed.rows(f"SELECT n FROM {view}") == [{"n": 3}]
    for statement in (
        f"CREATE OR REPLACE VIEW {view} AS SELECT n FROM salaries",
        f"CREATE TABLE {governed.qualified('copy')} AS SELECT n FROM built",
        f"CREATE OR REPLACE VIEW {view} AS SELECT n FROM main.built",
    ):
        with pytest.raises(AccessRefusedError, match="be read"):
            governed.execute(statement)


def test_check_reports_a_source_beyond_the_limit(tmp_path: Path, live_engines) -> None:
    place = live_engines("duckdb")
    place.load("hr.salaries", pa.table({"at": ["2024-01-01"], "pay": [1]}))
    (tmp_path / "tally.toml").write_text(f'[warehouse]\npath = "{place.options["path"]}"\nallow = ["shop"]\n')
    (tmp_path / "definitions").mkdir()
    (tmp_path / "definitions" / "hr.toml").write_text(
        '[sources.pay]\ntable = "hr.salaries"\ntime = "at"\n[metrics.pay]\nsource = "pay"\nexpr = "sum(pay)"\n'
    )
    for opened in place.opened:
        opened.close()
    project = load(tmp_path)
    found = check(project, lambda: connect(project, read_only=True))
    assert any("does not let 'hr.salaries' be read" in finding.message for finding in found)


def test_a_password_in_a_file_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "tally.toml").write_text('[warehouse]\nengine = "postgres"\nhost = "db"\npassword = "hunter2"\n')
    (finding,) = load(tmp_path).diagnostics
    assert (finding.code, finding.line, finding.column) == ("secret-in-file", 4, 1)
    assert "hunter2" not in str(finding)
