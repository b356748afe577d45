"""Collecting from several warehouses: each source is read where it is, and one that is away holds up nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from live_engines import Live
from tallystick.errors import UsageError
from tallystick.service.workspace import load

NOW = datetime(2024, 1, 4, tzinfo=UTC)
DAYS = pa.array([datetime(2024, 1, 2, 9, tzinfo=UTC), datetime(2024, 1, 3, 9, tzinfo=UTC)], pa.timestamp("us", "UTC"))

DEFINITIONS = """
[sources.orders]
table = "shop.orders"
time = "moment"
[sources.visits]
table = "web.visits"
time = "moment"
warehouse = "web"
[metrics.orders]
source = "orders"
expr = "count(*)"
grains = ["day"]
[metrics.visits]
source = "visits"
expr = "sum(people)"
grains = ["day"]
[metrics.conversion]
expr = "orders / visits"
grains = ["day"]
"""


def write(folder: Path, shop: Live, web: str) -> None:
    (folder / "tally.toml").write_text(
        f'[project]\nas_of = 2024-01-04T00:00:00Z\n[warehouses.default]\npath = "{shop.options["path"]}"\n[warehouses.web]\n{web}\n'
    )
    (folder / "definitions").mkdir()
    (folder / "definitions" / "shop.toml").write_text(DEFINITIONS)


def test_sources_are_read_where_they_are(tmp_path: Path, live_engines) -> None:
    shop, web = live_engines("duckdb"), live_engines("postgres")
    shop.load("shop.orders", pa.table({"moment": DAYS}))
    web.load("web.visits", pa.table({"moment": DAYS, "people": [10, 20]}))
    write(tmp_path, shop, f'engine = "postgres"\nurl = "{web.options["url"]}"')
    with load(tmp_path, clock=lambda: NOW) as project:
        report = project.collect()
        assert not report.failed
        found = project.series("conversion").to_pylist()
        assert project.query("visits", grain="day").column("value").to_pylist() == [10, 20]
        assert project.preview("visits").columns
        assert not [each for each in project.check() if each.severity == "error"]
        with pytest.raises(UsageError, match="several warehouses"):
            project.query("conversion")
    assert [(row["value"], row["numerator"], row["denominator"]) for row in found] == [(0.1, 1, 10), (0.05, 1, 20)]


def test_a_warehouse_that_is_away_fails_only_its_own_metrics(tmp_path: Path, live_engines) -> None:
    shop = live_engines("duckdb")
    shop.load("shop.orders", pa.table({"moment": DAYS}))
    write(tmp_path, shop, 'engine = "postgres"\nhost = "127.0.0.1"\nport = "9"')
    with load(tmp_path, clock=lambda: NOW) as project:
        report = project.collect()
        assert {window.wanted.metric for window in report.failed} == {"visits", "conversion"}
        assert [row["value"] for row in project.series("orders").to_pylist()] == [1, 1]
