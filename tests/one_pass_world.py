"""Small random worlds for the one-pass build, and the comparison of what it stored with the direct queries."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from tallystick.build.one_pass.build import build_family
from tallystick.compiler.aggregate_model import N
from tallystick.compiler.lower import lower, to_text
from tallystick.compiler.model import Model
from tallystick.compiler.one_pass.family import families
from tallystick.compiler.plan import plan
from tallystick.compiler.span import Span
from tallystick.definitions.entity import Entity, RollUp
from tallystick.definitions.metric import Aggregate, Metric, Views
from tallystick.definitions.project import Project, Settings
from tallystick.definitions.source import Source
from tallystick.engines.duckdb import DuckDBEngine
from tallystick.sql.calendar import Calendar
from tallystick.sql.grain import Grain, Window, WindowUnit

BEGIN = datetime(2024, 1, 29, tzinfo=UTC)
DAYS = 75
END = datetime(2024, 4, 12, 15, tzinfo=UTC)
NOW = datetime(2024, 5, 1, tzinfo=UTC)

EXAMPLES = int(os.environ.get("ONE_PASS_EXAMPLES", "8"))
RUNS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
)
FEW_RUNS = settings(RUNS, max_examples=max(1, EXAMPLES * 3 // 8))
"""For tests that are run for each of many expressions."""

EXPRESSIONS = {
    "events": "count(*)",
    "valued": "count(x)",
    "total": "sum(x)",
    "price": "sum(price)",
    "weight": "sum(weight)",
    "smallest": "min(x)",
    "largest": "max(weight)",
    "any_big": "bool_or(x > 2)",
    "mean": "avg(x)",
    "spread": "stddev(x)",
    "users": "count(distinct user_id)",
    "names": "count(distinct name)",
    "pairs": "count(distinct (user_id, name))",
    "big_users": "count(distinct user_id) filter (where x > 2)",
    "per_user": "sum(x) / count(distinct user_id)",
    "weight_per_user": "sum(weight) / count(distinct name)",
    "two_counts": "count(distinct user_id) / count(distinct name)",
    "least_per_user": "min(x) + count(distinct user_id)",
}
WINDOWS = (
    Window(1),
    Window(7),
    Window(30),
    Window(400),
    Window(2, WindowUnit.WEEK),
    Window(1, WindowUnit.MONTH),
    Window(1, WindowUnit.QUARTER),
)
GRAINS = (Grain.DAY, Grain.WEEK, Grain.MONTH, Grain.QUARTER, Grain.HALF, Grain.YEAR)
VIEWS = st.builds(
    lambda entities, grains, rolling, by: Views(
        entities=tuple(entities), grains=tuple(grains), rolling=tuple(rolling), all_time=True, by=by
    ),
    st.lists(st.sampled_from(["all", "artifact", "project", "collection"]), min_size=1, max_size=2, unique=True),
    st.lists(st.sampled_from(GRAINS), max_size=2, unique=True),
    st.lists(st.sampled_from(WINDOWS), max_size=2, unique=True),
    st.sampled_from([(), ("country",)]),
)

_MINUTES = st.integers(0, DAYS * 24 * 60) | st.integers(0, DAYS).map(lambda days: days * 24 * 60)
TIMES = _MINUTES.map(lambda minutes: (BEGIN + timedelta(minutes=minutes)).replace(tzinfo=None))
ROWS = st.lists(
    st.fixed_dictionaries({
        "time": st.none() | TIMES,
        "artifact_id": st.sampled_from([None, "a", "b", "c"]),
        "user_id": st.sampled_from([None, 0, 1, 2, 70_000]),
        "name": st.sampled_from([None, "", "eva", "otto"]),
        "x": st.sampled_from([None, -2, 0, 1, 3, 7]),
        "price": st.sampled_from([None, 0, 1, 250]),
        "weight": st.sampled_from([None, 1.0, 2.0, -3.0]) | st.sampled_from([0.1, 0.7, 1e9]),
        "country": st.sampled_from([None, "DE", "SE"]),
        "kind": st.sampled_from(["a", "b", None]),
    }),
    max_size=16,
)  # fmt: skip
PROJECTS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("pq")), max_size=6)
COLLECTIONS = st.lists(st.tuples(st.sampled_from("pq"), st.sampled_from("yz")), max_size=4)
CALENDARS = st.sampled_from(
    [Calendar(), Calendar(week_start=7), Calendar("Europe/Berlin"), Calendar("America/New_York", 7)]
)


@dataclass(frozen=True)
class World:
    """Rows and memberships."""

    rows: list[dict[str, Any]]
    projects: list[tuple[str, str]]
    collections: list[tuple[str, str]]


WORLDS = st.builds(World, ROWS, PROJECTS, COLLECTIONS)
_TYPES = pa.schema(
    [
        ("time", pa.timestamp("us")),
        ("artifact_id", pa.string()),
        ("user_id", pa.int64()),
        ("name", pa.string()),
        ("x", pa.int64()),
        ("price", pa.decimal128(12, 2)),
        ("weight", pa.float64()),
        ("country", pa.string()),
        ("kind", pa.string()),
    ]
)


def project(
    names: Iterable[str], calendar: Calendar, views: Views, *, start: datetime | None = None, lookback: int = 3
) -> Project:
    """Return a project with some of the expressions as metrics; every second one has a filter."""
    metrics = {
        name: Metric(
            name=name,
            views=views,
            definition=Aggregate(source="events", expr=EXPRESSIONS[name], where=("kind = 'a'",) if index % 2 else ()),
        )
        for index, name in enumerate(names)
    }
    ways = {"artifact": ("project", "projects"), "project": ("collection", "collections")}
    entities = {
        name: Entity(
            name=name,
            key=f"{name}_id",
            rolls_up_to=tuple(
                RollUp(parent=parent, through=f"main.{table}", child_key=f"{name}_id", parent_key=f"{parent}_id")
                for parent, table in [ways[name]]
            )
            if name in ways
            else (),
        )
        for name in ("artifact", "project", "collection")
    }
    source = Source(name="events", table="main.events", time="time", entities={"artifact": "artifact_id"})
    clock = Settings(time_zone=calendar.zone, week_start=calendar.week_start, start=start, lookback=lookback)
    return Project(root=".", settings=clock, sources={"events": source}, entities=entities, metrics=metrics)


def clear(engine: DuckDBEngine) -> None:
    """Forget all that was built."""
    engine.execute("DROP SCHEMA tally CASCADE")
    engine.execute("CREATE SCHEMA tally")


def fill(engine: DuckDBEngine, world: World) -> None:
    """Put a world into tables outside of Tallystick's schema."""
    tables = {
        "events": pa.Table.from_pylist(world.rows, _TYPES),
        "projects": _pairs(world.projects, "artifact_id", "project_id"),
        "collections": _pairs(world.collections, "project_id", "collection_id"),
    }
    for name, rows in tables.items():
        engine.write("incoming", rows)
        engine.execute(f"CREATE OR REPLACE TABLE main.{name} AS SELECT * FROM tally.incoming")
    engine.execute("DROP TABLE tally.incoming")


def _pairs(pairs: list[tuple[str, str]], left: str, right: str) -> pa.Table:
    schema = pa.schema([(left, pa.string()), (right, pa.string())])
    return pa.Table.from_pylist([{left: a, right: b} for a, b in pairs], schema)


def build_all(engine: DuckDBEngine, found: Project, end: datetime = END, since: datetime | None = None) -> None:
    """Build every family of a project."""
    grouped, rest = families(found, plan(found))
    assert not rest
    for family in grouped:
        build_family(engine, found, family, end=end, now=NOW, since=since)


def assert_as_direct(engine: DuckDBEngine, found: Project, end: datetime = END) -> None:
    """Compare every built model with its direct query, row for row."""
    for model in plan(found):
        stored = _keyed(engine, f'SELECT * FROM tally."{model.name}"', model)
        assert stored == pytest.approx(direct(engine, found, model, end), nan_ok=True), model.name


def direct(engine: DuckDBEngine, found: Project, model: Model, end: datetime) -> dict[tuple[Any, ...], Any]:
    """Return what the direct query of a model gives, by bucket, entity, breakdown and column."""
    calendar = Calendar(found.settings.time_zone, found.settings.week_start)
    start = found.settings.start or BEGIN - timedelta(days=3)
    tree = lower(model, found, Span(start, end, calendar), "duckdb")
    return _keyed(engine, to_text(tree, "duckdb"), model)


def _keyed(engine: DuckDBEngine, sql: str, model: Model) -> dict[tuple[Any, ...], Any]:
    width = 1 + model.has_entity + len(model.by)
    rows = [{name: value for name, value in row.items() if name != N} for row in engine.run(sql).to_pylist()]
    found = {(*list(row.values())[:width], name): _number(row[name]) for row in rows for name in list(row)[width:]}
    assert len({key[:-1] for key in found}) == len(rows), f"{model.name} has a row twice"
    return found


def _number(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | float | int) else float(value)


def without(world: World, keep: Iterable[bool]) -> World:
    """Return a world with only some of its rows."""
    return replace(world, rows=[row for row, kept in zip(world.rows, keep, strict=True) if kept])
