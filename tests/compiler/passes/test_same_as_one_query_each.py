"""However series are planned together, each has the points its own query gives."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from series_world import EXPRESSIONS, PLACES, RARE, ROWS, SCHEMA, SPAN, breakdowns, difference, metrics, project, series
from tallystick.collect.read import read_one, read_series
from tallystick.compiler.passes import planner
from tallystick.compiler.passes.costs import costs_of
from tallystick.engines.duckdb import DuckDBEngine
from tallystick.sql.calendar import Calendar

# Costs under which one way always wins.
DEAR = 1e9
WAYS = {
    "as planned": {},
    "conditional": {"atoms": DEAR, "single": DEAR},
    "atoms": {"single": DEAR, "scan": DEAR, "single_distinct": DEAR, "masks": 0.0},
    "one each": {"atoms": DEAR, "scan": DEAR},
}
# Read together whatever it costs: apart, every head costs as much.
LATTICE = {"single": DEAR, "scan": DEAR, "atoms": DEAR, "crossed": 0.0, "masks": 0.0}
CALENDARS = st.sampled_from([Calendar(), Calendar("Europe/Berlin", 7)])


@pytest.fixture(scope="module")
def engine():
    engine = DuckDBEngine()
    engine.write("places", pa.table({"artifact_id": [a for a, _ in PLACES], "place_id": [p for _, p in PLACES]}))
    engine.execute("CREATE TABLE main.places AS SELECT * FROM tally.places")
    yield engine
    engine.close()


def fill(engine, rows):
    engine.write("events", pa.Table.from_pylist(rows, SCHEMA))
    engine.execute("CREATE OR REPLACE TABLE main.events AS SELECT * FROM tally.events")


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=ROWS, found=metrics(EXPRESSIONS * 2 + RARE), calendar=CALENDARS, data=st.data())
def test_passes_equal_one_query_each(engine, way, rows, found, calendar, data):
    shop = project(found, calendar)
    wanted = data.draw(series(list(found)))
    fill(engine, rows)
    check(engine, shop, wanted, WAYS[way])


@pytest.mark.parametrize("way", ["lattice", "as planned"])
@settings(max_examples=16, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=ROWS, found=metrics(EXPRESSIONS * 2 + RARE), calendar=CALENDARS, data=st.data())
def test_breakdowns_equal_one_query_each(engine, way, rows, found, calendar, data):
    shop = project(found, calendar)
    wanted = data.draw(breakdowns(list(found)))
    fill(engine, rows)
    check(engine, shop, wanted, LATTICE if way == "lattice" else {})


def check(engine, shop, wanted, costs):
    """Read series together under some costs, and compare each with its own query."""
    costs = replace(costs_of("duckdb"), **costs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "costs_of", lambda _: costs)
        reads = list(read_series(engine, shop, wanted, SPAN))
    for each, read in zip(wanted, reads, strict=True):
        alone = read_one(engine, shop, each, SPAN)
        assert read.wanted == each
        assert (read.error is None) == (alone.error is None), (each, read.error, alone.error)
        assert difference(read.points, alone.points) is None, (each, difference(read.points, alone.points), read.sql)
