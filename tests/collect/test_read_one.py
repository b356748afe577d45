"""One query per series: presence, NULL against zero, parts of quotients, limited breakdowns, errors."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from tallystick.collect.read import read_one, read_series
from tallystick.compiler.series import Wanted
from tallystick.compiler.span import Span
from tallystick.definitions.metric import Aggregate, Formula, Metric, SqlQuery
from tallystick.definitions.project import Project
from tallystick.definitions.source import Source
from tallystick.engines.duckdb import DuckDBEngine
from tallystick.engines.limits import Limits
from tallystick.errors import CompileError, EngineError, ResultTooLargeError, UnknownNameError
from tallystick.sql.grain import Grain

SPAN = Span(datetime(2024, 3, 30, tzinfo=UTC), datetime(2024, 4, 2, tzinfo=UTC))
ROWS = """
    ('2024-03-30 01:00', 5, 'b', 1), ('2024-03-30 02:00', -5, 'b', NULL), ('2024-03-30 03:00', 4, 'ä', NULL),
    ('2024-03-31 01:00', NULL, 'a', NULL), ('2024-04-01 23:30', 7, NULL, 2), ('2024-04-01 00:30', 1, 'Z', 2)
"""


def metric(name: str, expr: str, *where: str) -> Metric:
    return Metric(name=name, definition=Aggregate(source="events", expr=expr, where=where))


PROJECT = Project(
    root=".",
    sources={"events": Source(name="events", table="main.events", time="time")},
    metrics={
        each.name: each
        for each in [
            metric("total", "sum(x)"),
            metric("of_b", "sum(x)", "kind = 'b'"),
            metric("users", "count(distinct user_id)", "kind = 'b' or kind = 'a'"),
            metric("rows", "count(*)"),
            metric("mean", "avg(x)"),
            metric("text", "max(kind)"),
            metric("broken", "sum(missing)"),
            Metric(name="share", definition=Formula(expr="of_b / rows")),
            Metric(name="query", definition=SqlQuery(sql="select @no_such_macro()")),
        ]
    },
)


@pytest.fixture(scope="module")
def engine():
    engine = DuckDBEngine()
    engine.execute(
        "CREATE TABLE main.events AS SELECT time::TIMESTAMP AS time, x, kind, user_id "
        f"FROM (VALUES {ROWS}) t(time, x, kind, user_id)"
    )
    yield engine
    engine.close()


def points(engine, name, **options):
    read = read_one(engine, PROJECT, Wanted(metric=name, grain=Grain.DAY, **options), SPAN)
    assert read.error is None, read.error
    assert read.rows == len(read.points)
    return read.points


def values(engine, name, **options):
    return {point.bucket.date(): point.value for point in points(engine, name, **options)}


def test_sum_that_nets_to_zero_is_a_point_and_null_is_not_zero(engine):
    assert values(engine, "of_b") == {date(2024, 3, 30): 0}
    assert values(engine, "total") == {date(2024, 3, 30): 4, date(2024, 3, 31): None, date(2024, 4, 1): 8}


def test_distinct_over_nulls_is_zero(engine):
    assert values(engine, "users") == {date(2024, 3, 30): 1, date(2024, 3, 31): 0}


def test_parts_of_a_quotient_are_kept(engine):
    first, second, _ = points(engine, "mean")
    assert (first.value, first.numerator, first.denominator, first.n) == (4 / 3, 4, 3, 3)
    assert (second.value, second.denominator, second.n) == (None, 0, 1)


def test_missing_operand_counts_as_nothing(engine):
    assert [(point.value, point.numerator, point.denominator) for point in points(engine, "share")] == [
        (0.0, 0, 3),
        (0.0, 0, 1),
        (0.0, 0, 2),
    ]


def test_breakdown_keeps_the_most_frequent_and_ranks_ties_by_code_point(engine):
    found = points(engine, "rows", by="kind", values_limit=3)
    assert {(point.dimension_value, point.is_other) for point in found} == {("b", False), ("Z", False), (None, True)}
    assert sum(point.n for point in found) == 6


def test_buckets_below_a_day_are_instants(engine):
    read = read_one(engine, PROJECT, Wanted(metric="rows", grain=Grain.HOUR), SPAN)
    assert read.points[-1].bucket == datetime(2024, 4, 1, 23, tzinfo=UTC)


def test_days_begin_at_local_midnight(engine):
    berlin = replace(PROJECT, settings=replace(PROJECT.settings, time_zone="Europe/Berlin"))
    read = read_one(engine, berlin, Wanted(metric="rows", grain=Grain.DAY), SPAN)
    assert [point.bucket.hour for point in read.points] == [23, 23, 22, 22]


@pytest.mark.parametrize(
    ("name", "error"), [("broken", EngineError), ("text", EngineError), ("nobody", UnknownNameError)]
)
def test_errors_are_in_the_result_and_neighbours_are_read(engine, name, error):
    reads = list(read_series(engine, PROJECT, [Wanted(metric=each, grain=Grain.DAY) for each in (name, "rows")], SPAN))
    assert isinstance(reads[0].error, error)
    assert (reads[0].points, reads[1].error, reads[1].rows) == ((), None, 3)


def test_limit_needs_a_dimension(engine):
    read = read_one(engine, PROJECT, Wanted(metric="rows", grain=Grain.DAY, values_limit=3), SPAN)
    assert isinstance(read.error, CompileError)


def test_limits_hold(engine):
    read = read_one(engine, PROJECT, Wanted(metric="rows", grain=Grain.HOUR), SPAN, Limits(rows=2))
    assert isinstance(read.error, ResultTooLargeError)
