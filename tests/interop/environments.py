"""Environments of SQLMesh and dbt for tests: their pins contradict ours, so each lives in a cache folder of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

fcntl = pytest.importorskip("fcntl", reason="environments are built under a lock that only POSIX has")

PINS = Path(__file__).parents[2] / "requirements" / "exports"
QUIET = {
    "SQLMESH__DISABLE_ANONYMIZED_ANALYTICS": "1",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "0",
    "NO_COLOR": "1",
    "COLUMNS": "200",
}


def environment(name: str) -> Path:
    """Return the folder with an environment's programs, built from its pins on first use; skip (in CI: fail) if it cannot."""
    pins = PINS / f"{name}.txt"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(pins.read_bytes()).hexdigest()[:12]
    folder = _cache() / f"{name}-{version}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "complete"
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _build(folder, pins)
            done.touch()
    return folder / "bin"


def run(bin_folder: Path, *arguments: str, folder: Path, **variables: str) -> str:
    """Run one program of an environment in a folder and return what it printed; fail with that if it failed."""
    command = [str(bin_folder / arguments[0]), *arguments[1:]]
    done = subprocess.run(command, cwd=folder, env=_plain() | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(arguments)}:\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tallystick" / "test-environments"


def _plain() -> dict[str, str]:
    # Coverage follows child processes, and what they import here is not ours.
    return {key: value for key, value in os.environ.items() if not key.startswith(("COV", "PYTHON"))} | QUIET


def _build(folder: Path, pins: Path) -> None:
    python = str(folder / "bin" / "python")
    if shutil.which("uv") is not None:
        commands = [
            ["uv", "venv", "--quiet", "--python", sys.executable, str(folder)],
            ["uv", "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", str(pins)],
        ]
    else:
        commands = [
            [sys.executable, "-m", "venv", str(folder)],
            [python, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r", str(pins)],
        ]
    for command in commands:
        done = subprocess.run(command, env=_plain(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            # A missing environment must not hide behind a skip where everything is expected to run.
            give_up = pytest.fail if os.environ.get("CI") else pytest.skip
            give_up(f"the packages of {pins.name} cannot be installed: {reason}")
