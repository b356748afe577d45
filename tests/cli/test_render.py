"""`tally render` as people use it: in a pipe, into files, compared, and with a picker on a real (pseudo) terminal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from tallystick.cli.main import run

PROJECT = """
[sources.sales]
table = "sales"
time = "sold_at"
[metrics.orders]
source = "sales"
expr = "count(*)"
grains = ["day", "week"]
[metrics.revenue]
source = "sales"
expr = "sum(price)"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "tally.toml").write_text(PROJECT, encoding="utf-8")
    return folder


def tally(project: Path, *arguments: str) -> int:
    return run(["render", *arguments, "--project", str(project)])


def test_all_models_of_a_project(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tally(project, "--all") == 0
    out = capsys.readouterr().out
    assert re.findall(r"^-- (.+)$", out, re.MULTILINE) == [
        "orders_to_all_daily",
        "orders_to_all_weekly",
        "revenue_to_all_daily",
    ]
    assert out.count(";\n") == 3


def test_all_models_of_a_metric_as_json(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tally(project, "orders", "--all", "--format", "json", "--dialect", "snowflake") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [list(row) for row in rows] == [["model", "metric", "entity", "view", "dialect", "sql"]] * 2
    assert [(row["model"], row["view"], row["dialect"]) for row in rows] == [
        ("orders_to_all_daily", "daily", "snowflake"),
        ("orders_to_all_weekly", "weekly", "snowflake"),
    ]


def test_one_model_by_its_exact_name(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tally(project, "orders_to_all_weekly") == 0
    named = capsys.readouterr().out
    assert tally(project, "--model", "orders_to_all_weekly") == 0
    assert capsys.readouterr().out == named
    assert tally(project, "orders", "--grain", "week") == 0
    assert capsys.readouterr().out == named


def test_one_file_per_model(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "a" / "sql"
    assert tally(project, "--all", "-o", str(target)) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "3 files" in printed.err
    assert sorted(path.name for path in target.iterdir()) == [
        "orders_to_all_daily.sql",
        "orders_to_all_weekly.sql",
        "revenue_to_all_daily.sql",
    ]


def test_a_model_that_cannot_be_written_does_not_stop_the_others(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = project / "tally.toml"
    text = '\n[metrics.middle]\nsource = "sales"\nexpr = "quantile_cont(price, 0.5)"\n'
    settings.write_text(PROJECT + text, encoding="utf-8")
    for _ in range(2):  # the second time from the cache
        assert tally(project, "--all", "--dialect", "trino") == 1
        printed = capsys.readouterr()
        assert printed.out.count(";\n") == 3
        assert printed.err.startswith("error: middle_to_all_daily: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no metric is named"),
        (["--all", "--grain", "day"], "--all is every model"),
        (["ordres"], "there is no metric 'ordres'"),
        (["orders", "--dialect", "duckbd"], "is not an SQL dialect"),
        (["orders", "--diff", "nowhere"], "neither a folder"),
    ],
)
def test_wrong_use(project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert tally(project, *arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err


def test_differences_end_with_status_1_and_none_with_0(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "tally.toml").write_text(PROJECT.replace("sum(price)", "sum(net)"), encoding="utf-8")
    assert tally(project, "--diff", str(old)) == 1
    out = capsys.readouterr().out
    assert "+  SUM(sales.price) AS value," in out.splitlines()
    assert "orders" not in out
    assert tally(project, "--diff", str(old), "--format", "json") == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["model"], row["change"]) == ("revenue_to_all_daily", "changed")
    assert tally(project, "orders", "--diff", str(old)) == 0
    assert capsys.readouterr().out == ""


def test_the_command_loads_no_engine_and_no_validator(project: Path) -> None:
    code = (
        "import sys; from tallystick.cli.main import run;"
        f"assert run(['render', 'orders', '--grain', 'week', '-p', {str(project)!r}]) == 0;"
        "sys.stderr.write(' '.join({'pyarrow', 'duckdb', 'numpy', 'sqlglot', 'rich'} & set(sys.modules)))"
    )
    for expected in ("sqlglot", ""):  # cold, then from the cache
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stderr == expected


# -- on a terminal ----------------------------------------------------------------------------------------------------

pty = pytest.importorskip("pty")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(project: Path, *arguments: str, keys: tuple[tuple[str, bytes], ...] = ()) -> tuple[int, str]:
    """Run the command on a terminal of its own; each key is sent once its text has been seen on the screen."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        os.execv(  # noqa: S606 - the terminal is the point
            sys.executable, [sys.executable, "-m", "tallystick.cli.main", "render", *arguments, "-p", str(project)]
        )
    seen, since, pending, deadline = b"", 0, list(keys), monotonic() + 30
    while monotonic() < deadline:
        if pending and pending[0][0].encode() in seen[since:]:
            since = len(seen)
            os.write(terminal, pending.pop(0)[1])
        try:
            sent = os.read(terminal, 4096)
        except OSError:  # how Linux says that the other end is closed
            break
        if not sent:
            break
        seen += sent
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), seen.decode()


def after_the_list(screen: str) -> str:
    """Return what is printed once the list has gone and the terminal shows what it showed before."""
    return _CONTROL.sub("", screen.rpartition("\x1b[?1049l")[2]).replace("\r", "")


def test_typing_and_enter_print_the_chosen_model(project: Path) -> None:
    keys = (("of 3", b"week"), ("1 of 3", b"\r"))
    status, screen = on_terminal(project, keys=keys)
    assert status == 0
    assert "\x1b[?1049h" in screen
    assert after_the_list(screen).lstrip().startswith("SELECT")
    assert "DATE_TRUNC('WEEK'" in after_the_list(screen)


def test_arrows_move_and_the_sql_follows(project: Path) -> None:
    keys = (("of 2", b"\x1b[B"), ("WEEK", b"\r"))
    status, screen = on_terminal(project, "orders", keys=keys)
    assert status == 0
    assert "DATE_TRUNC('WEEK'" in after_the_list(screen)


@pytest.mark.parametrize("key", [b"\x1b", b"\x03"], ids=["escape", "control-c"])
def test_leaving_prints_nothing(project: Path, key: bytes) -> None:
    status, screen = on_terminal(project, keys=(("of 3", key),))
    assert status == 130
    assert after_the_list(screen).strip() == ""


def test_a_metric_of_one_model_needs_no_list(project: Path) -> None:
    status, screen = on_terminal(project, "revenue")
    assert status == 0
    assert "\x1b[?1049h" not in screen
    assert "SUM(sales.price) AS value" in _CONTROL.sub("", screen)


def test_the_part_of_the_definition_stands_out(project: Path) -> None:
    _, screen = on_terminal(project, "revenue")
    coloured = re.search(r"\x1b\[1;33(?:;49)?m([^\x1b]*)", screen)
    assert coloured
    assert "sales" in coloured[1]


@pytest.mark.parametrize("parameter", ["$start", "@start", "${start}", "{start:String}", "{{ start }}"])
def test_a_parameter_does_not_look_like_a_mistake(parameter: str) -> None:
    from tallystick.cli.sql_text import sql_text

    assert not any("underline" in str(span.style) for span in sql_text(f"SELECT {parameter}", ()).spans)


def test_a_metric_that_is_left_out_is_not_said_to_be_missing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = PROJECT.replace('[metrics.revenue]\nsource = "sales"', '[metrics.revenue]\nsource = "sale"')
    (project / "tally.toml").write_text(text, encoding="utf-8")
    for name in ("revenue", "revenue_to_all_daily"):
        assert tally(project, name) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[0] == (
        "error: metric 'revenue' is left out: it has an error, or needs something that has one (tally check tells it)"
    )
    old = project.parent / "old"
    old.mkdir()
    (old / "tally.toml").write_text(PROJECT, encoding="utf-8")
    assert tally(project, "--diff", str(old)) == 1
    assert (
        "warning: 1 error in the project: what is left out there is compared as if it were not there"
        in capsys.readouterr().err
    )
