"""Files and definitions made in the service side by side: one space of names, one set of diagnostics, one project."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tallystick.cli.main import run
from tallystick.definitions.about import Status
from tallystick.errors import ConflictError, DefinitionError, UnknownNameError
from tallystick.service import catalog
from tallystick.service.workspace import load
from tallystick.store import catalog as stored
from tallystick.store.database import open_store
from tallystick.store.definition_rows import get
from tallystick.store.kinds import Author, Kind, Owner

NOW = datetime(2026, 3, 3, 12, tzinfo=UTC)
ANN = Author("ann", NOW)
FILE = """
[project]
name = "shop"
as_of = 2026-03-03T12:00:00Z

[warehouse]
path = "shop.duckdb"

[sources.orders]
table = "orders"
time = "moment"
filters = { big = "amount > 5" }

[sources.orders.columns]
net = { sql = "amount - 1" }

[metrics.orders]
source = "orders"
expr = "count(*)"
grains = ["day"]
"""
REVENUE = {"source": "orders", "expr": "sum(net)", "where": "big", "grains": ["day"], "owner": "ann"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project whose store is a file of its own."""
    monkeypatch.delenv("TALLY_STORE", raising=False)
    (tmp_path / "tally.toml").write_text(FILE, encoding="utf-8")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute(
            "CREATE TABLE orders AS SELECT TIMESTAMP '2026-03-01' + INTERVAL (i) HOUR AS moment, i % 13 AS amount "
            "FROM range(60) AS t(i)"
        )
    return tmp_path


@pytest.fixture(params=["sqlite", "postgres"])
def shop(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the project with its store as a file, or on a server."""
    if request.param == "postgres":
        monkeypatch.setenv("TALLY_STORE", request.getfixturevalue("postgres_database"))
    return folder


def make(shop: Path, kind: Kind, name: str, body: dict[str, Any], **more: Any):
    return catalog.save(shop, ANN, kind, name, body, **more)


def in_store(shop: Path, kind: Kind, name: str):
    store = open_store(root=shop)
    with store.reading() as connection:
        found = get(connection, "shop", kind, name), stored.history(connection, "shop", kind, name)
    store.close()
    return found


# -- one project ------------------------------------------------------------------------------------------------------


def test_what_is_made_in_the_service_is_listed_checked_rendered_and_collected(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["list", "-p", str(shop)]) == 0
    assert "origin" not in capsys.readouterr().out
    make(shop, Kind.METRIC, "revenue", REVENUE)
    make(shop, Kind.METRIC, "order_value", {"expr": "revenue / orders", "grains": ["day"]})
    assert run(["list", "-p", str(shop), "-f", "json"]) == 0
    origins = {row["name"]: row["origin"] for row in json.loads(capsys.readouterr().out)}
    assert origins == {
        "orders": "tally.toml:17",
        "revenue": "store:metrics.revenue:1",
        "order_value": "store:metrics.order_value:1",
    }
    assert run(["list", "-p", str(shop)]) == 0
    assert "store:metrics.revenue:1" in capsys.readouterr().out
    assert run(["check", str(shop), "--offline"]) == 0
    assert "3 metrics ready to use" in capsys.readouterr().err
    assert run(["show", "revenue", "-p", str(shop)]) == 0
    assert "store:metrics.revenue" in capsys.readouterr().out
    assert run(["render", "order_value", "--grain", "day", "-p", str(shop)]) == 0
    assert "SUM" in capsys.readouterr().out.upper()
    assert run(["collect", "-p", str(shop), "--start", "2026-03-01", "-f", "json"]) == 0
    windows = json.loads(capsys.readouterr().out)
    assert {window["metric"]: window["points"] for window in windows} == {"orders": 2, "revenue": 2, "order_value": 2}
    with load(shop) as workspace, duckdb.connect(str(shop / "shop.duckdb"), read_only=True) as connection:
        values = connection.execute(
            "SELECT sum(amount - 1) FROM orders WHERE amount > 5 AND moment < '2026-03-03' "
            "GROUP BY date_trunc('day', moment) ORDER BY date_trunc('day', moment)"
        ).fetchall()
        assert workspace.series("revenue")["value"].to_pylist() == [float(value) for (value,) in values]


def test_a_source_a_warehouse_and_an_event_can_be_made_too(shop: Path) -> None:
    make(shop, Kind.WAREHOUSE, "lake", {"engine": "postgres", "host": "db", "password": "env:LAKE_PASSWORD"})
    make(shop, Kind.SOURCE, "visits", {"table": "visits", "time": "at", "warehouse": "lake"})
    make(shop, Kind.EVENT, "landing", {"source": "visits", "where": "page = 'home'"})
    make(shop, Kind.METRIC, "landings", {"event": "landing", "grains": ["day"]})
    project = load(shop).project
    assert not project.errors
    assert project.warehouses["lake"].engine == "postgres" and project.warehouse.path == "shop.duckdb"
    assert project.metrics["landings"].definition.source == "visits"
    catalog.sync(project, NOW)
    assert in_store(shop, Kind.WAREHOUSE, "lake")[0].owned_by is Owner.SERVICE  # it did not become a file's


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"source": "ordrs", "expr": "count(*)"}, "there is no source 'ordrs'"),
        ({"source": "orders", "expr": "amount"}, "amount"),
        ({"expr": "revenue / clicks"}, "there is no metric"),
        ({"source": "orders", "expr": "count(*)", "where": "huge or"}, "does not parse"),
    ],
)
def test_what_is_made_has_the_diagnostics_of_a_file(shop: Path, body: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        make(shop, Kind.METRIC, "new", body | {"grains": ["day"]})
    assert list(load(shop).metrics) == ["orders"]


# -- names ------------------------------------------------------------------------------------------------------------


def test_what_a_file_owns_is_read_only_and_says_where_it_is(shop: Path) -> None:
    for change in (
        lambda: make(shop, Kind.METRIC, "orders", REVENUE),
        lambda: catalog.remove(shop, ANN, Kind.METRIC, "orders"),
    ):
        with pytest.raises(ConflictError, match=r"metric 'orders' is owned by tally.toml:17 \(change it there\)"):
            change()


def test_a_clash_of_names_is_reported_at_both_places_and_the_files_stays(shop: Path) -> None:
    make(shop, Kind.METRIC, "revenue", REVENUE)
    text = FILE + '[metrics.revenue]\nsource = "orders"\nexpr = "max(amount)"\ngrains = ["day"]\n'
    (shop / "tally.toml").write_text(text, encoding="utf-8")
    workspace = load(shop)
    (finding,) = workspace.project.errors
    assert (finding.code, finding.file) == ("duplicate-name", "store:metrics.revenue")
    assert "first defined at tally.toml:21" in str(finding.hint)
    assert workspace.metrics["revenue"].definition.expr == "max(amount)"
    assert workspace.collect().conflicts == (
        "tally.toml:21: metric 'revenue' is defined in the service by ann, differently",
    )
    assert in_store(shop, Kind.METRIC, "revenue")[0].owned_by is Owner.SERVICE


def test_a_deleted_name_is_not_for_files_either(shop: Path) -> None:
    make(shop, Kind.METRIC, "revenue", REVENUE)
    catalog.remove(shop, ANN, Kind.METRIC, "revenue")
    assert list(load(shop).metrics) == ["orders"]
    text = FILE + '[metrics.revenue]\nsource = "orders"\nexpr = "max(amount)"\ngrains = ["day"]\n'
    (shop / "tally.toml").write_text(text, encoding="utf-8")
    project = load(shop).project
    (finding,) = project.errors
    assert (finding.code, finding.line) == ("name-taken", 21)
    assert finding.message == "metric 'revenue' existed in the service until 2026-03-03, and names are never reused"
    assert list(project.metrics) == ["orders"]
    (shop / "tally.toml").write_text(FILE, encoding="utf-8")
    with pytest.raises(ConflictError, match="names are never reused"):
        make(shop, Kind.METRIC, "revenue", REVENUE)


# -- dependants -------------------------------------------------------------------------------------------------------


def test_what_others_use_is_neither_deleted_nor_narrowed(shop: Path) -> None:
    make(shop, Kind.SOURCE, "visits", {"table": "visits", "time": "at", "filters": {"home": "page = 'home'"}})
    for number in range(12):
        body = {"source": "visits", "expr": "count(*)", "where": "home", "grains": ["day"]}
        make(shop, Kind.METRIC, f"m{number:02}", body)
    with pytest.raises(ConflictError) as caught:
        catalog.remove(shop, ANN, Kind.SOURCE, "visits")
    assert caught.value.status == 409
    assert caught.value.message.count("metric 'm") == 10 and caught.value.message.endswith("and 2 more")
    with pytest.raises(ConflictError, match=r"source 'visits' is used by metric 'm00', metric 'm01'"):
        make(shop, Kind.SOURCE, "visits", {"table": "visits", "time": "at"})
    make(shop, Kind.SOURCE, "visits", {"table": "visits_2", "time": "at", "filters": {"home": "page = '/'"}})


def test_files_are_dependants_too(shop: Path) -> None:
    make(shop, Kind.METRIC, "revenue", REVENUE)
    text = FILE + '[metrics.order_value]\nexpr = "revenue / orders"\ngrains = ["day"]\n'
    (shop / "tally.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConflictError, match="metric 'revenue' is used by metric 'order_value'"):
        catalog.remove(shop, ANN, Kind.METRIC, "revenue")


# -- files are followed -----------------------------------------------------------------------------------------------


def test_collecting_follows_files_with_versions_that_say_what_changed(shop: Path) -> None:
    load(shop).collect()
    (shop / "tally.toml").write_text(FILE.replace("count(*)", "count(amount)"), encoding="utf-8")
    load(shop).collect()
    orders, versions = in_store(shop, Kind.METRIC, "orders")
    assert (orders.owned_by, orders.version, orders.updated_by) == (Owner.FILE, 2, "files")
    assert versions[-1].changes == [{"field": "definition.expr", "old": "count(*)", "new": "count(amount)"}]


def test_show_tells_what_changed(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(shop).collect()
    assert run(["show", "orders", "-p", str(shop)]) == 0
    assert "version" not in capsys.readouterr().out
    (shop / "tally.toml").write_text(FILE.replace("count(*)", "count(amount)"), encoding="utf-8")
    load(shop).collect()
    assert run(["show", "orders", "-p", str(shop)]) == 0
    shown = capsys.readouterr().out
    assert " by files\n    definition.expr: count(*) → count(amount)\n" in shown and shown.count("version") == 1
    assert run(["show", "orders", "-p", str(shop), "-f", "json"]) == 0
    things = {thing["type"]: thing for thing in json.loads(capsys.readouterr().out)}
    assert [version["version"] for version in things["metric"]["versions"]] == [1, 2]
    assert "versions" not in things["source"]


def test_a_mistake_in_a_file_archives_nothing(shop: Path) -> None:
    load(shop).collect()
    (shop / "tally.toml").write_text(FILE.replace("count(*)", "count("), encoding="utf-8")
    load(shop).collect()
    assert in_store(shop, Kind.METRIC, "orders")[0].status is Status.ACTIVE
    (shop / "tally.toml").write_text(FILE[: FILE.index("[metrics.orders]")], encoding="utf-8")
    load(shop).collect()
    assert in_store(shop, Kind.METRIC, "orders")[0].status is Status.ARCHIVED


# -- export -----------------------------------------------------------------------------------------------------------


def test_an_export_reads_back_to_equal_definitions_and_takes_them_over(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ratio = {"numerator": {"event": "landing"}, "denominator": {"source": "visits", "aggregation": "count"}}
    make(shop, Kind.SOURCE, "visits", {"table": "visits", "time": "at", "collect": {"lookback": 9}})
    make(shop, Kind.EVENT, "landing", {"source": "visits", "where": {"column": "page", "op": "eq", "value": "home"}})
    make(shop, Kind.METRIC, "landing_share", ratio | {"grains": ["day"]})
    make(shop, Kind.METRIC, "revenue", REVENUE | {"description": 'Net "value"\nof big orders'})
    before = load(shop).project
    assert run(["export", "definitions", "revenue", "-p", str(shop)]) == 0
    one = capsys.readouterr().out
    assert run(["export", "definitions", "-p", str(shop)]) == 0
    everything = capsys.readouterr().out
    assert one in everything
    (shop / "definitions").mkdir()
    (shop / "definitions" / "made.toml").write_text(everything, encoding="utf-8")
    after = load(shop).project
    assert not after.errors
    for field in ("sources", "segments", "metrics"):
        assert dict(getattr(after, field)) == dict(getattr(before, field))
    assert str(after.metrics["revenue"].origin.location).startswith("definitions/made.toml:")
    assert catalog.sync(after, NOW).conflicts == ()
    found, versions = in_store(shop, Kind.METRIC, "revenue")
    assert found.owned_by is Owner.FILE and [version.author for version in versions] == ["ann", "files"]
    with pytest.raises(ConflictError, match=r"is owned by definitions/made.toml"):
        make(shop, Kind.METRIC, "revenue", REVENUE)
    assert catalog.export(after) == ""
    with pytest.raises(ConflictError, match="is a file already"):
        catalog.export(after, ["revenue"])
    with pytest.raises(UnknownNameError, match="nothing called 'x'"):
        catalog.export(after, ["x"])


def test_an_export_without_a_store_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "definitions", "-p", str(folder)]) == 2
    assert "nothing was made in the service" in capsys.readouterr().err


# -- a store that fails -----------------------------------------------------------------------------------------------


def test_files_are_usable_without_the_store(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(folder, Kind.METRIC, "revenue", REVENUE)
    (folder / ".tally" / "tally.db").write_bytes(b"not a database, whatever it is" * 100)
    assert run(["check", str(folder), "--offline"]) == 1
    assert "error [store-unavailable]" in capsys.readouterr().out
    assert run(["render", "orders", "--grain", "day", "-p", str(folder)]) == 0


def test_listing_makes_no_store(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TALLY_STORE", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    assert list(load(folder).metrics) == ["orders"] and not load(folder).project.errors
    tables = sqlite3.connect(tmp_path / "elsewhere.db").execute("SELECT count(*) FROM sqlite_master").fetchone()
    assert tables == (0,)
