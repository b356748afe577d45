"""BigQuery behind the adapter, with its client replaced at the border: no BigQuery runs here."""

from __future__ import annotations

from concurrent.futures import TimeoutError as FutureTimeoutError
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from google.api_core.exceptions import BadRequest, Forbidden, NotFound
from google.cloud import bigquery

from tallystick.definitions.project import Warehouse
from tallystick.engines.connect import connect_server
from tallystick.engines.limits import Limits
from tallystick.errors import (
    ConnectionFailedError,
    EngineError,
    MissingTableError,
    QueryTimeoutError,
    ResultTooLargeError,
)

FAILURES = {
    "nothing": NotFound("Not found: Table shop.nothing"),
    "amont": BadRequest("Unrecognized name: amont at [1:8]\nmore"),
    "refused": Forbidden("Access Denied: Project p"),
    "slow": FutureTimeoutError(),
    "costly": BadRequest("Query exceeded limit", errors=[{"reason": "bytesBilledLimitExceeded"}]),
}


class Client:
    """Answers queries as the client would."""

    project = "p"

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.sent: list[tuple[str, bigquery.QueryJobConfig]] = []
        self.cancelled = 0

    def query(self, sql: str, job_config: bigquery.QueryJobConfig) -> Any:
        self.sent.append((sql, job_config))
        schema = [SimpleNamespace(name="at", field_type="TIMESTAMP"), SimpleNamespace(name="n", field_type="INT64")]
        return SimpleNamespace(schema=schema, result=lambda **options: self.result(sql, **options), cancel=self.cancel)

    def result(self, sql: str, timeout: float | None, max_results: int | None) -> Any:
        for word, error in FAILURES.items():
            if word in sql:
                raise error
        table = pa.table({"n": [] if "empty" in sql else [1, 2, 3]}, pa.schema([("n", pa.int64())]))[:max_results]
        return SimpleNamespace(
            total_rows=table.num_rows,
            to_arrow=lambda **_: table,
            to_arrow_iterable=lambda: iter(table.to_batches(max_chunksize=1)),
        )

    def cancel(self) -> None:
        self.cancelled += 1

    def close(self) -> None:
        """Close nothing."""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(bigquery, "Client", Client)
    options = {"project": "p", "maximum_bytes_billed": "1000"}
    return connect_server(Warehouse(engine="bigquery", options=options))


def test_columns_are_read_by_a_dry_run(engine: Any) -> None:
    assert engine.columns("shop.orders") == {"at": "TIMESTAMP", "n": "INT64"}
    assert engine._client.sent[-1][1].dry_run


def test_what_a_query_may_cost_and_return_is_bounded(engine: Any) -> None:
    assert engine.run("SELECT n FROM t", Limits(rows=3)).num_rows == 3
    assert engine._client.sent[-1][1].maximum_bytes_billed == 1000
    with pytest.raises(ResultTooLargeError):
        engine.run("SELECT n FROM t", Limits(rows=2))
    with pytest.raises(ResultTooLargeError):
        engine.run("SELECT n FROM t", Limits(bytes=16))
    assert engine.run("SELECT n FROM empty", Limits(rows=2)).schema.names == ["n"]


@pytest.mark.parametrize(
    ("word", "error", "said"),
    [
        ("nothing", MissingTableError, "shop.nothing"),
        ("amont", EngineError, "amont"),
        ("refused", ConnectionFailedError, "Access Denied"),
        ("slow", QueryTimeoutError, "ran longer than 1 s"),
        ("costly", EngineError, "maximum_bytes_billed"),
    ],
)
def test_errors(engine: Any, word: str, error: type[EngineError], said: str) -> None:
    with pytest.raises(error, match=said) as caught:
        engine.run(f"SELECT {word}", Limits(seconds=1))
    assert "\n" not in str(caught.value)
    assert engine._client.cancelled == (word == "slow")


def test_tables(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "kind", lambda _: "TABLE")
    engine.create("state", {"model": "VARCHAR NOT NULL", "at": "TIMESTAMP"})
    engine.create_as("one", "SELECT 1 AS v")
    engine.rename([("two", "one")])
    engine.drop("one")
    assert [sql for sql, _ in engine._client.sent] == [
        "CREATE SCHEMA IF NOT EXISTS `tally`",
        "CREATE TABLE IF NOT EXISTS `tally`.`state` (`model` STRING NOT NULL, `at` TIMESTAMP)",
        "CREATE OR REPLACE TABLE `tally`.`one` AS SELECT 1 AS v",
        "ALTER TABLE `tally`.`two` RENAME TO `one`",
        "DROP TABLE `tally`.`one`",
    ]


def test_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"project": "p", "credentials": "/nowhere/key.json"}
    with pytest.raises(ConnectionFailedError, match="gcloud"):
        connect_server(Warehouse(engine="bigquery", options=options))
    del monkeypatch
