"""What every engine does alike: the adapter's promises, on real engines."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from live_engines import Live
from tallystick.engines.adapter import Engine
from tallystick.engines.limits import Limits
from tallystick.errors import EngineError, MissingTableError, QueryTimeoutError, ResultTooLargeError

ROWS = pa.table(
    {
        "at": pa.array(
            [datetime(2024, 1, 1, 12, tzinfo=UTC), None, datetime(2024, 1, 2, tzinfo=UTC)], pa.timestamp("us", "UTC")
        ),
        "day": pa.array([date(2024, 1, 1), date(1969, 12, 31), None]),
        "name": pa.array(["a", "it's", None]),
        "amount": pa.array([Decimal("1.25"), None, Decimal("-3.50")], pa.decimal128(12, 2)),
        "n": pa.array([1, 2**53 + 1, None], pa.int64()),
        "share": pa.array([0.5, None, 0.25]),
        "flag": pa.array([True, False, None]),
    }
)
SLOW = {
    "duckdb": "SELECT count(*) AS n FROM range(100000) a, range(100000) b, range(1000) c WHERE hash(a.range + b.range * c.range) = 1",
    "postgres": "SELECT pg_sleep(60)",
    "spark": "SELECT count(*) AS n FROM range(20000000000) WHERE hash(id) = 1",
    "clickhouse": "SELECT count() AS n FROM numbers(100000000000) WHERE cityHash64(number) = 1",
}


def column(table: pa.Table, name: str) -> list[object]:
    return table.column(name).to_pylist()


def test_rows_come_back_as_they_were_written(live: Live) -> None:
    live.load("shop.orders", ROWS)
    found = live.open(read_only=True).run("SELECT * FROM shop.orders ORDER BY n NULLS LAST")
    assert found.column_names == ROWS.column_names
    for name in ("day", "name", "amount", "n", "share", "flag", "at"):
        assert column(found, name) == column(ROWS, name), name
    assert pa.types.is_timestamp(found.schema.field("at").type)
    assert pa.types.is_decimal(found.schema.field("amount").type)


def test_columns_are_described_without_reading_rows(live: Live) -> None:
    live.load("shop.orders", ROWS)
    engine = live.open(read_only=True)
    assert list(engine.columns("shop.orders")) == ROWS.column_names
    assert list(engine.columns("(SELECT 1 AS one, n FROM shop.orders) AS q")) == ["one", "n"]
    with pytest.raises(MissingTableError, match="ordrs"):
        engine.columns("shop.ordrs")


def test_small_answers_are_plain_values(live: Live) -> None:
    assert live.open().rows("SELECT 1 AS a, 'x' AS b") == [{"a": 1, "b": "x"}]


def test_an_empty_answer_keeps_its_columns(live: Live) -> None:
    live.load("shop.orders", ROWS)
    found = live.open(read_only=True).run("SELECT name, n FROM shop.orders WHERE n < 0")
    assert (found.num_rows, found.column_names) == (0, ["name", "n"])


def test_tables_are_created_renamed_and_dropped(live: Live) -> None:
    engine = live.open()
    engine.create("state", {"model": "VARCHAR NOT NULL", "rows": "BIGINT", "at": "TIMESTAMP"})
    engine.create("state", {"model": "VARCHAR NOT NULL"})
    assert list(engine.columns(engine.qualified("state"))) == ["model", "rows", "at"]
    engine.create_as("one", "SELECT 1 AS value")
    engine.create_as("one", "SELECT 2 AS value")
    engine.create_as("two", "SELECT 3 AS value")
    engine.rename([("one", "old"), ("two", "one")])
    assert engine.tables() == {"state", "old", "one"}
    assert column(engine.run(f"SELECT value FROM {engine.qualified('one')}"), "value") == [3]
    assert (engine.kind("one"), engine.kind("two")) == ("TABLE", None)
    engine.drop("old")
    engine.drop("old")
    assert engine.tables() == {"state", "one"}


def test_a_transaction_is_all_or_nothing(live: Live) -> None:
    engine = live.open()
    if not engine.capabilities.transactions:
        pytest.skip("the engine says that it has none")
    engine.create_as("kept", "SELECT 1 AS value")
    with pytest.raises(EngineError):
        delete_and_fail(engine)
    assert column(engine.run(f"SELECT value FROM {engine.qualified('kept')}"), "value") == [1]


def delete_and_fail(engine: Engine) -> None:
    with engine.transaction():
        engine.execute(f"DELETE FROM {engine.qualified('kept')}")
        engine.execute("SELECT nothing_of_that_name")


def test_reading_connections_cannot_write(live: Live) -> None:
    live.load("shop.orders", ROWS)
    engine = live.open(read_only=True)
    if not engine.capabilities.enforces_read_only:
        pytest.skip("the engine says that it does not refuse writes")
    with pytest.raises(EngineError):
        engine.execute("DELETE FROM shop.orders WHERE n = 1")


def test_answers_are_bounded(live: Live) -> None:
    live.load("shop.orders", ROWS)
    engine = live.open(read_only=True)
    assert engine.run("SELECT n FROM shop.orders", Limits(rows=3)).num_rows == 3
    with pytest.raises(ResultTooLargeError):
        engine.run("SELECT n FROM shop.orders", Limits(rows=2))
    with pytest.raises(ResultTooLargeError):
        engine.run("SELECT name FROM shop.orders", Limits(bytes=4))
    assert engine.rows("SELECT 1 AS still_alive") == [{"still_alive": 1}]


WIDE = {
    "duckdb": "SELECT repeat('x', 100000) AS t FROM range(3000)",
    "postgres": "SELECT repeat('x', 100000) AS t FROM generate_series(1, 3000)",
    "spark": "SELECT repeat('x', 100000) AS t FROM range(3000)",
    "clickhouse": "SELECT repeat('x', 100000) AS t FROM numbers(3000)",
}


def test_few_wide_rows_are_too_large_as_well(live: Live) -> None:
    engine = live.open()
    with pytest.raises(ResultTooLargeError, match="answer"):
        engine.run(WIDE[live.name], Limits(rows=1_000_000, bytes=1_000_000))
    assert engine.run("SELECT 'x' AS t", Limits(rows=10, bytes=1_000)).to_pylist() == [{"t": "x"}]


def test_queries_are_ended_after_their_time(live: Live) -> None:
    engine = live.open(read_only=False)
    with pytest.raises(QueryTimeoutError, match=r"0\.3 s"):
        engine.run(SLOW[live.name], Limits(seconds=0.3))
    assert engine.rows("SELECT 1 AS still_alive") == [{"still_alive": 1}]


def test_errors_are_one_line_and_say_what_is_wrong(live: Live) -> None:
    live.load("shop.orders", ROWS)
    engine = live.open(read_only=True)
    for query, word in (("SELECT amont FROM shop.orders", "amont"), ("SELECT * FROM shop.nothing", "nothing")):
        with pytest.raises(EngineError, match=word) as caught:
            engine.run(query)
        assert "\n" not in str(caught.value)
