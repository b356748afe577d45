"""Portable functions: DuckDB's spelling in, reviewed texts per dialect out, values checked on DuckDB."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from tallystick.errors import CompileError
from tallystick.sql import buckets, portable
from tallystick.sql.calendar import Calendar
from tallystick.sql.grain import Grain, Window, WindowUnit

FIXTURE = Path(__file__).parents[1] / "fixtures" / "sql" / "portable.sql"
DIALECTS = ("duckdb", "postgres", "clickhouse", "bigquery", "snowflake", "trino", "spark", "databricks", "redshift")
X, V, K = (exp.column(name) for name in "xvk")


def cases() -> list[tuple[str, str, str]]:
    """Read the fixture: `-- DuckDB's spelling`, then `dialect: text` lines; `dialect! reason` is a refusal."""
    found, source = [], ""
    for line in FIXTURE.read_text().splitlines():
        if line.startswith("-- "):
            source = line[3:]
        elif line and not line.startswith("#"):
            mark = min(line.find(sign) for sign in ":!" if sign in line)
            found.append((source, line[:mark], line[mark:]))
    return found


@pytest.mark.parametrize(("source", "dialect", "expected"), cases())
def test_text(source: str, dialect: str, expected: str) -> None:
    if expected.startswith("!"):
        with pytest.raises(CompileError) as caught:
            portable.rewrite(parse(source), dialect)
        assert str(caught.value) == expected[2:]
    else:
        assert portable.rewrite(parse(source), dialect).sql(dialect) == expected[2:]


def test_every_dialect_is_covered() -> None:
    found = cases()
    sources = {source for source, _, _ in found}
    assert {(source, dialect) for source, dialect, _ in found} == {(s, d) for s in sources for d in DIALECTS}


def parse(text: str) -> exp.Expression:
    tree = sqlglot.parse_one(text, read="duckdb")
    assert isinstance(tree, exp.Expression)
    return tree


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            "CREATE TABLE t AS SELECT n AS id, n * 0.5 AS x, n % 4 AS g, CASE WHEN n % 5 > 0 THEN n END AS k, "
            "CASE WHEN n % 7 > 0 THEN 'v' || n END AS v FROM range(200) AS r(n)"
        )
        yield connection


def value(connection: duckdb.DuckDBPyConnection, tree: exp.Expression, source: str = "t") -> object:
    row = connection.execute(exp.select(tree).from_(source).sql("duckdb")).fetchone()
    assert row is not None
    return row[0]


def test_quantiles(connection: duckdb.DuckDBPyConnection) -> None:
    median = statistics.median(n / 2 for n in range(200))
    # The column is DECIMAL with one digit after the point, its median has two.
    assert value(connection, portable.quantile(X, 0.5, dialect="duckdb")) == median
    assert value(connection, portable.quantile(X, 0.95, dialect="duckdb")) == pytest.approx(199 * 0.95 / 2)
    estimate = value(connection, portable.approx_quantile(exp.cast(X, "DOUBLE"), 0.95, dialect="duckdb"))
    assert estimate == pytest.approx(94.5, rel=0.02)


def test_distinct_count(connection: duckdb.DuckDBPyConnection) -> None:
    tree = portable.approx_count_distinct(exp.column("id"), dialect="duckdb")
    assert value(connection, tree) == pytest.approx(200, rel=0.15)


def test_arg_max_passes_over_null(connection: duckdb.DuckDBPyConnection) -> None:
    # 199 is the greatest key with a value; 196 to 198 have either no key or a value.
    assert value(connection, portable.arg_max(V, K, dialect="duckdb")) == "v199"
    assert value(connection, portable.arg_min(V, K, dialect="duckdb")) == "v1"
    even = parse("id % 2 = 0")
    assert value(connection, portable.arg_max(V, K, where=even, dialect="duckdb")) == "v198"
    assert value(connection, portable.arg_min(V, K, where=parse("k > 6"), dialect="duckdb")) == "v8"
    assert value(connection, portable.arg_max(V, K, where=parse("id < 0"), dialect="duckdb")) is None


QUOTIENTS = [(1, 3, 1 / 3), (1, 0, None), (0, 0, None), (7, 2, 3.5)]


@pytest.mark.parametrize(("numerator", "denominator", "expected"), QUOTIENTS)
def test_safe_divide(
    connection: duckdb.DuckDBPyConnection, numerator: int, denominator: int, expected: float | None
) -> None:
    for kind in ("INT", "DOUBLE"):
        sides = (exp.cast(exp.Literal.number(n), kind) for n in (numerator, denominator))
        found = value(connection, portable.safe_divide(*sides, dialect="duckdb"), "(SELECT 1)")
        assert found == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        ("2024-01-01 23:59:59", "2024-01-02 00:00:00", 1),
        ("2024-01-01 00:00:00", "2024-01-01 23:59:59", 0),
        ("2024-03-01 12:00:00", "2024-02-28 13:00:00", -2),
    ],
)
def test_whole_days_counts_midnights(connection: duckdb.DuckDBPyConnection, start: str, end: str, days: int) -> None:
    ends = (parse(f"TIMESTAMP '{text}'") for text in (start, end))
    assert value(connection, portable.whole_days(*ends, dialect="duckdb"), "(SELECT 1)") == days


def test_hash_buckets_are_those_of_python(connection: duckdb.DuckDBPyConnection) -> None:
    bucket = portable.hash_bucket(exp.column("id"), 17, dialect="duckdb")
    rows = connection.execute(exp.select("id", bucket).from_("t").sql("duckdb")).fetchall()
    assert all(found == portable.hash_bucket_of(str(number), 17) for number, found in rows)
    assert len({found for _, found in rows}) == 17


@given(st.text(max_size=12), st.integers(1, 1000))
def test_hash_bucket_is_within_range(text: str, buckets: int) -> None:
    assert 0 <= portable.hash_bucket_of(text, buckets) < buckets


TIMES = """
SELECT TIMESTAMP '2019-12-30 22:10:05' + INTERVAL 1 SECOND * (i * 7919 * 501) AS a,
       TIMESTAMP '2021-03-01 00:00:00' + INTERVAL 1 SECOND * (i * 104729 * 31) AS b
FROM range(-60, 60) AS r(i)
"""
UNITS = ("day", "month", "quarter", "year", "hour", "minute", "second")


@pytest.mark.parametrize("unit", UNITS)
def test_differences_count_the_same_borders_as_duckdb(connection: duckdb.DuckDBPyConnection, unit: str) -> None:
    # The ANSI spelling runs on DuckDB too, which makes DuckDB's own function the reference for it.
    original = parse(f"DATE_DIFF('{unit}', a, b)")
    rewritten = portable.rewrite(original, "postgres")
    there_and_back = sqlglot.parse_one(rewritten.sql("postgres"), read="postgres")
    query = exp.select(original, there_and_back).from_(exp.Subquery(this=parse(TIMES)))
    rows = connection.execute(query.sql("duckdb")).fetchall()
    assert len({row[0] for row in rows}) > 1
    assert all(found == expected for expected, found in rows)


def test_what_is_written_in_the_target_stays() -> None:
    # BigQuery's WEEK starts on Sunday, and whoever writes BigQuery means that.
    tree = sqlglot.parse_one("SELECT DATE_TRUNC(d, WEEK), MAX_BY(v, k), SAFE_DIVIDE(a, b) FROM t", read="bigquery")
    assert portable.rewrite(tree, "bigquery", reads="bigquery").sql("bigquery") == tree.sql("bigquery")
    spark = sqlglot.parse_one("SELECT HASH(x), HASH_BUCKET(x, 3) FROM t", read="spark")
    text = portable.rewrite(spark, "spark", reads="spark").sql("spark")
    assert text.startswith("SELECT HASH(x), PMOD(CAST(CONV(")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_filled_templates_are_not_rewritten(dialect: str) -> None:
    calendar = Calendar("Europe/Berlin", 7)
    for grain in Grain:
        tree = buckets.bucket(exp.column("ts"), grain, calendar, is_date=False, dialect=dialect)
        assert portable.rewrite(tree, dialect).sql(dialect) == tree.sql(dialect)
    start = buckets.window_start(exp.column("d"), Window(1, WindowUnit.MONTH), dialect=dialect)
    assert portable.rewrite(start, dialect).sql(dialect) == start.sql(dialect)
    # What a user put into a template is still the user's.
    inner = buckets.add_days(parse("DATE_TRUNC('week', d)"), 1, dialect=dialect)
    found = portable.rewrite(inner, dialect).sql(dialect)
    if dialect in ("bigquery", "snowflake"):
        assert "MONDAY" in found or "DAYOFWEEKISO" in found


@pytest.mark.parametrize("dialect", DIALECTS)
def test_rewriting_twice_changes_nothing_more(dialect: str) -> None:
    texts = {source for source, at, expected in cases() if at == dialect and expected.startswith(":")}
    for text in texts:
        once = portable.rewrite(parse(text), dialect)
        assert portable.rewrite(once, dialect).sql(dialect) == once.sql(dialect)


def test_rewriting_leaves_the_tree_alone() -> None:
    tree = parse("SELECT MEDIAN(x), ARG_MAX(v, k) FILTER (WHERE a) FROM t")
    before = tree.sql("duckdb")
    portable.rewrite(tree, "snowflake")
    assert tree.sql("duckdb") == before


def test_rewriting_goes_all_the_way_down() -> None:
    tree = parse("SELECT g, (SELECT MEDIAN(DATE_DIFF('day', a, b)) FROM u) AS m FROM t WHERE DATE_TRUNC('week', d) > x")
    text = portable.rewrite(tree, "snowflake").sql("snowflake")
    assert "PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY DATEDIFF(DAY, CAST(a AS DATE), CAST(b AS DATE)))" in text
    assert "DAYOFWEEKISO(d)" in text


def test_duckdb_keeps_its_own_spelling() -> None:
    text = "SELECT MEDIAN(x), ANY_VALUE(v), DATE_DIFF('DAY', a, b), HASH(x) FROM t"
    assert portable.rewrite(parse(text), "duckdb").sql("duckdb") == text


@pytest.mark.parametrize("dialect", ["postgres", "clickhouse", "snowflake", "spark"])
def test_windows_over_what_is_no_plain_function_are_refused(dialect: str) -> None:
    for text in ("MEDIAN(x) OVER ()", "ARG_MAX(v, k) OVER (PARTITION BY g)"):
        with pytest.raises(CompileError, match="over a window"):
            portable.rewrite(parse(text), dialect)
