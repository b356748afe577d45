"""DuckDB behind the adapter: what it can reach, what it refuses, and what its errors say."""

from __future__ import annotations

import subprocess
import sys

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from tallystick.engines.duckdb import DuckDBEngine
from tallystick.engines.limits import Limits
from tallystick.errors import EngineError, MissingTableError, WarehouseLockedError


@pytest.fixture
def engine(tmp_path):
    (tmp_path / "orders.csv").write_text("id,amount\n1,10\n2,20\n")
    (tmp_path / "secret.csv").write_text("password\nhunter2\n")
    engine = DuckDBEngine(tmp_path / "w.duckdb", files={"orders": tmp_path / "orders.csv"})
    yield engine
    engine.close()


def test_files_of_sources_are_views_and_nothing_else_is_reachable(engine, tmp_path):
    assert engine.run("SELECT sum(amount) AS total FROM orders").to_pylist() == [{"total": 30}]
    for query in (f"SELECT * FROM read_csv('{tmp_path}/secret.csv')", f"COPY orders TO '{tmp_path}/out.csv'"):
        with pytest.raises(EngineError, match="disabled"):
            engine.run(query)
    with pytest.raises(EngineError, match="locked"):
        engine.execute("SET enable_external_access = true")


def test_columns_are_read_without_rows(engine):
    assert engine.columns("orders") == {"id": "BIGINT", "amount": "BIGINT"}
    with pytest.raises(MissingTableError, match="ordrs") as caught:
        engine.columns("ordrs")
    assert caught.value.hint == 'did you mean "orders"?'


def test_a_transaction_is_all_or_nothing(engine):
    engine.write("numbers", pa.table({"n": [1]}))

    def fail_halfway() -> None:
        with engine.transaction():
            engine.execute("INSERT INTO tally.numbers VALUES (2)")
            with engine.transaction():
                engine.execute("INSERT INTO tally.numbers VALUES (3)")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert engine.run("SELECT n FROM tally.numbers").to_pylist() == [{"n": 1}]
    assert engine.tables() == {"numbers"}


def test_rows_are_lent_to_statements_and_come_back_in_batches(engine):
    with engine.lend("lent", pa.table({"n": [1, 2, 3]})):
        engine.execute("CREATE TABLE tally.numbers AS SELECT n FROM lent")
    with pytest.raises(MissingTableError):
        engine.run("SELECT n FROM lent")
    assert [row for batch in engine.batches("SELECT n FROM tally.numbers ORDER BY n") for row in batch.to_pylist()] == [
        {"n": 1},
        {"n": 2},
        {"n": 3},
    ]
    with pytest.raises(MissingTableError):
        list(engine.batches("SELECT n FROM tally.nothing"))


def test_a_few_rows_are_lent_taken_in_and_given_back_as_arrays_of_their_types(engine):
    few = {"n": np.array([3, 1], np.int32), "small": np.array([1, -1], np.int8)}
    with engine.lend("lent", few):
        engine.execute("CREATE TABLE tally.numbers AS SELECT small, n FROM lent")
    engine.insert("numbers", {"n": np.array([2], np.int32), "small": np.array([0], np.int8)})
    found = engine.arrays("SELECT * FROM tally.numbers ORDER BY n")
    assert {name: (values.dtype, values.tolist()) for name, values in found.items()} == {
        "small": (np.int8, [-1, 0, 1]),
        "n": (np.int32, [1, 2, 3]),
    }
    assert engine.arrays("SELECT n FROM tally.numbers WHERE false")["n"].tolist() == []
    with pytest.raises(MissingTableError):
        engine.arrays("SELECT n FROM tally.nothing")


def test_how_large_a_table_is_is_told_by_any_of_its_names_and_of_nothing_else(engine):
    engine.execute("CREATE TABLE main.large AS SELECT * FROM range(5000)")
    engine.execute("CREATE VIEW main.seen AS SELECT * FROM main.large")
    engine.write("large", pa.table({"n": [1]}))
    assert engine.estimated_rows("large") == engine.estimated_rows("main.large") == 5000
    assert engine.estimated_rows("tally.large") == 1
    assert [engine.estimated_rows(name) for name in ("main.seen", "orders", "nothing")] == [None] * 3


def test_threads_are_set_for_a_while_with_the_next_statement(engine):
    def threads() -> int:
        return engine.rows("SELECT current_setting('threads') AS n")[0]["n"]

    every = threads()
    engine.use_threads(1)
    assert threads() == 1
    engine.use_threads(None)
    engine.use_threads(1)
    assert threads() == 1
    engine.use_threads(None)
    assert threads() == every


def test_a_checkpoint_empties_the_log_unless_someone_is_writing(engine, tmp_path):
    log = tmp_path / "w.duckdb.wal"
    engine.write("numbers", pa.table({"n": [1]}))
    other = engine._connection.cursor()
    other.execute("BEGIN")
    other.execute("INSERT INTO tally.numbers VALUES (2)")
    engine.checkpoint()
    other.execute("COMMIT")
    engine.checkpoint()
    assert not log.exists() or log.stat().st_size == 0
    assert engine.rows("SELECT count(*) AS n FROM tally.numbers") == [{"n": 2}]


def test_gaps_of_deleted_rows_stay_until_a_checkpoint_closes_them(engine):
    def groups() -> int:
        found = "SELECT count(DISTINCT row_group_id) AS n FROM pragma_storage_info('tally.numbers')"
        return engine.rows(found)[0]["n"]

    engine.write("numbers", pa.table({"n": range(300_000)}))
    engine.checkpoint()
    engine.execute("DELETE FROM tally.numbers WHERE n % 10 > 0")
    engine.checkpoint(leaves_gaps=True)
    assert groups() == 3
    engine.checkpoint(leaves_gaps=True)
    engine.execute("DELETE FROM tally.numbers WHERE n = 10")
    engine.checkpoint()
    assert groups() == 1
    assert engine.rows("SELECT count(*) AS n FROM tally.numbers") == [{"n": 29_999}]


def test_a_missing_file_is_named_when_it_is_asked_for(tmp_path):
    engine = DuckDBEngine(files={"orders": tmp_path / "gone.parquet"})
    assert engine.run("SELECT 1 AS one").to_pylist() == [{"one": 1}]
    with pytest.raises(MissingTableError, match=r"source 'orders' reads .*gone.parquet, which does not exist"):
        engine.run("SELECT * FROM orders")
    engine.close()


def test_an_unknown_kind_of_file_is_refused(tmp_path):
    with pytest.raises(EngineError, match=r"use one of \.parquet"):
        DuckDBEngine(files={"orders": tmp_path / "orders.docx"})


def test_a_file_in_use_says_by_whom(engine, tmp_path):
    script = f"from tallystick.engines.duckdb import DuckDBEngine; from pathlib import Path; DuckDBEngine(Path({str(tmp_path / 'w.duckdb')!r}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert WarehouseLockedError.__name__ in done.stderr
    assert "w.duckdb is in use by process" in done.stderr


def test_something_else_than_a_database_is_said_to_be_so(tmp_path):
    (tmp_path / "notes.txt").write_text("not a database " * 1000)
    with pytest.raises(EngineError, match="is not a DuckDB file"):
        DuckDBEngine(tmp_path / "notes.txt")


def test_a_file_named_like_the_schema_is_no_trap(tmp_path):
    with duckdb.connect(str(tmp_path / "tally.duckdb")) as connection:
        connection.execute("CREATE TABLE orders AS SELECT 7 AS amount")
    engine = DuckDBEngine(tmp_path / "tally.duckdb")
    engine.execute("CREATE TABLE tally.copied AS SELECT * FROM orders")
    assert engine.run("SELECT amount FROM tally.copied").to_pylist() == [{"amount": 7}]
    engine.close()


def test_times_are_utc(engine):
    rows = engine.run("SELECT CAST(TIMESTAMPTZ '2024-01-01 00:30:00+02:00' AS TIMESTAMP) AS t").to_pylist()
    assert rows[0]["t"].isoformat() == "2023-12-31T22:30:00"


_LARGE = """
import resource, sys
from tallystick.engines.duckdb import DuckDBEngine
from tallystick.engines.limits import Limits
from tallystick.errors import ResultTooLargeError

engine = DuckDBEngine()
engine.run("SELECT 1 AS warm", Limits(rows=1, bytes=64))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    engine.run(sys.argv[1], Limits(rows=2_000_000_000, bytes=64_000_000))
except ResultTooLargeError:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
LARGE = {
    "many narrow rows": "SELECT range AS n FROM range(150000000)",
    "text": "SELECT repeat('x', 1000) || range AS t FROM range(1200000)",
    "long text": "SELECT repeat('x', 50000) || range AS t FROM range(24000)",
    "lists": "SELECT range(2000) AS list FROM range(80000)",
}


@pytest.mark.parametrize("query", LARGE.values(), ids=list(LARGE))
def test_answers_of_a_gigabyte_are_refused_before_they_are_in_memory(query):
    run = [sys.executable, "-c", _LARGE, query]
    found = subprocess.run(run, capture_output=True, text=True, check=True)
    assert found.stdout, "the answer was not refused"
    assert int(found.stdout) < 500


def test_bounded_answers_keep_names_types_and_order(engine):
    query = (
        "SELECT 1::DECIMAL(9, 2) AS \"a b\", [range] AS list, {'x': 'y'} AS record, 'ä' AS text, '\\x01'::BLOB AS bytes,"
        " DATE '2020-01-01' AS day, NULL::VARCHAR AS nothing, range AS n FROM range(3000) ORDER BY n DESC"
    )
    free, bounded = engine.run(query), engine.run(query, Limits(rows=5_000, bytes=10_000_000))
    assert bounded.equals(free)
