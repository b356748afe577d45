"""What one measured process does: `python -m bench.children CASE JSON`; it prints its own cost as one line of JSON.

Time is taken after imports and includes child processes; each case leaves its models in the file it was given.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

import duckdb

from bench import hand, naive
from bench.models import project
from tallystick.build.build import build
from tallystick.build.one_pass import state as one_pass_state
from tallystick.build.one_pass.extend import CLOSES_GAPS_EVERY
from tallystick.compiler.one_pass import readable
from tallystick.compiler.plan import plan
from tallystick.engines.duckdb import DuckDBEngine

EPOCH = date(1970, 1, 1)
THREADS = 2


def measured(work: Callable[[], Any]) -> dict[str, Any]:
    """Run work and return its CPU seconds (user and system, children included), wall seconds, peak MB and result."""
    # What imports have left is not looked through for garbage while time is taken, for no contender.
    gc.collect()
    gc.freeze()
    before, started = cpu(), perf_counter()
    result = work()
    cost = {"cpu": cpu() - before, "wall": perf_counter() - started, "result": result}
    cost["mb"] = peak_mb()
    return cost


def peak_mb() -> float:
    """Return the most memory this program has held; `ru_maxrss` counts what its parent held when it started it, too."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def cpu() -> float:
    """Return CPU seconds used so far."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def tally(options: dict[str, Any]) -> dict[str, Any]:
    """Build all models with Tallystick; with `days`, then append that many days one by one."""
    found = project(
        options["metric"],
        windows=tuple(options.get("windows", (30, 90, 180))),
        storage=options.get("storage", "change_points"),
        lookback=options.get("lookback", 3),
        is_query=options.get("query", False),
    )
    if options.get("apart"):
        readable.grouped_query = lambda *_: None
    _warm_up(options["metric"], is_query=options.get("query", False))
    engine = DuckDBEngine(Path(options["file"]))
    end = _instant(options["last"])

    def run(until: datetime) -> int:
        report = build(engine, found, plan(found), end=until, now=until)
        if options.get("apart"):
            engine.checkpoint()
        if report.failed:
            raise RuntimeError(f"{report.failed}")
        log = Path(f"{options['file']}.wal")
        if log.exists() and log.stat().st_size:
            raise RuntimeError("a build leaves what it wrote in the log, and with it a part of its cost")
        return len(report.models)

    cost = measured(lambda: run(end))
    cost["days"] = []
    days = options.get("days", 0)
    for number in range(days):
        if number == days - 1:
            # The rarest of what builds do from time to time is left to the last day.
            stored = engine.qualified(one_pass_state.STORED)
            engine.execute(f"UPDATE {stored} SET gaps = {CLOSES_GAPS_EVERY - 1}")
        until = end + timedelta(days=number + 1)
        cost["days"].append(measured(lambda until=until: run(until)))
    cost["mb"] = peak_mb()
    engine.close()
    return cost


def _warm_up(metric: str, *, is_query: bool = False) -> None:
    """Build and append a few rows, so that what is done on first use is not timed, for others neither."""
    engine, found = DuckDBEngine(), project(metric, is_query=is_query)
    for table, columns in {
        "events": "time TIMESTAMP, event_type VARCHAR, to_artifact_id BIGINT, from_artifact_id BIGINT, amount BIGINT",
        "artifacts_by_project": "artifact_id BIGINT, project_id BIGINT",
        "projects_by_collection": "project_id BIGINT, collection_id BIGINT",
    }.items():
        engine.execute(f"CREATE TABLE main.{table} ({columns})")
    for number in range(1, 4):
        for kind in ("STARRED", "COMMIT_CODE"):
            row = f"TIMESTAMP '2024-01-0{number}', '{kind}', {number}, {number}, 1"
            engine.execute(f"INSERT INTO main.events VALUES ({row})")
        end = datetime(2024, 1, number + 1, tzinfo=UTC)
        build(engine, found, plan(found), end=end, now=end)
    engine.close()


def by_hand(options: dict[str, Any]) -> dict[str, Any]:
    """Build them with the best SQL written by hand."""
    with _open(options) as connection:
        last = (date.fromisoformat(options["last"]) - EPOCH).days

        def run() -> None:
            connection.execute("BEGIN")
            hand.build(connection, options["metric"], last)
            connection.execute("COMMIT")
            connection.execute("CHECKPOINT")

        return measured(run)


def range_join(options: dict[str, Any]) -> dict[str, Any]:
    """Build them, or some `models`, one SELECT each, rolling windows by joining days with events."""
    with _open(options) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS tally")

        def run() -> None:
            for entity in options.get("entities", naive.ENTITIES):
                for view in options.get("views", naive.VIEWS):
                    query = naive.model(options["metric"], entity, view, options["last"])
                    connection.execute(f"CREATE TABLE tally.{naive.name(options['metric'], entity, view)} AS {query}")
            connection.execute("CHECKPOINT")

        return measured(run)


def day_loop(options: dict[str, Any]) -> dict[str, Any]:
    """Build them as OSO does: rolling models by one query per day, fetched as a frame and inserted.

    Only every `step`-th day is run; the cost of the rolling part is scaled up to all days.
    """
    step, last = options["step"], date.fromisoformat(options["last"])
    metric = options["metric"]
    with _open(options) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS tally")

        def plain() -> None:
            for entity in naive.ENTITIES:
                for view in ("day", "week", "month", "all"):
                    query = naive.model(metric, entity, view, options["last"])
                    connection.execute(f"CREATE TABLE tally.{naive.name(metric, entity, view)} AS {query}")

        days = [date(2024, 1, 1) + timedelta(days=n) for n in range(0, (last - date(2024, 1, 1)).days + 1, step)]

        def rolling() -> None:
            for entity in naive.ENTITIES:
                source = naive.rows(metric, entity)
                for window in (30, 90, 180):
                    table = f"tally.{naive.name(metric, entity, str(window))}"
                    connection.execute(f"CREATE TABLE {table} (bucket DATE, id BIGINT, value BIGINT)")
                    for day in days:
                        frame = connection.execute(
                            f"SELECT DATE '{day}' AS bucket, id, {naive.VALUE[metric]}::BIGINT AS value FROM ({source}) "
                            f"AS r WHERE day BETWEEN DATE '{day - timedelta(days=window - 1)}' AND DATE '{day}' GROUP BY id"
                        ).to_arrow_table()
                        connection.register("frame", frame)
                        connection.execute(f"INSERT INTO {table} SELECT * FROM frame")
                        connection.unregister("frame")
            connection.execute("CHECKPOINT")

        first, second = measured(plain), measured(rolling)
        scale = ((last - date(2024, 1, 1)).days + 1) / len(days)
        return {
            "cpu": first["cpu"] + second["cpu"] * scale,
            "wall": first["wall"] + second["wall"] * scale,
            "mb": second["mb"],
            "result": f"rolling part scaled from {len(days)} days",
        }


def days_anew(options: dict[str, Any]) -> dict[str, Any]:
    """Bring them up to a last day by one SELECT each over the days from `first` on, as incremental models are run."""
    last, metric = options["last"], options["metric"]
    first = {view: naive.bucket(view, options["first"]) for view in naive.VIEWS}
    with _open(options) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS tally")

        def run() -> None:
            for entity in naive.ENTITIES:
                for view in naive.VIEWS:
                    query = naive.model(metric, entity, view, last, first=first[view])
                    connection.execute(f"CREATE TABLE tally.{naive.name(metric, entity, view)} AS {query}")
            connection.execute("CHECKPOINT")

        return measured(run)


def metricflow(options: dict[str, Any]) -> dict[str, Any]:
    """Build one rolling distinct model with the SQL that MetricFlow generates for a cumulative metric."""
    window = options["window"]
    metric = options["metric"]
    query = f"""
        SELECT metric_time__day AS bucket, repository AS id, COUNT(DISTINCT users) AS value
        FROM (
          SELECT spine.ds AS metric_time__day, src.repository, src.users
          FROM (SELECT unnest(generate_series(DATE '2024-01-01', DATE '{options["last"]}', INTERVAL 1 DAY))::DATE AS ds) spine
          INNER JOIN (
            SELECT DATE_TRUNC('day', time) AS ds__day, to_artifact_id AS repository, from_artifact_id AS users
            FROM events WHERE event_type = '{naive.TYPE[metric]}'
          ) src ON src.ds__day <= spine.ds AND src.ds__day > spine.ds - INTERVAL {window} day
        ) joined GROUP BY metric_time__day, repository"""
    with _open(options) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS tally")
        name = naive.name(metric, "artifact", str(window))
        return measured(lambda: connection.execute(f"CREATE TABLE tally.{name} AS {query}") and None)


def _open(options: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(options["file"], config={"threads": THREADS})


def _instant(last: str) -> datetime:
    return datetime.combine(date.fromisoformat(last) + timedelta(days=1), datetime.min.time(), UTC)


CASES = {
    "tally": tally,
    "hand": by_hand,
    "range_join": range_join,
    "day_loop": day_loop,
    "days_anew": days_anew,
    "metricflow": metricflow,
}

if __name__ == "__main__":
    print(json.dumps(CASES[sys.argv[1]](json.loads(sys.argv[2]))))
