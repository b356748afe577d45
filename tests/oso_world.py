"""A tiny world for definitions in OSO's style: events, memberships, and the fixture project built over them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import duckdb

from tallystick.compiler.contract import model_dependencies
from tallystick.compiler.definition_context import DefinitionContext, definition_context
from tallystick.compiler.model import Model, TimeView
from tallystick.compiler.plan import plan
from tallystick.compiler.sql_definition import compile_definition, render_definition
from tallystick.definitions.graph import in_order
from tallystick.definitions.metric import Metric, SqlQuery, Views
from tallystick.definitions.project import Project, Settings
from tallystick.definitions.read_python import read_registry
from tallystick.sql.calendar import floor_date, window_start

ROOT = Path(__file__).parent / "fixtures" / "oso"
START, END = date(2023, 12, 27), date(2024, 2, 20)
PROJECTS = [("a1", "p1"), ("a1", "p2"), ("a2", "p1"), ("a2", "p1"), ("a3", None), ("a5", "p3")]
COLLECTIONS = [("p1", "c1"), ("p2", "c1"), ("p2", "c2"), ("p3", None)]
SOURCES = ("events_daily", "events_timed")
Event = tuple[date, str, str, str, str, int]


def events(seed: int = 1, count: int = 400) -> list[Event]:
    """Return day, type, source, artifact, person, amount of random events; some days and artifacts have none."""
    random = Random(seed)
    days = (END - START).days
    kinds = ["STARRED", "COMMIT_CODE", "ISSUE_OPENED", "FEES"]
    return [
        (
            START + timedelta(days=random.randrange(days)),
            random.choice(kinds),
            random.choice(["GITHUB", "FORGE"]),
            random.choice(["a1", "a2", "a3", "a4", "a5"]),
            random.choice(["u1", "u2", "u3"]),
            random.randrange(1, 5),
        )
        for _ in range(count)
    ]


def connect(rows: Iterable[Event] = (), timed: Iterable[tuple[datetime, str, str]] = ()) -> duckdb.DuckDBPyConnection:
    """Return a database with the tables that the fixture's definitions read."""
    con = duckdb.connect()
    con.execute(
        "CREATE SCHEMA oso;"
        "CREATE TABLE oso.events_daily (bucket_day DATE, event_type TEXT, event_source TEXT, to_artifact_id TEXT,"
        " from_artifact_id TEXT, amount INT);"
        "CREATE TABLE oso.events_timed (time TIMESTAMP, event_source TEXT, to_artifact_id TEXT);"
        "CREATE TABLE oso.artifacts_by_project_v1 (artifact_id TEXT, project_id TEXT);"
        "CREATE TABLE oso.projects_by_collection_v1 (project_id TEXT, collection_id TEXT);"
        "CREATE TABLE oso.first_days (artifact_id TEXT, first_day DATE)"
    )
    for table, data in (
        ("events_daily", list(rows)),
        ("events_timed", list(timed)),
        ("artifacts_by_project_v1", PROJECTS),
        ("projects_by_collection_v1", COLLECTIONS),
    ):
        if data:
            con.executemany(f"INSERT INTO oso.{table} VALUES ({', '.join('?' * len(data[0]))})", data)
    con.execute("INSERT INTO oso.first_days SELECT to_artifact_id, min(bucket_day) FROM oso.events_daily GROUP BY 1")
    for entity, keys in (("artifact", "to_artifact_id"), ("project", "project_id")):
        joined = "" if entity == "artifact" else "JOIN oso.artifacts_by_project_v1 ON artifact_id = to_artifact_id"
        con.execute(
            f"CREATE TABLE oso.first_events_to_{entity} AS SELECT min(bucket_day) first_time, event_source, "
            f"from_artifact_id, {keys} AS to_{entity}_id FROM oso.events_daily {joined} GROUP BY 2, 3, 4"
        )
    return con


def members(entity: str) -> dict[str, set[str]]:
    """Return the distinct entities each artifact belongs to."""
    found: dict[str, set[str]] = defaultdict(set)
    for artifact, project in PROJECTS:
        if project is None:
            continue
        if entity == "project":
            found[artifact].add(project)
        found[artifact] |= {c for p, c in COLLECTIONS if p == project and c is not None and entity == "collection"}
    if entity == "artifact":
        return {artifact: {artifact} for artifact in ("a1", "a2", "a3", "a4", "a5")}
    return found


def samples(day: date, time: TimeView, end: date = END) -> list[date]:
    """Return the sample dates that a row of a day belongs to, over a run up to `end`."""
    if time.grain is not None:
        return [floor_date(day, time.grain)]
    if time.window is None:
        return [end - timedelta(days=1)]
    ticks = (START + timedelta(days=n) for n in range((end - START).days))
    return [tick for tick in ticks if window_start(tick, time.window) <= day <= tick]


def grouped(
    rows: Iterable[Event], entity: str, time: TimeView, value: Callable[[list[Event]], Any]
) -> dict[tuple[Any, ...], Any]:
    """Group events by sample date, source and entity, by plain loops."""
    groups: dict[tuple[Any, ...], list[Event]] = defaultdict(list)
    belongs = members(entity)
    for row in rows:
        for group in belongs.get(row[3], ()):
            for sample in samples(row[0], time):
                groups[(sample, row[2], group)].append(row)
    return {key: value(found) for key, found in groups.items()}


def project(compat: str | None = None, **metrics: Metric) -> Project:
    """Return the fixture's registry as a project, or one of the given metrics."""
    if metrics:
        return Project(root=".", settings=Settings(compat=compat), metrics={m.name: m for m in metrics.values()})
    found, _ = read_registry(ROOT / "metrics_factories.py", ROOT)
    start = datetime(2023, 12, 27, tzinfo=UTC)
    settings = Settings(compat=compat, dialect="trino", start=start)
    return Project(root=ROOT.as_posix(), settings=settings, metrics={metric.name: metric for metric in found})


def sql_metric(sql: str, name: str = "m", *, views: Views | None = None, **options: Any) -> Metric:
    """Return a metric of a query written for artifacts, counted for all three levels."""
    query = SqlQuery(sql=sql, dialect="duckdb", sources=SOURCES, **options)
    return Metric(name=name, definition=query, views=views or Views(entities=("artifact", "project", "collection")))


def context(of: Project, dialect: str = "duckdb") -> DefinitionContext:
    """Return the context of a project whose tables live in the schema of the fixture."""
    return definition_context(of, dialect, schema="oso")


def text(metric: Metric, model: Model, of: DefinitionContext, **dates: Any) -> str:
    """Return a model's SQL."""
    return render_definition(compile_definition(metric, model, of, **dates), of.dialect)


def build(con: duckdb.DuckDBPyConnection, of: Project, start: date = START, end: date = END) -> None:
    """Create the table of every model of a project, peers first."""
    around = context(of)
    models = {model.name: model for model in plan(of)}
    order = in_order(model_dependencies(list(of.metrics.values()), around))
    for name in order:
        model = models[name]
        query = text(of.metrics[model.metric], model, around, start=start, end=end)
        con.execute(f"CREATE TABLE oso.{name} AS {query}")


def table(con: duckdb.DuckDBPyConnection, name: str, entity: str) -> dict[tuple[Any, ...], float]:
    """Return the amounts of a table by sample date, source and entity."""
    query = f"SELECT metrics_sample_date, event_source, to_{entity}_id, amount FROM oso.{name}"
    return {(day, source, key): amount for day, source, key, amount in con.execute(query).fetchall()}
