"""Reading a range of a built model gives what filtering all of its rows gives."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from one_pass_world import BEGIN, DAYS, VIEWS, WORLDS, World, build_all, fill, project
from tallystick.compiler.plan import plan
from tallystick.definitions.metric import Views
from tallystick.engines.duckdb import DuckDBEngine
from tallystick.errors import MissingTableError
from tallystick.service.reading import Reader
from tallystick.sql.calendar import Calendar
from tallystick.sql.grain import Window

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
