"""What a preview says about a source, and that nothing others use is taken away."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from tallystick import load
from tallystick.cli.main import run
from tallystick.engines.duckdb import DuckDBEngine
from tallystick.errors import (
    ConflictError,
    DefinitionError,
    GuardError,
    MissingTableError,
    UnknownNameError,
    UsageError,
)
from tallystick.service.dependants import dependants, refuse_narrowing, refuse_removal
from tallystick.service.guess import Profile
from tallystick.service.source import ADVICE, ad_hoc_source, preview
from tallystick.service.unpivot import unpivot

DEFINITIONS = """
[sources.orders]
table = "shop.orders"
time = "at"
partition = "ds"
entities = { user = "user_id" }
filters = { completed = "status = 'completed'", big = "amount > 5" }
[sources.orders.columns]
net = { sql = "amount - tax" }
[sources.recent]
sql = "select * from orders where at > now()"
time = "at"
[metrics.revenue]
source = "orders"
expr = "sum(net)"
where = "completed"
entities = ["user"]
[metrics.completion]
numerator = { source = "orders", aggregation = "count", where = "completed" }
denominator = { source = "orders", aggregation = "count" }
[metrics.per_order]
expr = "revenue / completion"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "definitions").mkdir()
    (tmp_path / "tally.toml").write_text('[project]\nas_of = 2025-02-01T12:00:00Z\n[warehouse]\npath = "w.duckdb"\n')
    (tmp_path / "definitions" / "orders.toml").write_text(DEFINITIONS)
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute("CREATE SCHEMA shop")
        connection.execute(
            "CREATE TABLE shop.orders AS SELECT i AS id, TIMESTAMP '2025-01-01' + INTERVAL (i) HOUR AS at, "
            "(TIMESTAMP '2025-01-01' + INTERVAL (i) HOUR)::DATE AS ds, 'u' || i % 7 AS user_id, "
            "CASE WHEN i % 3 = 0 THEN 'cancelled' ELSE 'completed' END AS status, "
            "CASE WHEN i = 1 THEN 'nan'::DOUBLE ELSE i::DOUBLE END AS amount, 1 AS tax, '\\xAA'::BLOB AS raw "
            "FROM range(240) t(i)"
        )
        connection.execute(
            "CREATE TABLE shop.people AS SELECT i AS user_id, DATE '2025-01-01' + i::INT AS signed_up_at, "
            "DATE '2025-02-01' + i::INT AS cancelled_at, now() AS updated_at, 'DE' AS country, i AS age FROM range(9) t(i)"
        )
    return tmp_path


def test_preview_of_a_source(folder: Path) -> None:
    with load(folder) as workspace:
        shown = workspace.preview("orders")
    assert [(c.name, c.kind, c.role) for c in shown.columns] == [
        ("id", "number", None),
        ("at", "timestamp", "time"),
        ("ds", "timestamp", "partition"),
        ("user_id", "string", "identifier of user"),
        ("status", "string", "dimension"),
        ("amount", "number", "number"),
        ("tax", "number", "number"),
        ("raw", "string", None),
    ]
    assert len(shown.rows) == 20
    assert shown.rows[1]["amount"] is None
    assert shown.rows[0]["raw"] == "aa"
    assert shown.latest == datetime(2025, 1, 10, 23, tzinfo=UTC)
    assert shown.age_seconds == timedelta(days=21, hours=13).total_seconds()
    assert [count for _, count in shown.rows_per_day] == [0] * 4 + [24] * 10
    assert shown.used_by.metrics == ("completion", "per_order", "revenue")
    assert shown.used_by.sources == ("recent",)
    assert shown.warnings == ()


def test_preview_of_what_is_no_source_yet(folder: Path) -> None:
    with load(folder) as workspace:
        table = workspace.preview(table="shop.orders")
        query = workspace.preview(sql="select at, amount from shop.orders where amount < 0")
        with pytest.raises(DefinitionError):
            workspace.preview(sql="select 1; drop table shop.orders")
        with pytest.raises(GuardError):
            workspace.preview(sql="select * from read_csv('/etc/passwd')")
        with pytest.raises(MissingTableError):
            workspace.preview(table="shop.nothing")
        with pytest.raises(UnknownNameError, match="there is no source 'order'") as caught:
            workspace.preview("order")
    assert {c.role for c in table.columns} >= {"time", "identifier of user", "dimension", "number"}
    assert (query.rows, query.latest, query.warnings) == ((), None, ("no rows",))
    assert caught.value.status == 404
    with pytest.raises(UsageError):
        ad_hoc_source(workspace.project)


def test_a_slow_source_comes_with_advice_in_order(folder: Path) -> None:
    ticks = iter([0.0, 31.0])
    with load(folder) as workspace:
        source = workspace.project.sources["orders"]
        engine = DuckDBEngine(folder / "w.duckdb", read_only=True)
        shown = preview(engine, workspace.project, source, workspace.as_of, clock=lambda: next(ticks))
        engine.close()
    assert shown.warnings == ("slow: a sample of 100 rows took 31 s",)
    assert shown.advice == ADVICE
    assert "partition" in ADVICE[0]
    assert shown.rows_per_day == ()


def test_several_dates_in_a_row_are_unpivoted(folder: Path) -> None:
    with load(folder) as workspace:
        shown = workspace.preview(table="shop.people")
        assert shown.unpivot is not None
        stacked = workspace.preview(sql=shown.unpivot.sql)
    assert shown.unpivot.columns == ("signed_up_at", "cancelled_at")
    assert "several date columns" in shown.warnings[0]
    assert [c.name for c in stacked.columns] == ["user_id", "country", "event", "event_time"]
    assert stacked.latest == datetime(2025, 2, 9, tzinfo=UTC)
    assert stacked.unpivot is None


def test_dates_about_the_row_and_named_events_are_no_reason_to_unpivot() -> None:
    def column(name: str, type_: str = "DATE") -> Profile:
        return Profile(name, type_, 9, 0, 9)

    assert unpivot("t", [column("at"), column("updated_at"), column("_loaded")], dialect="duckdb") is None
    assert unpivot("t", [column("a_at"), column("b_at"), column("event", "VARCHAR")], dialect="duckdb") is None
    found = unpivot("t", [column("a_at"), column("B on", "TIMESTAMP")], dialect="duckdb")
    assert found is not None
    assert found.sql.splitlines()[-1] == (
        'SELECT \'b\' AS event, CAST("B on" AS TIMESTAMP) AS event_time FROM t WHERE "B on" IS NOT NULL'
    )


def test_what_others_use_is_not_taken_away(folder: Path) -> None:
    project = load(folder).project
    orders = project.sources["orders"]
    with pytest.raises(ConflictError, match="metric 'completion', metric 'per_order'") as caught:
        refuse_removal(project, "orders")
    assert caught.value.status == 409
    refuse_removal(project, "recent")
    refuse_narrowing(project, replace(orders, filters={"completed": "status = 'done'"}))
    for change, lost in (
        ({"filters": {}}, "filter 'completed'"),
        ({"entities": {}}, "entity 'user'"),
        ({"columns": {}}, "column 'net'"),
    ):
        with pytest.raises(ConflictError, match=f"cannot lose {lost}"):
            refuse_narrowing(project, replace(orders, **change))
    with pytest.raises(ConflictError, match="column 'status'"):
        refuse_narrowing(project, orders, columns=["at", "amount", "tax", "user_id"])
    refuse_narrowing(project, orders, columns=["at", "amount", "tax", "user_id", "STATUS"])


def test_refusals_name_ten_at_most(folder: Path) -> None:
    text = "".join(f'[metrics.m{index:02}]\nsource = "orders"\nexpr = "count(*)"\n' for index in range(12))
    (folder / "definitions" / "more.toml").write_text(text)
    with pytest.raises(ConflictError, match=r"metric 'm08' and 6 more read it"):
        refuse_removal(load(folder).project, "orders")
    assert len(dependants(load(folder).project, "orders").metrics) == 15


def test_rows_of_earlier_partitions_are_not_asked_for(folder: Path) -> None:
    with load(folder) as workspace:
        sql = workspace.render("revenue", entity="user", start="2025-01-05", end="2025-01-07")
        rows = workspace.query("revenue", entity="user", start="2025-01-05", end="2025-01-07").to_pylist()
        assert "orders.ds >= CAST('2025-01-04' AS DATE)" in sql
        assert len({row["bucket"] for row in rows}) == 2
        assert "orders.ds" not in workspace.render("revenue", entity="user")


def test_commands(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["source", "list", "-p", str(folder), "-f", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["metrics"]) for one in listed] == [("orders", 3), ("recent", 0)]
    assert run(["source", "preview", "orders", "-p", str(folder), "-f", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert len(shown["rows"]) == 20
    assert shown["used_by"]["metrics"] == ["completion", "per_order", "revenue"]
    assert run(["source", "preview", "--table", "shop.people", "-p", str(folder)]) == 0
    assert "UNION ALL" in capsys.readouterr().out
    assert run(["source", "preview", "-p", str(folder)]) == 2
    assert run(["source", "preview", "orders", "-f", "csv", "-p", str(folder)]) == 0
    assert run(["source", "preview", "--file", str(folder / "nothing.csv")]) == 2
    rows = folder / "rows.csv"
    rows.write_text("day,n\n2025-01-01,1\n")
    assert run(["source", "preview", "--file", str(rows)]) == 0
