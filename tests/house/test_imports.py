"""`tally --help` answers at once: nothing heavy is imported before a command needs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

HEAVY = {
    "duckdb", "pyarrow", "numpy", "pandas", "polars", "sqlglot", "rich",
    "fastapi", "uvicorn", "nicegui", "sqlalchemy",
}  # fmt: skip
# A tracer that measures coverage in child processes would be measured along with the start.
PLAIN = {key: value for key, value in os.environ.items() if not key.startswith(("COV", "COVERAGE"))}


def run(code: str) -> list[str]:
    script = f"import sys, json\n{code}\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=PLAIN)
    modules: list[str] = json.loads(done.stderr.splitlines()[-1])
    return modules


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["check", "--help"], ["query", "--help"]], ids=" ".join
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    modules = run(f"from tallystick.cli.main import run\nassert run({arguments!r}) == 0")
    assert not HEAVY & {name.partition(".")[0] for name in modules}


def test_the_list_of_commands_does_not_need_pydantic() -> None:
    # Typer reads the options of one command with it; the list of commands can do without.
    assert "pydantic" not in run("from tallystick.cli.main import run\nassert run(['--help']) == 0")


def test_help_imports_no_command() -> None:
    modules = run("from tallystick.cli.main import run\nassert run(['--help']) == 0")
    assert "tallystick.cli.query" not in modules
    assert "tallystick.cli.main" in modules


def test_the_package_itself_imports_nothing_heavy() -> None:
    modules = run("import tallystick")
    assert not HEAVY & {name.partition(".")[0] for name in modules}


def test_help_imports_little_more_than_the_library_it_parses_options_with() -> None:
    help_ = run("from tallystick.cli.main import run\nassert run(['--help']) == 0")
    assert len(help_) < 1.25 * len(run("import typer"))


def test_checking_a_project_needs_no_arrow() -> None:
    code = "from tallystick import load\nfrom tallystick.service.demo import BUNDLED\nload(BUNDLED).check()"
    assert not {"pyarrow", "numpy"} & {name.partition(".")[0] for name in run(code)}
