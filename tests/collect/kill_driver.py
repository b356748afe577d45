"""Kills collectors at chosen statements and tells what they left: every collector is a fork of this process.

Arguments: project folder, store URL, first statement, step, moment. Prints one JSON line per killed collector. A project of
its own name per round keeps rounds apart in one store.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy
from sqlalchemy import event

from tallystick.collect.collector import collect
from tallystick.collect.subjects import subjects
from tallystick.definitions.load import load
from tallystick.engines.connect import connect
from tallystick.engines.duckdb import DuckDBEngine
from tallystick.store import runs, series, watermarks
from tallystick.store.database import open_store

FOLDER, URL = Path(sys.argv[1]), sys.argv[2]
FIRST, STEP, NOW = int(sys.argv[3]), int(sys.argv[4]), datetime.fromisoformat(sys.argv[5])
METRICS = ("revenue", "order_value")


def forked(work: Callable[[], object]) -> tuple[int, str]:
    """Run work in a fork; return its status and what it returned as JSON."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.write(writing, json.dumps(work(), default=str).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    return os.waitpid(child, 0)[1], answer


def pass_of(name: str, now: datetime, clock: datetime) -> list[str]:
    """Run one pass and return its errors."""
    project = load(FOLDER)
    project = replace(project, settings=replace(project.settings, name=name))
    store, engine = open_store(URL), connect(project, read_only=True)
    report = collect(store, engine, project, now=now, due_only=True, select=METRICS, clock=lambda: clock)
    engine.close()
    store.close()
    return [str(window.error) for window in report.failed]


def killed(name: str, left: int) -> Callable[[], object]:
    """Return a pass that ends at its `left`-th statement or commit, in the store or the warehouse."""

    def work() -> object:
        remaining = left

        def count(*_: object) -> None:
            nonlocal remaining
            remaining -= 1
            if remaining == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(sqlalchemy.Engine, "before_cursor_execute", count)
        event.listen(sqlalchemy.Engine, "commit", count)
        query = DuckDBEngine.run

        def run(self: DuckDBEngine, *arguments: object) -> object:
            count()
            answer = query(self, *arguments)  # type: ignore[arg-type]
            count()
            return answer

        DuckDBEngine.run = run  # type: ignore[method-assign, assignment]
        return pass_of(name, NOW, NOW)

    return work


def state(name: str) -> Callable[[], object]:
    """Return a reading of everything a project has in the store."""

    def work() -> object:
        store = open_store(URL)
        found = {}
        with store.reading() as connection:
            for subject in subjects(load(FOLDER), METRICS):
                points = series.read_points(connection, name, subject.wanted)
                found[subject.name] = {
                    "watermark": watermarks.get(connection, name, subject.wanted),
                    "points": [
                        [str(p.point.bucket), str(p.point.value), p.point.entity_id, p.point.dimension_value, p.state]
                        for p in points
                    ],
                }
            done = [
                [run.key.subject, str(run.key.start), str(run.key.end), run.status.value]
                for run in runs.list_runs(connection, name, limit=10_000)
            ]
        store.close()
        return {"series": found, "runs": done}

    return work


def tell(facts: dict[str, object]) -> None:
    """Write one line of JSON."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Kill one collector after the other, until one comes to its end."""
    status, answer = forked(lambda: pass_of("whole", NOW, NOW))
    assert (status, answer) == (0, "[]"), answer
    tell({"whole": json.loads(forked(state("whole"))[1])})
    statement = FIRST
    while True:
        name = f"killed at {statement}"
        status, _ = forked(killed(name, statement))
        if status == 0:
            return
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        after = json.loads(forked(state(name))[1])
        errors = json.loads(forked(lambda name=name: pass_of(name, NOW, NOW + timedelta(hours=2)))[1])
        final = json.loads(forked(state(name))[1])
        tell({"at": statement, "after": after, "errors": errors, "final": final})
        statement += STEP


main()
