"""The partition of a source bounds every way its rows are read: alone, together, and by a build."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from tallystick.build.one_pass.build import build_family
from tallystick.collect.read import read_one, read_series
from tallystick.compiler.lower import lower, to_text
from tallystick.compiler.one_pass.family import families
from tallystick.compiler.passes import planner
from tallystick.compiler.passes.costs import costs_of
from tallystick.compiler.passes.lattice import LatticePass
from tallystick.compiler.passes.planner import AtomsPass, ConditionalPass, SinglePass, Target, plan_series
from tallystick.compiler.plan import plan
from tallystick.compiler.series import Wanted
from tallystick.compiler.span import Span
from tallystick.definitions.metric import Aggregate, Metric, Views
from tallystick.definitions.project import Project, Settings
from tallystick.definitions.source import Source
from tallystick.engines.duckdb import DuckDBEngine
from tallystick.sql.grain import Grain

BEGIN = datetime(2024, 3, 10, tzinfo=UTC)
SPAN = Span(BEGIN, BEGIN + timedelta(days=5))
BOUND = "events.received >= CAST('2024-03-09' AS DATE)"
DEAR = 1e9
WAYS = {
    SinglePass: {"scan": DEAR, "atoms": DEAR, "crossed": DEAR, "masks": DEAR},
    ConditionalPass: {"single": DEAR, "atoms": DEAR, "crossed": DEAR, "masks": DEAR},
    AtomsPass: {"single": DEAR, "scan": DEAR, "crossed": DEAR, "masks": 0.0},
    LatticePass: {"single": DEAR, "scan": DEAR, "atoms": DEAR, "crossed": 0.0, "masks": 0.0},
}
EXPRESSIONS = ("count(*)", "sum(x)", "count(distinct x)")


@pytest.fixture(scope="module")
def engine():
    """Give rows of ten days, each received 0 to 2 days later, and one whose partition lies before its time."""
    engine = DuckDBEngine()
    times = [datetime(2024, 3, 6) + timedelta(hours=5 * place) for place in range(48)]
    received = [(time + timedelta(days=place % 3)).date() for place, time in enumerate(times)]
    received[-12] = datetime(2024, 1, 1).date()
    rows = {"time": times, "received": received, "x": [place % 4 for place in range(48)], "kind": ["a", "b"] * 24}
    engine.write("rows", pa.table(rows))
    engine.execute("CREATE TABLE main.events AS SELECT * FROM tally.rows")
    yield engine
    engine.close()


def shop(partition="received"):
    metrics = {
        f"m{place}": Metric(
            name=f"m{place}",
            views=Views(entities=("all",), grains=(Grain.DAY,)),
            definition=Aggregate(source="events", expr=expr),
        )
        for place, expr in enumerate(EXPRESSIONS)
    }
    source = Source(name="events", table="main.events", time="time", partition=partition)
    return Project(
        root=".", settings=Settings(dialect="duckdb", lookback=1), sources={"events": source}, metrics=metrics
    )


@pytest.mark.parametrize("kind", WAYS, ids=lambda kind: kind.__name__)
def test_every_statement_that_reads_series_is_bound(engine, monkeypatch, kind):
    costs = replace(costs_of("duckdb"), **WAYS[kind])
    monkeypatch.setattr(planner, "costs_of", lambda _: costs)
    by = (None, "kind") if kind is LatticePass else (None,)
    wanted = [Wanted(metric=name, grain=Grain.DAY, by=each) for name in shop().metrics for each in by]
    made = plan_series(wanted, Target(shop(), SPAN, "duckdb"), lambda _: {"kind": 2})
    assert {type(each) for each in made.passes} == {kind}
    bound, free = (list(read_series(engine, found, wanted, SPAN)) for found in (shop(), shop(None)))
    statements = {sql for read in bound for sql in read.sql}
    assert statements and all(BOUND in sql for sql in statements)
    for one, other in zip(bound, free, strict=True):
        assert one.points == read_one(engine, shop(), one.wanted, SPAN).points
        # Late rows are all there; what its partition dates before the span is not.
        rows = [sum(point.n for point in read.points) for read in (one, other)]
        assert rows == [rows[1] - 1, rows[1]]


def test_a_span_without_a_start_bounds_nothing():
    wanted = [Wanted(metric=name, grain=Grain.DAY) for name in shop().metrics]
    queries = plan_series(wanted, Target(shop(), Span(None, SPAN.end), "duckdb")).queries
    assert queries and not any("received" in sql for sql in queries)


def test_appending_to_a_build_reads_from_the_partition_only(engine, monkeypatch):
    project = shop()
    (family,), rest = families(project, list(plan(project)))
    assert not rest
    asked: list[str] = []
    execute = DuckDBEngine.execute
    monkeypatch.setattr(DuckDBEngine, "execute", lambda self, sql: (asked.append(sql), execute(self, sql))[1])
    for end in (BEGIN, BEGIN + timedelta(days=5)):
        asked.clear()
        build_family(engine, project, family, end=end, now=end)
    reading = [sql for sql in asked if "main.events" in sql]
    assert reading and all("events.received >= CAST('2024-03-0" in sql for sql in reading)
    for model in plan(project):
        direct = engine.run(
            to_text(lower(model, project, Span(datetime(2024, 3, 6, tzinfo=UTC), end), "duckdb"), "duckdb")
        )
        built = engine.run(f"SELECT bucket, value FROM tally.{model.name} ORDER BY bucket")
        assert built.to_pylist() == direct.select(["bucket", "value"]).sort_by("bucket").to_pylist()
