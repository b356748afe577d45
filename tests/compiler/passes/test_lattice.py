"""Totals and breakdowns of one source: few statements, the points of many."""

from __future__ import annotations

import pyarrow as pa
import pytest

from series_world import SPAN, difference, project
from tallystick.collect.read import explain, read_one, read_series
from tallystick.compiler.passes.lattice import MOST_LATTICE_ROWS, SMALL, small
from tallystick.compiler.series import Wanted
from tallystick.definitions.metric import Aggregate, Metric
from tallystick.engines.duckdb import DuckDBEngine
from tallystick.errors import EngineError
from tallystick.sql.grain import Grain

HEADS = (None, "country", "level", "big")


class Recorded:
    """An engine that keeps what it was asked, and refuses statements that hold all of some texts."""

    dialect = "duckdb"

    def __init__(self, engine, refused=("no such text",)):
        self.engine, self.refused, self.asked = engine, refused, []

    def run(self, sql, *rest):
        self.asked.append(sql)
        if all(text in sql for text in self.refused):
            raise EngineError("refused")
        return self.engine.run(sql, *rest)


@pytest.fixture(scope="module")
def engine():
    engine = DuckDBEngine()
    engine.execute(
        "CREATE TABLE main.events AS SELECT TIMESTAMP '2024-03-28' + INTERVAL (i * 37) SECOND AS time, i % 5 AS x, "
        "CASE WHEN i % 7 > 1 THEN ['DE', 'S''E', 'back\\slash', NULL, ''][1 + i % 5] END AS country, "
        "CASE WHEN i % 3 > 0 THEN (i * i) % 50 END AS user_id, i % 700 AS big, i % 2 = 0 AS is_paid FROM range(6000) AS t(i)"
    )
    yield engine
    engine.close()


def shop(*expressions, where=()):
    return project({
        f"m{place}": Metric(name=f"m{place}", definition=Aggregate(source="events", expr=expr, where=where))
        for place, expr in enumerate(expressions)
    })  # fmt: skip


def series(shop, heads=HEADS):
    return [Wanted(metric=name, grain=Grain.DAY, by=by) for by in heads for name in shop.metrics]


def check(engine, shop, wanted):
    reads = list(read_series(engine, shop, wanted, SPAN))
    for each, read in zip(wanted, reads, strict=True):
        alone = read_one(getattr(engine, "engine", engine), shop, each, SPAN)
        assert (read.error, alone.error) == (None, None)
        assert alone.points
        assert difference(read.points, alone.points) is None, (each, difference(read.points, alone.points))
    return reads


def test_sums_of_small_dimensions_come_from_one_statement_and_large_ones_from_their_own(engine):
    recorded, orders = Recorded(engine), shop("sum(x)", "avg(x)", "max(x)", "count(*)")
    reads = check(recorded, orders, series(orders))
    probe, lattice, *large = recorded.asked
    assert "LIMIT 10000" in probe
    assert {read.sql for read in reads if read.wanted.by != "big"} == {(lattice,)}
    assert len(large) in (1, 4)
    assert all('"big"' in sql or "big" in sql for sql in large)


def test_distinct_keys_of_small_dimensions_are_counted_by_one_mask(engine):
    recorded = Recorded(engine)
    counted = shop("count(distinct user_id)")
    check(recorded, counted, series(counted, (None, "level", "is_paid")))
    assert len(recorded.asked) == 3
    assert "BIT_OR" in recorded.asked[2]


def test_values_without_a_plain_literal_leave_distinct_keys_to_their_own_queries(engine):
    recorded = Recorded(engine)
    counted = shop("count(distinct user_id)", "sum(x)")
    check(recorded, counted, series(counted, (None, "country", "level")))
    assert not any("BIT_OR" in sql for sql in recorded.asked)
    # What is asked of the data, the lattice, and the three distinct counts.
    assert len(recorded.asked) == 5


def test_a_question_that_fails_leaves_every_dimension_to_itself(engine):
    recorded = Recorded(engine, refused=("LIMIT 10000",))
    sums = shop("sum(x)")
    check(recorded, sums, series(sums))
    assert len(recorded.asked) == 1 + len(HEADS)


def test_a_lattice_that_fails_is_read_series_by_series(engine):
    recorded = Recorded(engine, refused=("AS country", "AS level"))
    sums = shop("sum(x)", "min(x)")
    check(recorded, sums, series(sums, (None, "country", "level")))
    # What is asked of the data, the lattice that is refused, and then halves of halves.
    assert len(recorded.asked) > 4


def test_one_series_is_read_by_exactly_its_own_query(engine):
    recorded, sums = Recorded(engine), shop("count(distinct user_id)")
    (read,) = read_series(recorded, sums, series(sums, ("country",)), SPAN)
    assert recorded.asked == list(read.sql) == list(read_one(engine, sums, read.wanted, SPAN).sql)


def test_without_a_connection_every_dimension_counts_as_large():
    sums = shop("sum(x)")
    assert len(explain(sums, series(sums), SPAN, "duckdb")) == len(HEADS)


def test_small_dimensions_are_those_whose_crossing_stays_small():
    assert small({"a": 3, "b": 8, "c": SMALL + 1}, 1) == ("a", "b")
    assert small({"b": 8, "a": 3}, MOST_LATTICE_ROWS // 5) == ("a",)
    assert small({"a": 60, "b": 60}, 1) == ("a",)
    assert small({}, 1) == ()


def test_no_rows_at_all_make_no_points(engine):
    found = shop("sum(x)", "count(distinct user_id)", where=("x > 100",))
    for read in read_series(engine, found, series(found), SPAN):
        assert (read.error, read.points) == (None, ())


def test_sums_that_net_to_zero_and_measures_that_are_all_null_are_kept_apart():
    engine = DuckDBEngine()
    engine.write("rows", pa.table({
        "time": pa.array([1711584000] * 5, pa.timestamp("s")), "x": [5, -5, None, None, 3],
        "country": ["DE", "DE", None, "", "SE"], "is_paid": [True, True, None, False, False],
        "user_id": pa.array([None, None, 1, 1, None], pa.int64()),
    }))  # fmt: skip
    engine.execute("CREATE TABLE main.events AS SELECT * FROM tally.rows")
    found = shop("sum(x)", "count(distinct user_id)", "avg(x)")
    reads = check(engine, found, series(found, (None, "country", "is_paid")))
    value = {
        (r.wanted.metric, p.dimension_value): (p.value, p.n)
        for r in reads
        if r.wanted.by == "country"
        for p in r.points
    }
    assert value["m0", "DE"] == (0, 2)
    assert value["m0", None] == (None, 1)
    assert value["m1", "SE"] == (0, 1)
    engine.close()
