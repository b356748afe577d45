"""Whatever the one-pass build stores reads like the direct query of each model, on random small worlds."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from one_pass_world import (
    BEGIN,
    CALENDARS,
    DAYS,
    EXPRESSIONS,
    VIEWS,
    WORLDS,
    assert_as_direct,
    build_all,
    fill,
    project,
    without,
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


CUTS = st.lists(st.integers(1, DAYS - 1), min_size=1, max_size=3, unique=True).map(sorted)


@pytest.mark.parametrize("name", EXPRESSIONS)
@RUNS
@given(world=WORLDS, calendar=CALENDARS, views=VIEWS, cuts=CUTS, lookback=st.integers(0, 3), hours=st.integers(0, 23))
def test_appending_in_steps_equals_building_at_once(engine, name, world, calendar, views, cuts, lookback, hours):
    clear(engine)
    fill(engine, world)
    found = project([name], calendar, views, lookback=lookback)
    for cut in cuts:
        end = BEGIN + timedelta(days=cut, hours=hours)
        build_all(engine, found, end)
        assert_as_direct(engine, found, end)
    build_all(engine, found)
    assert_as_direct(engine, found)


@pytest.mark.parametrize("name", EXPRESSIONS)
@RUNS
@given(world=WORLDS, calendar=CALENDARS, views=VIEWS, cut=st.integers(20, DAYS), data=st.data())
def test_late_early_and_vanished_rows_within_the_lookback_are_noticed(engine, name, world, calendar, views, cut, data):
    clear(engine)
    end = BEGIN + timedelta(days=cut)
    found = project([name], calendar, views, lookback=10)
    settled = (end - timedelta(days=9)).replace(tzinfo=None)
    there = [row["time"] is None or row["time"] < settled or data.draw(st.booleans()) for row in world.rows]
    later = [row["time"] is None or row["time"] < settled or data.draw(st.booleans()) for row in world.rows]
    fill(engine, without(world, there))
    build_all(engine, found, end)
    fill(engine, without(world, later))
    build_all(engine, found, end)
    assert_as_direct(engine, found, end)
    fill(engine, world)
    build_all(engine, found, end + timedelta(days=1))
    assert_as_direct(engine, found, end + timedelta(days=1))


@pytest.mark.parametrize("name", ["total", "users", "smallest", "weight_per_user"])
@RUNS
@given(world=WORLDS, views=VIEWS, data=st.data())
def test_restatement_finds_changes_of_any_age(engine, name, world, views, data):
    clear(engine)
    found = project([name], Calendar(), views, lookback=0)
    since = BEGIN + timedelta(days=data.draw(st.integers(0, DAYS)))
    there = [
        row["time"] is None or row["time"] < since.replace(tzinfo=None) or data.draw(st.booleans())
        for row in world.rows
    ]
    fill(engine, without(world, there))
    build_all(engine, found)
    fill(engine, world)
    build_all(engine, found, since=since)
    assert_as_direct(engine, found)


@RUNS
@given(world=WORLDS, other=WORLDS, views=VIEWS, name=st.sampled_from(["users", "total", "largest"]))
def test_changed_memberships_recount_the_entities(engine, world, other, views, name):
    clear(engine)
    found = project([name], Calendar(), views)
    fill(engine, world)
    build_all(engine, found, BEGIN + timedelta(days=40))
    fill(engine, replace(world, projects=other.projects, collections=other.collections))
    build_all(engine, found)
    assert_as_direct(engine, found)
