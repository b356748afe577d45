"""A shop whose orders are in DuckDB, and stores to collect them into: a file, and a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copyfile

import duckdb
import pytest

from tallystick.definitions.load import load
from tallystick.definitions.project import Project
from tallystick.engines.connect import connect
from tallystick.engines.duckdb import DuckDBEngine
from tallystick.store.database import Store, open_store

PROJECT = """
[project]
name = "shop"
[collect]
chunk = 10

[warehouse]
path = "shop.duckdb"

[sources.orders]
table = "orders"
time = "moment"
settle = "90m"
entities = { store = "store" }
dimensions = ["country"]

[entities.store]
key = "store"

[metrics.revenue]
source = "orders"
expr = "sum(amount)"
grains = ["hour"]
by = ["country"]
entities = ["all", "store"]

[metrics.orders]
source = "orders"
expr = "count(*)"
grains = ["hour", "day"]

[metrics.order_value]
expr = "revenue / orders"
grains = ["hour"]

[metrics.idea]
source = "orders"
expr = "max(amount)"
grains = ["hour"]
status = "draft"
"""
ROWS = """
CREATE TABLE orders AS
SELECT TIMESTAMP '2026-03-01' + INTERVAL (i * 7) MINUTE AS moment, i % 13 AS amount, 's' || i % 3 AS store,
       CASE WHEN i % 5 < 3 THEN 'DE' ELSE 'FR' END AS country
FROM range(600) AS t(i)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tally.toml").write_text(PROJECT, encoding="utf-8")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute(ROWS)
    copyfile(tmp_path / "shop.duckdb", tmp_path / "twin.duckdb")
    return tmp_path


@pytest.fixture
def project(folder: Path) -> Project:
    found = load(folder)
    assert not found.errors
    return found


@pytest.fixture
def engine(project: Project) -> Iterator[DuckDBEngine]:
    opened = connect(project)
    assert isinstance(opened, DuckDBEngine)
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'tally.db'}"
    found: str = request.getfixturevalue("postgres_database")
    return found


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    opened = open_store(store_url)
    yield opened
    opened.close()


@pytest.fixture
def rows(engine: DuckDBEngine) -> Callable[[str], list[tuple[object, ...]]]:
    return lambda sql: [tuple(row.values()) for row in engine.rows(sql)]
