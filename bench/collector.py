"""Reading many metrics of one source: Tallystick's plan against one query each, one query for all, and by hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import duckdb

from bench import process
from bench.collector_engines import MEANS, NEEDS, filled, is_here
from bench.data import generate
from bench.process import Timings
from bench.result import Result, at_most, ratio

Say = Callable[[str], None]
Task = dict[str, Any]

CONTENDERS = ("one each", "one query", "by hand")
BREAKDOWN_CONTENDERS = ("separate", "grouping sets", "by hand")
# One query for all takes minutes beyond this, and is never the best there.
SLOW = 50


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many events of an engine are read, how often, for how many metrics; `together` in one process, to be quick."""

    rows: int
    rounds: int
    sizes: tuple[int, ...] = (1, 10, 50, 200)
    distinct: tuple[int, ...] = (1, 5, 20, 50)
    together: bool = False


FULL = {
    "duckdb": Size(rows=10_000_000, rounds=5),
    "clickhouse": Size(rows=10_000_000, rounds=2),
    "postgres": Size(rows=1_000_000, rounds=2),
}
QUICK = {
    "duckdb": Size(rows=100_000, rounds=1, sizes=(1, 10, 50), distinct=(1, 20), together=True),
    "clickhouse": Size(rows=50_000, rounds=1, sizes=(1, 50), distinct=(20,), together=True),
    "postgres": Size(rows=20_000, rounds=1, sizes=(1, 50), distinct=(20,), together=True),
}


def collector(folder: Path, say: Say, forms: dict[str, Size]) -> list[Result]:
    """Compare on every engine that is here; others are told."""
    found: list[Result] = []
    for engine, form in forms.items():
        if not is_here(engine):
            found.append(Result(f"collector, {engine}", None, "×", None, None, f"{NEEDS[engine]} is not installed"))
            continue
        with filled(engine, events(folder, say, form.rows), folder) as place:
            found += compare(place, say, engine, form)
    return found


def events(folder: Path, say: Say, rows: int) -> Path:
    """Return a DuckDB file of events, made if it is not there."""
    data = folder / f"collector_{rows}.duckdb"
    if not data.exists():
        say(f"generate {rows:,} events with a source each")
        generate(rows, data)
        with duckdb.connect(str(data)) as connection:
            # Written anew: updated rows would be slower to read than any real table.
            connection.execute(
                "CREATE TABLE sourced AS SELECT *, "
                "CASE WHEN from_artifact_id % 10 < 7 THEN 'GITHUB' ELSE 'GITLAB' END AS event_source FROM events"
            )
            connection.execute("DROP TABLE events")
            connection.execute("ALTER TABLE sourced RENAME TO events")
    return data


def compare(place: Path, say: Say, engine: str, form: Size) -> list[Result]:
    """Read metrics by hour over two years, and breakdowns by day, contenders in turns.

    Equality is checked before a timing counts.
    """
    hourly = [{"metrics": count, "distinct": False} for count in form.sizes]
    hourly += [{"metrics": count, "distinct": True} for count in form.distinct]
    daily = [{"breakdown": True, "distinct": distinct} for distinct in (False, True)]
    timings = turns(place, say, engine, form, [*hourly, *daily])
    found: list[Result] = []
    for distinct in (False, True):
        costs = {
            task["metrics"]: each for task, each in zip(hourly, timings, strict=False) if task["distinct"] is distinct
        }
        found += _results(costs, engine, form.rows, distinct=distinct)
    for task, each in zip(daily, timings[len(hourly) :], strict=True):
        found.append(_breakdown(each, engine, form.rows, distinct=bool(task["distinct"])))
    return found


def turns(place: Path, say: Say, engine: str, form: Size, work: list[Task]) -> list[dict[str, Timings]]:
    """Return what Tallystick and each contender took, round by round, in turns; raise AssertionError where they differ."""
    tasks = [_turns(task, form.rounds) for task in work]
    if form.together:
        say(f"{engine}: {len(work)} comparisons in one process")
        costs = iter(_run(place, engine, [each for group in tasks for each in group]))
        return [_checked(engine, group, [next(costs) for _ in group]) for group in tasks]
    found: list[dict[str, Timings]] = []
    for task, group in zip(work, tasks, strict=True):
        say(f"{engine}: {task}")
        found.append(_checked(engine, group, [cost for each in group for cost in _run(place, engine, [each])]))
    return found


def _turns(task: Task, rounds: int) -> list[Task]:
    contenders = BREAKDOWN_CONTENDERS if "breakdown" in task else CONTENDERS
    return [
        {**task, "case": case}
        for turn in range(rounds)
        for case in ("tally", *contenders)
        if not _is_hopeless(case, task, turn=turn)
    ]


def _checked(engine: str, tasks: list[Task], costs: list[dict[str, Any]]) -> dict[str, Timings]:
    timings: dict[str, Timings] = {}
    expected = costs[0]["result"]
    for task, cost in zip(tasks, costs, strict=True):
        if cost["result"] != expected:
            wrong = sorted(name for name in expected if cost["result"].get(name) != expected[name])
            raise AssertionError(f"{engine}: {task['case']} differs from tally in {', '.join(wrong[:5])}")
        timings.setdefault(task["case"], Timings()).add(cost)
    return timings


def _run(place: Path, engine: str, tasks: list[Task]) -> list[dict[str, Any]]:
    """Run tasks in a process of their own."""
    options = {"engine": engine, "file": str(place), "tasks": tasks}
    return process.run_module("bench.collector_cases", "turns", options)  # type: ignore[return-value]


def _is_hopeless(case: str, task: Task, *, turn: int) -> bool:
    """Tell whether a contender would take minutes or gigabytes, and never be the best (spec performance §4)."""
    if case != "one query":
        return False
    # Of distinct counts it holds a hash table of keys per hour and metric.
    return task["metrics"] > 5 if task["distinct"] else bool(turn) and task["metrics"] >= SLOW


def _named(engine: str, text: str) -> str:
    return text if engine == "duckdb" else f"{engine}: {text}"


def _results(costs: dict[int, dict[str, Timings]], engine: str, rows: int, *, distinct: bool) -> list[Result]:
    what = "distinct counts" if distinct else "metrics"
    found: list[Result] = []
    for count, timings in costs.items():
        text = f"{rows:,} events by hour"
        found.append(
            _against_best(_named(engine, f"collector, {count} {what} / best contender"), timings, engine, text)
        )
    most, last = max(costs), costs[max(costs)]
    goal = (4.0 if distinct else 8.0) if engine == "duckdb" else None
    name = _named(engine, f"one query per metric / collector, {most} {what}")
    found.append(ratio(name, last["one each"].cpu, last["tally"].cpu, goal, MEANS[engine]))
    mb = round(max(last["tally"].mb))
    found.append(Result(_named(engine, f"collector, {most} {what}, memory"), mb, "MB", None, None, last["tally"].text))
    if not distinct and {10, most} <= costs.keys() and most > 10:
        growth = median(last["tally"].cpu) / median(costs[10]["tally"].cpu)
        found.append(at_most(_named(engine, f"collector, {most} metrics / 10 metrics"), growth, "×", 3, MEANS[engine]))
    return found


def _breakdown(timings: dict[str, Timings], engine: str, rows: int, *, distinct: bool) -> Result:
    what = "sums and a distinct count" if distinct else "sums"
    text = f"{rows:,} events by day: total, two small dimensions, one of 100,000 values"
    return _against_best(_named(engine, f"breakdowns of {what} / best contender"), timings, engine, text)


def _against_best(name: str, timings: dict[str, Timings], engine: str, text: str) -> Result:
    others = {case: taken for case, taken in timings.items() if case != "tally" and taken.cpu}
    best = min(others, key=lambda case: median(others[case].cpu))
    detail = "; ".join(f"{case}: {taken.text}" for case, taken in others.items())
    text = f"{text}; {MEANS[engine]}; best is {best}; tally: {timings['tally'].text}; {detail}"
    return at_most(name, median(timings["tally"].cpu) / median(others[best].cpu), "×", 1.1, text)


def main() -> None:
    """Run on a file of events that is there already: `python -m bench.collector FILE ROUNDS [ENGINE]`."""
    file, rounds, engine = Path(sys.argv[1]), int(sys.argv[2]), (sys.argv[3:] or ["duckdb"])[0]
    form = Size(rows=int(file.stem.rsplit("_", 1)[1]), rounds=rounds)
    for row in compare(file, lambda text: print(text, file=sys.stderr), engine, form):
        print(json.dumps([row.name, row.value, row.unit, row.goal, row.ok, row.detail], ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
