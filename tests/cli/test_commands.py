"""The commands as people and scripts use them, on the project that `tally init` writes."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tallystick.cli.main import run
from tallystick.service.init import write_project

KEYS = ["code", "severity", "file", "line", "column", "message", "hint"]


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_project(tmp_path / "shop")
    monkeypatch.chdir(tmp_path / "shop")
    return tmp_path / "shop"


@pytest.fixture
def tally(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


def test_check_says_that_all_is_well(shop: Path, tally: Any) -> None:
    assert tally("check") == Outcome(0, "", "no problems; 3 metrics ready to use\n")


def test_check_reports_place_and_nearest_name(shop: Path, tally: Any) -> None:
    (shop / "definitions/more.toml").write_text('[metrics.x]\nsource = "ordres"\nexpr = "count(*)"\n', encoding="utf-8")
    done = tally("check")
    assert done.code == 1
    assert done.out.startswith("definitions/more.toml:2:")
    assert "did you mean 'orders'?" in done.out
    assert done.err == "1 error; 3 metrics ready to use\n"


def test_check_as_json_has_exactly_these_keys(shop: Path, tally: Any) -> None:
    assert tally("check", "--format", "json").json == []
    (shop / "definitions/more.toml").write_text("[metrics.x\n", encoding="utf-8")
    done = tally("check", "--format", "json")
    assert done.code == 1
    assert [list(finding) for finding in done.json] == [KEYS]
    assert done.json[0]["file"] == "definitions/more.toml"


def test_check_counts_warnings_only_when_told_to(shop: Path, tally: Any) -> None:
    (shop / "definitions/more.toml").write_text(
        '[metrics.x]\nsource = "orders"\nexpr = "count(*)"\nowner = "o"\ndescription = "d"\n[monitors.m]\nmetric = "x"\n',
        encoding="utf-8",
    )
    findings = tally("check", "--format", "json").json
    worst = {finding["severity"] for finding in findings}
    assert "error" not in worst
    assert tally("check").code == 0
    assert tally("check", "--strict").code == (1 if "warning" in worst else 0)


def test_check_takes_a_folder(shop: Path, tally: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert tally("check", str(shop)).code == 0
    missing = tally("check", str(shop / "nowhere"))
    assert (missing.code, missing.out) == (2, "")
    assert missing.err.startswith("error: ")
    assert missing.err.count("\n") == 1


def test_the_project_is_found_from_below(shop: Path, tally: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop / "data")
    assert [row["name"] for row in tally("list", "--format", "json").json] == ["revenue", "orders", "order_value"]


def test_list(shop: Path, tally: Any) -> None:
    rows = tally("list", "--format", "json").json
    assert rows[0] == {
        "name": "revenue",
        "kind": "aggregate",
        "source": "orders",
        "entities": ["all", "store"],
        "views": ["7d", "28d", "day", "week", "month", "all time"],
        "status": "active",
        "origin": "definitions/orders.toml:16",
        "owner": "you@example.org",
        "description": "Value of completed orders.",
    }
    assert rows[2]["kind"] == "derived"
    usual = [name for name in rows[0] if name not in ("status", "origin")]
    assert tally("list").out.splitlines()[0].split() == usual


def test_list_as_csv(shop: Path, tally: Any) -> None:
    rows = list(csv.DictReader(io.StringIO(tally("list", "-f", "csv").out)))
    assert [row["kind"] for row in rows] == ["aggregate", "aggregate", "derived"]


@pytest.mark.parametrize(
    ("name", "type_", "key", "value"),
    [
        ("revenue", "metric", "definition", "sum(amount)"),
        ("revenue", "metric", "used_by", ["order_value"]),
        ("order_value", "metric", "definition", "revenue / orders"),
        ("store", "entity", "metrics", ["revenue", "orders", "order_value"]),
        ("orders", "source", "reads", "data/orders.csv"),
    ],
)
def test_show(name: str, type_: str, key: str, value: object, shop: Path, tally: Any) -> None:
    done = tally("show", name, "--format", "json")
    thing = next(thing for thing in done.json if thing["type"] == type_)
    assert thing[key] == value
    assert thing["file"] == "definitions/orders.toml"
    assert thing["line"] > 0
    text = tally("show", name).out
    assert f"{name}  {type_}  definitions/orders.toml:{thing['line']}" in text


def test_show_a_name_of_two_things(shop: Path, tally: Any) -> None:
    assert [thing["type"] for thing in tally("show", "orders", "-f", "json").json] == ["metric", "source"]


def test_show_has_the_sql(shop: Path, tally: Any) -> None:
    assert "SELECT" in tally("show", "revenue").out


def test_models(shop: Path, tally: Any) -> None:
    rows = tally("models", "orders", "-f", "json").json
    assert rows[0] == {"name": "orders_to_all_daily", "metric": "orders", "entity": "all", "view": "daily", "by": []}
    assert len(tally("models", "-f", "json").json) == 24


def test_render(shop: Path, tally: Any) -> None:
    done = tally("render", "orders", "--grain", "month", "--dialect", "bigquery")
    assert done.code == 0
    assert "COUNT(*)" in done.out
    assert "@start" in done.out
    full = tally("render", "--full", "orders", "--start", "2025-05-01", "--end", "2025-06-01")
    assert "2025-05-01" in full.out
    by_model = tally("render", "orders", "--model", "orders_to_all_monthly")
    assert by_model.out == tally("render", "orders", "--grain", "month").out


def test_query(shop: Path, tally: Any) -> None:
    done = tally("query", "orders", "--grain", "month", "--end", "2025-06-01", "--format", "json")
    assert done.code == 0
    assert done.json == [
        {"bucket": "2025-04-01", "value": 104, "n": 104, "state": "final"},
        {"bucket": "2025-05-01", "value": 103, "n": 103, "state": "final"},
    ]
    assert len(tally("query", "orders", "--limit", "2", "-f", "json").json) == 2
    everything = tally("query", "orders", "--all-time", "-f", "json").json
    by_country = tally("query", "orders", "--all-time", "--by", "country", "-f", "json").json
    assert sum(row["value"] for row in by_country) == everything[0]["value"] == 310
    assert tally("query", "orders", "--all-time", "--where", "country = 'DE'", "-f", "json").json[0]["value"] == next(
        row["value"] for row in by_country if row["country"] == "DE"
    )


def test_build_twice(shop: Path, tally: Any) -> None:
    first = tally("build", "-s", "orders", "-f", "json")
    assert first.code == 0
    assert len(first.json) == 6
    assert {row["action"] for row in first.json} == {"created"}
    assert first.err.startswith("6 models: 6 created in ")
    assert "created" not in tally("build", "-s", "orders").out
    assert (shop / "warehouse.duckdb").exists()


def test_read_gives_what_was_built_and_totals_of_it(shop: Path, tally: Any) -> None:
    missing = tally("read", "orders", "--entity", "store")
    assert (missing.code, missing.out) == (1, "")
    assert missing.err == "error: orders_to_store_daily is not built (build it: tally build -s orders_to_store_daily)\n"
    tally("build", "-s", "orders")
    rows = tally("read", "orders", "--entity", "store", "-f", "json").json
    store = rows[0]["store_id"]
    mine = tally("read", "orders", "--entity", "store", "--id", store, "-f", "json").json
    assert mine == [row for row in rows if row["store_id"] == store]
    [total] = tally("read", "orders", "--entity", "store", "--total", "sum", "--total", "count", "-f", "json").json
    everything = tally("query", "orders", "--all-time", "-f", "json").json[0]["value"]
    assert int(total["sum"]) == everything
    monthly = tally("read", "orders", "--total", "sum", "--per", "month", "-f", "json").json
    assert [int(row["sum"]) for row in monthly] == [
        row["value"] for row in tally("query", "orders", "--grain", "month", "-f", "json").json
    ]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["read", "orders", "--total", "median"], "'median' is not a function of values"),
        (["read", "orders", "--per", "month"], "are for totals"),
        (["read", "orders", "--id", "x"], "is not split by an entity"),
        (["query", "ordres"], "did you mean 'orders'?"),
        (["query", "orders", "--grain", "mont"], "'mont' is not a grain"),
        (["query", "orders", "--window", "0"], "empty"),
        (["query", "orders", "--grain", "day", "--all-time"], "exclude each other"),
        (["query", "orders", "--entity", "shop"], "there is no entity 'shop'"),
        (["query", "orders", "--start", "yesterday"], "'yesterday' is not a date"),
        (["query", "orders", "--where", "1 = 1) or (1 = 1"], "parse"),
        (["query", "orders", "--limit", "-1"], "--limit"),
        (["render", "orders", "--dialect", "oracel"], "did you mean 'oracle'?"),
        (["render", "orders", "--model", "x"], "no model 'x'"),
        (["show", "revenu"], "did you mean 'revenue'?"),
        (["models", "revenu"], "did you mean 'revenue'?"),
        (["build", "--select", "revenu"], "did you mean 'revenue'?"),
        (["list", "--format", "yaml"], "--format"),
        (["init", "."], "already exists, nothing was written"),
    ],
    ids=" ".join,
)
def test_wrong_use_is_one_line_and_code_2(arguments: list[str], part: str, shop: Path, tally: Any) -> None:
    done = tally(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert part in done.err


def test_errors_in_the_project_do_not_stop_what_is_right(shop: Path, tally: Any) -> None:
    (shop / "definitions/more.toml").write_text("[metrics.x\n", encoding="utf-8")
    done = tally("query", "orders", "--all-time", "-f", "json")
    assert done.json[0]["value"] == 310
    assert done.err == "warning: 1 error in the project, see tally check\n"


def test_a_failed_model_is_reported_and_the_others_are_built(shop: Path, tally: Any) -> None:
    (shop / "definitions/more.toml").write_text(
        '[sources.gone]\ntable = "gone"\ntime = "t"\n[metrics.lost]\nsource = "gone"\nexpr = "count(*)"\n',
        encoding="utf-8",
    )
    done = tally("build", "-f", "json")
    assert done.code == 1
    assert {row["name"]: row["action"] for row in done.json}["lost_to_all_daily"] == "failed"
    assert sum(row["action"] == "created" for row in done.json) == 24
    assert "error: lost_to_all_daily: " in done.err


def test_what_many_models_fail_for_is_told_once(shop: Path, tally: Any) -> None:
    lost = 'source = "gone"\nexpr = "count(*)"\ngrains = ["day", "week"]\n'
    names = ["a", "b", "c", "d", "e", "f", "g"]
    (shop / "definitions/more.toml").write_text(
        '[sources.gone]\nfile = "gone.csv"\ntime = "t"\n' + "".join(f"[metrics.{name}]\n{lost}" for name in names),
        encoding="utf-8",
    )
    done = tally("build", "-f", "json")
    assert sum(row["action"] == "failed" for row in done.json) == 14
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith("error: a, b, c, d, e and 2 more: source 'gone' reads ")
    assert errors[0].endswith("; 14 models are left out")


def test_a_pipe_that_closes_early_is_no_error(shop: Path) -> None:
    command = f"'{sys.executable}' -m tallystick.cli.main query orders -f csv | head -n 1"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False, cwd=shop)
    assert (done.stdout, done.stderr) == ("bucket,value,n,state\n", "")


def test_init_tells_what_is_next(tmp_path: Path, tally: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = tally("init", "shop")
    assert done.out.splitlines() == ["shop/tally.toml", "shop/definitions/orders.toml", "shop/data/orders.csv"]
    assert done.err == "next: tally check shop, then tally build --project shop\n"
