"""A build that is killed, or runs out of disk, leaves a consistent state, and the next build finishes the work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

KILLED_AT = """
import os, signal, sys
from tallystick.engines.duckdb import DuckDBEngine
from tallystick.service.workspace import load

left = int(sys.argv[2])
execute = DuckDBEngine.execute

def execute_or_die(self, sql):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    execute(self, sql)

DuckDBEngine.execute = execute_or_die
with load(sys.argv[1]) as workspace:
    workspace.build(["revenue"])
"""

FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
from tallystick.cli.main import main
sys.argv = ["tally", "build", "-p", sys.argv[1]]
main()
"""


def python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, which nobody measures: it is meant to die or to find no room to write."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=plain)


@pytest.mark.parametrize("statement", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 30, 31, 32, 33, 34])
def test_killed_at_any_statement(shop, opened, contents, run, statement):
    killed = python(KILLED_AT, str(shop), str(statement))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    if run(shop, "SELECT 1 FROM information_schema.tables WHERE table_name = '_models'"):
        counted = {
            name: run(shop, f"SELECT count(*) FROM tally.{name}")[0][0]
            for (name,) in run(shop, "SELECT model FROM tally._models")
        }
        assert counted == dict(run(shop, "SELECT model, row_count FROM tally._models"))
    with opened(shop) as workspace:
        assert not workspace.build(["revenue"]).failed
    finished = contents(shop)
    run(shop, "DROP SCHEMA tally CASCADE")
    with opened(shop) as workspace:
        workspace.build(["revenue"])
    assert contents(shop) == finished


def test_a_full_disk_is_one_line_and_loses_nothing(shop, opened, contents, run):
    with opened(shop, "2024-02-01") as workspace:
        workspace.build(["revenue"])
    before = contents(shop)
    with opened(shop, "2024-03-01"):
        failed = python(FULL_DISK, str(shop), str(40_000))
    assert failed.returncode == 1, failed.stderr
    assert "Traceback" not in failed.stderr
    assert failed.stderr.strip().splitlines()[-1] == (
        "error: the disk is full: warehouse.duckdb could not be written (free some space and run again)"
    )
    after = contents(shop)
    with opened(shop, "2024-03-01") as workspace:
        assert not workspace.build(["revenue"]).failed
    finished = contents(shop)
    assert set(after) >= set(before)
    assert all(rows in (before.get(name), finished[name]) for name, rows in after.items())
