"""Whole queries that are built together read like their own direct queries, on random small worlds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from one_pass_world import (
    BEGIN,
    CALENDARS,
    DAYS,
    END,
    FEW_RUNS,
    GRAINS,
    NOW,
    RUNS,
    WINDOWS,
    WORLDS,
    World,
    clear,
    fill,
    project,
    without,
)
from tallystick.build import direct
from tallystick.build.build import build
from tallystick.build.one_pass import publish
from tallystick.build.report import Action
from tallystick.compiler.one_pass import readable
from tallystick.compiler.one_pass.family import families
from tallystick.compiler.one_pass.grouped_query import grouped_query
from tallystick.compiler.plan import plan
from tallystick.compiler.span import Span
from tallystick.definitions.metric import Metric, SqlQuery, Views
from tallystick.definitions.oso_options import OsoOptions
from tallystick.definitions.project import Project, Warehouse
from tallystick.engines.duckdb import DuckDBEngine
from tallystick.service.reading import Reader
from tallystick.sql.calendar import UTC_CALENDAR, Calendar, start_of_day
from tallystick.sql.grain import Grain, Window

COLUMNS = {
    "metrics_sample_date": "@metrics_sample_date(e.time)",
    "event_source": "e.country",
    "artifact_id": "e.artifact_id",
    "from_artifact_id": "''",
    "metric": "@metric_name()",
}
WITHIN = "e.time BETWEEN @metrics_start('TIMESTAMP') AND @metrics_end('TIMESTAMP')"


def query(amount: str, where: str = WITHIN, **columns: str) -> str:
    """Return a definition with an amount; other columns may be computed otherwise."""
    put = {**COLUMNS, **columns, "amount": amount}
    text = ", ".join(f"{sql} AS {name}" for name, sql in put.items())
    return f"SELECT {text} FROM main.events AS e WHERE {where} GROUP BY 1, 2, 3, 4, 5"


QUERIES = {
    "events": query("COUNT(*)"),
    "total": query("SUM(x)", f"kind = 'a' AND {WITHIN}"),
    "price": query("SUM(e.price)"),
    "weight": query("SUM(weight)"),
    "least": query("MIN(x)"),
    "mean": query("AVG(e.x)"),
    "filled": query("COALESCE(SUM(x) FILTER (WHERE kind = 'b'), 0) * 2"),
    "ratio": query("SUM(x) / SUM(e.price)"),
    "share": query("100.0 * COUNT(*) FILTER (WHERE kind = 'a') / COUNT(DISTINCT user_id)"),
    "whole": query("SUM(x) // COUNT(x) + SUM(x) % COUNT(*)"),
    "users": query("COUNT(DISTINCT user_id)"),
    "artifacts": query("COUNT(DISTINCT artifact_id)"),
    "days": query("COUNT(DISTINCT CAST(time AS DATE))", from_artifact_id="CAST(user_id AS VARCHAR)"),
    "plain": query("COUNT(*)", event_source="''"),
    "upper": query("COUNT(*)", event_source="LOWER(e.country)"),
    "labelled": query("SUM(x)", metric="@metrics_name(CONCAT(kind, '_seen'))"),
    "halves": query(
        "COUNT(*)", "CAST(time AS DATE) >= @metrics_start('DATE') AND CAST(time AS DATE) <= @metrics_end('DATE')",
        metrics_sample_date="@metrics_sample_date(CAST(time AS DATE))",
    ),
}  # fmt: skip
VIEWS = st.builds(
    lambda entities, grains, rolling: Views(
        entities=tuple(entities), grains=tuple(grains), rolling=tuple(rolling), all_time=True
    ),
    st.lists(st.sampled_from(["artifact", "project", "collection"]), min_size=1, max_size=2, unique=True),
    st.lists(st.sampled_from(GRAINS), max_size=2, unique=True),
    st.lists(st.sampled_from(WINDOWS), max_size=2, unique=True),
)
SOME = Views(entities=("artifact", "collection"), grains=(Grain.DAY, Grain.WEEK), rolling=(Window(7),), all_time=True)


def queries(names, views: Views, calendar: Calendar = UTC_CALENDAR, since: str | None = None, **options) -> Project:
    """Return a project with some of the queries as metrics, listed by a registry whose history begins `since`."""
    made = project([], calendar, views, **options)
    metrics = {
        name: Metric(name=name, views=views, definition=SqlQuery(sql=QUERIES[name], oso=OsoOptions(start=since)))
        for name in names
    }
    return replace(made, metrics=metrics)


def build_all(engine: DuckDBEngine, found: Project, end: datetime = END, *, since: datetime | None = None) -> None:
    assert not families(found, plan(found))[1]
    report = build(engine, found, plan(found), end=end, now=NOW, since=since)
    assert [model.error for model in report.models if model.error] == []


def rows(engine: DuckDBEngine, sql: str) -> Counter:
    """Return the rows of a query with their columns, numbers rounded to what sums of floats agree on."""
    return counted(engine.run(sql))


def counted(found) -> Counter:
    names = tuple(found.column_names)
    return Counter((names, tuple(_value(row[name]) for name in names)) for row in found.to_pylist())


def _value(value):
    return (
        value if value is None or isinstance(value, str) or not hasattr(value, "__float__") else f"{float(value):.9g}"
    )


def assert_as_direct(engine: DuckDBEngine, found: Project, end: datetime = END, since: datetime | None = None) -> None:
    """Compare every built model with its direct query, row for row and column for column."""
    calendar = Calendar(found.settings.time_zone, found.settings.week_start)
    start = found.settings.start or since or BEGIN - timedelta(days=3)
    for model in plan(found):
        asked = direct.model_query(engine, found, model, Span(start, end, calendar))
        stored = rows(engine, f'SELECT * FROM tally."{model.name}"')
        assert stored == rows(engine, asked), model.name


@pytest.mark.parametrize("name", QUERIES)
@FEW_RUNS
@given(world=WORLDS, calendar=CALENDARS, views=VIEWS)
def test_a_query_built_with_others_equals_its_own(engine, name, world, calendar, views):
    clear(engine)
    fill(engine, world)
    found = queries([name], views, calendar)
    build_all(engine, found)
    assert_as_direct(engine, found)


@RUNS
@given(
    world=WORLDS,
    calendar=CALENDARS,
    views=VIEWS,
    names=st.lists(st.sampled_from(list(QUERIES)), min_size=2, max_size=4),
)
def test_queries_that_share_a_reading_equal_their_own(engine, world, calendar, views, names):
    clear(engine)
    fill(engine, world)
    found = queries(dict.fromkeys(names), views, calendar)
    build_all(engine, found)
    assert_as_direct(engine, found)


@RUNS
@given(world=WORLDS, views=VIEWS, name=st.sampled_from(list(QUERIES)), day=st.integers(-5, DAYS - 2))
def test_history_begins_where_the_registry_says_with_whole_buckets(engine, world, views, name, day):
    clear(engine)
    fill(engine, world)
    since = BEGIN + timedelta(days=day)
    found = queries([name], views, since=since.date().isoformat())
    build_all(engine, found)
    assert_as_direct(engine, found, since=since)


@RUNS
@given(world=WORLDS, calendar=CALENDARS, views=VIEWS, name=st.sampled_from(list(QUERIES)), day=st.integers(0, DAYS - 2))
def test_the_start_of_the_project_goes_before_that_of_the_registry(engine, world, calendar, views, name, day):
    clear(engine)
    fill(engine, world)
    local = calendar_start(calendar, day)
    found = queries([name], views, calendar, since="2024-02-10", start=local)
    build_all(engine, found)
    assert_as_direct(engine, found)


def calendar_start(calendar: Calendar, day: int) -> datetime:
    return start_of_day((BEGIN + timedelta(days=day)).date(), calendar)


@pytest.mark.parametrize("storage", ["change_points", "dense"])
@RUNS
@given(
    world=WORLDS,
    calendar=CALENDARS,
    views=VIEWS,
    name=st.sampled_from(list(QUERIES)),
    cuts=st.lists(st.integers(1, DAYS), max_size=3),
    lookback=st.integers(0, 3),
)
def test_days_appended_in_steps_equal_one_build(engine, storage, world, calendar, views, name, cuts, lookback):
    clear(engine)
    fill(engine, world)
    found = replace(
        queries([name], views, calendar, lookback=lookback), warehouses={"default": Warehouse(storage=storage)}
    )
    for cut in sorted(cuts):
        build_all(engine, found, BEGIN + timedelta(days=cut, hours=7))
        assert_as_direct(engine, found, BEGIN + timedelta(days=cut, hours=7))
    build_all(engine, found)
    assert_as_direct(engine, found)


@RUNS
@given(world=WORLDS, views=VIEWS, name=st.sampled_from(list(QUERIES)), data=st.data())
def test_a_restatement_reads_again_what_has_changed(engine, world, views, name, data):
    clear(engine)
    fill(engine, world)
    found = queries([name], views)
    build_all(engine, found)
    kept = data.draw(st.lists(st.booleans(), min_size=len(world.rows), max_size=len(world.rows)))
    fill(engine, without(world, kept))
    build_all(engine, found, since=BEGIN - timedelta(days=1))
    assert_as_direct(engine, found)


@RUNS
@given(world=WORLDS, views=VIEWS, name=st.sampled_from(list(QUERIES)))
def test_dense_tables_of_queries_are_written_in_memory_too(engine, world, views, name):
    clear(engine)
    fill(engine, world)
    found = replace(queries([name], views), warehouses={"default": Warehouse(storage="dense")})
    build_all(engine, found)
    assert_as_direct(engine, found)
    with pytest.MonkeyPatch.context() as patch:
        clear(engine)
        patch.setattr(publish, "MOST", -1)
        build_all(engine, found)
        assert_as_direct(engine, found)


def test_a_name_that_depends_on_the_view_may_be_asked_for(engine):
    """Each model counts the rows that are called as it is itself."""
    names = ["x_daily", "x_weekly", "x_weekly"]
    fill(engine, World([{**_row(BEGIN), "name": name} for name in names], [("a", "p")], []))
    made = queries(["events"], SOME)
    asking = SqlQuery(sql=query("COUNT(*)", f"name = @metric_name('x') AND {WITHIN}"))
    found = replace(made, metrics={"events": replace(made.metrics["events"], definition=asking)})
    build(engine, found, plan(found), end=END, now=NOW)
    assert_as_direct(engine, found)
    assert engine.rows("SELECT amount FROM tally.events_to_artifact_weekly")[0]["amount"] == 2


def test_history_begins_alike_together_and_apart_whatever_the_sources_say(engine, monkeypatch):
    fill(engine, World([_row(BEGIN), _row(BEGIN + timedelta(days=20))], [("a", "p")], []))
    made = queries(["events"], SOME, since=(BEGIN + timedelta(days=10)).date().isoformat())
    sourced = replace(made.metrics["events"].definition, sources=("events",))
    found = replace(made, metrics={"events": replace(made.metrics["events"], definition=sourced)})
    contents = []
    for take in (grouped_query, lambda *_: None):
        clear(engine)
        monkeypatch.setattr(readable, "grouped_query", take)
        again = replace(found)
        build(engine, again, plan(again), end=END, now=NOW)
        contents.append({m.name: rows(engine, f'SELECT * FROM tally."{m.name}"') for m in plan(again)})
    assert contents[0] == contents[1]
    assert sum(contents[0]["events_to_artifact_daily"].values()) == 1


def test_history_of_queries_that_cast_instants_begins_with_the_local_day(engine):
    fill(engine, World([_row(BEGIN + timedelta(minutes=44)), _row(BEGIN + timedelta(days=59))], [], []))
    views = Views(entities=("artifact",), grains=(Grain.HALF,), rolling=(Window(30),))
    # The half year goes on with a row after the build, so each model is built by its own query.
    found, end = queries(["halves"], views, Calendar("America/New_York")), BEGIN + timedelta(days=46)
    build_all(engine, found, end)
    assert_as_direct(engine, found, end)
    first = engine.rows("SELECT min(metrics_sample_date) AS day FROM tally.halves_to_artifact_over_30_day_window")
    assert first[0]["day"] == BEGIN.date() - timedelta(days=1)


def _row(time: datetime, artifact: str | None = "a", country: str | None = "DE") -> dict[str, object]:
    found = dict.fromkeys(["name", "price", "weight", "kind"])
    return {
        **found,
        "time": time.replace(tzinfo=None),
        "artifact_id": artifact,
        "country": country,
        "user_id": 1,
        "x": 1,
    }


def test_rows_without_an_id_or_a_breakdown_are_there_at_their_own_level(engine):
    fill(engine, World([_row(BEGIN, None), _row(BEGIN, None, None), _row(BEGIN, "a", None)], [("a", "p")], []))
    found = queries(["events"], replace(SOME, entities=("artifact", "project")))
    build_all(engine, found)
    assert_as_direct(engine, found)
    listed = engine.rows("SELECT artifact_id, event_source FROM tally.events_to_artifact_daily ORDER BY ALL")
    assert [tuple(row.values()) for row in listed] == [("a", None), (None, "DE"), (None, None)]
    assert engine.rows("SELECT count(*) AS n FROM tally.events_to_project_daily")[0]["n"] == 1


def test_what_lies_before_all_time_makes_a_query_run_by_itself(engine):
    early = datetime(1969, 12, 30, tzinfo=UTC)
    fill(engine, World([_row(BEGIN)], [("a", "p")], []))
    found = queries(["events", "users"], SOME)
    build_all(engine, found)
    fill(engine, World([_row(BEGIN), _row(early)], [("a", "p")], []))
    for _ in range(2):
        build(engine, found, plan(found), end=END, now=NOW, since=early)
        assert_as_direct(engine, found, since=early)
    day = early.date()
    assert Reader(engine, found).read(plan(found)[1], first=day, last=day).num_rows == 1
    fill(engine, World([_row(BEGIN)], [("a", "p")], []))
    report = build(engine, found, plan(found), end=END, now=NOW, since=early)
    assert_as_direct(engine, found)
    assert {model.action for model in report.models} == {Action.REFRESHED}


@pytest.mark.parametrize("storage", ["change_points", "dense"])
def test_what_was_built_apart_is_not_gone_on_with(engine, storage):
    """Between two builds together one was made by queries, which read again what the next would not."""
    later, old = END + timedelta(days=3), BEGIN + timedelta(days=1)
    found = queries(["users"], replace(SOME, grains=(Grain.DAY, Grain.MONTH)))
    found = replace(found, warehouses={"default": Warehouse(storage=storage)})
    one, more = [_row(END - timedelta(days=1))], [_row(END - timedelta(days=1)), _row(old)]
    for rows_now, since in ((one, None), ([*more, _row(later)], BEGIN), (more, None)):
        fill(engine, World(rows_now, [("a", "p")], []))
        # Models that nobody asked for can be read all the while.
        build(engine, found, plan(found)[:1], end=END, now=NOW, since=since)
        for model in plan(found):
            engine.run(f'SELECT * FROM tally."{model.name}"')
            Reader(engine, found).read(model)
        build(engine, found, plan(found), end=END, now=NOW, since=since)
        assert_as_direct(engine, found)
        for model in plan(found):
            assert (
                Reader(engine, found).read(model).num_rows == engine.run(f'SELECT * FROM tally."{model.name}"').num_rows
            )


def test_there_is_nothing_in_a_table_whose_rows_come_later(engine):
    end = datetime(2024, 4, 1, tzinfo=UTC)
    found = queries(["events"], replace(SOME, grains=(Grain.DAY, Grain.QUARTER)))
    for rows_there in ([_row(end + timedelta(days=2))], []):
        clear(engine)
        fill(engine, World(rows_there, [], []))
        build_all(engine, found, end)
        assert_as_direct(engine, found, end, since=end - timedelta(days=1))


def test_a_mistake_is_told_in_the_words_of_the_definition(engine):
    fill(engine, World([_row(BEGIN)], [], []))
    found = queries(["events", "total"], SOME)
    wrong = replace(found.metrics["total"], definition=SqlQuery(sql=query("SUM(e.y)")))
    found = replace(found, metrics={**found.metrics, "total": wrong})
    report = build(engine, found, plan(found), end=END, now=NOW)
    assert {model.metric for model in report.failed} == {"total"}
    assert 'Table "e" does not have a column named "y"' in str(report.failed[0].error)


@RUNS
@given(world=WORLDS, calendar=CALENDARS, views=VIEWS, name=st.sampled_from(list(QUERIES)), day=st.integers(0, DAYS - 2))
def test_the_series_of_an_entity_are_the_rows_of_its_view(engine, world, calendar, views, name, day):
    clear(engine)
    fill(engine, world)
    found = queries([name], views, calendar, since=(BEGIN + timedelta(days=day // 2)).date().isoformat())
    build_all(engine, found)
    first, reader = (BEGIN + timedelta(days=day)).date(), Reader(engine, found)
    for model in plan(found):
        ids = {"artifact": ["a", "c"], "project": ["p"], "collection": ["z", "y"]}[model.entity]
        for bounds in ({}, {"first": first}, {"last": first}):
            where = [f"metrics_sample_date {'>=' if side == 'first' else '<='} DATE '{first}'" for side in bounds]
            where = [] if model.time.is_all_time else where
            where.append(f"{model.entity}_id IN ({', '.join(map(repr, ids))})")
            query = f'SELECT * FROM tally."{model.name}" WHERE {" AND ".join(where)}'
            asked = {} if model.time.is_all_time else bounds
            assert counted(reader.read(model, ids=ids, **asked)) == rows(engine, query), model.name


def test_queries_over_the_same_rows_are_read_once(engine, monkeypatch):
    fill(engine, World([_row(BEGIN)], [], []))
    asked: list[str] = []
    execute = DuckDBEngine.execute
    monkeypatch.setattr(DuckDBEngine, "execute", lambda self, sql: (asked.append(sql), execute(self, sql))[1])
    found = queries(["events", "total", "users", "mean"], SOME)
    build(engine, found, plan(found), end=END, now=NOW)
    assert len([sql for sql in asked if "main.events" in sql]) == 1


def test_a_reader_finds_rows_of_queries_by_day_and_entity(engine):
    world = World([_row(BEGIN), _row(BEGIN + timedelta(days=2), "b")], [("a", "p"), ("b", "p")], [])
    fill(engine, world)
    found = queries(["events"], replace(SOME, entities=("artifact", "project")))
    build_all(engine, found)
    reader, models = Reader(engine, found), {model.name: model for model in plan(found)}
    window = models["events_to_artifact_over_7_day_window"]
    day = (BEGIN + timedelta(days=3)).date()
    assert sorted(reader.read(window, first=day, last=day).column("artifact_id").to_pylist()) == ["a", "b"]
    assert reader.read(window, first=day, last=day, ids=["b"]).column("amount").to_pylist() == [1]
    assert reader.totals(models["events_to_project_daily"], ["sum"]).to_pylist() == [{"sum": 2}]


def test_rows_after_the_build_in_a_bucket_that_goes_on_make_a_query_run_by_itself(engine):
    """A query reads whole buckets, and so gives other numbers than the days up to the build add up to."""
    later = END + timedelta(days=3)
    fill(engine, World([_row(END - timedelta(days=1)), _row(later)], [("a", "p")], []))
    found = queries(["events", "total"], replace(SOME, grains=(Grain.DAY, Grain.WEEK, Grain.MONTH)))
    for end in (END - timedelta(days=40), END, END, later + timedelta(hours=1)):
        report = build(engine, found, plan(found), end=end, now=NOW)
        assert not [model.error for model in report.models if model.error]
        assert_as_direct(engine, found, end)
    daily = engine.rows("SELECT sum(amount) AS n FROM tally.events_to_artifact_daily")
    assert [int(row["n"]) for row in daily] == [2]
