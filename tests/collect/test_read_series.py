"""Series read together: few queries, one bad metric alone at fault, formulas across warehouses, plans to look at."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product

import numpy as np
import pytest

from series_world import difference
from tallystick.collect.read import explain, read_one, read_series
from tallystick.compiler.passes import planner
from tallystick.compiler.series import Wanted
from tallystick.compiler.span import Span
from tallystick.definitions.metric import Aggregate, Formula, Metric
from tallystick.definitions.project import Project
from tallystick.definitions.source import Source
from tallystick.engines.duckdb import DuckDBEngine
from tallystick.engines.limits import UNLIMITED, Limits
from tallystick.errors import CompileError, ConnectionFailedError, EngineError, ResultTooLargeError, UnknownNameError
from tallystick.sql.grain import Grain

SPAN = Span(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 11, tzinfo=UTC))


def metric(name: str, expr: str, *where: str, source: str = "events") -> Metric:
    return Metric(name=name, definition=Aggregate(source=source, expr=expr, where=where))


def shop(*metrics: Metric, warehouse: str | None = None) -> Project:
    return Project(
        root=".",
        sources={
            "events": Source(name="events", table="main.events", time="time"),
            "visits": Source(name="visits", table="main.visits", time="time", warehouse=warehouse),
        },
        metrics={each.name: each for each in metrics},
    )


def hourly(project: Project, *names: str, **options) -> list[Wanted]:
    return [Wanted(metric=name, grain=Grain.HOUR, **options) for name in names or project.metrics]


class Watched:
    """An engine that notes what it is asked and can be made to fail."""

    def __init__(self, engine: DuckDBEngine, error: Exception | None = None) -> None:
        self.engine, self.error, self.asked, self.brought = engine, error, [], {}
        self.dialect, self.schema = engine.dialect, engine.schema

    def run(self, sql, limits=UNLIMITED):
        self.asked.append(sql)
        if self.error is not None:
            raise self.error
        table = self.engine.run(sql, limits)
        self.brought[sql] = table.nbytes
        return table


@pytest.fixture(scope="module")
def engine():
    engine = DuckDBEngine()
    for table in ("events", "visits"):
        engine.execute(
            f"CREATE TABLE main.{table} AS SELECT TIMESTAMP '2024-01-01' + to_minutes((i * 7)::INT) AS time, i % 13 AS x, "
            "'kind' || (i % 5) AS kind, i % 17 AS user_id FROM range(2000) t(i)"
        )
    yield engine
    engine.close()


MANY = [metric(f"m{i}", "sum(x)", f"kind = 'kind{i % 5}'", f"x > {i % 11}") for i in range(40)]


def test_many_metrics_take_one_query(engine):
    project, watched = shop(*MANY), Watched(engine)
    reads = list(read_series(watched, project, hourly(project), SPAN))
    assert len(watched.asked) == 1
    for read in reads:
        assert difference(read.points, read_one(engine, project, read.wanted, SPAN).points) is None
        assert read.sql == tuple(watched.asked)
        assert read.seconds > 0


def test_up_to_three_metrics_take_one_query_each(engine):
    project, watched = shop(*MANY[:3]), Watched(engine)
    list(read_series(watched, project, hourly(project), SPAN))
    assert len(watched.asked) == 3


def test_many_distinct_counts_take_two_queries(engine):
    users = [
        metric(f"u{i}", "count(distinct user_id)", f"kind = 'kind{i % 5}'", f"x > {i % 14 - 2}") for i in range(70)
    ]
    project, watched = shop(*users), Watched(engine)
    reads = list(read_series(watched, project, hourly(project), SPAN))
    assert len(watched.asked) == 2
    assert "w1" in watched.asked[1], "seventy filters need a second word"
    for read in reads:
        assert difference(read.points, read_one(engine, project, read.wanted, SPAN).points) is None


@pytest.mark.parametrize(
    ("metrics", "options"),
    [
        (MANY, {}),
        (MANY[:2], {}),
        ([metric(f"d{i}", "count(distinct user_id)", f"x > {i}") for i in range(20)], {}),
        (MANY[:10], {"by": "kind"}),
        ([MANY[0], metric("d", "count(distinct user_id)"), MANY[1], MANY[2]], {"by": "kind"}),
        ([*MANY[:4], Metric(name="f", definition=Formula(expr="m0 / m1"))], {}),
    ],
)
def test_bytes_are_those_of_all_statements_a_series_was_read_by(engine, metrics, options):
    project, watched = shop(*metrics), Watched(engine)
    for read in read_series(watched, project, hourly(project, **options), SPAN):
        assert read.error is None and read.sql
        assert read.bytes == sum(watched.brought[sql] for sql in read.sql) > 0
    for each in hourly(project, **options):
        read = read_one(watched, project, each, SPAN)
        assert read.bytes == watched.brought[read.sql[0]]


def test_bytes_are_unknown_where_nothing_was_answered(engine):
    project = shop(metric("bad", "sum(no_such_column)"), MANY[0])
    bad, good = read_series(Watched(engine), project, hourly(project), SPAN)
    assert bad.error is not None and bad.bytes is None
    assert good.bytes is not None


def test_totals_follow_from_a_breakdown(engine):
    project, watched = shop(*MANY[:10]), Watched(engine)
    wanted = [*hourly(project), *hourly(project, by="kind"), *hourly(project, by="kind", values_limit=2)]
    reads = list(read_series(watched, project, wanted, SPAN))
    # How many values the dimension has, and everything.
    assert len(watched.asked) == 2
    for read in reads:
        assert difference(read.points, read_one(engine, project, read.wanted, SPAN).points) is None


def test_asking_twice_reads_once(engine):
    project, watched = shop(MANY[0]), Watched(engine)
    reads = list(read_series(watched, project, hourly(project) * 2, SPAN))
    assert len(reads) == 2
    assert len(watched.asked) == 1


@pytest.mark.parametrize("at", [0, 17, 40])
def test_one_bad_metric_fails_alone(engine, at):
    bad = metric("bad", "sum(x)", "no_such_column > 3")
    project = shop(*MANY[:at], bad, *MANY[at:])
    reads = {read.wanted.metric: read for read in read_series(engine, project, hourly(project), SPAN)}
    assert isinstance(reads.pop("bad").error, EngineError)
    assert [read.error for read in reads.values()] == [None] * 40
    for read in reads.values():
        assert difference(read.points, read_one(engine, project, read.wanted, SPAN).points) is None


def test_what_does_not_compile_fails_before_any_query(engine):
    project = shop(metric("odd", "x + 1"), MANY[0])
    reads = list(read_series(engine, project, hourly(project, "odd", "m0", "nobody"), SPAN))
    assert [type(read.error).__name__ for read in reads] == ["ExpressionError", "NoneType", "UnknownNameError"]


def test_lost_connection_is_asked_once(engine):
    project, watched = shop(*MANY), Watched(engine, ConnectionFailedError("the warehouse is gone"))
    reads = list(read_series(watched, project, hourly(project), SPAN))
    assert len(watched.asked) == 1
    assert all(isinstance(read.error, ConnectionFailedError) for read in reads)


def test_rows_are_bounded_per_series(engine):
    project = shop(*MANY[:20])
    reads = list(read_series(engine, project, hourly(project), SPAN, Limits(rows=5)))
    assert all(isinstance(read.error, ResultTooLargeError) for read in reads)
    reads = list(read_series(engine, project, hourly(project), SPAN, Limits(rows=300)))
    assert all(read.error is None for read in reads), "together they hold more, each alone does not"


def test_formula_over_two_sources_divides_on_the_union(engine):
    project = shop(
        metric("few", "sum(x)", "x = 3"),
        metric("all_visits", "count(*)", "x = 8", source="visits"),
        Metric(name="share", definition=Formula(expr="few / all_visits")),
    )
    (read,) = read_series(engine, project, hourly(project, "share"), SPAN)
    assert difference(read.points, read_one(engine, project, read.wanted, SPAN).points) is None
    lonely = [point for point in read.points if point.denominator == 0]
    assert lonely
    assert {point.value for point in lonely} == {None}
    assert all(point.numerator is not None for point in lonely)


def test_formula_over_two_warehouses(engine):
    other = DuckDBEngine()
    other.execute("CREATE TABLE main.visits AS SELECT TIMESTAMP '2024-01-02 05:00' AS time FROM range(4)")
    project = shop(
        metric("total", "sum(x)"),
        metric("all_visits", "count(*)", source="visits"),
        Metric(name="per_visit", definition=Formula(expr="total / all_visits")),
        Metric(name="odd", definition=Formula(expr="greatest(total, all_visits)")),
        warehouse="web",
    )
    wanted = hourly(project, "per_visit", "odd", "all_visits")
    share, odd, visits = read_series(engine, project, wanted, SPAN, others={"web": other})
    assert [(point.value, point.denominator) for point in share.points if point.value is not None] == [
        (total_at_five(engine) / 4, 4)
    ]
    assert isinstance(odd.error, CompileError)
    assert visits.points[0].n == 4
    other.close()


def total_at_five(engine):
    rows = engine.rows(
        "SELECT sum(x)::BIGINT AS s FROM main.events WHERE date_trunc('hour', time) = '2024-01-02 05:00'"
    )
    return rows[0]["s"]


def test_formula_of_a_failed_operand_fails_with_its_error(engine):
    project = shop(metric("bad", "sum(no_such_column)"), MANY[0], Metric(name="f", definition=Formula(expr="bad / m0")))
    reads = list(read_series(engine, project, hourly(project, "f", "m0"), SPAN))
    assert isinstance(reads[0].error, EngineError)
    assert reads[1].error is None


def test_plan_is_shown_without_a_connection_and_is_what_runs(engine):
    project, watched = shop(*MANY), Watched(engine)
    shown = explain(project, hourly(project), SPAN, "duckdb")
    list(read_series(watched, project, hourly(project), SPAN))
    assert shown == tuple(watched.asked)
    assert shown == explain(project, hourly(project), SPAN, "duckdb")
    with pytest.raises(UnknownNameError):
        explain(project, hourly(project, "nobody"), SPAN, "duckdb")


def test_integers_beyond_floats_stay_exact(engine):
    engine.execute(
        "CREATE OR REPLACE TABLE main.visits AS SELECT TIMESTAMP '2024-01-02' AS time, 'kind' || (i % 5) AS kind, "
        "9007199254740993 + i AS x, i AS user_id FROM range(100) t(i)"
    )
    project = shop(*(metric(f"m{i}", "sum(x)", f"kind = 'kind{i % 5}'", source="visits") for i in range(12)))
    for read in read_series(engine, project, hourly(project), SPAN):
        assert read.points == read_one(engine, project, read.wanted, SPAN).points


def test_points_are_made_when_they_are_asked_for(engine):
    project = shop(*MANY[:8])
    read = next(iter(read_series(engine, project, hourly(project), SPAN)))
    assert read.columns is not None
    assert isinstance(read.columns.value.data, np.ndarray)
    assert read.points is read.points


def test_filters_with_too_many_combinations_are_read_in_batches(engine, monkeypatch):
    monkeypatch.setattr(planner, "MOST_ATOMS", 12)
    project, watched = shop(*MANY), Watched(engine)
    reads = list(read_series(watched, project, hourly(project), SPAN))
    assert 1 < len(watched.asked) < 20
    for read in reads:
        assert difference(read.points, read_one(engine, project, read.wanted, SPAN).points) is None


def test_what_is_no_finite_number_is_no_value_and_spoils_no_other(engine):
    engine.execute(
        "CREATE OR REPLACE TABLE main.visits AS SELECT TIMESTAMP '2024-01-02' + to_hours((i % 4)::INT) AS time, "
        "'kind' || (i % 3) AS kind, CASE i % 7 WHEN 0 THEN 'nan'::DOUBLE WHEN 1 THEN 'inf'::DOUBLE ELSE i / 3 END AS x "
        "FROM range(60) t(i)"
    )
    project = shop(
        *(
            metric(f"m{i}", f"{call}(x)", f"kind = 'kind{i % 3}'", f"x {test} {i % 5}", source="visits")
            for i, (call, test) in enumerate(product(("sum", "min", "max", "avg"), ("<", "<=", ">", "<>")))
        )
    )
    for read in read_series(engine, project, hourly(project), SPAN):
        assert difference(read.points, read_one(engine, project, read.wanted, SPAN).points) is None, read.sql
