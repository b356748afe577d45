"""Buckets in SQL: DuckDB is compared with `calendar` by running both, other dialects with reviewed texts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from tallystick.errors import CompileError
from tallystick.sql import buckets, calendar
from tallystick.sql.calendar import Calendar
from tallystick.sql.grain import Grain, Window, WindowUnit

FIXTURE = Path(__file__).parents[1] / "fixtures" / "sql" / "buckets.sql"
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Havana",
    "Africa/Cairo",
    "Asia/Kathmandu",
    "Pacific/Chatham",
    "Australia/Lord_Howe",
)
TS, DAY = exp.column("ts", table="e"), exp.column("d")


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        generator = random.Random(7)
        start = datetime(1995, 1, 1)
        instants = [start + timedelta(seconds=generator.randrange(40 * 365 * 86400)) for _ in range(1500)]
        instants += [moment for zone in ZONES for moment in clock_changes(zone)]
        connection.execute("CREATE TABLE e (ts TIMESTAMP)")
        connection.execute("INSERT INTO e SELECT unnest($1::TIMESTAMP[])", [instants])
        connection.execute(
            "CREATE TABLE days AS SELECT CAST(unnest(range(DATE '2023-01-01', DATE '2025-03-05', "
            "INTERVAL '1' DAY)) AS DATE) AS d"
        )
        yield connection


def clock_changes(zone: str) -> list[datetime]:
    """Return naive UTC instants every ten minutes around each change of clocks in 2019 to 2023."""
    info = calendar.zone_info(zone)
    hours = [datetime(2019, 1, 1, tzinfo=UTC) + timedelta(hours=h) for h in range(5 * 8766)]
    offsets = [hour.astimezone(info).utcoffset() for hour in hours]
    changes = [hour for hour, (a, b) in zip(hours[1:], pairwise(offsets), strict=True) if a != b]
    around = range(-150, 160, 10)
    return [(change + timedelta(minutes=m, seconds=m % 7)).replace(tzinfo=None) for change in changes for m in around]


@pytest.mark.parametrize("week_start", [1, 7], ids=["monday", "sunday"])
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("source", ["e.ts", "CAST(e.ts AS TIMESTAMPTZ)"], ids=["naive", "aware"])
def test_duckdb_agrees_with_the_calendar(
    connection: duckdb.DuckDBPyConnection, zone: str, week_start: int, source: str
) -> None:
    where = Calendar(zone, week_start)
    column = expression(source)
    trees = [buckets.bucket(column, grain, where, is_date=False, dialect="duckdb") for grain in Grain]
    rows = connection.execute(exp.select("ts", *trees).from_("e").sql("duckdb")).fetchall()
    for instant, *found in rows:
        assert found == [expected_bucket(instant, grain, where) for grain in Grain], instant
    types = connection.execute("DESCRIBE " + exp.select(*trees).from_("e").sql("duckdb")).fetchall()
    assert [row[1] for row in types] == ["TIMESTAMP" if grain.is_sub_day else "DATE" for grain in Grain]


def expression(sql: str) -> exp.Expression:
    tree = sqlglot.parse_one(sql, read="duckdb")
    assert isinstance(tree, exp.Expression)
    return tree


def expected_bucket(instant: datetime, grain: Grain, where: Calendar) -> date:
    if grain.is_sub_day:
        return calendar.floor(instant, grain, where).replace(tzinfo=None)
    return calendar.floor_date(calendar.local_date(instant, where), grain, where)


@pytest.mark.parametrize("week_start", [1, 7], ids=["monday", "sunday"])
def test_date_columns_are_never_converted(connection: duckdb.DuckDBPyConnection, week_start: int) -> None:
    where = Calendar("Pacific/Kiritimati", week_start)
    grains = [grain for grain in Grain if not grain.is_sub_day]
    trees = [buckets.bucket(DAY, grain, where, is_date=True, dialect="duckdb") for grain in grains]
    rows = connection.execute(exp.select("d", *trees).from_("days").sql("duckdb")).fetchall()
    for day, *found in rows:
        assert found == [calendar.floor_date(day, grain, where) for grain in grains]
    with pytest.raises(CompileError, match="hour buckets cannot be cut from a date"):
        buckets.bucket(DAY, Grain.HOUR, where, is_date=True, dialect="duckdb")


WINDOWS = [Window(n, unit) for unit in WindowUnit for n in (1, 2, 5)]


def test_windows_agree_with_the_calendar(connection: duckdb.DuckDBPyConnection) -> None:
    starts = [buckets.window_start(DAY, window, dialect="duckdb") for window in WINDOWS]
    rows = connection.execute(exp.select("d", *starts).from_("days").sql("duckdb")).fetchall()
    for day, *found in rows:
        assert found == [calendar.window_start(day, window) for window in WINDOWS]


def test_date_arithmetic_agrees_with_the_calendar(connection: duckdb.DuckDBPyConnection) -> None:
    number = buckets.day_number(DAY, dialect="duckdb")
    grains = [grain for grain in Grain if not grain.is_sub_day]
    trees = [
        number,
        buckets.day_from_number(number, dialect="duckdb"),
        buckets.add_days(DAY, -3, dialect="duckdb"),
        buckets.add_days(DAY, number - exp.Literal.number(19000), dialect="duckdb"),
        buckets.add(DAY, -1, WindowUnit.MONTH, dialect="duckdb"),
        *(buckets.next_bucket(DAY, grain, dialect="duckdb") for grain in grains),
        *(buckets.bucket_days(DAY, grain, dialect="duckdb") for grain in grains),
    ]
    rows = connection.execute(exp.select("d", *trees).from_("days").sql("duckdb")).fetchall()
    for day, *found in rows:
        days = (day - date(1970, 1, 1)).days
        following = [calendar.shift_date(day, grain, 1) for grain in grains]
        assert found == [
            days,
            day,
            day - timedelta(days=3),
            day + timedelta(days=days - 19000),
            calendar.add_months(day, -1),
            *following,
            *((after - day).days for after in following),
        ]


@pytest.mark.parametrize("zone", [zone for zone in ZONES if zone != "Australia/Lord_Howe"])
def test_the_next_shorter_bucket_follows_the_clock(connection: duckdb.DuckDBPyConnection, zone: str) -> None:
    where, grains = Calendar(zone), [grain for grain in Grain if grain.is_sub_day]
    trees = []
    for grain in grains:
        start = buckets.bucket(TS, grain, where, is_date=False, dialect="duckdb")
        trees += [start, buckets.next_bucket(start, grain, calendar=where, dialect="duckdb")]
    for row in connection.execute(exp.select(*trees).from_("e").sql("duckdb")).fetchall():
        for grain, start, following in zip(grains, row[::2], row[1::2], strict=True):
            assert following == calendar.shift(start, grain, 1, where).replace(tzinfo=None), (grain, start)


ENDS = [("2024-02-27", "2024-03-02"), ("2024-01-01", "2024-01-01"), ("2024-01-02", "2024-01-01")]


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("column", ["day", "bucket"])
def test_spine_holds_every_day_once(connection: duckdb.DuckDBPyConnection, ends: tuple[str, str], column: str) -> None:
    first, last = (date.fromisoformat(end) for end in ends)
    literals = [buckets.date_literal(day, dialect="duckdb") for day in (first, last)]
    table = buckets.spine(literals[0], literals[1], "days", column=column, dialect="duckdb")
    found = connection.execute(
        exp.select(exp.column(column, "days")).from_(table).order_by("1").sql("duckdb")
    ).fetchall()
    assert [row[0] for row in found] == [first + timedelta(days=n) for n in range((last - first).days)]


def test_spine_takes_subqueries_as_ends(connection: duckdb.DuckDBPyConnection) -> None:
    start, end = (exp.select(f"{bound}(d)").from_("days").subquery() for bound in ("MIN", "MAX"))
    table = buckets.spine(start, end, "s", dialect="duckdb")
    assert connection.execute(exp.select("COUNT(*)").from_(table).sql("duckdb")).fetchall() == [(793,)]


def test_literals_compare_with_raw_columns(connection: duckdb.DuckDBPyConnection) -> None:
    instant = datetime(2020, 6, 1, 12, 0, 0, 5, tzinfo=UTC)
    literal = buckets.literal_instant(instant, is_date=False, dialect="duckdb")
    for column in ("ts", "CAST(ts AS TIMESTAMPTZ)"):
        query = (
            f"SELECT max(ts) < TIMESTAMP '2020-06-01 12:00:00.000005' FROM e WHERE {column} < {literal.sql('duckdb')}"
        )
        assert connection.execute(query).fetchall() == [(True,)]
    # 23:00 in UTC is already the next date in Berlin.
    evening = datetime(2023, 12, 31, 23, 0)
    berlin = buckets.literal_instant(evening, is_date=True, dialect="duckdb", calendar=Calendar("Europe/Berlin"))
    assert berlin.sql("duckdb") == "CAST('2024-01-01' AS DATE)"
    assert (
        buckets.literal_instant(evening, is_date=True, dialect="duckdb").sql("duckdb") == "CAST('2023-12-31' AS DATE)"
    )


def test_a_sub_day_bucket_has_no_whole_days() -> None:
    with pytest.raises(CompileError, match="shorter than a day"):
        buckets.bucket_days(DAY, Grain.HOUR, dialect="duckdb")


def test_parts_are_copied_and_kept_together() -> None:
    total = exp.column("a") + exp.column("b")
    assert buckets.add_days(DAY, total, dialect="postgres").sql("postgres") == "d + CAST(a + b AS INT)"
    assert buckets.days_between(DAY, total, dialect="duckdb").sql("duckdb") == "(a + b) - d"
    tree = buckets.add_days(DAY, 1, dialect="duckdb")
    tree.find(exp.Column).set("this", exp.to_identifier("other"))  # type: ignore[union-attr]
    assert DAY.sql() == "d"


def berlin(grain: Grain, dialect: str, week_start: int = 1) -> exp.Expression:
    return buckets.bucket(TS, grain, Calendar("Europe/Berlin", week_start), is_date=False, dialect=dialect)


def utc(grain: Grain, dialect: str) -> exp.Expression:
    return buckets.bucket(TS, grain, Calendar(), is_date=False, dialect=dialect)


QUARTER_WINDOW = Window(1, WindowUnit.QUARTER)
CASES: dict[str, Callable[[str], exp.Expression]] = {
    **{f"{grain} utc": partial(utc, grain) for grain in Grain},
    **{f"{grain} berlin": partial(berlin, grain) for grain in Grain},
    "week berlin sunday": lambda dialect: berlin(Grain.WEEK, dialect, 7),
    "week of date": lambda d: buckets.bucket(TS, Grain.WEEK, Calendar("Europe/Berlin"), is_date=True, dialect=d),
    "instant": lambda d: buckets.literal_instant(datetime(2024, 1, 2, 3, 4, 5, 6), is_date=False, dialect=d),
    "date": lambda d: buckets.date_literal(date(2024, 1, 2), dialect=d),
    "add days": lambda d: buckets.add_days(DAY, -3, dialect=d),
    "add months": lambda d: buckets.add(DAY, 2, WindowUnit.MONTH, dialect=d),
    "day number": lambda d: buckets.day_number(DAY, dialect=d),
    "day from number": lambda d: buckets.day_from_number(exp.column("n"), dialect=d),
    "next quarter": lambda d: buckets.next_bucket(DAY, Grain.QUARTER, dialect=d),
    "next 5m": lambda d: buckets.next_bucket(DAY, Grain.FIVE_MINUTES, dialect=d),
    "days of half": lambda d: buckets.bucket_days(DAY, Grain.HALF, dialect=d),
    "window start": lambda d: buckets.window_start(DAY, QUARTER_WINDOW, dialect=d),
    "spine": lambda d: buckets.spine(exp.column("a"), exp.column("b"), "days", dialect=d),
}
DIALECTS = ("duckdb", "postgres", "clickhouse", "bigquery", "snowflake", "trino", "spark", "databricks", "redshift")


def expected_texts() -> dict[tuple[str, str], str]:
    """Read the fixture: a line `-- dialect: case`, then the text; lines of `--` without a colon are reasons."""
    texts, lines = {}, FIXTURE.read_text().splitlines()
    for header, text in pairwise(lines):
        if header.startswith("-- ") and ": " in header and not text.startswith("--"):
            dialect, name = header[3:].split(": ", 1)
            texts[dialect, name] = text
    return texts


TEXTS = expected_texts() if FIXTURE.exists() else {}


@pytest.mark.parametrize(("dialect", "name"), [(d, n) for d in DIALECTS for n in CASES])
def test_text(dialect: str, name: str) -> None:
    tree = CASES[name](dialect)
    assert tree.sql(dialect) == TEXTS[dialect, name]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_quarters_and_halves_are_not_months(dialect: str) -> None:
    grains = (Grain.MONTH, Grain.QUARTER, Grain.HALF, Grain.YEAR)
    assert len({utc(grain, dialect).sql(dialect) for grain in grains}) == 4
