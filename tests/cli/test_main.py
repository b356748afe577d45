from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
import typer

from tallystick.cli import commands
from tallystick.cli.commands import COMMANDS, Entry
from tallystick.cli.main import run
from tallystick.errors import DefinitionError, Location, MissingTableError, ProjectError, UnknownNameError

FAILURES = {
    "unknown": UnknownNameError("there is no metric 'comits'", hint="did you mean 'commits'?"),
    "project": ProjectError("no such folder: nowhere"),
    "argument": DefinitionError("'mont' is not a grain", hint="known: month"),
    "engine": MissingTableError("no such table", at=Location("events.toml", 3, 7)),
    "interrupt": KeyboardInterrupt(),
    "abort": typer.Abort(),
    "findings": typer.Exit(1),
    "pipe": BrokenPipeError(32, "Broken pipe"),
    "disk": OSError(28, "No space left on device", "warehouse.duckdb"),
    "bug": ZeroDivisionError("division by zero"),
}
app = typer.Typer()


@app.command()
def fail(how: str) -> None:
    """Fail in one of the ways a command may."""
    raise FAILURES[how]


@pytest.fixture(autouse=True)
def _a_command_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "fail", Entry("fail", "Fail."))
    monkeypatch.setattr(commands, "import_module", lambda _: type("module", (), {"app": app}))
    monkeypatch.setattr("tallystick.cli.main._silence_stdout", lambda: None)


@pytest.mark.parametrize(
    ("how", "code", "message"),
    [
        ("unknown", 2, "error: there is no metric 'comits' (did you mean 'commits'?)\n"),
        ("project", 2, "error: no such folder: nowhere\n"),
        ("argument", 2, "error: 'mont' is not a grain (known: month)\n"),
        ("engine", 1, "error: events.toml:3:7: no such table\n"),
        ("interrupt", 130, ""),
        ("abort", 130, ""),
        ("findings", 1, ""),
        ("pipe", 141, ""),
        ("disk", 1, "error: warehouse.duckdb: No space left on device\n"),
    ],
)
def test_a_failure_is_one_line_and_a_code(
    how: str, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["fail", how]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == message


def test_a_bug_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        run(["fail", "bug"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fial"], "error: there is no command 'fial' (did you mean 'fail'?)\n"),
        (["fail"], "error: Missing argument 'how'. (see tally fail --help)\n"),
        (["fail", "bug", "--loud"], "error: No such option: --loud (see tally fail --help)\n"),
        (["--wrong"], "error: No such option: --wrong (Possible options: --version) (see tally --help)\n"),
    ],
)
def test_wrong_use(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", message)


def test_without_arguments_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    bare = capsys.readouterr().out
    assert run(["--help"]) == 0
    assert capsys.readouterr().out == bare
    assert all(f"  {name} " in bare for name in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tally ")


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "fail"])
def test_the_summary_in_the_list_is_what_the_command_says_of_itself(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "import_module", importlib.import_module)
    monkeypatch.setenv("COLUMNS", "200")
    assert run([name, "--help"]) == 0
    assert capsys.readouterr().out.split("\n\n")[1].strip() == COMMANDS[name].summary


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "tallystick", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("tally ")


def test_output_that_nobody_takes_is_written_nowhere(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert run(["--version"]) == 0
