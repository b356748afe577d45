"""Trino's client against a server of ours that speaks its protocol: no Trino runs from the registries we have."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from tallystick.definitions.project import Warehouse
from tallystick.engines.adapter import Engine
from tallystick.engines.connect import connect_server
from tallystick.engines.limits import Limits
from tallystick.errors import (
    ConnectionFailedError,
    EngineError,
    MissingTableError,
    QueryTimeoutError,
    ResultTooLargeError,
)

ANSWERS = {
    "SELECT a, b, c, d FROM t": (
        [("a", "bigint"), ("b", "decimal(12,2)"), ("c", "date"), ("d", "varchar(10)")],
        [[1, "1.25", "2024-01-01", "x"], [None, None, None, None]],
    ),
    "SELECT * FROM shop.orders LIMIT 0": ([("at", "timestamp(3)"), ("n", "bigint")], []),
}
ERRORS = {
    "SELECT * FROM nothing": ("TABLE_NOT_FOUND", "line 1:15: Table 'shop.nothing' does not exist"),
    "SELECT slow": ("EXCEEDED_TIME_LIMIT", "Query exceeded the maximum run time limit"),
    "SELECT amont": ("COLUMN_NOT_FOUND", "line 1:8: Column 'amont' cannot be resolved"),
}


class Coordinator(BaseHTTPRequestHandler):
    seen: ClassVar[list[tuple[str, str]]] = []

    def do_POST(self) -> None:
        sql = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.seen.append((sql, self.headers.get("X-Trino-Session", "")))
        answer: dict[str, object] = {"id": "1", "infoUri": "", "stats": {"state": "FINISHED"}}
        if sql in ERRORS:
            name, message = ERRORS[sql]
            kind = "USER_ERROR" if name != "EXCEEDED_TIME_LIMIT" else "INSUFFICIENT_RESOURCES"
            answer["error"] = {
                "errorName": name,
                "errorType": kind,
                "errorCode": 1,
                "message": message,
                "failureInfo": {},
            }
        else:
            nothing = [("kind", "varchar(10)")], []
            columns, rows = (
                nothing if "information_schema" in sql else ANSWERS.get(sql, ([("result", "boolean")], [[True]]))
            )
            answer["columns"] = [
                {"name": name, "type": kind, "typeSignature": signature(kind)} for name, kind in columns
            ]
            answer["data"] = rows
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def signature(kind: str) -> dict[str, object]:
    name, _, rest = kind.partition("(")
    numbers = [int(part) for part in rest.rstrip(")").split(",") if part]
    return {"rawType": name, "arguments": [{"kind": "LONG", "value": number} for number in numbers]}


@pytest.fixture
def engine() -> Iterator[Engine]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Coordinator)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    Coordinator.seen.clear()
    options = {"host": "127.0.0.1", "port": str(server.server_port), "catalog": "lake", "user": "me"}
    opened = connect_server(Warehouse(engine="trino", options=options))
    yield opened
    opened.close()
    server.shutdown()
    server.server_close()
    thread.join()


def test_rows_come_back_typed(engine: Engine) -> None:
    table = engine.run("SELECT a, b, c, d FROM t")
    assert [str(field.type) for field in table.schema] == ["int64", "decimal128(3, 2)", "date32[day]", "string"]
    assert table.to_pylist() == [
        {"a": 1, "b": Decimal("1.25"), "c": date(2024, 1, 1), "d": "x"},
        dict.fromkeys("abcd"),
    ]
    assert engine.columns("shop.orders") == {"at": "TIMESTAMP(3)", "n": "BIGINT"}


def test_the_schema_is_made_and_tables_are_swapped(engine: Engine) -> None:
    engine.create_as("one", "SELECT 1 AS v")
    sent = [sql for sql, _ in Coordinator.seen]
    assert sent[0] == 'CREATE SCHEMA IF NOT EXISTS "tally"'
    assert sent[-1] == 'CREATE TABLE "tally"."one" AS SELECT 1 AS v'


def test_limits(engine: Engine) -> None:
    with pytest.raises(ResultTooLargeError):
        engine.run("SELECT a, b, c, d FROM t", Limits(rows=1))
    engine.run("SELECT a, b, c, d FROM t", Limits(seconds=2.5))
    assert "query_max_run_time=2500ms" in Coordinator.seen[-1][1]
    engine.run("SELECT a, b, c, d FROM t")
    assert "query_max_run_time" not in Coordinator.seen[-1][1]


@pytest.mark.parametrize(
    ("sql", "error", "words"),
    [
        ("SELECT * FROM nothing", MissingTableError, "shop.nothing"),
        ("SELECT slow", QueryTimeoutError, "ran longer"),
        ("SELECT amont", EngineError, "amont"),
    ],
)
def test_errors(engine: Engine, sql: str, error: type[EngineError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        engine.run(sql, Limits(seconds=1))
    assert "\n" not in str(caught.value)


def test_nobody_answers() -> None:
    with pytest.raises(ConnectionFailedError) as caught:
        connect_server(Warehouse(engine="trino", options={"host": "127.0.0.1", "port": "9", "user": "me"}))
    assert "\n" not in str(caught.value)
