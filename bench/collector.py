"""Reading many metrics of one source: Tallystick's plan against one query each, one query for all, and by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

import duckdb

from bench import process
from bench.data import generate
from bench.factory import Say
from bench.process import Timings
from bench.result import Result, at_most, ratio

CONTENDERS = ("one each", "one query", "by hand")
# One query for all takes minutes beyond this, and is never the best there.
SLOW = 50


def collector(
    folder: Path,
    say: Say,
    *,
    rows: int,
    rounds: int,
    sizes: tuple[int, ...] = (1, 10, 50, 200),
    distinct_sizes: tuple[int, ...] = (1, 5, 20, 50),
) -> list[Result]:
    """Read metrics by hour over two years in turns; equality is checked before a timing counts."""
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
    found: list[Result] = []
    for distinct, counts in ((False, sizes), (True, distinct_sizes)):
        costs = {count: _turns(data, say, count, distinct=distinct, rounds=rounds) for count in counts}
        found += _results(costs, rows, distinct=distinct)
    return found


def _turns(data: Path, say: Say, count: int, *, distinct: bool, rounds: int) -> dict[str, Timings]:
    timings = {case: Timings() for case in ("tally", *CONTENDERS)}
    expected: dict[str, str] | None = None
    for turn in range(rounds):
        for case, taken in timings.items():
            if turn and case == "one query" and count >= SLOW:
                continue
            if distinct and case == "one query" and count > 5:
                # A hash table of keys per hour and metric: gigabytes (spec performance §4).
                continue
            say(f"{case}, {count} {'distinct counts' if distinct else 'metrics'}")
            cost = run(case, {"file": str(data), "metrics": count, "distinct": distinct})
            expected = cost["result"] if expected is None else expected
            if cost["result"] != expected:
                wrong = sorted(name for name in expected if cost["result"].get(name) != expected[name])
                raise AssertionError(f"{case} differs from tally in {', '.join(wrong[:5])}")
            taken.add(cost)
    return timings


def run(case: str, options: dict[str, Any]) -> dict[str, Any]:
    """Run one case in a process of its own and return what it cost."""
    return process.run_module("bench.collector_cases", case, options)


def _results(costs: dict[int, dict[str, Timings]], rows: int, *, distinct: bool) -> list[Result]:
    what = "distinct counts" if distinct else "metrics"
    found: list[Result] = []
    for count, timings in costs.items():
        ours = timings["tally"]
        others = {case: taken for case, taken in timings.items() if case != "tally" and taken.cpu}
        best = min(others, key=lambda case: median(others[case].cpu))
        detail = "; ".join(f"{case}: {taken.text}" for case, taken in others.items())
        text = f"{rows:,} events by hour; best is {best}; tally: {ours.text}; {detail}"
        share = median(ours.cpu) / median(others[best].cpu)
        found.append(at_most(f"collector, {count} {what} / best contender", share, "×", 1.1, text))
    most = max(costs)
    goal = 4.0 if distinct else 8.0
    last = costs[most]
    found.append(
        ratio(f"one query per metric / collector, {most} {what}", last["one each"].cpu, last["tally"].cpu, goal, "CPU")
    )
    found.append(
        Result(f"collector, {most} {what}, memory", round(max(last["tally"].mb)), "MB", None, None, last["tally"].text)
    )
    if not distinct and {10, most} <= costs.keys() and most > 10:
        growth = median(last["tally"].cpu) / median(costs[10]["tally"].cpu)
        found.append(at_most(f"collector, {most} metrics / 10 metrics", growth, "×", 3, "CPU"))
    return found


def main() -> None:
    """Run on a file of events that is there already: `python -m bench.collector FILE ROUNDS`."""
    file, rounds = Path(sys.argv[1]), int(sys.argv[2])
    rows = int(file.stem.rsplit("_", 1)[1])
    for row in collector(file.parent, lambda text: print(text, file=sys.stderr), rows=rows, rounds=rounds):
        print(json.dumps([row.name, row.value, row.unit, row.goal, row.ok, row.detail], ensure_ascii=False))


if __name__ == "__main__":
    main()
