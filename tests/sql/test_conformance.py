"""What has a builder per dialect gives the same on every engine: bucket starts, and functions sqlglot gets wrong.

Buckets are compared with the Python calendar, functions with DuckDB, both on real engines (`live_engines`).
"""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from live_engines import Live
from tallystick.compiler.lower import to_text
from tallystick.sql import buckets, calendar, portable
from tallystick.sql.calendar import Calendar
from tallystick.sql.grain import Grain, Window, WindowUnit

CALENDARS = (
    Calendar("UTC", 1),
    Calendar("UTC", 7),
    Calendar("Europe/Berlin", 1),
    Calendar("America/Sao_Paulo", 7),
    Calendar("Asia/Kathmandu", 1),
    Calendar("Australia/Lord_Howe", 1),
)


def instants() -> list[datetime]:
    """Return instants over a hundred years, before 1970 too, and every twenty minutes around changes of clocks."""
    generator = random.Random(11)
    start = datetime(1955, 1, 1, tzinfo=UTC)
    found = [start + timedelta(seconds=generator.randrange(100 * 365 * 86400)) for _ in range(250)]
    for change in (
        datetime(2021, 3, 28, 1),
        datetime(2021, 10, 31, 1),
        datetime(2021, 4, 3, 15),
        datetime(2018, 11, 4, 3),
    ):
        found += [change.replace(tzinfo=UTC) + timedelta(minutes=m) for m in range(-120, 140, 20)]
    return found + before_1970()


def before_1970() -> list[datetime]:
    """Return instants around borders at and before 1970, to the microsecond: there some engines round towards zero."""
    borders = (datetime(1970, 1, 1), datetime(1969, 12, 31, 18, 15), datetime(1962, 7, 1, 23), datetime(1970, 1, 1, 12))
    steps = [timedelta(microseconds=n) for n in (-1_000_001, -1_000_000, -500_000, -1, 0, 1, 999_999)]
    steps += [timedelta(minutes=n, microseconds=-1) for n in range(-360, 360, 15)]
    return [border.replace(tzinfo=UTC) + step for border in borders for step in steps]


def utc(value: date | datetime) -> date | datetime:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


def test_buckets_start_where_the_calendar_says(live: Live) -> None:
    moments = instants()
    live.load("shop.moments", pa.table({"i": range(len(moments)), "at": pa.array(moments, pa.timestamp("us", "UTC"))}))
    engine = live.open(read_only=True)
    for found in CALENDARS:
        columns = [
            buckets.bucket(exp.column("at", table="e"), grain, found, is_date=False, dialect=engine.dialect).as_(
                f"g_{grain.name.lower()}"
            )
            for grain in Grain
        ]
        query = exp.select(exp.column("i", table="e"), *columns).from_(exp.to_table("shop.moments").as_("e"))
        for row in engine.run(query.sql(engine.dialect)).to_pylist():
            moment = moments[row["i"]]
            for grain in Grain:
                expected: date | datetime = calendar.floor(moment, grain, found)
                if not grain.is_sub_day:
                    expected = calendar.floor_date(calendar.local_date(moment, found), grain, found)
                assert utc(row[f"g_{grain.name.lower()}"]) == expected, (found, grain, moment)


def test_windows_and_spines_hold_the_days_the_calendar_says(live: Live) -> None:
    engine = live.open(read_only=False)
    first, end = date(2023, 12, 25), date(2024, 3, 5)
    windows = (Window(7, WindowUnit.DAY), Window(1, WindowUnit.MONTH), Window(1, WindowUnit.QUARTER))
    days = buckets.spine(
        buckets.date_literal(first, dialect=engine.dialect),
        buckets.date_literal(end, dialect=engine.dialect),
        "s",
        dialect=engine.dialect,
    )
    day = exp.column("day", "s")
    starts = [
        buckets.window_start(day, window, dialect=engine.dialect).as_(f"w{i}") for i, window in enumerate(windows)
    ]
    number = buckets.day_number(day, dialect=engine.dialect).as_("number")
    query = exp.select(day.as_("day"), number, *starts).from_(days)
    rows = sorted(engine.run(query.sql(engine.dialect)).to_pylist(), key=lambda row: row["day"])
    assert [row["day"] for row in rows] == [first + timedelta(days=i) for i in range((end - first).days)]
    for row in rows:
        assert row["number"] == (row["day"] - date(1970, 1, 1)).days
        assert [row[f"w{i}"] for i in range(3)] == [calendar.window_start(row["day"], window) for window in windows]


AGGREGATES = [
    "QUANTILE_CONT(x, 0.95)",
    "QUANTILE_CONT(x, 0.5) FILTER (WHERE c)",
    "MEDIAN(x)",
    "MAX(v) FILTER (WHERE c)",
    "COUNT(*) FILTER (WHERE x > 3)",
    "SUM(money) FILTER (WHERE c)",
    "SUM(money) / COUNT(*)",
    "AVG(money)",
    "SUM(x) FILTER (WHERE x > 1000)",
    "ARG_MAX(v, k)",
    "ARG_MIN(v, k)",
    "ARG_MAX(v, k) FILTER (WHERE c)",
    "FIRST(v ORDER BY k)",
    "LAST(v ORDER BY k)",
    "BOOL_OR(c)",
    "BOOL_AND(c)",
    "COUNT(DISTINCT x)",
    "COUNT(DISTINCT CASE WHEN c THEN x END)",
    "SAFE_DIVIDE(SUM(x), COUNT(*) FILTER (WHERE x > 1000))",
    "SUM(DATE_DIFF('day', d, d2))",
    "SUM(DATE_DIFF('month', d, d2))",
    "SUM(DATE_DIFF('hour', at, at2))",
    "SUM(DATE_DIFF('day', at, at2))",
    "SUM(DATE_DIFF('minute', at, at2))",
    "SUM(DATE_DIFF('year', at, at2))",
    "SUM(DATE_DIFF('quarter', d, d2))",
    "MAX(DATE_TRUNC('week', at2))",
    "SUM(CAST(x AS DOUBLE))",
    "SUM(CAST(money AS DOUBLE) * CASE WHEN c THEN 1 END)",
    "MIN(DATE_TRUNC('week', at))",
    "MIN(DATE_TRUNC('month', d))",
    "MAX(EPOCH(at))",
    "SUM(CASE WHEN HASH_BUCKET(s, 10) < 3 THEN 1 ELSE 0 END)",
    "SUM(CASE WHEN s LIKE 'a%' OR s = 'it''s' THEN 1 ELSE 0 END)",
    "COUNT(*) FILTER (WHERE s IS NULL OR NOT c)",
    "MIN(LENGTH(s))",
    "SUM(x % 7)",
    "SUM(x) / 4",
    "AVG(DISTINCT money / 7)",
    "AVG(DISTINCT money)",
    "COUNT_IF(x > 1000)",
    "COUNT_IF(c)",
    "COUNT_IF(c OR x > 3) FILTER (WHERE x > 5 OR s = 'abc')",
    "COUNT_IF(CONTAINS(s, 'b'))",
    "COUNT_IF(CONTAINS(s, 'B'))",
    "COUNT_IF(CONTAINS(s, '%'))",
    "COUNT_IF(CONTAINS(s, ''))",
    "COUNT_IF(NOT CONTAINS(s, CASE WHEN c THEN 'a' END))",
    "COUNT_IF(CONTAINS(CASE WHEN c THEN s END, s) IS NULL)",
    "SUM(ROUND(v / 8, 2))",
    "SUM(ROUND(-v / 2))",
    "SUM(ROUND(money, 1))",
    "SUM(ROUND(-money))",
    "SUM(ROUND(v * 5, -1))",
    "SUM(ROUND(x * 5, -1))",
    "ROUND(SUM(v) / 8, 2)",
    "ROUND(AVG(money), 3) * 2",
    "ROUND(SUM(money), 1)",
    "ROUND(SUM(x), 2)",
]


def rows() -> pa.Table:
    generator = random.Random(5)
    count = 200
    start = datetime(2023, 12, 20, tzinfo=UTC)

    def some(values: list[object]) -> list[object]:
        return [None if generator.random() < 0.15 else value for value in values]

    moments = [start + timedelta(minutes=generator.randrange(100_000)) for _ in range(count)]
    later = [moment + timedelta(minutes=generator.randrange(200_000)) for moment in moments]
    return pa.table(
        {
            "g": [i % 3 for i in range(count)],
            "x": pa.array(some([generator.randrange(12) for _ in range(count)]), pa.int64()),
            "v": pa.array(some([float(i % 41) for i in range(count)]), pa.float64()),
            "k": pa.array(generator.sample(range(10_000), count), pa.int64()),
            "c": pa.array(some([generator.random() < 0.5 for _ in range(count)]), pa.bool_()),
            "money": pa.array(
                some([Decimal(generator.randrange(10_000)) / 100 for _ in range(count)]), pa.decimal128(12, 2)
            ),
            "s": pa.array(some([generator.choice(["abc", "it's", "Ärger", "", "a%b"]) for _ in range(count)])),
            "d": [moment.date() for moment in moments],
            "d2": [moment.date() for moment in later],
            "at": pa.array(moments, pa.timestamp("us", "UTC")),
            "at2": pa.array(later, pa.timestamp("us", "UTC")),
        }
    )


def plain(value: object) -> object:
    """Return a value as engines agree on it: numbers to ten digits, a day as the instant it starts at."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float | Decimal):
        return f"{float(value):.10g}"
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    return value


def query(dialect: str) -> str:
    chosen = ", ".join(f"{text} AS f{i}" for i, text in enumerate(AGGREGATES))
    tree = sqlglot.parse_one(f"SELECT g, {chosen} FROM shop.t GROUP BY g ORDER BY g", read="duckdb")
    return to_text(tree, dialect, reads="duckdb")


def test_functions_give_what_duckdb_gives(live: Live, live_engines) -> None:
    if live.name == "duckdb":
        pytest.skip("this is what the others are compared with")
    reference = live_engines("duckdb")
    for place in (live, reference):
        place.load("shop.t", rows())
    expected = reference.open(read_only=True).run(query("duckdb"))
    found = live.open(read_only=True).run(query(live.open().dialect))
    for index, text in enumerate(AGGREGATES):
        pairs = [list(map(plain, table.column(f"f{index}").to_pylist())) for table in (found, expected)]
        assert pairs[0] == pairs[1], text


def test_trying_to_cast_gives_null_where_text_is_no_value(live: Live) -> None:
    if live.name == "postgres":
        pytest.skip("PostgreSQL has no TRY_CAST: it is refused, see the fixture")
    texts = ["12", "-3", "x", "", "1950-02-03", "2024-02-29", "1.5", None]
    live.load("shop.texts", pa.table({"i": range(len(texts)), "s": pa.array(texts, pa.string())}))
    tree = sqlglot.parse_one(
        "SELECT i, TRY_CAST(s AS DOUBLE) AS f, TRY_CAST(s AS DATE) AS d FROM shop.texts ORDER BY i", read="duckdb"
    )
    engine = live.open(read_only=True)
    found = engine.run(to_text(tree, engine.dialect, reads="duckdb")).to_pylist()
    assert [row["f"] for row in found] == [12.0, -3.0, None, None, None, None, 1.5, None]
    assert [row["d"] for row in found[2:6]] == [None, None, date(1950, 2, 3), date(2024, 2, 29)]


def test_estimates_are_near(live: Live) -> None:
    live.load("shop.many", pa.table({"x": [i * 7919 % 5003 for i in range(20_000)]}))
    tree = sqlglot.parse_one(
        "SELECT APPROX_COUNT_DISTINCT(x) AS n, APPROX_QUANTILE(x, 0.9) AS q FROM shop.many", read="duckdb"
    )
    engine = live.open(read_only=True)
    if engine.dialect == "postgres":
        pytest.skip("PostgreSQL has no estimates: both are exact or refused, see the fixture")
    (row,) = engine.run(to_text(tree, engine.dialect, reads="duckdb")).to_pylist()
    assert row["n"] == pytest.approx(5003, rel=0.2)  # an estimate
    assert float(row["q"]) == pytest.approx(4502, rel=0.05)


def test_hash_buckets_are_what_python_computes(live: Live) -> None:
    words = ["", "a", "it's", "Ärger", "x" * 300]
    live.load("shop.words", pa.table({"s": words}))
    engine = live.open(read_only=True)
    bucket = portable.hash_bucket(exp.column("s"), 97, dialect=engine.dialect).as_("b")
    found = engine.run(exp.select(exp.column("s"), bucket).from_("shop.words").sql(engine.dialect)).to_pylist()
    assert {row["s"]: row["b"] for row in found} == {word: portable.hash_bucket_of(word, 97) for word in words}
