"""SQLMesh as a contender: an environment of its own, and a project with the same 21 models as SQL."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from bench import naive

VERSION = "0.236.4"
HOME = Path(__file__).parent / ".contenders" / "sqlmesh"
GRAINS = ("day", "week", "month")


def install() -> Path | None:
    """Create SQLMesh's environment once and return its Python; None where it cannot be installed (no network)."""
    python = HOME / "bin" / "python"
    if python.exists():
        return python
    uv = shutil.which("uv")
    steps = (
        [[uv, "venv", "-q", str(HOME)], [uv, "pip", "install", "-q", "--python", str(python), f"sqlmesh=={VERSION}"]]
        if uv
        else [
            [sys.executable, "-m", "venv", str(HOME)],
            [str(python), "-m", "pip", "install", "-q", f"sqlmesh=={VERSION}"],
        ]
    )
    for step in steps:
        if subprocess.run([str(part) for part in step], check=False, capture_output=True).returncode:
            shutil.rmtree(HOME, ignore_errors=True)
            return None
    return python


def write(folder: Path, database: Path, metric: str, last: str) -> None:
    """Write a SQLMesh project whose models are the naive SELECTs, materialised incrementally by time."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "models").mkdir(parents=True)
    (folder / "config.yaml").write_text(
        "gateways:\n  local:\n    connection:\n      type: duckdb\n"
        f"      database: {database}\n"
        "default_gateway: local\nmodel_defaults:\n  dialect: duckdb\n  start: 2024-01-01\n"
        "disable_anonymized_analytics: true\n"
    )
    for entity in naive.ENTITIES:
        for view in naive.VIEWS:
            text = _model(metric, entity, view, last)
            (folder / "models" / f"{naive.name(metric, entity, view)}.sql").write_text(text)


def _model(metric: str, entity: str, view: str, last: str) -> str:
    name = naive.name(metric, entity, view)
    query = naive.model(metric, entity, view, last)
    return f"MODEL (name tally.{name}, kind FULL);\n\n{query}\n"
