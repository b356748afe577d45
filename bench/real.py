"""Real data: the bundled demo, all of its models built from few readings, and built one query each."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from statistics import median
from typing import Any

import duckdb

from bench import process
from bench.factory import Say
from bench.process import Timings
from bench.result import Result, ratio, reported

Print = dict[str, tuple[int, str]]


def real(folder: Path, say: Say, *, rounds: int) -> list[Result]:
    """Build the demo both ways, in turns; every model must have the same rows."""
    cases = {"family": Timings(), "direct": Timings()}
    prints: dict[str, Print] = {}
    for _ in range(rounds):
        for case, timings in cases.items():
            say(f"demo, {case}")
            home = folder / f"demo_{case}"
            shutil.rmtree(home, ignore_errors=True)
            timings.add(process.run_module("bench.real", case, {"folder": str(home)}))
            prints.setdefault(case, _fingerprint(home / "warehouse.duckdb"))
    wrong = [name for name, found in prints["direct"].items() if prints["family"].get(name) != found]
    if wrong or len(prints["family"]) != len(prints["direct"]):
        raise AssertionError(f"the demo's models differ from their direct queries: {', '.join(wrong)}")
    ours = cases["family"]
    models = f"{len(prints['direct'])} models of 26 years of commits, merges and releases"
    return [
        reported("demo, all models", median(ours.cpu), "CPU s", f"{models}; {ours.text}"),
        ratio(
            "demo: one query per model / all models from few readings",
            cases["direct"].cpu,
            ours.cpu,
            None,
            f"{models}; one query each: {cases['direct'].text}",
        ),
    ]


def _fingerprint(file: Path) -> Print:
    """Return rows and an order-free hash per model; floats are rounded, as their sums depend on the order."""
    found: Print = {}
    with duckdb.connect(str(file), read_only=True) as connection:
        models = [row[0] for row in connection.execute("SELECT model FROM tally._models ORDER BY 1").fetchall()]
        for model in models:
            columns = connection.execute(f'DESCRIBE tally."{model}"').fetchall()
            parts = ", ".join(f'round("{c[0]}", 6)' if c[1] == "DOUBLE" else f'"{c[0]}"' for c in columns)
            row = connection.execute(
                f'SELECT count(*), bit_xor(hash({parts}))::VARCHAR FROM tally."{model}"'
            ).fetchone()
            found[model] = row or (0, "")
    return found


def build(case: str, options: dict[str, Any]) -> dict[str, Any]:
    """Build the demo in a folder, one query per model where the case says so."""
    import tallystick
    from bench.children import measured
    from tallystick.engines.capabilities import Capabilities
    from tallystick.engines.duckdb import DuckDBEngine
    from tallystick.service.demo import copy_project

    if case == "direct":
        DuckDBEngine.capabilities = property(lambda _: Capabilities())  # type: ignore[assignment,method-assign]
    folder = Path(options["folder"])
    copy_project(folder)

    def run() -> int:
        with tallystick.load(folder) as workspace:
            report = workspace.build()
        if report.failed:
            raise RuntimeError(f"{report.failed}")
        return len(report.models)

    return measured(run)


if __name__ == "__main__":
    print(json.dumps(build(sys.argv[1], json.loads(sys.argv[2]))))
