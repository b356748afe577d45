from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tallystick.cli.main import run
from tallystick.service.workspace import load


def test_collect_runs_and_show(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run(["show", "revenue", "-p", str(folder)]), capsys.readouterr().out)
    assert not (folder / ".tally" / "tally.db").exists() and before[0] == 0
    arguments = ["collect", "revenue", "-p", str(folder), "--start", "2026-03-01", "--end", "2026-03-02", "-f", "json"]
    assert run(arguments) == 0
    windows = json.loads(capsys.readouterr().out)
    assert {window["metric"] for window in windows} == {"revenue"} and windows[-1]["state"] == "final"
    assert run(["runs", "revenue", "-p", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "revenue/hour/all" in shown and " KiB" in shown
    assert run(["runs", "revenue", "-p", str(folder), "-f", "json"]) == 0
    assert all(each["bytes"] > 0 for each in json.loads(capsys.readouterr().out))
    assert run(["runs", "--failed", "-p", str(folder)]) == 0
    assert not capsys.readouterr().out
    assert run(["show", "revenue", "-p", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(before[1]) and "2026-03-01 23:00" in shown and "█" in shown
    with load(folder) as workspace:
        table = workspace.series("revenue", by="country", start="2026-03-01", end="2026-03-02")
        assert table.num_rows == 48 and set(table.column("country").to_pylist()) == {"DE", "FR"}


def test_a_failed_window_ends_with_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (folder / "tally.toml").read_text(encoding="utf-8")
    (folder / "tally.toml").write_text(text.replace("max(amount)", "max(absent)"), encoding="utf-8")
    assert run(["collect", "idea", "-p", str(folder)]) == 1
    assert "absent" in capsys.readouterr().out


def test_old_rows_are_pointed_at(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["collect", "orders", "-p", str(folder)]) == 0  # the rows are older than the newest buckets
    assert "for orders: older ones are collected with --start DATE" in capsys.readouterr().err
    assert run(["collect", "orders", "-p", str(folder), "--start", "2026-03-01", "--end", "2026-03-02"]) == 0
    assert "--start" not in capsys.readouterr().err


def test_runs_tell_which_values_were_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "tally.toml"
    text = path.read_text(encoding="utf-8").replace(
        'by = ["country"]', 'by = ["country"]\ncollect = { values_limit = 2 }'
    )
    path.write_text(text.replace("[metrics.orders]", '[metrics.orders]\nstatus = "deprecated"'), encoding="utf-8")
    arguments = ["-p", str(folder), "--start", "2026-03-01", "--end", "2026-03-02"]
    assert run(["collect", *arguments]) == 0
    assert "warning: metric 'orders' is deprecated" in capsys.readouterr().err
    assert run(["runs", "revenue", "-p", str(folder), "-f", "json"]) == 0
    notes = {each["series"]: each["note"] for each in json.loads(capsys.readouterr().out)}
    assert notes["revenue/hour/all/by country"] == "1 value of country by rows, all others in one (values_limit = 2)"
    assert notes["revenue/hour/all"] is None
    with load(folder) as workspace:
        table = workspace.series("revenue", by="country")
        assert set(zip(table["country"].to_pylist(), table["is_other"].to_pylist(), strict=True)) == {
            ("DE", False),
            (None, True),
        }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--due", "--start", "2026-01-01"], "has its own window"),
        (["--start", "2026-02-01", "--end", "2026-01-01"], "nothing lies between"),
        (["revenu"], "did you mean 'revenue'"),
    ],
)
def test_wrong_use(folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert run(["collect", "-p", str(folder), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_warehouse_another_process_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(folder / "shop.duckdb")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "open\n"
        assert run(["collect", "-p", str(folder)]) == 1
        assert "is in use by" in capsys.readouterr().err
        holder.communicate("")


def test_what_metrics_have_cost(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", "--totals", "-p", str(folder)]) == 0
    assert capsys.readouterr().out == ""
    window = ["--start", "2026-03-01", "--end", "2026-03-02", "-p", str(folder)]
    assert run(["collect", *window]) == 0 and run(["collect", "orders", *window]) == 0
    capsys.readouterr()
    assert run(["runs", "--totals", "-p", str(folder), "-f", "json"]) == 0
    found = {total["metric"]: total for total in json.loads(capsys.readouterr().out)}
    assert found.keys() == {"revenue", "orders", "order_value"}
    assert {key: found["orders"][key] for key in ("failed", "rows")} == {"failed": 0, "rows": 2 * (24 + 1)}
    chunks = 3  # of ten hours; a day is one
    assert found["orders"]["runs"] == 2 * (chunks + 1) and found["orders"]["seconds"] > 0
    assert run(["runs", "orders", "-p", str(folder), "-f", "json"]) == 0
    statements = {
        (each["sql"], each["start"], each["end"], each["attempt"]): each["bytes"]
        for each in json.loads(capsys.readouterr().out)
    }
    assert found["orders"]["bytes"] == sum(statements.values()) > 0
    assert run(["runs", "--totals", "--start", "2100-01-01", "-p", str(folder), "-f", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert run(["runs", "orders", "--totals", "-p", str(folder)]) == 2
    assert run(["runs", "--start", "2026-01-01", "-p", str(folder)]) == 2


def test_a_late_source_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "tally.toml"
    path.write_text(path.read_text(encoding="utf-8").replace('settle = "90m"', 'fresh = "1h"'), encoding="utf-8")
    assert run(["collect", "--due", "-p", str(folder)]) == 0
    assert (
        "warning: source 'orders' has rows up to 2026-03-03 21:53 only: what follows waits" in capsys.readouterr().err
    )
