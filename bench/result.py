"""Results: rows of `{name, value, unit, goal, ok, detail}`, as JSON and as a page."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results.json"
PAGE = ROOT / "docs" / "benchmarks.md"
EARLIER = "of an earlier run,"


@dataclass(frozen=True)
class Result:
    """One measured value and the goal it has to meet; `ok` is None where there is no goal or nothing was measured."""

    name: str
    value: float | None
    unit: str
    goal: str | None
    ok: bool | None
    detail: str


def ratio(name: str, slow: Sequence[float], fast: Sequence[float], goal: float | None, detail: str) -> Result:
    """Return how many times slower one contender is, round by round: the median, and the range in the detail."""
    pairs = [a / b for a, b in zip(slow, fast, strict=False)] or [float("nan")]
    middle = median(pairs)
    spread = f"{min(pairs):.1f}–{max(pairs):.1f} over {len(pairs)} rounds"
    ok = None if goal is None else middle >= goal
    return Result(name, round(middle, 2), "×", f"≥ {goal}" if goal else None, ok, f"{spread}; {detail}")


def at_most(name: str, value: float, unit: str, goal: float, detail: str) -> Result:
    """Return a value that must not exceed its goal."""
    return Result(name, round(value, 3), unit, f"≤ {goal}", value <= goal, detail)


def reported(name: str, value: float, unit: str, detail: str) -> Result:
    """Return a value that is told without a goal."""
    return Result(name, round(value, 3), unit, None, None, detail)


def with_earlier(results: Sequence[Result]) -> list[Result]:
    """Return results in the place of earlier ones of the same name, and those not measured again with their date."""
    fresh = {row.name: row for row in results}
    found: list[Result] = []
    for old in (Result(**row) for row in json.loads(RESULTS.read_text(encoding="utf-8"))):
        row = fresh.pop(old.name, None)
        dated = old.detail if EARLIER in old.detail else f"{EARLIER} {_date_of_page()}; {old.detail}"
        found.append(row or replace(old, detail=dated))
    return [*found, *fresh.values()]


def _date_of_page() -> str:
    return re.search(r" on (\d{4}-\d\d-\d\d) in ", PAGE.read_text(encoding="utf-8"))[1]  # type: ignore[index]


def write(results: Sequence[Result], form: str, seconds: float) -> None:
    """Write bench/results.json and docs/benchmarks.md; `form` is the command that was run."""
    head = f"Written by `{form}` on {datetime.now(UTC):%Y-%m-%d} in {seconds:.0f} s. {_machine()} {_versions()}"
    if any(EARLIER in row.detail for row in results):
        head += f" Rows that say “{EARLIER}” were not measured again."
    RESULTS.write_text(json.dumps([asdict(r) for r in results], indent=1, ensure_ascii=False) + "\n")
    page = [
        "# Benchmarks",
        "",
        head,
        "",
        "Contenders run in processes of their own, in turns, with two threads; a ratio is the median of the ratios of "
        "its rounds, over CPU seconds (user and system, children included). A timing counts only after every model of "
        "the contender had the same rows as the naive SELECTs on the same data. ✓ goal met, ✗ missed, – not a goal or "
        "not measured.",
        "",
        "| | value | goal | | how |",
        "|---|---|---|---|---|",
    ]
    for row in results:
        mark = {True: "✓", False: "✗", None: "–"}[row.ok]
        value = "not run" if row.value is None else f"{row.value:g} {row.unit}"
        page.append(f"| {row.name} | {value} | {row.goal or ''} | {mark} | {row.detail} |")
    PAGE.write_text("\n".join(page) + "\n")


def _machine() -> str:
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[2]
    return f"{os.cpu_count()} cores, {pages:.0f} GB, {platform.system()} {platform.machine()}; load average {load:.1f}."


def _versions() -> str:
    names = ("duckdb", "sqlglot", "pyarrow")
    return f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in names) + "."
