"""Measure compilation: planning, loading and rendering of large projects, cold and warm.

`python bench/compile.py` prints JSON rows `{name, value, unit, goal, ok, detail}`; values are CPU seconds of a process
of its own unless the name says otherwise, the median of several rounds. `--sqlmesh PYTHON` names the interpreter of an
environment with SQLMesh and lets it load the same models for comparison; `--rounds N` sets the number of rounds.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

ENTITIES = ("artifact", "project", "collection")
GRAINS = ("day", "week", "month")
WINDOWS = (30, 90, 180)
MODELS_PER_METRIC = len(ENTITIES) * (len(GRAINS) + len(WINDOWS) + 1)

_SETTINGS = """
[project]
name = "bench"
as_of = 2026-01-01T00:00:00Z
start = 2020-01-01

[warehouse]
engine = "duckdb"

[defaults]
entities = ["artifact", "project", "collection"]
grains = ["day", "week", "month"]
rolling = [30, 90, 180]
all_time = true

[sources.events]
table = "events"
time = "time"
entities = { artifact = "to_artifact_id" }
dimensions = ["event_type"]

[sources.events.columns]
to_artifact_id = { type = "text" }
from_artifact_id = { type = "text" }
event_source = { type = "text" }
event_type = { type = "text" }
amount = { type = "number" }
time = { type = "timestamp" }

[sources.events.filters]
commits = "event_type = 'COMMIT_CODE'"
github = "event_source = 'GITHUB'"

[sources.artifacts_by_project]
table = "artifacts_by_project"

[sources.projects_by_collection]
table = "projects_by_collection"

[entities.artifact]
rolls_up_to = "project"
through = "artifacts_by_project"

[entities.project]
rolls_up_to = "collection"
through = "projects_by_collection"
"""

_EXPRESSIONS = (
    "count(*)",
    "sum(amount)",
    "count(distinct from_artifact_id)",
    "avg(amount)",
    "sum(amount) / count(distinct from_artifact_id)",
    "max(amount)",
    "count(*) filter (where amount > {index})",
    "sum(case when event_type = 'KIND_{index}' then amount end)",
)

_QUERY = """
select
  @metrics_sample_date(events.time) as metrics_sample_date,
  events.event_source,
  events.to_artifact_id,
  '' as from_artifact_id,
  @metric_name() as metric,
  {aggregate} as amount
from events
where
  events.event_type in ('KIND_{index}', 'KIND_{other}')
  and events.time between @metrics_start('TIMESTAMP') and @metrics_end('TIMESTAMP')
group by 1, 2, 3, 4, 5
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure and, where there is one, the most (in its unit) it may be."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    ok: bool | None = None
    detail: str = ""


def write_native(folder: Path, metrics: int) -> None:
    """Write a project of expressions on one source, 21 models per metric."""
    text = [_SETTINGS]
    for index in range(metrics):
        expression = _EXPRESSIONS[index % len(_EXPRESSIONS)].format(index=index)
        text.append(
            f'[metrics.metric_{index}]\nsource = "events"\nexpr = "{expression}"\n'
            f'where = ["commits", "event_source <> \'SOURCE_{index}\'"]\n'
            f'description = "Metric {index} of the benchmark."\ntags = ["bench"]\n'
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tally.toml").write_text("\n".join(text), encoding="utf-8")


def write_sql(folder: Path, metrics: int) -> None:
    """Write a project of SQL definitions with macros, one file each, 21 models per metric."""
    (folder / "metrics").mkdir(parents=True, exist_ok=True)
    text = [_SETTINGS]
    for index in range(metrics):
        aggregate = ("count(*)", "sum(events.amount)", "count(distinct events.from_artifact_id)")[index % 3]
        query = _QUERY.format(index=index, other=index + 1, aggregate=aggregate)
        (folder / "metrics" / f"metric_{index}.sql").write_text(query, encoding="utf-8")
        text.append(f'[metrics.metric_{index}]\nref = "metric_{index}.sql"\nsources = ["events"]\n')
    (folder / "tally.toml").write_text("\n".join(text), encoding="utf-8")


_PRELUDE = """
import json, resource, sys, time
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
folder = sys.argv[1]
"""

_PLAN = """
from tallystick.definitions.load import load
from tallystick.compiler.plan import plan
project = load(folder)
assert not project.errors, project.errors[:3]
before, wall = cpu(), time.perf_counter()
models = plan(project)
names = {model.name for model in models}
print(json.dumps({"cpu": cpu() - before, "wall": time.perf_counter() - wall, "models": len(names)}))
"""

_LOAD = """
import sqlglot
from tallystick.definitions.load import load
before, wall = cpu(), time.perf_counter()
project = load(folder)
print(json.dumps({"cpu": cpu() - before, "wall": time.perf_counter() - wall, "models": len(project.metrics)}))
"""

_RENDER_ALL = """
before, wall = cpu(), time.perf_counter()
import io, contextlib
from tallystick.cli.main import run
out = io.StringIO()
with contextlib.redirect_stdout(out):
    assert run(["render", "--all", "--full", "--format", "json", "-p", folder]) == 0
spent, wall = cpu() - before, time.perf_counter() - wall
rows = json.loads(out.getvalue())
print(json.dumps({"cpu": spent, "wall": wall, "models": len(rows),
    "characters": sum(len(row["sql"]) for row in rows), "parsed": "sqlglot" in sys.modules}))
"""

_COMMAND = """
before, wall = cpu(), time.perf_counter()
import io, contextlib
from tallystick.cli.main import run
out = io.StringIO()
with contextlib.redirect_stdout(out):
    assert run(["render", "metric_0", "--grain", "week", "-p", folder]) == 0
loaded = [name for name in ("pyarrow", "duckdb", "pydantic", "sqlglot") if name in sys.modules]
print(json.dumps({"cpu": cpu(), "wall": time.perf_counter() - wall, "models": 1, "loaded": loaded}))
"""

_SQLMESH = """
import time
before, wall = cpu(), time.perf_counter()
from sqlmesh import Context
context = Context(paths=[folder])
children = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"cpu": cpu() - before + children.ru_utime + children.ru_stime,
    "wall": time.perf_counter() - wall, "models": len(context.models)}))
"""


def run(code: str, *arguments: str, python: str = sys.executable) -> dict[str, Any]:
    """Run code in a new process and return the JSON of its last line."""
    done = subprocess.run(
        [python, "-c", _PRELUDE + textwrap.dedent(code), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def forget(folder: Path) -> None:
    """Remove what has been kept for a project, so that the next run is cold."""
    shutil.rmtree(folder / ".tally", ignore_errors=True)


def measure(name: str, goal: float, code: str, folder: Path, rounds: int, *, cold: bool = False) -> Row:
    """Run code for a project in new processes and return the median CPU seconds; the first warm round is not counted."""
    if not cold:
        run(code, str(folder))
    found = []
    for _ in range(rounds):
        if cold:
            forget(folder)
        found.append(run(code, str(folder)))
    cpu = [one["cpu"] for one in found]
    extra = {key: value for key, value in found[-1].items() if key not in ("cpu", "wall")}
    detail = f"{min(cpu):.3f}-{max(cpu):.3f} over {rounds} rounds, wall {median(one['wall'] for one in found):.3f} s, "
    value = round(median(cpu), 4)
    return Row(name, value, "CPU s", goal, value < goal, detail + json.dumps(extra))


def benchmark(work: Path, *, rounds: int = 5, sqlmesh: str | None = None) -> Iterator[Row]:
    """Yield every figure; projects are written below `work`."""
    native, queries = work / "native", work / "sql"
    thousand = work / "thousand"
    write_native(native, 100)
    write_sql(queries, 100)
    write_native(thousand, 1000)
    # 1,000 models: 48 metrics of 21 models are 1,008.
    models = work / "models"
    write_native(models, 48)
    yield measure("compile.plan 1,008 models", 0.3, _PLAN, models, rounds)
    yield measure("compile.load 1,000 metrics", 0.5, _LOAD, thousand, rounds)
    yield measure("compile.load and render 1,008 models, cold", 3.0, _RENDER_ALL, models, rounds, cold=True)
    yield measure("compile.load and render 1,008 models, warm", 0.3, _RENDER_ALL, models, rounds)
    for kind, folder in (("expressions", native), ("SQL definitions", queries)):
        cold = measure(
            f"compile.load and render 2,100 models of {kind}, cold", 3.0, _RENDER_ALL, folder, rounds, cold=True
        )
        yield cold
        yield measure(f"compile.load and render 2,100 models of {kind}, warm", 0.3, _RENDER_ALL, folder, rounds)
    yield measure("compile.tally render, cold", 0.5, _COMMAND, models, rounds, cold=True)
    yield measure("compile.tally render, warm", 0.3, _COMMAND, models, rounds)
    if sqlmesh is not None:
        yield from _against_sqlmesh(sqlmesh, queries, work / "sqlmesh", cold.value)


_EXPORT = """
from pathlib import Path
from tallystick.service.render import render_project
from tallystick.service.render_request import RenderRequest
target = Path(sys.argv[2])
for model in render_project(Path(folder), RenderRequest(every=True, full=True)).models:
    grain = "MODEL (name tally.%s, kind FULL, dialect duckdb);\\n\\n" % model.model
    (target / "models" / (model.model + ".sql")).write_text(grain + model.sql + ";\\n", encoding="utf-8")
print(json.dumps({}))
"""

_SQLMESH_CONFIG = """gateways:
  default:
    connection: {type: duckdb}
model_defaults: {dialect: duckdb, start: '2020-01-01'}
"""


def _against_sqlmesh(python: str, folder: Path, target: Path, ours: float) -> Iterator[Row]:
    """Let SQLMesh load the same 2,100 models, each as one file of plain SQL."""
    (target / "models").mkdir(parents=True, exist_ok=True)
    (target / "config.yaml").write_text(_SQLMESH_CONFIG, encoding="utf-8")
    run(_EXPORT, str(folder), str(target))
    for state in ("cold", "warm"):
        found = run(_SQLMESH, str(target), python=python)
        detail = f"{found['models']} models, wall {found['wall']:.1f} s, {found['cpu'] / ours:.1f} times our cold run"
        yield Row(f"compile.SQLMesh load, {state}", round(found["cpu"], 2), "CPU s", detail=detail)


def main() -> int:
    """Print every figure as it is known; status 1 if one misses its goal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sqlmesh", metavar="PYTHON", help="interpreter of an environment with SQLMesh")
    options = parser.parse_args()
    missed = False
    with tempfile.TemporaryDirectory(prefix="tally-bench-") as work:
        for row in benchmark(Path(work), rounds=options.rounds, sqlmesh=options.sqlmesh):
            missed |= row.ok is False
            sys.stdout.write(json.dumps(asdict(row)) + "\n")
            sys.stdout.flush()
    sys.stderr.write(f"Python {platform.python_version()}, {platform.machine()}\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
