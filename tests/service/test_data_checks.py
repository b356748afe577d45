"""What `check` says about ids in the rows."""

from __future__ import annotations

import duckdb
import pytest

from tallystick.definitions.diagnostics import Severity
from tallystick.service.workspace import load

DEFINITIONS = """
[sources.orders]
table = "shop.orders"
time = "ordered_at"
entities = { store = "store_id" }
[sources.stores]
table = "shop.stores"
[entities.store]
rolls_up_to = "region"
through = "stores"
[entities.region]
[metrics.revenue]
source = "orders"
expr = "sum(amount)"
entities = ["store", "region"]
description = "Money."
owner = "me"
"""


@pytest.fixture
def findings(tmp_path):
    def check(orders: str, stores: str) -> list[tuple[str, str, int | None]]:
        (tmp_path / "definitions").mkdir(exist_ok=True)
        (tmp_path / "tally.toml").write_text('[warehouse]\npath = "w.duckdb"\n')
        (tmp_path / "definitions" / "shop.toml").write_text(DEFINITIONS)
        with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
            connection.execute("CREATE SCHEMA shop")
            columns = "v(ordered_at, store_id, amount)"
            connection.execute(f"CREATE TABLE shop.orders AS SELECT * FROM (VALUES {orders}) {columns}")
            connection.execute(f"CREATE TABLE shop.stores AS SELECT * FROM (VALUES {stores}) v(store_id, region_id)")
        with load(tmp_path) as workspace:
            return [(found.code, found.message, found.line) for found in workspace.check()]

    return check


def test_clean_rows_have_no_findings(findings):
    assert findings("(TIMESTAMP '2024-01-01', 'a', 1)", "('a', 'north')") == []


def test_every_oddity_is_named_once(findings):
    found = findings(
        "(TIMESTAMP '2024-01-01', 'a', 1), (TIMESTAMP '2024-01-01', NULL, 1), (TIMESTAMP '2024-01-01', 'z', 1)",
        "('a', 'north'), ('a', 'north'), ('b', NULL)",
    )
    assert sorted((code, message) for code, message, _ in found) == [
        ("duplicate-mapping", "mapping 'stores' of store to region repeats 1 pairs; each counts once"),
        ("no-parent", "1 of the stores in source 'orders' belong to no region: z"),
        ("null-id", "1 rows of source 'orders' have no store and count for none"),
        ("null-id", "mapping 'stores' of store to region has 1 rows without an id"),
    ]
    assert all(line is not None for _, _, line in found)


def test_a_mapping_that_cannot_be_read_has_its_place_and_leaves_the_others_alone(tmp_path):
    definitions = DEFINITIONS.replace('through = "stores"', 'through = "shop.gone"') + (
        '[entities.maker]\nrolls_up_to = "land"\nthrough = { table = "shop.makers", child = "maker_id", parent = "no_id" }\n'
        "[entities.land]\n"
    )
    (tmp_path / "tally.toml").write_text('[warehouse]\npath = "w.duckdb"\n' + definitions)
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute("CREATE SCHEMA shop")
        connection.execute("CREATE TABLE shop.orders (ordered_at TIMESTAMP, store_id VARCHAR, amount INT)")
        connection.execute("INSERT INTO shop.orders VALUES (TIMESTAMP '2024-01-01', NULL, 1)")
        connection.execute("CREATE TABLE shop.stores (store_id VARCHAR, region_id VARCHAR)")
        connection.execute("CREATE TABLE shop.makers (maker_id VARCHAR, land_id VARCHAR)")
    with load(tmp_path) as workspace:
        found = {one.code: one for one in workspace.check() if one.severity is not Severity.INFO and one.line}
    lines = (tmp_path / "tally.toml").read_text().splitlines()
    assert "mapping 'shop.gone' of store to region: Table with name gone" in found["missing-table"].message
    assert "shop.gone" in lines[found["missing-table"].line - 1]
    assert "mapping 'shop.makers' of maker to land" in found["unreadable-source"].message
    assert "shop.makers" in lines[found["unreadable-source"].line - 1]
    assert found["null-id"].message == "1 rows of source 'orders' have no store and count for none"


def test_rows_that_a_whole_query_reads_are_looked_at_too(findings, monkeypatch):
    query = """
sql = "select @metrics_sample_date(ordered_at) as metrics_sample_date, '' as event_source, store_id as to_store_id, '' as from_store_id, @metric_name() as metric, sum(amount) as amount from shop.orders where ordered_at between @metrics_start('DATE') and @metrics_end('DATE') group by 1, store_id"
sources = ["orders"]
"""
    whole = DEFINITIONS.replace('source = "orders"\nexpr = "sum(amount)"', query)
    monkeypatch.setattr(f"{__name__}.DEFINITIONS", whole)
    found = findings("(TIMESTAMP '2024-01-01', 'a', 1), (TIMESTAMP '2024-01-01', 'z', 1)", "('a', 'north')")
    assert [message for code, message, _ in found if code == "no-parent"] == [
        "1 of the stores in source 'orders' belong to no region: z"
    ]
