"""Every day after the first build: appending a day."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from statistics import mean, median
from typing import Any

from bench import process
from bench.data import generate
from bench.equality import Print, differences, fingerprint
from bench.factory import LAST, Say
from bench.process import Timings
from bench.result import Result, at_most, ratio, reported
from tallystick.build.one_pass.extend import CLOSES_GAPS_EVERY, TIDIES_EVERY

DAYS = 2 * TIDIES_EVERY + 1
"""At least so many days are appended: two of them tidy small tables, and the last one closes the gaps of all of them."""
LOOKBACKS = (0, 3)
ANEW = {0: 10, 10: 40}
"""How many times the work of an appended day queries over that day and so many before it have to be (performance §9)."""


@dataclass(frozen=True, slots=True)
class _Days:
    """Days to append to the events of a file, the last of which is `until`."""

    folder: Path
    data: Path
    rows: int
    count: int
    say: Say

    @property
    def until(self) -> str:
        return (date.fromisoformat(LAST) + timedelta(days=self.count)).isoformat()

    def run(self, case: str, name: str, options: dict[str, Any]) -> tuple[dict[str, Any], Path]:
        """Run a case on a copy of the events; return what it cost, and the file it left."""
        work = self.folder / name
        work.unlink(missing_ok=True)
        Path(f"{work}.wal").unlink(missing_ok=True)
        shutil.copy(self.data, work)
        return process.run(case, {"file": str(work), **options}), work


def append(
    folder: Path, say: Say, *, rows: int, rounds: int, metrics: Sequence[str] = ("stars", "devs")
) -> list[Result]:
    """Append days one by one, with and without lookback; in the end all models equal a build at once."""
    count = max(rounds, DAYS)
    data = folder / f"more_{rows}.duckdb"
    if not data.exists():
        say(f"generate {rows:,} events and {count} more days")
        generate(rows, data, extra_days=count + 1)
    days = _Days(folder, data, rows, count, say)
    return [row for metric in metrics for row in _appended(days, metric)]


def _appended(days: _Days, metric: str) -> list[Result]:
    days.say(f"tally {metric} at once")
    full, whole = days.run("tally", "whole.duckdb", {"metric": metric, "last": days.until})
    expected = fingerprint(whole, metric)
    costs: dict[int, dict[str, Any]] = {}
    for lookback in LOOKBACKS:
        days.say(f"tally {metric}, {days.count} days one by one, lookback {lookback}")
        options = {"metric": metric, "last": LAST, "days": days.count, "lookback": lookback}
        costs[lookback], work = days.run("tally", "work.duckdb", options)
        _demand_equal(expected, fingerprint(work, metric), "appending")
    shares = [_share(days, metric, lookback, cost, full["cpu"]) for lookback, cost in costs.items()]
    one = _one_day([day["cpu"] for day in costs[0]["days"]])
    return [*shares, *(_anew(days, metric, lookback, whole, one) for lookback in ANEW)]


def _one_day(each: Sequence[float]) -> float:
    """Return what a day costs in the mean; the last one is of a kind that comes once in `CLOSES_GAPS_EVERY` builds."""
    *others, closing = each
    return mean(others) + (closing - mean(others)) / CLOSES_GAPS_EVERY


def _demand_equal(expected: Print, got: Print, what: str) -> None:
    wrong = differences(expected, got)
    if wrong:
        raise AssertionError(f"{what} differs from building at once in {', '.join(wrong)}")


def _share(days: _Days, metric: str, lookback: int, cost: dict[str, Any], full: float) -> Result:
    """Return what a day costs of a full build: the mean, since some tidy tables and others do not."""
    each = Timings()
    for day in cost["days"]:
        each.add(day)
    one_day = _one_day(each.cpu)
    share = one_day / median([cost["cpu"], full])
    one = f"{one_day:.3f} CPU s in the mean of {days.count} days, with checkpoints ({each.text})"
    detail = f"{days.rows:,} events, full build {full:.2f} CPU s; one day {one}"
    if lookback:
        return reported(f"one appended day and {lookback} read again / full build, {metric}", share, "×", detail)
    return at_most(f"one appended day / full build, {metric}", share, "×", 0.03, detail)


def _anew(days: _Days, metric: str, lookback: int, whole: Path, one: float) -> Result:
    """Compare an appended day with one query per model over the last day and those before it that are read again."""
    first = (date.fromisoformat(days.until) - timedelta(days=lookback)).isoformat()
    days.say(f"{metric}, {lookback + 1} days by one query per model")
    options = {"metric": metric, "first": first, "last": days.until}
    cost, work = days.run("days_anew", "anew.duckdb", options)
    _demand_equal(
        fingerprint(whole, metric, first=first), fingerprint(work, metric, first=first), "one query per model"
    )
    name = f"one query per model over {lookback + 1} days / one appended day, {metric}"
    text = f"{days.rows:,} events; the queries of 21 models: {cost['cpu']:.2f} CPU s"
    return ratio(name, [cost["cpu"]], [one], ANEW[lookback] if metric == "devs" else None, text)
