"""`python -m bench` runs the full form, `--quick` the short one; `--only NAME…` some suites, `--rounds`, `--rows`.

With `--only`, rows of other suites are kept as they are, with the day they were measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from bench import append, collector, collector_overhead, factory, reads, real, result, sqlmesh_peer
from bench.process import ROOT
from bench.result import Result


@dataclass(frozen=True)
class Form:
    """How large and how often."""

    name: str
    rows: int
    sizes: tuple[int, ...]
    large: int
    rounds: int
    peers: int
    step: int
    least: int
    """Rounds of what takes moments, whatever is asked for."""


FULL = Form("bench", 1_000_000, (1_000_000, 3_000_000, 10_000_000), 10_000_000, 5, 5, 16, 3)
QUICK = Form("bench-quick", 50_000, (50_000, 100_000), 100_000, 1, 1, 365, 1)

LONG = ("real",)
"""What the short form leaves out: real data cannot be made smaller."""


def main() -> None:
    """Run the suites and write bench/results.json and docs/benchmarks.md."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--rows", type=int)
    asked = parser.parse_args()
    form = QUICK if asked.quick else FULL
    rounds, rows = asked.rounds or form.rounds, asked.rows or form.rows
    started = perf_counter()

    def say(text: str) -> None:
        print(f"{perf_counter() - started:7.1f} s  {text}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="tally-bench-") as name:
        folder = Path(name)
        suites: dict[str, Callable[[], list[Result]]] = {
            "factory": lambda: factory.factory(
                folder, say, rows=rows, rounds=rounds, step=form.step, peers=min(form.peers, rounds)
            ),
            "scale": lambda: factory.scale(folder, say, sizes=form.sizes, rounds=1 if asked.quick else rounds),
            "append": lambda: append.append(folder, say, rows=form.large, rounds=max(form.least, rounds)),
            "reads": lambda: reads.reads(folder, say, rows=form.large, rounds=max(form.least, rounds)),
            "real": lambda: real.real(folder, say, rounds=2),
            "collector": lambda: collector.collector(folder, say, collector_sizes(asked)),
            "overhead": lambda: collector_overhead.overhead(folder, say, rounds=max(form.least, rounds)),
            "compile": lambda: compiling(say, rounds=1 if asked.quick else rounds, peer=not asked.quick),
        }
        results: list[Result] = []
        for suite, work in suites.items():
            if suite in asked.only or not (asked.only or (asked.quick and suite in LONG)):
                found = work()
                results += [without_goal(row) for row in found] if asked.quick and suite != "compile" else found
                if not asked.only:
                    result.write(results, f"make {form.name}", perf_counter() - started)
    if asked.only:
        command = f"python -m bench{' --quick' * asked.quick} --only {' '.join(asked.only)}"
        result.write(result.with_earlier(results), command, perf_counter() - started)
    for row in results:
        mark = {True: "ok  ", False: "MISS", None: "    "}[row.ok]
        print(f"{mark} {row.name}: {row.value} {row.unit} ({row.goal or 'no goal'})  {row.detail}")


def collector_sizes(asked: argparse.Namespace) -> dict[str, collector.Size]:
    """Return how much the collector reads on each engine; `--rounds` and `--rows` are for all of them."""
    forms = collector.QUICK if asked.quick else collector.FULL
    return {
        engine: replace(form, rows=asked.rows or form.rows, rounds=asked.rounds or form.rounds)
        for engine, form in forms.items()
    }


def without_goal(row: Result) -> Result:
    """Return a result of the short form: goals are set for the sizes of the full one, below them fixed costs rule."""
    goal = None if row.goal is None else f"{row.goal} (full form)"
    return replace(row, goal=goal, ok=None)


def compiling(say: Callable[[str], None], *, rounds: int, peer: bool) -> list[Result]:
    """Run bench/compile.py, in the full form with SQLMesh beside it."""
    say("compile")
    command = [sys.executable, str(ROOT / "bench" / "compile.py"), "--rounds", str(rounds)]
    python = sqlmesh_peer.install() if peer else None
    if python is not None:
        command += ["--sqlmesh", str(python)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if not rows:
        reason = (done.stderr.strip() or "no rows").splitlines()[-1]
        return [Result("compile", None, "s", None, None, f"bench/compile.py failed: {reason}")]
    return [Result(**{**row, "goal": None if row["goal"] is None else f"{row['goal']:g}"}) for row in rows]


if __name__ == "__main__":
    main()
