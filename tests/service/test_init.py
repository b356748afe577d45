"""A new project is one that works: it checks without findings and builds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from live_engines import Live
from tallystick import load
from tallystick.definitions.diagnostics import Severity
from tallystick.errors import (
    ConflictError,
    DefinitionError,
    MissingTableError,
    ProjectError,
    TallystickError,
    UsageError,
)
from tallystick.service.init import profile_file, write_project

ROWS = {
    "dates.csv": "day,shop_id,units\n2024-01-01,1,3\n2024-01-01,2,4\n2024-01-02,1,\n2024-01-02,1,5\n",
    "no_time.csv": "color,size\nred,1\nblue,2\nred,1\nred,3\n",
    "one column.csv": "x\n1\n2\n2\n",
    "Odd Names.csv": 'Order Id,group,"a ""b""",select,2nd\n1,x,1,2,3\n2,x,1,2,3\n3,y,1,2,3\n4,y,4,2,3\n',
    "events.json": '{"ts": "2024-01-01 10:00:00", "user_id": "a", "ok": true}\n' * 5,
}


def findings(folder: Path) -> list[str]:
    with load(folder) as workspace:
        return [str(f) for f in workspace.check() if f.severity is not Severity.INFO]


def test_sample_project_works(tmp_path: Path) -> None:
    files = write_project(tmp_path)
    assert files[0] == tmp_path / "tally.toml"
    assert findings(tmp_path) == []
    with load(tmp_path) as workspace:
        report = workspace.build()
        assert not report.failed
        assert {model.metric for model in report.models} == {"revenue", "orders", "order_value"}
        revenue = workspace.query("revenue", grain="month").to_pylist()
        orders = workspace.query("orders", grain="month").to_pylist()
        value = workspace.query("order_value", grain="month").to_pylist()
    assert [row["value"] for row in value] == pytest.approx(
        [a["value"] / b["value"] for a, b in zip(revenue, orders, strict=True)]
    )


@pytest.mark.parametrize("name", ROWS)
def test_guessed_project_works(name: str, tmp_path: Path) -> None:
    rows = tmp_path / name
    rows.write_text(ROWS[name], encoding="utf-8")
    folder = tmp_path / "project"
    write_project(folder, rows)
    assert findings(folder) == []
    with load(folder) as workspace:
        assert len(workspace.metrics) == 3
        assert not workspace.build().failed


def test_guessed_from_parquet_with_every_type(tmp_path: Path) -> None:
    rows = tmp_path / "types.parquet"
    duckdb.sql(
        "select timestamptz '2024-01-01 00:00:00+00' + to_hours(i::int) as at, 'u' || i % 3 as user_id, i % 2 = 0 as paid, "
        "i / 4 as price, [i] as list, {'a': i} as struct, i::hugeint as big, null as nothing, 'k' || i as code "
        "from range(50) t(i)"
    ).write_parquet(str(rows))
    folder = tmp_path / "project"
    write_project(folder, rows)
    assert findings(folder) == []
    with load(folder, clock=lambda: datetime(2024, 1, 4, tzinfo=UTC)) as workspace:
        assert [m.name for m in workspace.metrics.values()] == ["types", "active_users", "total_price"]
        assert not workspace.build().failed
        assert workspace.query("types", grain="day").column("value").to_pylist() == [24, 24, 2]


def test_profile_counts(tmp_path: Path) -> None:
    rows = tmp_path / "dates.csv"
    rows.write_text(ROWS["dates.csv"], encoding="utf-8")
    units = next(column for column in profile_file(rows) if column.name == "units")
    assert (units.values, units.nulls, units.distinct) == (3, 1, 3)


def test_a_file_inside_the_project_is_named_relative_to_it(tmp_path: Path) -> None:
    rows = tmp_path / "data" / "dates.csv"
    rows.parent.mkdir()
    rows.write_text(ROWS["dates.csv"], encoding="utf-8")
    write_project(tmp_path, rows)
    assert 'file = "data/dates.csv"' in (tmp_path / "definitions/dates.toml").read_text(encoding="utf-8")
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert findings(moved) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "tally.toml").write_text("# mine\n", encoding="utf-8")
    with pytest.raises(ProjectError, match="already exists, nothing was written"):
        write_project(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["tally.toml"]
    assert (tmp_path / "tally.toml").read_text(encoding="utf-8") == "# mine\n"


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("missing.csv", None, MissingTableError, "there is no file"),
        ("rows.xlsx", b"", UsageError, "not a file of rows"),
        ("empty.csv", b"", TallystickError, "."),
        ("header.csv", b"a,b\n", UsageError, "no rows to guess from"),
        ("broken.parquet", b"PAR1 not really", TallystickError, "."),
    ],
)
def test_what_cannot_be_guessed_from(
    name: str, content: bytes | None, error: type[TallystickError], message: str, tmp_path: Path
) -> None:
    rows = tmp_path / name
    if content is not None:
        rows.write_bytes(content)
    with pytest.raises(error, match=message):
        write_project(tmp_path / "project", rows)
    assert not (tmp_path / "project").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ProjectError, match="cannot be written"):
        write_project(tmp_path / "file" / "below")


def shop_file(folder: Path) -> Path:
    path = folder / "rows.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE SCHEMA shop")
        connection.execute(
            "CREATE TABLE shop.orders AS SELECT TIMESTAMP '2025-01-01' + INTERVAL (i) HOUR AS ordered_at, "
            "'c' || i % 5 AS customer_id, i AS amount, 'DE' AS country FROM range(99) t(i)"
        )
    return path


def test_a_table_of_a_warehouse_becomes_a_project(tmp_path: Path) -> None:
    shop_file(tmp_path)
    files = write_project(tmp_path, "shop.orders", warehouse=tmp_path / "rows.duckdb")
    assert [path.name for path in files] == ["tally.toml", "orders.toml"]
    assert findings(tmp_path) == []
    with load(tmp_path) as workspace:
        assert list(workspace.metrics) == ["orders", "active_customers", "total_amount"]
        assert workspace.query("total_amount", all_time=True).to_pylist()[0]["value"] == sum(range(99))
        assert not workspace.build().failed
        assert not workspace.build().failed


def test_a_schema_may_be_named_like_its_file(tmp_path: Path) -> None:
    shop_file(tmp_path).rename(tmp_path / "shop.duckdb")
    write_project(tmp_path, "shop.orders", warehouse=tmp_path / "shop.duckdb")
    with load(tmp_path) as workspace:
        assert workspace.query("total_amount", all_time=True).to_pylist()[0]["value"] == sum(range(99))
        assert not workspace.build().failed


def test_a_project_gets_the_definitions_of_another_table(tmp_path: Path) -> None:
    shop_file(tmp_path)
    with duckdb.connect(str(tmp_path / "rows.duckdb")) as connection:
        connection.execute("CREATE TABLE refunds AS SELECT ordered_at AS at, customer_id, amount FROM shop.orders")
    write_project(tmp_path, "shop.orders", warehouse=tmp_path / "rows.duckdb")
    (added,) = write_project(tmp_path, "refunds")
    assert added == tmp_path / "definitions" / "refunds.toml"
    assert findings(tmp_path) == []
    with load(tmp_path) as workspace:
        assert "refunds_total_amount" in workspace.metrics
    with pytest.raises(ConflictError, match="source 'refunds' is already defined"):
        write_project(tmp_path, "refunds")
    rows = tmp_path / "dates.csv"
    rows.write_text(ROWS["dates.csv"], encoding="utf-8")
    assert write_project(tmp_path, rows) == (tmp_path / "definitions" / "dates.toml",)
    assert findings(tmp_path) == []


@pytest.mark.parametrize(
    ("rows", "warehouse", "error", "message"),
    [
        ("shop.orders", None, UsageError, "no warehouse to find it in"),
        ("shop.orders", "nothing.duckdb", MissingTableError, "there is no file"),
        ("shop.nothing", "rows.duckdb", MissingTableError, "nothing"),
        ("select 1", "rows.duckdb", DefinitionError, "is not the name of a table"),
    ],
)
def test_a_table_that_cannot_be_read(
    rows: str, warehouse: str | None, error: type[TallystickError], message: str, tmp_path: Path
) -> None:
    shop_file(tmp_path)
    with pytest.raises(error, match=message):
        write_project(tmp_path / "new", rows, warehouse=tmp_path / warehouse if warehouse else None)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["postgres", "clickhouse"])
def test_a_table_of_a_server_is_guessed_too(name: str, live_engines: Callable[[str], Live], tmp_path: Path) -> None:
    live = live_engines(name)
    times = [datetime(2025, 1, 1, hour) for hour in range(20)]
    rows = {"ordered_at": times, "customer_id": ["a", "b"] * 10, "amount": [1.5] * 20, "paid": [True] * 20}
    live.load("shop.orders", pa.table(rows))
    (tmp_path / "tally.toml").write_text(live.warehouse(), encoding="utf-8")
    (tmp_path / "definitions").mkdir()
    (tmp_path / "definitions" / "first.toml").write_text(
        '[sources.first]\ntable = "shop.orders"\ntime = "ordered_at"\n'
    )
    write_project(tmp_path, "shop.orders")
    with load(tmp_path) as workspace:
        assert not workspace.project.errors
        assert workspace.query("total_amount", all_time=True).to_pylist()[0]["value"] == 30
        shown = workspace.preview("orders")
    assert [(column.name, column.kind, column.role) for column in shown.columns] == [
        ("ordered_at", "timestamp", "time"),
        ("customer_id", "string", "identifier of customer"),
        ("amount", "number", "number"),
        ("paid", "bool", "dimension"),
    ]
    assert shown.rows_per_day[-1] == (date(2025, 1, 1), 20)
    assert shown.used_by.metrics == ("active_customers", "orders", "total_amount")
