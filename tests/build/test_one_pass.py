"""Whatever the one-pass build stores reads like the direct query of each model, on random small worlds."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from one_pass_world import (
    BEGIN,
    CALENDARS,
    EXPRESSIONS,
    VIEWS,
    WORLDS,
    assert_as_direct,
    build_all,
    fill,
    project,
)
from tallystick.engines.duckdb import DuckDBEngine
from tallystick.sql.calendar import Calendar

RUNS = settings(
    max_examples=int(os.environ.get("ONE_PASS_EXAMPLES", "8")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
)


@pytest.fixture
def engine():
    engine = DuckDBEngine()
    yield engine
    engine.close()


def clear(engine: DuckDBEngine) -> None:
    engine.execute("DROP SCHEMA tally CASCADE")
    engine.execute("CREATE SCHEMA tally")


@pytest.mark.parametrize("name", EXPRESSIONS)
@RUNS
@given(world=WORLDS, calendar=CALENDARS, views=VIEWS)
def test_one_metric_equals_its_direct_queries(engine, name, world, calendar, views):
    clear(engine)
    fill(engine, world)
    found = project([name], calendar, views)
    build_all(engine, found)
    assert_as_direct(engine, found)


@RUNS
@given(
    world=WORLDS,
    calendar=CALENDARS,
    views=VIEWS,
    names=st.lists(st.sampled_from(list(EXPRESSIONS)), min_size=2, max_size=4, unique=True),
)
def test_metrics_that_share_a_reading_equal_their_direct_queries(engine, world, calendar, views, names):
    clear(engine)
    fill(engine, world)
    found = project(names, calendar, views)
    build_all(engine, found)
    assert_as_direct(engine, found)


@RUNS
@given(world=WORLDS, views=VIEWS, name=st.sampled_from(["users", "total", "smallest", "per_user"]))
def test_start_of_the_project_bounds_buckets_but_not_what_windows_reach_back_to(engine, world, views, name):
    clear(engine)
    fill(engine, world)
    found = project([name], Calendar(), views, start=BEGIN.replace(month=2, day=14))
    build_all(engine, found)
    assert_as_direct(engine, found)
