"""Every day after the first build: reading."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from itertools import cycle
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from bench import models, process
from bench.factory import LAST, Say
from bench.result import Result, at_most
from tallystick.compiler.plan import plan
from tallystick.engines.duckdb import DuckDBEngine
from tallystick.service.reading import Reader
from tallystick.sql.grain import Grain


def reads(folder: Path, say: Say, *, rows: int, rounds: int) -> list[Result]:
    """Read one series, the latest day and everything, from change points and from a dense table of the same rows."""
    from bench.factory import Factory

    field = Factory(folder, rows, say)
    work = field.fresh()
    say(f"build devs, {rows:,} events, to read from")
    process.run("tally", {"file": str(work), "metric": "devs", "last": LAST})
    project = models.project("devs")
    model = next(m for m in plan(project) if m.name == "devs_to_artifact_over_180_day_window")
    engine = DuckDBEngine(work)
    reader = Reader(engine, project)
    try:
        engine.execute(f'CREATE TABLE main.dense AS SELECT * FROM tally."{model.name}" ORDER BY artifact_id, bucket')
        engine.execute("CHECKPOINT")
        ids = [
            row["artifact_id"]
            for row in engine.run(
                "SELECT artifact_id FROM main.dense GROUP BY ALL ORDER BY count(*) DESC, 1 LIMIT 220 OFFSET 200"
            ).to_pylist()
        ]
        day = date.fromisoformat(LAST)
        known, new = (cycle(ids[:20]), cycle(ids[:20])), (iter(ids[20:]), iter(ids[20:]))
        pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
            "one series": (
                lambda: reader.read(model, ids=[next(known[0])]),
                lambda: engine.run(f"SELECT * FROM main.dense WHERE artifact_id = {next(known[1])} ORDER BY bucket"),
            ),
            "one series, entity met for the first time": (
                lambda: reader.read(model, ids=[next(new[0])]),
                lambda: engine.run(f"SELECT * FROM main.dense WHERE artifact_id = {next(new[1])} ORDER BY bucket"),
            ),
            "latest day": (
                lambda: reader.read(model, first=day, last=day),
                lambda: engine.run(f"SELECT * FROM main.dense WHERE bucket = DATE '{LAST}' ORDER BY bucket"),
            ),
            "full scan": (
                lambda: reader.totals(model, ["count", "sum"]),
                lambda: engine.run("SELECT count(value) AS count, sum(value) AS sum FROM main.dense"),
            ),
            "monthly averages": (
                lambda: reader.totals(model, ["avg"], per=Grain.MONTH),
                lambda: engine.run(
                    "SELECT date_trunc('month', bucket)::DATE AS bucket, avg(value) AS avg FROM main.dense GROUP BY 1 ORDER BY 1"
                ),
            ),
            "full scan of the view": (
                lambda: engine.run(f'SELECT count(*), sum(value) FROM tally."{model.name}"'),
                lambda: engine.run("SELECT count(*), sum(value) FROM main.dense"),
            ),
        }
        for known_id in ids[:20]:
            # What one series costs when its entity is known; the row below it tells what the first time does.
            reader.read(model, ids=[known_id])
            engine.run(f"SELECT * FROM main.dense WHERE artifact_id = {known_id} ORDER BY bucket")
        goals = {"one series": 1.5, "latest day": 0.3, "full scan": 1.1}
        often = {name: rounds * 8 if name.startswith("one") else rounds for name in pairs}
        return [_compare(name, *pair, goals.get(name), often[name], rows) for name, pair in pairs.items()]
    finally:
        engine.close()


def _compare(
    name: str, ours: Callable[[], Any], theirs: Callable[[], Any], goal: float | None, rounds: int, rows: int
) -> Result:
    left, right = ours().to_pydict(), theirs().to_pydict()
    if sorted(zip(*left.values(), strict=True)) != sorted(zip(*right.values(), strict=True)):
        raise AssertionError(f"reading {name} from change points differs from the dense table")
    mine, dense = [], []
    for _ in range(rounds):
        mine.append(_wall(ours))
        dense.append(_wall(theirs))
    detail = (
        f"{median(mine) * 1000:.1f} ms against {median(dense) * 1000:.1f} ms, wall, {rows:,} events, {rounds} rounds"
    )
    title, ratio = f"reads: {name}, change points / dense table", median(mine) / median(dense)
    if goal is None:
        return Result(title, round(ratio, 3), "×", None, None, detail)
    return at_most(title, ratio, "×", goal, detail)


def _wall(work: Callable[[], Any]) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started
