"""Reading a range of a built model gives what filtering all of its rows gives."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from one_pass_world import BEGIN, DAYS, VIEWS, WORLDS, World, build_all, fill, project
from tallystick.compiler.one_pass.spans import FUNCTIONS
from tallystick.compiler.plan import plan
from tallystick.definitions.metric import Views
from tallystick.engines.duckdb import DuckDBEngine
from tallystick.errors import MissingTableError, UnknownNameError, UsageError
from tallystick.service.reading import Reader
from tallystick.sql.calendar import Calendar, floor_date
from tallystick.sql.grain import Grain, Window

DATES = st.none() | st.integers(-3, DAYS + 3).map(lambda days: BEGIN.date() + timedelta(days=days))


@pytest.fixture
def engine():
    engine = DuckDBEngine()
    yield engine
    engine.close()


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
)
@given(
    world=WORLDS, views=VIEWS, first=DATES, last=DATES, ids=st.sampled_from([(), ("a",), ("p", "q"), ("nobody",)]), name=st.sampled_from(["users", "price", "smallest"])
)  # fmt: skip
def test_a_range_holds_the_rows_of_the_view_in_that_range(engine, world, views, first, last, ids, name):
    engine.execute("DROP SCHEMA tally CASCADE")
    engine.execute("CREATE SCHEMA tally")
    fill(engine, world)
    found = project([name], Calendar(), views, start=BEGIN + timedelta(days=4))
    build_all(engine, found)
    for model in plan(found):
        rows = engine.run(f'SELECT * FROM tally."{model.name}"').to_pylist()
        expected = [row for row in rows if _within(row, first, last, ids if model.has_entity else ())]
        got = Reader(engine, found).read(model, first=first, last=last, ids=ids).to_pylist()
        assert sorted(got, key=str) == sorted(expected, key=str), model.name
        assert [row["bucket"] for row in got] == sorted(row["bucket"] for row in got)


def _within(row: dict, first: date | None, last: date | None, ids: tuple[str, ...]) -> bool:
    key = list(row.values())[1]
    return (
        (first is None or row["bucket"] >= first)
        and (last is None or row["bucket"] <= last)
        and (not ids or key in ids)
    )


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
)
@given(
    world=WORLDS,
    views=VIEWS,
    within=st.tuples(DATES, DATES),
    per=st.sampled_from([None, Grain.DAY, Grain.WEEK, Grain.MONTH, Grain.QUARTER, Grain.HALF, Grain.YEAR]),
    who=st.tuples(st.booleans(), st.sampled_from([(), ("a",), ("p", "nobody")])),
    calendar=st.sampled_from([Calendar(), Calendar("Europe/Berlin", 7)]),
    name=st.sampled_from(["users", "price", "smallest", "mean"]),
)
def test_totals_are_those_of_the_rows(engine, world, views, within, per, who, calendar, name):
    by_entity, ids = who
    engine.execute("DROP SCHEMA tally CASCADE")
    engine.execute("CREATE SCHEMA tally")
    fill(engine, world)
    found = project([name], calendar, views, start=None)
    build_all(engine, found)
    for model in plan(found):
        own = model.time.grain or Grain.DAY
        if per is not None and list(Grain).index(per) < list(Grain).index(own):
            continue
        reader, some = Reader(engine, found), ids if model.has_entity else ()
        keys = [*([found.entities[model.entity].key] if by_entity and model.has_entity else []), *model.by]
        rows = reader.read(model, first=within[0], last=within[1], ids=some).to_pylist()
        cut = [{**row, "bucket": floor_date(row["bucket"], per, calendar)} for row in rows] if per else rows
        names = [*(["bucket"] if per else []), *keys]
        expected = _totals(cut, names)
        got = reader.totals(
            model, FUNCTIONS, per=per, by_entity=by_entity, first=within[0], last=within[1], ids=some
        ).to_pylist()
        assert [{key: row[key] for key in (*names, *FUNCTIONS)} for row in got] == got
        assert {tuple(row[key] for key in names): [_plain(row[f]) for f in FUNCTIONS] for row in got} == expected


def _totals(rows: list[dict], names: list[str]) -> dict:
    groups: dict[tuple, list] = {} if names else {(): []}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row["value"])
    found = {}
    for key, values in groups.items():
        known = [value for value in values if value is not None]
        some = [sum(known), sum(known) / len(known), min(known), max(known)] if known else [None] * 4
        found[key] = [len(known), *(_plain(value) for value in some)]
    return found


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, int) else pytest.approx(float(value), rel=1e-9, abs=1e-9)


def test_totals_of_what_cannot_be_totalled_are_refused(engine):
    found = project(["users"], Calendar(), Views(entities=("artifact",), grains=(Grain.MONTH,)))
    fill(engine, World([], [], []))
    build_all(engine, found)
    reader, model = Reader(engine, found), plan(found)[0]
    with pytest.raises(UnknownNameError, match="'summ' is not a function"):
        reader.totals(model, ["summ"])
    with pytest.raises(UsageError, match="no values per week"):
        reader.totals(model, ["sum"], per=Grain.WEEK)
    with pytest.raises(UsageError, match="totals of nothing"):
        reader.totals(model, [])


def test_rows_that_were_appended_belong_to_the_series(engine):
    rows = [_row(day, artifact) for day in range(0, 60, 3) for artifact in "ab"]
    found = project(["users"], Calendar(), _views(), lookback=2)
    fill(engine, World(rows[:20], [], []))
    build_all(engine, found, end=BEGIN + timedelta(days=30))
    fill(engine, World(rows, [], []))
    for day in (31, 40, 62):
        build_all(engine, found, end=BEGIN + timedelta(days=day))
    model = plan(found)[0]
    everything = engine.run(f'SELECT * FROM tally."{model.name}" ORDER BY bucket').to_pylist()
    for artifact in "ab":
        mine = [row for row in everything if row["artifact_id"] == artifact]
        assert Reader(engine, found).read(model, ids=[artifact]).to_pylist() == mine


def _row(day: int, artifact: str) -> dict:
    at = (BEGIN + timedelta(days=day)).replace(tzinfo=None)
    empty = dict.fromkeys(("name", "x", "price", "weight", "country"))
    return {**empty, "time": at, "artifact_id": artifact, "user_id": day % 7, "kind": "a"}


def test_a_model_that_was_never_built_is_missing(engine):
    found = project(["users"], Calendar(), _views())
    with pytest.raises(MissingTableError):
        Reader(engine, found).read(plan(found)[0])


def test_the_latest_day_is_looked_up_not_expanded(engine):
    found = project(["users"], Calendar(), _views())
    fill(engine, World([], [], []))
    build_all(engine, found)
    day = BEGIN.date() + timedelta(days=40)
    assert f"c.nxt > {(day - date(1970, 1, 1)).days}" in Reader(engine, found).query(
        plan(found)[0], first=day, last=day
    )


def _views() -> Views:
    return Views(entities=("artifact",), rolling=(Window(30),))
