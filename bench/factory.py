"""The factory: 21 models of one metric by every contender, in turns; and how its cost grows."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from bench import naive, process, sqlmesh_peer
from bench.data import generate
from bench.equality import Print, differences, fingerprint
from bench.process import Timings
from bench.result import Result, at_most, ratio, reported

LAST = "2025-12-31"
Say = Callable[[str], None]


class Factory:
    """One data set, the prints of its naive models, and the files contenders work on."""

    def __init__(self, folder: Path, rows: int, say: Say) -> None:
        self.folder, self.rows, self.say = folder, rows, say
        self.data = folder / f"events_{rows}.duckdb"
        self.naive: dict[str, dict[str, Any]] = {}
        self.prints: dict[tuple[str, int], Print] = {}
        if not self.data.exists():
            say(f"generate {rows:,} events")
            generate(rows, self.data)

    def fresh(self) -> Path:
        """Return a new copy of the data to build in."""
        work = self.folder / "work.duckdb"
        work.unlink(missing_ok=True)
        Path(f"{work}.wal").unlink(missing_ok=True)
        shutil.copy(self.data, work)
        return work

    def round(self, case: str, metric: str, timings: Timings, options: dict[str, Any] | None = None) -> None:
        """Run one contender once; compare all of its models with the naive ones the first time."""
        work = self.fresh()
        self.say(f"{case} {metric} {options or ''}")
        given = {"file": str(work), "metric": metric, "last": LAST, **(options or {})}
        if case == "sqlmesh":
            python = sqlmesh_peer.install()
            if python is None:
                return
            sqlmesh_peer.write(self.folder / case, work, metric, LAST)
            cost = process.run_sqlmesh(python, self.folder / case, LAST)
        else:
            cost = process.run(case, given)
        if not timings.cpu:
            self._check(case, work, metric, given)
        timings.add(cost)

    def _check(self, case: str, work: Path, metric: str, given: dict[str, Any]) -> None:
        step = given.get("step", 1)
        wrong = differences(self.oracle(metric, step), fingerprint(work, metric, step=step))
        if wrong:
            raise AssertionError(f"{case} differs from the naive models in {', '.join(wrong)}")

    def oracle(self, metric: str, step: int = 1) -> Print:
        """Return the prints of the naive models, of rolling ones on every `step`-th day; they are built once."""
        work = self.folder / f"naive_{metric}_{self.rows}.duckdb"
        if metric not in self.naive:
            self.say(f"naive models of {metric}, {self.rows:,} events")
            shutil.copy(self.data, work)
            self.naive[metric] = process.run("range_join", {"file": str(work), "metric": metric, "last": LAST})
        if (metric, step) not in self.prints:
            self.prints[metric, step] = fingerprint(work, metric, step=step)
        return self.prints[metric, step]


def factory(folder: Path, say: Say, *, rows: int, rounds: int, step: int, peers: int) -> list[Result]:
    """Run all contenders on both metrics; `peers` rounds of SQLMesh, which takes minutes, on the additive one.

    A query per model takes as long, and is run once.
    """
    field = Factory(folder, rows, say)
    results: list[Result] = []
    size = f"{rows:,} events, 21 models"
    for metric in ("stars", "devs"):
        names = ("cp", "dense", "hand", "loop", "sqlmesh", "query", "apart")
        cases: dict[str, Timings] = {name: Timings() for name in names}
        for turn in range(rounds):
            field.round("tally", metric, cases["cp"])
            field.round("tally", metric, cases["dense"], {"storage": "dense"})
            field.round("tally", metric, cases["query"], {"query": True})
            field.round("hand", metric, cases["hand"])
            field.round("day_loop", metric, cases["loop"], {"step": step})
            if metric == "stars" and turn < peers:
                field.round("sqlmesh", metric, cases["sqlmesh"])
            if turn == 0:
                field.round("tally", metric, cases["apart"], {"query": True, "apart": True})
        results += _contenders(metric, cases, size)
    results += distinct(field, rounds)
    return results


def _contenders(metric: str, cases: dict[str, Timings], size: str) -> list[Result]:
    cp, dense = cases["cp"], cases["dense"]
    scaled = cases["loop"].last.get("result", "")
    found = [
        Result(f"factory-cp, {metric}", round(median(cp.cpu), 2), "CPU s", None, None, f"{size}; {cp.text}"),
        Result(f"factory-dense, {metric}", round(median(dense.cpu), 2), "CPU s", None, None, f"{size}; {dense.text}"),
        ratio(
            f"per-day loop (OSO's way) / factory-cp, {metric}",
            cases["loop"].cpu,
            cp.cpu,
            60,
            f"{cases['loop'].text}, {scaled}",
        ),
        ratio(f"per-day loop (OSO's way) / factory-dense, {metric}", cases["loop"].cpu, dense.cpu, 12, scaled),
    ]
    best = median(cp.cpu) / median(cases["hand"].cpu)
    found.append(at_most(f"factory-cp / hand-written SQL, {metric}", best, "×", 1.15, f"hand: {cases['hand'].text}"))
    query, apart = cases["query"], cases["apart"]
    found.append(ratio(f"a whole query, model by model / together, {metric}", apart.cpu, query.cpu, None, apart.text))
    same = median(query.cpu) / median(cp.cpu)
    found.append(reported(f"a whole query / factory-cp, {metric}", same, "×", f"its 21 models: {query.text}"))
    if metric == "stars":
        peer = cases["sqlmesh"]
        if peer.cpu:
            text = f"SQLMesh {sqlmesh_peer.VERSION}, the naive SELECTs as models: {peer.text}"
            found.append(ratio("SQLMesh / factory-dense, stars", peer.cpu, dense.cpu, 8, text))
            found.append(ratio("SQLMesh / factory-cp, stars", peer.cpu, cp.cpu, 30, text))
        else:
            found.append(Result("SQLMesh / factory-cp, stars", None, "×", "≥ 30", None, "could not be installed here"))
    return found


def distinct(field: Factory, rounds: int) -> list[Result]:
    """Compare all distinct models with MetricFlow's SQL for one of them, and with the memory of a range join."""
    ours, theirs = Timings(), Timings()
    options = {"window": 180}
    for _ in range(rounds):
        work = field.fresh()
        given = {"file": str(work), "metric": "devs", "last": LAST, **options}
        field.say("metricflow devs")
        cost = process.run("metricflow", given)
        if not theirs.cpu:
            name = naive.name("devs", "artifact", "180")
            expected = field.oracle("devs")
            got = _one(work, name)
            if expected[name] != got:
                raise AssertionError("MetricFlow's SQL differs from the naive model")
        theirs.add(cost)
        field.round("tally", "devs", ours)
    join = field.naive["devs"]
    text = "the SQL it generates for a cumulative metric of 180 days, run alone (MetricFlow itself is not installed)"
    return [
        ratio("MetricFlow's SQL for one distinct model / our 21", theirs.cpu, ours.cpu, 7, f"{text}; {theirs.text}"),
        at_most(
            "peak memory / range join, devs",
            max(ours.mb) / join["mb"],
            "×",
            0.2,
            f"{max(ours.mb):.0f} MB against {join['mb']:.0f} MB; the range join took {join['cpu']:.0f} CPU s, one round",
        ),
    ]


def _one(work: Path, name: str) -> tuple[int, int, int]:
    import duckdb

    with duckdb.connect(str(work), read_only=True) as connection:
        row = connection.execute(
            f"SELECT count(*), coalesce(sum(value), 0)::BIGINT, bit_xor(hash(bucket::DATE, id::BIGINT, value::BIGINT)) FROM tally.{name}"
        ).fetchone()
    return row or (0, 0, 0)


def scale(folder: Path, say: Say, *, sizes: tuple[int, ...], rounds: int) -> list[Result]:
    """Measure how cost grows with rows and with windows."""
    found: list[Result] = []
    for metric in ("stars", "devs"):
        costs = {rows: Timings() for rows in sizes}
        fields = {rows: Factory(folder, rows, say) for rows in sizes}
        for _ in range(rounds):
            for rows, timings in costs.items():
                work = fields[rows].fresh()
                say(f"tally {metric} {rows:,}")
                timings.add(process.run("tally", {"file": str(work), "metric": metric, "last": LAST}))
        low, high = min(sizes), max(sizes)
        slope = math.log(median(costs[high].cpu) / median(costs[low].cpu)) / math.log(high / low)
        detail = "; ".join(f"{rows:,}: {timings.text}" for rows, timings in costs.items())
        found.append(at_most(f"log-log slope over rows, {metric}", slope, "", 0.9, detail))
        if metric == "devs" and high >= 10_000_000:
            found.append(at_most("devs, 10 M events", median(costs[high].cpu), "CPU s", 20, costs[high].text))
            found.append(at_most("devs, 10 M events, memory", max(costs[high].mb), "MB", 2048, costs[high].text))
    found += _windows(Factory(folder, min(sizes), say), rounds)
    return found


def _windows(field: Factory, rounds: int) -> list[Result]:
    sets = {3: (30, 90, 180), 6: (7, 14, 30, 60, 90, 180), 12: (2, 3, 7, 14, 21, 30, 45, 60, 90, 120, 150, 180)}
    costs = {count: Timings() for count in sets}
    for _ in range(rounds):
        for count, windows in sets.items():
            field.say(f"tally devs, {count} windows")
            options = {"file": str(field.fresh()), "metric": "devs", "last": LAST, "windows": windows}
            costs[count].add(process.run("tally", options))
    more = median(costs[6].cpu) / median(costs[3].cpu)
    most = median(costs[12].cpu) / median(costs[6].cpu)
    detail = "; ".join(f"{count}: {timings.text}" for count, timings in costs.items())
    return [
        at_most("6 windows / 3 windows, devs", more, "×", 1.4, detail),
        at_most("12 windows / 6 windows, devs", most, "×", 1.6, detail),
    ]
