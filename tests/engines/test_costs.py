"""The gate before a query is run: what its engine's planner expects of it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from live_engines import Live
from tallystick.definitions.load import load
from tallystick.engines.connect import check_options, connect
from tallystick.engines.costs import UNITS, expected_cost
from tallystick.engines.governed import GovernedEngine
from tallystick.errors import QueryTooCostlyError

SMALL = "SELECT sum(n) AS n FROM shop.small"
LARGE = "SELECT sum(n) AS n FROM shop.large"


METRIC = """
[sources.orders]
table = "shop.orders"
time = "at"

[metrics.orders]
source = "orders"
expr = "count(*)"
"""


def write_project(folder: Path, *lines: str) -> None:
    (folder / "tally.toml").write_text("\n".join(("[warehouse]", *lines)) + "\n")
    (folder / "definitions").mkdir()
    (folder / "definitions" / "metrics.toml").write_text(METRIC)


def governed(live: Live, **rules: Any) -> GovernedEngine:
    live.load("shop.small", pa.table({"n": list(range(10))}))
    live.load("shop.large", pa.table({"n": list(range(50_000))}))
    return GovernedEngine(live.open(read_only=False), rules.pop("allow", ()), "default", **rules)


def test_the_planner_expects_more_of_more_rows(live: Live) -> None:
    if live.name not in UNITS:
        pytest.skip("the engine tells no costs")
    engine = governed(live)
    assert 0 < expected_cost(engine, SMALL) < expected_cost(engine, LARGE) / 5


def test_a_query_that_costs_too_much_is_not_run(live: Live) -> None:
    if live.name not in UNITS:
        pytest.skip("the engine tells no costs")
    free = governed(live)
    between = (expected_cost(free, SMALL) + expected_cost(free, LARGE)) / 2
    free.close()
    engine = GovernedEngine(live.open(), (), "default", max_cost=between)
    assert engine.run(SMALL).to_pylist() == [{"n": 45}]
    with pytest.raises(QueryTooCostlyError, match=r"would cost about [\d,]+ .*'default' allows") as caught:
        engine.run(LARGE)
    assert "max_cost" in str(caught.value.hint)


def test_a_build_reads_its_own_tables_whatever_they_cost(tmp_path: Path) -> None:
    write_project(tmp_path, 'engine = "duckdb"', "max_cost = 1000")
    engine = connect(load(tmp_path))
    engine.execute("CREATE TEMP TABLE _pass_rows AS SELECT range AS n FROM range(5000)")
    engine.create_as("_kept", "SELECT n FROM temp._pass_rows")
    engine.create_as("shown", "SELECT n FROM temp._pass_rows")
    assert engine.run("SELECT n FROM _pass_rows").num_rows == 5000
    assert engine.run(f"SELECT n FROM {engine.qualified('_kept')} JOIN _pass_rows USING (n)").num_rows == 5000
    for query in (f"SELECT n FROM {engine.qualified('shown')}", "SELECT n FROM _pass_rows, range(3)"):
        with pytest.raises(QueryTooCostlyError):
            engine.run(query)
    engine.close()


def test_a_join_that_explodes_costs_on_duckdb(tmp_path: Path) -> None:
    write_project(tmp_path, 'engine = "duckdb"', "max_cost = 100000")
    engine = connect(load(tmp_path))
    assert engine.run("SELECT 1 AS n FROM range(1000) LIMIT 1").num_rows == 1
    with pytest.raises(QueryTooCostlyError):
        engine.run("SELECT count(*) AS n FROM range(1000) AS a, range(1000) AS b")
    engine.close()


@pytest.mark.parametrize(
    ("dialect", "answer", "cost"),
    [
        ("snowflake", json.dumps({"GlobalStats": {"bytesAssigned": 2048}}), 2048),
        (
            "trino",
            json.dumps(
                {
                    "inputTableColumnInfos": [
                        {"estimate": {"outputSizeInBytes": 10.5}},
                        {"estimate": {"outputSizeInBytes": "NaN"}},
                    ]
                }
            ),
            10.5,
        ),
    ],
)
def test_answers_of_servers_that_tests_cannot_start(dialect: str, answer: str, cost: float) -> None:
    engine: Any = SimpleNamespace(dialect=dialect, rows=lambda _: [{"content": answer}])
    assert expected_cost(engine, "SELECT 1") == cost


@pytest.mark.parametrize(
    ("written", "said", "code"),
    [
        ("max_cost = 0", "'max_cost' is 0", "bad-value"),
        ('max_cost = "much"', "must be a number", "wrong-type"),
        ("max_cost = true", "must be a number", "wrong-type"),
        ("max_cost = inf", "'max_cost' is inf", "bad-value"),
    ],
)
def test_a_cost_that_is_none_is_a_finding(tmp_path: Path, written: str, said: str, code: str) -> None:
    write_project(tmp_path, 'engine = "duckdb"', written)
    found = [each for each in load(tmp_path).diagnostics if said in each.message]
    assert [(each.line, each.code) for each in found] == [(3, code)]


def test_an_engine_that_tells_no_costs_says_so(tmp_path: Path) -> None:
    write_project(tmp_path, 'engine = "bigquery"', "max_cost = 5")
    (fault,) = check_options(load(tmp_path).warehouse)
    assert (fault.setting, fault.hint) == ("max_cost", "write maximum_bytes_billed instead")
