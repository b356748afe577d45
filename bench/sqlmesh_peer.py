"""SQLMesh as a contender: an environment of its own, and a project with the same 21 models as SQL."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from bench import naive

VERSION = "0.236.4"
HOME = Path(__file__).parent / ".contenders" / "sqlmesh"


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
    """Write a SQLMesh project of the naive SELECTs, each over the interval it is asked for, as OSO's models are."""
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
    if view == "all":
        return f"MODEL (name tally.{name}, kind FULL);\n\n{naive.model(metric, entity, view, last)}\n"
    source, value = naive.rows(metric, entity), f"{naive.VALUE[metric]}::BIGINT AS value"
    first, end = "CAST(@start_ds AS DATE)", "CAST(@end_ds AS DATE)"
    if view.isdigit():
        spine = f"SELECT unnest(generate_series({first}, {end}, INTERVAL 1 DAY))::DATE AS tick"
        rows = f"SELECT * FROM ({source}) AS q WHERE day BETWEEN {first} - {int(view) - 1} AND {end}"
        join = f"r.day <= s.tick AND r.day > s.tick - {view}"
        query = f"SELECT s.tick AS bucket, id, {value} FROM ({spine}) AS s JOIN ({rows}) AS r ON {join} GROUP BY 1, 2"
    else:
        bucket = f"date_trunc('{view}', day)::DATE"
        within = f"{bucket} BETWEEN date_trunc('{view}', {first})::DATE AND {end}"
        query = f"SELECT {bucket} AS bucket, id, {value} FROM ({source}) AS r WHERE {within} GROUP BY 1, 2"
    kind = "kind INCREMENTAL_BY_TIME_RANGE (time_column bucket)"
    return f"MODEL (name tally.{name}, {kind}, cron '@daily');\n\n{query}\n"
