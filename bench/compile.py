"""Measure compilation: planning, loading and rendering of large projects, cold and warm.

`python bench/compile.py` prints JSON rows `{name, value, unit, goal, ok, detail}`; values are CPU seconds of a process
of its own unless the name says otherwise, the median of several rounds. `--sqlmesh PYTHON` names the interpreter of an
environment with SQLMesh and lets it load the same models for comparison; `--rounds N` sets the number of rounds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
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
from tallystick.service.render_all import render_project
before, wall = cpu(), time.perf_counter()
rows = render_project(folder, full=True)
print(json.dumps({"cpu": cpu() - before, "wall": time.perf_counter() - wall, "models": len(rows),
    "process": cpu(), "pyarrow": "pyarrow" in sys.modules}))
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
    done = subprocess.run(  # noqa: S603 - code of this file
        [python, "-c", _PRELUDE + textwrap.dedent(code), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]
