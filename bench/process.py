"""Measured processes: one per case, so that nothing is warm that would not be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]


@dataclass
class Timings:
    """The rounds of one contender: CPU seconds, wall seconds and peak MB."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    mb: list[float] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)

    def add(self, cost: dict[str, Any]) -> None:
        """Add one round."""
        self.cpu.append(cost["cpu"])
        self.wall.append(cost["wall"])
        self.mb.append(cost["mb"])
        self.last = cost

    @property
    def text(self) -> str:
        """Return median and range of CPU seconds, wall seconds and peak memory."""
        return (
            f"CPU {median(self.cpu):.2f} s ({min(self.cpu):.2f}–{max(self.cpu):.2f}), wall {median(self.wall):.2f} s, "
            f"{max(self.mb):.0f} MB, {len(self.cpu)} rounds"
        )


def run(case: str, options: dict[str, Any]) -> dict[str, Any]:
    """Run one case in a process of its own and return what it cost."""
    return run_module("bench.children", case, options)


def run_module(module: str, case: str, options: dict[str, Any]) -> dict[str, Any]:
    """Run one case of a module in a process of its own and return what it cost."""
    return _run([sys.executable, "-m", module, case, json.dumps(options)])


def run_sqlmesh(python: Path, folder: Path, last: str) -> dict[str, Any]:
    """Apply a SQLMesh project up to a last day in SQLMesh's environment."""
    return _run([str(python), str(ROOT / "bench" / "run_sqlmesh.py"), str(folder), last], "")


def _run(command: list[str], path: str = f"{ROOT / 'src'}:{ROOT}") -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": path, "SQLMESH__DISABLE_ANONYMIZED_ANALYTICS": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])
