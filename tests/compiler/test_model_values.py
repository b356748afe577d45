"""Every class of measure, every view, every entity: the direct query gives what plain Python gives."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from naive import STATISTICS, World, model_values
from tallystick.compiler.lower import lower, to_text
from tallystick.compiler.model import Model, TimeView
from tallystick.compiler.span import Span
from tallystick.definitions.entity import Entity, RollUp
from tallystick.definitions.metric import Aggregate, Formula, Metric
from tallystick.definitions.project import Project, Settings
from tallystick.definitions.source import Source
from tallystick.engines.duckdb import DuckDBEngine
from tallystick.sql.calendar import Calendar, local_date
from tallystick.sql.grain import Grain, Window, WindowUnit

BEGIN = datetime(2024, 1, 30, tzinfo=UTC)
END = datetime(2024, 4, 2, 15, tzinfo=UTC)
TIMES = [TimeView(grain=grain) for grain in Grain] + [
    TimeView(window=Window(1)),
    TimeView(window=Window(7)),
    TimeView(window=Window(400)),
    TimeView(window=Window(2, WindowUnit.WEEK)),
    TimeView(window=Window(1, WindowUnit.MONTH)),
    TimeView(),
]
ENTITIES = ["all", "artifact", "project", "collection"]

MINUTES = st.integers(0, 75 * 24 * 60) | st.integers(0, 75).map(lambda days: days * 24 * 60)
ROWS = st.lists(
    st.fixed_dictionaries({
        "time": st.none() | MINUTES.map(lambda m: (BEGIN - timedelta(days=5) + timedelta(minutes=m)).replace(tzinfo=None)),
        "artifact_id": st.sampled_from([None, "a", "b", "c"]),
        "user_id": st.sampled_from([None, 1, 2, 3]),
        "x": st.sampled_from([None, -2, 0, 1, 3, 7]),
        "country": st.sampled_from([None, "DE", "SE"]),
    }),
    max_size=14,
)  # fmt: skip
PROJECTS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("pq")), max_size=6)
COLLECTIONS = st.lists(st.tuples(st.sampled_from("pq"), st.sampled_from("yz")), max_size=4)
CALENDARS = st.sampled_from(
    [Calendar(), Calendar(week_start=7), Calendar("Europe/Berlin"), Calendar("Asia/Kathmandu", 7)]
)
WORLDS = st.builds(World, ROWS, PROJECTS, COLLECTIONS)


def project(metrics: dict[str, Metric], calendar: Calendar) -> Project:
    """Return the project all of these tests speak about."""
    return Project(
        root=".",
        settings=Settings(time_zone=calendar.zone, week_start=calendar.week_start),
        sources={
            "events": Source(name="events", table="main.events", time="time", entities={"artifact": "artifact_id", "user": "user_id"})
        },
        entities={
            "artifact": Entity(name="artifact", key="artifact_id", rolls_up_to=(RollUp(parent="project", through="main.projects", child_key="artifact_id", parent_key="project_id"),)),
            "project": Entity(name="project", key="project_id", rolls_up_to=(RollUp(parent="collection", through="main.collections", child_key="project_id", parent_key="collection_id"),)),
            "collection": Entity(name="collection", key="collection_id"),
        },
        metrics=metrics,
    )  # fmt: skip


EVENTS = pa.schema([("time", pa.timestamp("us")), ("artifact_id", pa.string()), ("user_id", pa.int64()), ("x", pa.int64()), ("country", pa.string())])  # fmt: skip


def fill(engine: DuckDBEngine, world: World) -> None:
    """Put a world into tables outside of Tallystick's schema."""
    pairs = {
        "events": pa.Table.from_pylist(world.rows, EVENTS),
        "projects": _pairs(world.projects, "artifact_id", "project_id"),
        "collections": _pairs(world.collections, "project_id", "collection_id"),
    }
    for name, rows in pairs.items():
        engine.write(f"incoming_{name}", rows)
        engine.execute(f"CREATE OR REPLACE TABLE main.{name} AS SELECT * FROM tally.incoming_{name}")


def _pairs(pairs: list[tuple[str, str]], left: str, right: str) -> pa.Table:
    schema = pa.schema([(left, pa.string()), (right, pa.string())])
    return pa.Table.from_pylist([{left: a, right: b} for a, b in pairs], schema)


@pytest.fixture(scope="module")
def engine():
    engine = DuckDBEngine()
    yield engine
    engine.close()


def computed(engine: DuckDBEngine, shop: Project, model: Model, calendar: Calendar) -> dict:
    """Return what the direct query gives, keyed like the naive values."""
    tree = lower(model, shop, Span(BEGIN, END, calendar), "duckdb")
    rows = engine.run(to_text(tree, "duckdb")).to_pylist()
    width = 1 + model.has_entity + len(model.by)
    found = {tuple(list(row.values())[:width]): row["value"] for row in rows}
    assert len(found) == len(rows), "a bucket appears twice"
    return found


def within(model: Model, world: World, calendar: Calendar) -> World:
    """Return the world without rows before the start; windows reach back, all time takes everything."""
    if model.time.window is not None or model.time.is_all_time:
        return world
    return replace(world, rows=[row for row in world.rows if row["time"] and row["time"] >= BEGIN.replace(tzinfo=None)])


@pytest.mark.parametrize("expr", STATISTICS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=WORLDS, calendar=CALENDARS, entity=st.sampled_from(ENTITIES), time=st.sampled_from(TIMES), by=st.sampled_from([(), ("country",)]))  # fmt: skip
def test_direct_query_equals_plain_python(engine, expr, world, calendar, entity, time, by):
    metric = Metric(name="m", definition=Aggregate(source="events", expr=expr))
    model = Model("m", entity, time, by)
    fill(engine, world)
    expected = model_values(
        model, STATISTICS[expr], within(model, world, calendar), calendar, local_date(BEGIN, calendar), END
    )
    assert computed(engine, project({"m": metric}, calendar), model, calendar) == pytest.approx(expected)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=WORLDS, entity=st.sampled_from(ENTITIES), time=st.sampled_from(TIMES))
def test_derived_metric_divides_operands_of_the_same_bucket(engine, world, entity, time):
    metrics = {
        "big": Metric(name="big", definition=Aggregate(source="events", expr="sum(x)", where=("x > 2",))),
        "users": Metric(name="users", definition=Aggregate(source="events", expr="count(distinct user_id)")),
        "share": Metric(name="share", definition=Formula(expr="big / users")),
    }
    model, calendar = Model("share", entity, time), Calendar()
    fill(engine, world)
    seen = within(model, world, calendar)

    def share(rows):
        users = STATISTICS["count(distinct user_id)"](rows)
        return sum(row["x"] for row in rows if (row["x"] or 0) > 2) / users if users else None

    expected = model_values(model, share, seen, calendar, BEGIN.date(), END)
    assert computed(engine, project(metrics, calendar), model, calendar) == pytest.approx(expected)
