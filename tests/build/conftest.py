"""A small shop in a DuckDB file: events that arrive day by day, and the project that measures them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from tallystick.engines.duckdb import DuckDBEngine
from tallystick.service.workspace import Workspace, load

PROJECT = """
[project]
as_of = 2024-03-01T00:00:00Z
lookback = 2
[warehouse]
path = "warehouse.duckdb"
[defaults]
grains = ["day", "week", "month"]
rolling = [7, 30]
all_time = true
entities = ["all", "store", "region"]
"""

DEFINITIONS = """
[sources.orders]
table = "shop.orders"
time = "ordered_at"
entities = { store = "store_id" }
[entities.store]
rolls_up_to = "region"
through = "shop.stores"
[entities.region]
[metrics.revenue]
source = "orders"
expr = "sum(amount)"
[metrics.buyers]
source = "orders"
expr = "count(distinct buyer)"
[metrics.median_order]
source = "orders"
expr = "median(amount)"
grains = ["week"]
rolling = [7]
[metrics.spend]
expr = "revenue / buyers"
"""

ROWS = """
CREATE SCHEMA IF NOT EXISTS shop;
CREATE OR REPLACE TABLE shop.orders AS
SELECT TIMESTAMP '2024-01-01' + INTERVAL (hash(i) % 86400) SECOND + INTERVAL (i * 60 // 400) DAY AS ordered_at,
    's' || hash(i + 1) % 5 AS store_id, hash(i + 2) % 40 AS buyer, (hash(i + 3) % 100)::INTEGER AS amount
FROM range(400) t(i);
CREATE OR REPLACE TABLE shop.stores AS
SELECT * FROM (VALUES ('s0', 'north'), ('s1', 'north'), ('s1', 'south'), ('s2', 'south'), ('s2', 'south')) v(store_id, region_id);
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Return a project folder with a warehouse full of orders."""
    (tmp_path / "definitions").mkdir()
    (tmp_path / "tally.toml").write_text(PROJECT)
    (tmp_path / "definitions" / "shop.toml").write_text(DEFINITIONS)
    warehouse(tmp_path, ROWS)
    return tmp_path


def warehouse(folder: Path, sql: str) -> list[tuple]:
    """Run statements in the warehouse of a shop, as somebody else than Tallystick, and return the last rows."""
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture
def engine() -> Iterator[DuckDBEngine]:
    """Return an engine in memory."""
    engine = DuckDBEngine()
    yield engine
    engine.close()


@pytest.fixture
def run() -> Callable[..., list[tuple]]:
    """Return `warehouse` for tests."""
    return warehouse


@pytest.fixture
def opened() -> Callable[..., Workspace]:
    """Return a function that opens a shop as of a date."""

    def open_as_of(folder: Path, as_of: str = "2024-03-01") -> Workspace:
        text = (folder / "tally.toml").read_text()
        (folder / "tally.toml").write_text(text.replace(text.split("as_of = ")[1].split("T")[0], as_of))
        return load(folder, clock=lambda: datetime(2024, 3, 5, tzinfo=UTC))

    return open_as_of


@pytest.fixture
def contents() -> Callable[[Path], dict[str, list[tuple]]]:
    """Return a function that reads every model of a shop, rows sorted."""

    def read(folder: Path) -> dict[str, list[tuple]]:
        with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
            names = connection.execute("SELECT model FROM tally._models ORDER BY model").fetchall()
            return {
                name: connection.execute(f"SELECT * FROM tally.{name} ORDER BY ALL").fetchall() for (name,) in names
            }

    return read
