"""ClickHouse: standard SQL semantics switched on, tables published by one atomic RENAME, since there are no transactions.

`interface = "chdb"` opens an embedded ClickHouse in this process, for tests and for files on one machine: it must not
run SQL of people who are not trusted, since its settings cannot be locked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tallystick.engines.capabilities import Capabilities
from tallystick.engines.limits import UNLIMITED, Limits, check_size, timed_out
from tallystick.engines.options import read_options
from tallystick.engines.relations import column_list, identifier, kind_of, kind_query, qualified, text
from tallystick.errors import (
    ConnectionFailedError,
    EngineError,
    MissingDriverError,
    MissingTableError,
    ResultTooLargeError,
    StorageFullError,
)

if TYPE_CHECKING:
    import pyarrow as pa

OPTIONS = ("host", "port", "database", "user", "password", "secure", "interface", "path", "connect_timeout")
NUMBERS = ("port", "connect_timeout")
FLAGS = ("secure",)
_NAMES = {"user": "username"}
_SETTINGS = {
    "session_timezone": "UTC",
    "join_use_nulls": 1,  # an outer join without a partner is NULL, not 0
    "aggregate_functions_null_for_empty": 1,  # a sum over no rows is NULL, not 0
    "prefer_column_name_to_alias": 1,  # WHERE speaks of columns, not of what the SELECT calls them
    "union_default_mode": "DISTINCT",
    "enable_extended_results_for_datetime_functions": 1,  # buckets before 1970 are not 1970
    "output_format_arrow_string_as_string": 1,
    "output_format_arrow_date_as_uint16": 0,
}
_ENGINE = "ENGINE = MergeTree ORDER BY tuple()"


class ClickHouseEngine:
    """A connection to one ClickHouse server."""

    dialect = "clickhouse"

    def __init__(self, options: Mapping[str, str], *, schema: str = "tally", read_only: bool = False) -> None:
        self.schema = schema
        self._options = read_options("clickhouse", options, OPTIONS)
        self._embedded = self._options.get("interface") == "chdb"
        self._read_only = read_only
        self._client = self._connect()
        if not read_only:
            self.execute(f"CREATE DATABASE IF NOT EXISTS {identifier(schema, self.dialect)}")

    @property
    def capabilities(self) -> Capabilities:
        """Return what the engine can promise beyond running SQL."""
        return Capabilities(transactions=False, one_pass=False, enforces_read_only=not self._embedded)

    def _connect(self) -> Any:
        try:
            import clickhouse_connect
        except ImportError as error:
            raise MissingDriverError(
                "the driver for ClickHouse is not installed", hint="pip install 'tallystick[clickhouse]'"
            ) from error
        values: dict[str, Any] = {_NAMES.get(name, name): value for name, value in self._options.values.items()}
        if "port" in values:
            values["port"] = self._options.number("port", 8123)
        if "secure" in values:
            values["secure"] = values["secure"] == "true"
        if "connect_timeout" in values:
            values["connect_timeout"] = self._options.number("connect_timeout", 10)
        with self._translated():
            client = clickhouse_connect.get_client(**values)
            for name, value in _SETTINGS.items():
                client.set_client_setting(name, value)
            return client

    def columns(self, relation_sql: str) -> Mapping[str, str]:
        """Return the columns of a FROM item and their types, without reading rows; raise MissingTableError."""
        with self._translated():
            answer = self._client.query(f"DESCRIBE (SELECT * FROM {relation_sql})")
            return {str(row[0]): str(row[1]) for row in answer.result_rows}

    def run(self, sql: str, limits: Limits = UNLIMITED) -> pa.Table:
        """Run one read-only query and return its rows; raise QueryTimeoutError or ResultTooLargeError."""
        with self._translated(limits):
            table = self._client.query_arrow(sql, settings=self._bounds(limits))
            table = self._with_instants(table, sql)
        check_size(table.num_rows, table.nbytes, limits)
        return table

    def _bounds(self, limits: Limits) -> dict[str, Any]:
        found: dict[str, Any] = {} if self._embedded else {"readonly": 2}
        if limits.seconds is not None:
            found["max_execution_time"] = limits.seconds
        if limits.rows is not None:
            found |= {"max_result_rows": limits.rows, "result_overflow_mode": "throw"}
        if limits.bytes is not None:
            found |= {"max_result_bytes": limits.bytes, "result_overflow_mode": "throw"}
        return found

    def _with_instants(self, table: pa.Table, sql: str) -> pa.Table:
        """Return DateTime columns as instants: ClickHouse hands them out as seconds in unsigned integers."""
        import pyarrow as pa

        if not any(pa.types.is_uint32(field.type) for field in table.schema):
            return table
        types = self.columns(f"({sql})")
        for index, field in enumerate(table.schema):
            if pa.types.is_uint32(field.type) and "DateTime" in types[field.name]:
                seconds = table.column(index).cast(pa.int64()).cast(pa.timestamp("s", "UTC"))
                table = table.set_column(index, field.name, seconds.cast(pa.timestamp("us", "UTC")))
        return table

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Run one read-only query with a small answer and return its rows as plain values."""
        with self._translated():
            answer = self._client.query(sql)
            return [dict(zip(answer.column_names, row, strict=True)) for row in answer.result_rows]

    def execute(self, sql: str) -> None:
        """Run one statement that writes into Tallystick's own schema."""
        with self._translated():
            self._client.command(sql)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do nothing: there are no transactions, `capabilities` says so, and tables are published by `rename`."""
        yield

    def write(self, table: str, rows: pa.Table) -> None:
        """Create or replace a table of Tallystick's schema from Arrow rows."""
        columns = ", ".join(f"{identifier(field.name, self.dialect)} {_sql_type(field.type)}" for field in rows.schema)
        self.drop(table)
        self.execute(f"CREATE TABLE {self.qualified(table)} ({columns}) {_ENGINE}")
        with self._translated():
            self._client.insert_arrow(table, rows, database=self.schema)

    def create(self, table: str, columns: Mapping[str, str]) -> None:
        """Create an empty table of Tallystick's schema unless it is there; types as DuckDB spells them."""
        # Columns may be NULL, all of them: `Nullable` and `NOT NULL` exclude each other here.
        spelled = {
            name: kind.removesuffix(" NOT NULL").replace("TIMESTAMP", "TIMESTAMP_US") for name, kind in columns.items()
        }
        written = column_list(spelled, self.dialect)
        self.execute(f"CREATE TABLE IF NOT EXISTS {self.qualified(table)} ({written}) {_ENGINE}")

    def create_as(self, table: str, query: str) -> None:
        """Create or replace a table of Tallystick's schema from a query."""
        self.drop(table)
        self.execute(f"CREATE TABLE {self.qualified(table)} {_ENGINE} AS {query}")

    def rename(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Give relations of Tallystick's schema new names, in order and all at once."""
        moves = ", ".join(f"{self.qualified(old)} TO {self.qualified(new)}" for old, new in pairs)
        self.execute(f"RENAME TABLE {moves}")

    def kind(self, name: str) -> str | None:
        """Return TABLE or VIEW for a relation of Tallystick's schema, None where there is none."""
        return kind_of(self.rows(kind_query(self.schema, name, self.dialect)))

    def drop(self, name: str) -> None:
        """Drop a table or view of Tallystick's schema if it is there."""
        self.execute(f"DROP TABLE IF EXISTS {self.qualified(name)} SYNC")

    def tables(self) -> frozenset[str]:
        """Return the names of tables and views in Tallystick's schema."""
        rows = self.rows(f"SELECT name FROM system.tables WHERE database = {text(self.schema, self.dialect)}")
        return frozenset(row["name"] for row in rows)

    def qualified(self, name: str) -> str:
        """Return the quoted name of a table in Tallystick's schema."""
        return qualified(self.schema, name, self.dialect)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    @contextmanager
    def _translated(self, limits: Limits = UNLIMITED) -> Iterator[None]:
        """Turn the driver's errors into ours: what is wrong in one line, what to do, and no secret."""
        from clickhouse_connect.driver.exceptions import Error

        try:
            yield
        except Error as error:
            raise _translate(self._options.scrub(str(error)), limits) from None


def _sql_type(kind: pa.DataType) -> str:
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return "Nullable(DateTime64(6, 'UTC'))" if kind.tz else "Nullable(DateTime64(6))"
    if pa.types.is_decimal(kind):
        return f"Nullable(Decimal({kind.precision}, {kind.scale}))"
    for check, name in (
        (pa.types.is_boolean, "Bool"),
        (pa.types.is_uint64, "UInt64"),
        (pa.types.is_integer, "Int64"),
        (pa.types.is_floating, "Float64"),
        (pa.types.is_date, "Date32"),
    ):
        if check(kind):
            return f"Nullable({name})"
    return "Nullable(String)"


_CODES = {
    60: "table",
    81: "table",
    159: "time",
    160: "time",
    396: "size",
    243: "full",
    193: "login",
    194: "login",
    516: "login",
    192: "login",
}


def _translate(message: str, limits: Limits) -> EngineError:
    found = re.search(r"Code: (\d+)\. DB::Exception: (.*?)(?: \([A-Z_]+\))?(?:\s*\(for url.*)?$", message, re.DOTALL)
    code = int(found[1]) if found else None
    first = (found[2] if found else message).strip().splitlines()[0]
    what = _CODES.get(code) if code is not None else "login"
    hint = re.search(r"Maybe you meant: \[?'?([^\]']+)", message)
    advice = f"did you mean {hint[1]}?" if hint else None
    if what == "table":
        return MissingTableError(first, hint=advice)
    if what == "time":
        return timed_out(limits.seconds)
    if what == "size":
        return ResultTooLargeError("the answer is larger than it may be", hint="ask for less at once")
    if what == "full":
        return StorageFullError(f"ClickHouse has no room left: {first}", hint="free some space and run again")
    if what == "login":
        return ConnectionFailedError(f"ClickHouse cannot be reached: {first}", hint="check host, port and password")
    return EngineError(first, hint=advice)
