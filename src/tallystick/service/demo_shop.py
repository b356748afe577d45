"""The shop demo: rows made by SQL, every metric collected into the store, and what the store says then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import sqlglot

import tallystick
from tallystick.compiler.plan import time_views
from tallystick.definitions.metric import Metric
from tallystick.errors import EngineError, ProjectError
from tallystick.service.workspace import Workspace, load

BUNDLED = Path(tallystick.__file__).parent / "demo_shop"
ROWS = "rows.sql"
TABLES = frozenset({"users", "app_events", "orders"})
HISTORY = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """The newest values of a collected series, oldest first; `of` is the thing they belong to, where it is one of many."""

    metric: Metric
    grain: str
    of: str | None
    bucket: date | datetime | None
    values: tuple[float | None, ...]
    failed: str | None = None

    @property
    def value(self) -> float | None:
        """Return the newest value."""
        return self.values[-1] if self.values else None

    @property
    def change(self) -> float | None:
        """Return the relative change against the value seven days earlier, where there is one to speak of."""
        week = 7 * (24 if self.grain == "hour" else 1)
        before = self.values[-1 - week] if len(self.values) > week else None
        return None if self.value is None or not before else self.value / before - 1


def make_rows(folder: Path) -> int:
    """Write the shop's tables into its DuckDB file unless they are there, and return how many rows they hold.

    Raise ProjectError if the SQL is missing, or EngineError.
    """
    from tallystick.engines.duckdb import DuckDBEngine

    try:
        text = (folder / ROWS).read_text(encoding="utf-8")
    except OSError as error:
        raise ProjectError(f"{folder / ROWS} cannot be read: {error.strerror}", hint="choose another --dir") from error
    engine = DuckDBEngine(folder / "warehouse.duckdb")
    try:
        if not _has_rows(engine):
            with engine.transaction():
                for statement in _statements(text):
                    engine.execute(statement)
        counts = engine.rows(" UNION ALL ".join(f"SELECT count(*) AS n FROM {table}" for table in sorted(TABLES)))
    finally:
        engine.close()
    return sum(int(row["n"]) for row in counts)


def _has_rows(engine: object) -> bool:
    try:
        for table in TABLES:
            engine.columns(table)  # type: ignore[attr-defined]
    except EngineError:
        return False
    return True


def _statements(text: str) -> list[str]:
    """Split a script at its semicolons, as DuckDB's own tokens tell them from those in texts and comments."""
    found, start = [], 0
    for token in sqlglot.tokenize(text, dialect="duckdb"):
        if token.text == ";":
            found.append(text[start : token.start])
            start = token.end + 1
    return [statement for statement in (*found, text[start:]) if statement.strip()]


def collect(folder: Path) -> tuple[str, Sequence[Latest], float]:
    """Collect every metric of the shop and return its name, the newest values of each, and how long it took."""
    with load(folder) as workspace:
        report = workspace.collect()
        failed = {window.wanted.metric: window.error for window in report.failed}
        shown = [metric for metric in workspace.metrics.values() if metric.enabled and not metric.intermediate]
        latest = [_latest(workspace, metric, failed.get(metric.name)) for metric in shown]
        return workspace.project.settings.name, latest, report.seconds


def _latest(workspace: Workspace, metric: Metric, failed: str | None) -> Latest:
    """Return the newest values of a metric at its finest grain."""
    views = time_views(metric.views, workspace.project.settings.views)
    grain = next((view.grain.value for view in views if view.grain is not None), "day")
    entity = metric.views.entities[0] if metric.views.entities and metric.kind == "sql" else None
    rows = workspace.series(metric.name, grain=grain, entity=entity).to_pylist()
    of = None
    if rows and entity is not None:
        key = workspace.project.entities[entity].key
        of = max(sorted({row[key] for row in rows}), key=lambda one: sum(row[key] == one for row in rows))
        rows = [row for row in rows if row[key] == of]
    rows = rows[-HISTORY * (24 if grain == "hour" else 1) :]
    values = tuple(None if row["value"] is None else float(row["value"]) for row in rows)
    bucket = rows[-1]["bucket"] if rows else None
    return Latest(metric=metric, grain=grain, of=of, bucket=bucket, values=values, failed=failed)
