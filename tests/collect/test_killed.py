"""A collector that is killed at any statement leaves values, watermark and runs that agree; the next one finishes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

DRIVER = Path(__file__).parent / "kill_driver.py"
NOW = "2026-03-03T12:10:00+00:00"


def consistent(state: dict, whole: dict) -> None:
    """Fail unless every series holds exactly what a whole pass holds up to its watermark, run by run."""
    for name, found in state["series"].items():
        done = sorted(
            (start, end) for subject, start, end, status in state["runs"] if (subject, status) == (name, "success")
        )
        reached = found["watermark"]
        assert reached == (done[-1][1] if done else None)
        assert len(done) == len(set(done))
        assert all(one[1] == following[0] for one, following in pairwise(done))
        expected = [point for point in whole["series"][name]["points"] if reached and point[0] < reached]
        assert found["points"] == expected


@pytest.mark.slow
def test_killed_at_any_statement(store_url: str, folder: Path) -> None:
    plain = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    command = [sys.executable, str(DRIVER), str(folder), store_url, "3", "11", NOW]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=plain)
    assert done.returncode == 0, done.stderr
    whole, *rounds = (json.loads(line) for line in done.stdout.splitlines())
    assert len(rounds) > 4
    consistent(whole["whole"], whole["whole"])
    partly = 0
    for each in rounds:
        consistent(each["after"], whole["whole"])
        assert not each["errors"]
        successes = [run for run in each["final"]["runs"] if run[3] == "success"]
        assert each["final"]["series"] == whole["whole"]["series"], each["at"]
        assert not [run for run in each["final"]["runs"] if run[3] == "running"]
        assert len(successes) >= len([run for run in whole["whole"]["runs"] if run[3] == "success"])
        partly += each["after"]["series"] != whole["whole"]["series"] and any(
            found["watermark"] for found in each["after"]["series"].values()
        )
    assert partly > 1
