"""Whatever the one-pass build stores reads like the direct query of each model, on random small worlds."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from one_pass_world import (
    BEGIN,
    CALENDARS,
    DAYS,
    END,
    EXPRESSIONS,
    FEW_RUNS,
    NOW,
    RUNS,
    VIEWS,
    WORLDS,
    World,
    assert_as_direct,
    build_all,
    clear,
    fill,
    project,
    without,
)
from tallystick.build import state
from tallystick.build.build import build
from tallystick.build.one_pass import append, extend, late, publish
from tallystick.build.one_pass import state as one_pass_state
from tallystick.compiler.one_pass import family
from tallystick.compiler.one_pass.layout import Layout
from tallystick.compiler.plan import plan
from tallystick.compiler.sweep import entities
from tallystick.definitions.metric import Aggregate, Metric, Views
from tallystick.definitions.project import Warehouse
from tallystick.errors import EngineError
from tallystick.sql.calendar import Calendar, floor, shift
from tallystick.sql.grain import Grain, Window


@pytest.mark.parametrize("name", EXPRESSIONS)
@FEW_RUNS
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


@pytest.mark.parametrize("rows", [2, 7])
@RUNS
@given(world=WORLDS, views=VIEWS, name=st.sampled_from(["users", "total", "per_user", "two_counts"]))
def test_entities_read_a_part_at_a_time_equal_their_direct_queries(engine, monkeypatch, rows, world, views, name):
    monkeypatch.setattr(entities, "PART", rows)
    clear(engine)
    fill(engine, world)
    found = project([name], Calendar(), views)
    build_all(engine, found)
    assert_as_direct(engine, found)


@RUNS
@given(world=WORLDS, calendar=CALENDARS, views=VIEWS, name=st.sampled_from(list(EXPRESSIONS)))
def test_statements_that_build_what_is_not_narrow_build_the_same(engine, monkeypatch, world, calendar, views, name):
    monkeypatch.setattr(Layout, "is_narrow", False)
    clear(engine)
    fill(engine, world)
    found = project([name], calendar, views)
    build_all(engine, found)
    assert_as_direct(engine, found)


CUTS = st.lists(st.integers(1, DAYS - 1), min_size=1, max_size=3, unique=True).map(sorted)


@pytest.mark.parametrize("name", EXPRESSIONS)
@FEW_RUNS
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


@RUNS
@given(
    world=WORLDS,
    views=VIEWS,
    name=st.sampled_from(["users", "total", "per_user", "two_counts", "big_users"]),
    cuts=CUTS,
    lookback=st.integers(0, 3),
    ways=st.lists(st.tuples(st.sampled_from([0, append.MOST]), st.integers(1, 2)), min_size=4, max_size=4),
)
def test_days_appended_in_memory_and_by_statements_follow_each_other(
    engine, monkeypatch, world, views, name, cuts, lookback, ways
):
    clear(engine)
    fill(engine, world)
    found = project([name], Calendar(), views, lookback=lookback)
    for cut, (most, builds) in zip([*cuts, DAYS], ways, strict=False):
        monkeypatch.setattr(append, "MOST", most)
        monkeypatch.setattr(extend, "TIDIES_EVERY", builds)
        end = BEGIN + timedelta(days=cut)
        build_all(engine, found, end)
        assert_as_direct(engine, found, end)


@pytest.mark.parametrize("most", [0, append.MOST])
@pytest.mark.parametrize("name", ["total", "per_user"])
def test_what_was_noted_before_days_were_appended_is_forgotten_in_time(engine, monkeypatch, name, most):
    monkeypatch.setattr(append, "MOST", most)
    rows = [_row(day, day % 3) for day in range(0, DAYS, 3)]
    fill(engine, World(rows, [], []))
    found = project([name], Calendar(), Views(entities=("artifact",), rolling=(Window(2), Window(7))), lookback=1)
    for day in range(4, DAYS, 5):
        build_all(engine, found, BEGIN + timedelta(days=day))
    first = BEGIN.replace(tzinfo=None) - datetime(1970, 1, 1)
    log = next(table for table in engine.tables() if table.endswith("_leaving"))
    assert not engine.rows(f'SELECT * FROM tally."{log}" WHERE day < {first.days + 30}')
    build_all(engine, found)
    assert_as_direct(engine, found)
    fill(engine, World([*rows, _row(2, 7), _row(DAYS - 9, 8)], [], []))
    build_all(engine, found, since=BEGIN)
    assert_as_direct(engine, found)


@pytest.mark.parametrize("name", EXPRESSIONS)
@FEW_RUNS
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


@pytest.mark.parametrize("name", EXPRESSIONS)
@FEW_RUNS
@given(
    world=WORLDS,
    calendar=CALENDARS,
    views=VIEWS,
    grain=st.sampled_from([Grain.WEEK, Grain.MONTH]),
    steps=st.lists(
        st.tuples(st.integers(30, DAYS), st.sampled_from([0, append.MOST]), st.sampled_from([0, 5, 100])),
        min_size=2,
        max_size=4,
    ).map(sorted),
    data=st.data(),
)
def test_rows_that_come_late_by_buckets_of_a_grain_are_noticed(
    engine, name, world, calendar, views, grain, steps, data
):
    clear(engine)
    found = project([name], calendar, replace(views, grains=(*views.grains, grain)), lookback=1)
    there, settled = [True] * len(world.rows), BEGIN
    for days, most, kept in steps:
        for place, row in enumerate(world.rows):
            if row["time"] is None or row["time"] >= settled.replace(tzinfo=None):
                there[place] = data.draw(st.booleans(), label=str(row["time"]))
        end = BEGIN + timedelta(days=days)
        fill(engine, without(world, there))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(append, "MOST", most)
            patch.setattr(late, "KEPT_DAYS", kept)
            build_all(engine, found, end)
        assert_as_direct(engine, found, end)
        settled = shift(floor(end, grain, calendar), grain, -1, calendar)


_OFTEN = st.sets(st.tuples(st.integers(0, 69), st.integers(1, 2)), min_size=10, max_size=70)


@pytest.mark.parametrize("most", [0, append.MOST])
@pytest.mark.parametrize("name", ["users", "per_user", "total"])
@FEW_RUNS
@given(seen=_OFTEN, steps=st.lists(st.tuples(st.integers(40, 70), st.integers(0, 69), _OFTEN), min_size=2, max_size=4))
def test_days_on_which_keys_were_seen_often_are_counted_anew(engine, monkeypatch, name, most, seen, steps):
    monkeypatch.setattr(append, "MOST", most)
    clear(engine)
    windows = (Window(3), Window(30))
    views = Views(entities=("artifact",), grains=(Grain.DAY, Grain.MONTH), rolling=windows, all_time=True)
    found = project([name], Calendar(), views, lookback=2)
    for until, day, others in sorted(steps, key=lambda step: step[0]):
        fill(engine, World([_row(*each) for each in sorted(seen)], [], []))
        build_all(engine, found, BEGIN + timedelta(days=until))
        assert_as_direct(engine, found, BEGIN + timedelta(days=until))
        # Two months back are looked at again, and that is to the beginning or nearly so.
        changed = max(day, 0 if until < 63 else 3)
        seen = {each for each in seen if each[0] < changed} | {each for each in others if each[0] >= changed}


@pytest.mark.parametrize("most", [0, append.MOST])
@pytest.mark.parametrize("name", ["total", "users", "smallest", "weight_per_user"])
@FEW_RUNS
@given(world=WORLDS, views=VIEWS, data=st.data())
def test_restatement_finds_changes_of_any_age(engine, monkeypatch, name, most, world, views, data):
    monkeypatch.setattr(append, "MOST", most)
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


def test_changed_memberships_recount_metrics_that_are_built_later_too(engine):
    found = project(["users", "total"], Calendar(), Views(entities=("project",), grains=(Grain.DAY,)))
    world = World([_row(day, 1) for day in range(3)], [("a", "p")], [])
    fill(engine, world)
    build_all(engine, found)
    fill(engine, replace(world, projects=[("a", "q")]))
    for name in found.metrics:
        build_all(engine, replace(found, metrics={name: found.metrics[name]}))
    assert_as_direct(engine, found)


def test_building_some_models_of_a_metric_keeps_its_others_readable(engine):
    fill(engine, World([], [], []))
    found = project(["users"], Calendar(), Views(entities=("artifact",), rolling=(Window(7), Window(30))))
    first, second = plan(found)
    build(engine, found, [first, second], end=END, now=NOW)
    report = build(engine, found, [second], end=END + timedelta(days=1), now=NOW)
    assert [model.name for model in report.models] == [second.name]
    assert_as_direct(engine, found, END + timedelta(days=1))


@pytest.mark.parametrize(("name", "most"), [("users", 100), ("total", 100), ("smallest", 100), ("users", 0)])
@RUNS
@given(world=WORLDS, views=VIEWS, cut=st.integers(1, DAYS - 1))
def test_dense_tables_hold_what_views_show(engine, monkeypatch, name, most, world, views, cut):
    monkeypatch.setattr(publish, "MOST", most)
    clear(engine)
    fill(engine, world)
    found = project([name], Calendar(), views)
    found = replace(found, warehouses={"default": Warehouse(storage="dense")})
    build_all(engine, found, BEGIN + timedelta(days=cut))
    build_all(engine, found)
    assert_as_direct(engine, found)
    assert {engine.kind(model.name) for model in plan(found)} == {"TABLE"}


def test_what_is_stored_in_another_format_is_built_anew(engine, monkeypatch):
    fill(engine, World([_row(1, 1), _row(3, 2)], [("a", "p")], []))
    views = Views(entities=("artifact", "project"), grains=(Grain.WEEK,), rolling=(Window(7),), all_time=True)
    found = project(["users"], Calendar(), views)
    for module in (one_pass_state, family):
        monkeypatch.setattr(module, "FORMAT", "another")
    build_all(engine, found, BEGIN + timedelta(days=5))
    monkeypatch.undo()
    build_all(engine, found, BEGIN + timedelta(days=6))
    assert_as_direct(engine, found, BEGIN + timedelta(days=6))


def test_a_build_leaves_as_many_threads_as_there_were(engine):
    fill(engine, World([_row(1, 1)], [], []))
    found = project(["users"], Calendar(), Views(entities=("artifact",), rolling=(Window(7),)))
    threads = "SELECT current_setting('threads') AS n"
    before = engine.rows(threads)
    for day in (5, 6):
        assert not build(engine, found, plan(found), end=BEGIN + timedelta(days=day), now=NOW).failed
        assert engine.rows(threads) == before


def test_a_build_that_cannot_begin_leaves_as_many_threads_too(engine, monkeypatch):
    def fail(*_):
        raise EngineError("no states to be had")

    fill(engine, World([], [], []))
    found = project(["users"], Calendar(), Views(entities=("artifact",)))
    before = engine.rows("SELECT current_setting('threads') AS n")
    monkeypatch.setattr(state, "read", fail)
    with pytest.raises(EngineError, match="no states"):
        build(engine, found, plan(found), end=END, now=NOW)
    assert engine.rows("SELECT current_setting('threads') AS n") == before


def test_one_build_of_several_closes_the_gaps_that_replaced_rows_leave(engine, monkeypatch):
    fill(engine, World([_row(day, day) for day in range(1, 30)], [], []))
    found = project(["total"], Calendar(), Views(entities=("artifact",), rolling=(Window(7),)))
    closed: list[bool] = []
    monkeypatch.setattr(engine, "checkpoint", lambda *, leaves_gaps: closed.append(not leaves_gaps))
    monkeypatch.setattr(extend, "CLOSES_GAPS_EVERY", 4)
    days = 9
    for day in range(days):
        assert not build(engine, found, plan(found), end=BEGIN + timedelta(days=day + 2), now=NOW).failed
    assert closed == [day % 4 == 0 for day in range(days)]


def test_one_build_of_several_orders_what_was_appended_where_it_has_become_much(engine, monkeypatch):
    monkeypatch.setattr(extend, "TIDIES_EVERY", 3)
    fill(engine, World([_row(0, user) for user in range(13)] + [_row(day, 1) for day in range(1, 9)], [], []))
    found = project(["users"], Calendar(), Views(entities=("artifact",), rolling=(Window(7),)), lookback=0)
    later: list[int] = []
    for day in range(9):
        end = BEGIN + timedelta(days=day + 1)
        build_all(engine, found, end)
        (table,) = (name for name in engine.tables() if name.endswith("_later"))
        later.append(engine.rows(f"SELECT count(*) AS n FROM {engine.qualified(table)}")[0]["n"])
        assert_as_direct(engine, found, end)
    assert later == [0, 1, 2, 3, 4, 5, 0, 1, 2]


@pytest.mark.parametrize("names", [["users"], ["total", "users"], ["smallest"], ["total", "smallest"]])
def test_a_build_leaves_no_working_tables(engine, names):
    views = Views(entities=("artifact", "all"), grains=(Grain.MONTH,), rolling=(Window(7),))
    fill(engine, World([_row(day, day) for day in range(1, 9)], [], []))
    found = project(names, Calendar(), views)
    for day in (5, 6, 8):
        assert not build(engine, found, plan(found), end=BEGIN + timedelta(days=day), now=NOW).failed
        assert engine.rows("SELECT table_name FROM duckdb_tables() WHERE temporary") == []
    engine.execute("ALTER TABLE main.events RENAME COLUMN x TO y")
    engine.execute("ALTER TABLE main.events RENAME COLUMN user_id TO z")
    assert build(engine, found, plan(found), end=END, now=NOW).failed
    assert engine.rows("SELECT table_name FROM duckdb_tables() WHERE temporary") == []


def test_a_changed_definition_keeps_and_dates_what_the_old_one_built(engine):
    rows = [_row(day, user) for day, user in [(1, 1), (1, 2), (3, 1)]]
    fill(engine, World(rows, [], []))
    views = Views(entities=("artifact",), rolling=(Window(7),))
    found = project(["users"], Calendar(), views)
    build_all(engine, found)
    metric = found.metrics["users"]
    changed = replace(found, metrics={"users": replace(metric, definition=Aggregate(source="events", expr="count(*)"))})
    before = engine.run('SELECT * FROM tally."users_to_artifact_over_7_day_window" ORDER BY ALL').to_pylist()
    build_all(engine, changed)
    assert_as_direct(engine, changed)
    kept = engine.run("SELECT relation, retired_at FROM tally._model_history").to_pylist()
    assert [row["retired_at"] for row in kept] == [NOW.replace(tzinfo=None)]
    assert engine.run(f'SELECT * FROM tally."{kept[0]["relation"]}" ORDER BY ALL').to_pylist() == before


def _row(day: int, user: int) -> dict[str, object]:
    names = ["artifact_id", "name", "country", "kind"]
    numbers = {"x": 1, "price": 1, "weight": 1.0, "user_id": user}
    return {"time": (BEGIN + timedelta(days=day)).replace(tzinfo=None), **dict.fromkeys(names, "a"), **numbers}


@pytest.mark.parametrize("restated", [True, False])
def test_a_restatement_reaches_families_and_models_built_directly(engine, restated):
    views = Views(entities=("artifact",), grains=(Grain.DAY, Grain.MONTH), rolling=(Window(7),), all_time=True)
    found = project(["users", "total"], Calendar(), views, lookback=0)
    middle = Metric(name="middle", views=views, definition=Aggregate(source="events", expr="median(x)"))
    found = replace(found, metrics={**found.metrics, "middle": middle})
    early = [_row(3, 1), _row(30, 1)]
    fill(engine, World(early, [], []))
    assert not build(engine, found, plan(found), end=END, now=NOW).failed
    fill(engine, World([*early, {**_row(5, 2), "x": 40}], [], []))
    since = BEGIN + timedelta(days=5) if restated else None
    assert not build(engine, found, plan(found), end=END, now=NOW, since=since).failed
    days = engine.run("SELECT bucket, value FROM tally.middle_to_artifact_daily ORDER BY 1").to_pylist()
    assert len(days) == 2 + restated
    if restated:
        assert_as_direct(engine, found)


def test_an_entity_asked_of_one_metric_does_not_mix_up_those_of_another(engine):
    rows = [{**_row(day, 1), "artifact_id": name} for day, name in [(1, "c"), (2, "b"), (3, "a")]]
    fill(engine, World(rows, [("a", "p"), ("b", "p")], []))
    small = Views(entities=("artifact",), rolling=(Window(7),))
    found = project(["users", "total"], Calendar(), small)
    build_all(engine, found, BEGIN + timedelta(days=5))
    larger = replace(found.metrics["total"], views=Views(entities=("artifact", "project"), rolling=(Window(7),)))
    found = replace(found, metrics={**found.metrics, "total": larger})
    build_all(engine, found, BEGIN + timedelta(days=6))
    assert_as_direct(engine, found, BEGIN + timedelta(days=6))
