"""Snowflake behind the adapter, with its connector replaced at the border: no Snowflake runs here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import pyarrow as pa
import pytest
import snowflake.connector

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

SECRET = "hunter2-of-snowflake"  # noqa: S105 - what must never be shown


class Cursor:
    """Answers statements as the connector would: names in upper case, errors by number."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.description: list[Any] = []
        self.rowcount = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close nothing."""

    def execute(self, sql: str, timeout: int | None = None) -> None:
        self.connection.sent.append((sql, timeout))
        self.rowcount = 0 if "EMPTY" in sql.upper() else 2
        for word, number in (("NOTHING", 2003), ("SLOW", 604), ("AMONT", 904)):
            if word in sql.upper():
                raise snowflake.connector.ProgrammingError(msg=f"{word} failed\nfor {SECRET}", errno=number)

    def fetch_arrow_batches(self) -> Iterator[pa.Table]:
        yield pa.table({"BUCKET": [1], "VALUE": [1.5]})
        yield pa.table({"BUCKET": [2], "VALUE": [None]})

    def fetch_arrow_all(self, *, force_return_table: bool) -> pa.Table:
        assert force_return_table
        return pa.table({"BUCKET": [], "VALUE": []})

    def fetchall(self) -> list[Any]:
        return []


class Connection:
    def __init__(self, **options: Any) -> None:
        self.options = options
        self.sent: list[tuple[str, int | None]] = []

    def cursor(self) -> Cursor:
        return Cursor(self)

    def close(self) -> None:
        """Close nothing."""


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(snowflake.connector, "connect", Connection)
    options = {"account": "a", "user": "u", "password": SECRET, "database": "d"}
    return connect_server(Warehouse(engine="snowflake", options=options))


def test_sessions_are_in_utc_with_weeks_from_monday(connected: Any) -> None:
    session = connected._connection.options["session_parameters"]
    assert (session["TIMEZONE"], session["WEEK_START"]) == ("UTC", 1)
    assert connected._connection.sent == [("CREATE SCHEMA IF NOT EXISTS tally", None)]


def test_names_come_back_in_lower_case_and_limits_are_kept(connected: Any) -> None:
    assert connected.run("SELECT bucket, value FROM t", Limits(seconds=2, rows=5)).column_names == ["bucket", "value"]
    assert connected._connection.sent[-1] == ("SELECT * FROM (SELECT bucket, value FROM t) AS bounded LIMIT 6", 2)
    with pytest.raises(ResultTooLargeError):
        connected.run("SELECT bucket, value FROM t", Limits(rows=1))
    assert connected.run("SELECT bucket FROM empty", Limits(rows=1)).column_names == ["bucket", "value"]


@pytest.mark.parametrize(
    ("sql", "error"),
    [("SELECT * FROM nothing", MissingTableError), ("SELECT slow", QueryTimeoutError), ("SELECT amont", EngineError)],
)
def test_errors_are_one_line_without_secrets(connected: Any, sql: str, error: type[EngineError]) -> None:
    with pytest.raises(error) as caught:
        connected.run(sql, Limits(seconds=1))
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_refused_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise snowflake.connector.DatabaseError(msg=f"Incorrect username or password {SECRET}", errno=250001)

    monkeypatch.setattr(snowflake.connector, "connect", refuse)
    with pytest.raises(ConnectionFailedError) as caught:
        connect_server(Warehouse(engine="snowflake", options={"account": "a", "user": "u", "password": SECRET}))
    assert SECRET not in str(caught.value)


def test_tables(connected: Any) -> None:
    connected.create("state", {"model": "VARCHAR NOT NULL", "at": "TIMESTAMP"})
    connected.create_as("one", "SELECT 1 AS v")
    connected.rename([("two", "one")])
    connected.write("rows", pa.table({"a": [1, None], "b": ["it's", "x"]}))
    assert [sql for sql, _ in connected._connection.sent if "INFORMATION" not in sql.upper()][1:] == [
        "CREATE TABLE IF NOT EXISTS tally.state (model VARCHAR NOT NULL, at TIMESTAMPNTZ)",
        "CREATE OR REPLACE TABLE tally.one AS SELECT 1 AS v",
        "ALTER TABLE tally.two RENAME TO tally.one",
        "CREATE OR REPLACE TABLE tally.rows AS SELECT * FROM (VALUES (1, 'it\\'s'), (NULL, 'x')) AS incoming (a, b)",
    ]
