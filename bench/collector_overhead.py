"""What a collected window costs beyond its query: 200 metrics of 24 hours, kept with watermark and run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import process_time

from bench.result import Result, at_most
from tallystick.collect.collector import collect
from tallystick.definitions.load import load
from tallystick.engines.connect import connect
from tallystick.engines.duckdb import DuckDBEngine
from tallystick.store.database import open_store

METRICS = 200
GOAL = 2.0
NOW = datetime(2026, 3, 2, tzinfo=UTC)


def overhead(folder: Path, say: Callable[[str], None], *, rounds: int) -> list[Result]:
    """Return the milliseconds per metric and window that are not spent in the warehouse."""
    say("collector overhead")
    place = folder / "overhead"
    place.mkdir()
    (place / "tally.toml").write_text(_project(), encoding="utf-8")
    project = load(place)
    project = replace(project, settings=replace(project.settings, collect=replace(project.settings.collect, first=24)))
    engine = connect(project)
    engine.execute(
        "CREATE TABLE events AS SELECT TIMESTAMP '2026-03-01' + INTERVAL (i) SECOND AS moment, i % 97 AS amount "
        "FROM range(86400) AS t(i)"
    )
    inside = _timed(engine)
    times: list[float] = []
    for number in range(rounds + 1):
        store = open_store(f"sqlite:///{place / f'tally-{number}.db'}")
        spent, began = inside[0], process_time()
        report = collect(store, engine, project, now=NOW + timedelta(minutes=1), due_only=True)
        seconds = process_time() - began - (inside[0] - spent)
        store.close()
        if report.failed or len(report.windows) != METRICS:
            return [Result("collector overhead", None, "ms", f"≤ {GOAL}", False, "windows failed")]
        if number:  # the first round imports
            times.append(seconds * 1000 / METRICS)
    engine.close()
    detail = f"{METRICS} metrics × 24 buckets into SQLite, CPU time of all but the queries, median of {rounds}"
    return [at_most("collector overhead per metric and window", median(times), "ms", GOAL, detail)]


def _timed(engine: object) -> list[float]:
    """Return a cell that adds up the seconds of CPU spent in queries of a DuckDB engine."""
    total = [0.0]
    query = DuckDBEngine.run

    def run(self: DuckDBEngine, *arguments: object) -> object:
        began = process_time()
        try:
            return query(self, *arguments)  # type: ignore[arg-type]
        finally:
            if self is engine:
                total[0] += process_time() - began

    DuckDBEngine.run = run  # type: ignore[method-assign, assignment]
    return total


def _project() -> str:
    head = '[project]\nname = "overhead"\n[sources.events]\ntable = "events"\ntime = "moment"\n'
    metrics = (
        f'[metrics.m{i}]\nsource = "events"\nexpr = "sum(amount)"\nwhere = "amount % {i + 2} < {i % 3 + 1}"\n'
        'grains = ["hour"]\n'
        for i in range(METRICS)
    )
    return head + "".join(metrics)
