"""A new project is one that works: it checks without findings and builds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from tallystick import load
from tallystick.definitions.diagnostics import Severity
from tallystick.errors import MissingTableError, ProjectError, TallystickError, UsageError
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
