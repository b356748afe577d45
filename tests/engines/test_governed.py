"""A warehouse limited to named schemas and tables."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from live_engines import Live
from tallystick.definitions.load import load
from tallystick.engines.connect import connect
from tallystick.engines.governed import GovernedEngine
from tallystick.errors import AccessRefusedError
from tallystick.service.check import check


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
    ],
)
def test_what_is_not_named_is_refused_before_it_runs(governed: GovernedEngine, query: str) -> None:
    for ask in (governed.run, governed.rows, governed.execute, lambda sql: governed.create_as("stolen", sql)):
        with pytest.raises(AccessRefusedError, match="salaries"):
            ask(query)
    assert "stolen" not in governed.tables()


def test_own_tables_are_written_and_read(governed: GovernedEngine) -> None:
    governed.create_as("built", "SELECT n FROM shop.orders")
    assert governed.rows(f"SELECT n FROM {governed.qualified('built')}") == [{"n": 1}]


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
