"""PostgreSQL: reads in read-only transactions with server-side cursors, writes only into Tallystick's own schema."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from tallystick.engines.answers import fetched_table
from tallystick.engines.capabilities import Capabilities
from tallystick.engines.limits import UNLIMITED, Limits, timed_out
from tallystick.engines.options import read_options
from tallystick.engines.relations import column_list, kind_of, kind_query
from tallystick.errors import (
    ConnectionFailedError,
    EngineError,
    MissingDriverError,
    MissingTableError,
    StorageFullError,
)

if TYPE_CHECKING:
    import pyarrow as pa

OPTIONS = ("url", "host", "port", "database", "user", "password", "sslmode", "connect_timeout")
NUMBERS = ("port", "connect_timeout")
_NAMES = {"database": "dbname"}


class PostgresEngine:
    """A connection to one PostgreSQL database, its session in UTC."""

    dialect = "postgres"
    capabilities = Capabilities(transactions=True, one_pass=False, enforces_read_only=True)

    def __init__(self, options: Mapping[str, str], *, schema: str = "tally", read_only: bool = False) -> None:
        self.schema = schema
        self._options = read_options("postgres", options, OPTIONS)
        self._read_only = read_only
        self._connection = self._connect()
        if not read_only:
            self.execute(f"CREATE SCHEMA IF NOT EXISTS {_identifier(schema)}")

    def _connect(self) -> Any:
        try:
            import psycopg
        except ImportError as error:
            raise MissingDriverError(
                "the driver for PostgreSQL is not installed", hint="pip install 'tallystick[postgres]'"
            ) from error
        values = {_NAMES.get(name, name): value for name, value in self._options.values.items()}
        url = values.pop("url", "")
        settings = "-c timezone=UTC" + (" -c default_transaction_read_only=on" if self._read_only else "")
        values = {"connect_timeout": "10", **values, "options": settings, "application_name": "tallystick"}
        with self._translated():
            return psycopg.connect(url, autocommit=True, **values)  # type: ignore[arg-type]

    def columns(self, relation_sql: str) -> Mapping[str, str]:
        """Return the columns of a FROM item and their types, without reading rows; raise MissingTableError."""
        with self._translated(), self._connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {relation_sql} LIMIT 0")
            return {column.name: _type_name(column) for column in cursor.description or ()}

    def run(self, sql: str, limits: Limits = UNLIMITED) -> pa.Table:
        """Run one read-only query and return its rows; raise QueryTimeoutError or ResultTooLargeError."""
        with self._translated(limits), self._connection.transaction():
            if limits.seconds is not None:
                self._connection.execute(f"SET LOCAL statement_timeout = {max(1, round(limits.seconds * 1000))}")
            with self._connection.cursor(name="answer") as cursor:
                cursor.execute(sql)
                schema = _arrow_schema(cursor.description or ())
                return fetched_table(schema, cursor.fetchmany, limits)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Run one read-only query with a small answer and return its rows as plain values."""
        with self._translated(), self._connection.cursor() as cursor:
            cursor.execute(sql)
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def execute(self, sql: str) -> None:
        """Run one statement that writes into Tallystick's own schema."""
        with self._translated():
            self._connection.execute(sql)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Open a transaction: all writes inside become visible together or not at all; an inner one joins the outer."""
        with self._translated(), self._connection.transaction():
            yield

    def write(self, table: str, rows: pa.Table) -> None:
        """Create or replace a table of Tallystick's schema from Arrow rows."""
        name = self.qualified(table)
        columns = ", ".join(f"{_identifier(field.name)} {_sql_type(field.type)}" for field in rows.schema)
        names = ", ".join(_identifier(field.name) for field in rows.schema)
        with self.transaction():
            self._connection.execute(f"DROP TABLE IF EXISTS {name}")
            self._connection.execute(f"CREATE TABLE {name} ({columns})")
            with self._connection.cursor() as cursor, cursor.copy(f"COPY {name} ({names}) FROM STDIN") as copy:
                for batch in rows.to_batches(max_chunksize=10_000):
                    for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                        copy.write_row(row)

    def create(self, table: str, columns: Mapping[str, str]) -> None:
        """Create an empty table of Tallystick's schema unless it is there; types as DuckDB spells them."""
        self.execute(f"CREATE TABLE IF NOT EXISTS {self.qualified(table)} ({column_list(columns, self.dialect)})")

    def create_as(self, table: str, query: str) -> None:
        """Create or replace a table of Tallystick's schema from a query."""
        with self.transaction():
            self.drop(table)
            self.execute(f"CREATE TABLE {self.qualified(table)} AS {query}")

    def rename(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Give relations of Tallystick's schema new names, in order and all at once."""
        with self.transaction():
            for old, new in pairs:
                self.execute(f"ALTER {self.kind(old)} {self.qualified(old)} RENAME TO {_identifier(new)}")

    def kind(self, name: str) -> str | None:
        """Return TABLE or VIEW for a relation of Tallystick's schema, None where there is none."""
        return kind_of(self.rows(kind_query(self.schema, name, self.dialect)))

    def drop(self, name: str) -> None:
        """Drop a table or view of Tallystick's schema if it is there."""
        if (found := self.kind(name)) is not None:
            self.execute(f"DROP {found} {self.qualified(name)}")

    def tables(self) -> frozenset[str]:
        """Return the names of tables and views in Tallystick's schema."""
        rows = self.rows(f"SELECT table_name FROM information_schema.tables WHERE table_schema = {_text(self.schema)}")
        return frozenset(row["table_name"] for row in rows)

    def qualified(self, name: str) -> str:
        """Return the quoted name of a table in Tallystick's schema."""
        return f"{_identifier(self.schema)}.{_identifier(name)}"

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def _translated(self, limits: Limits = UNLIMITED) -> Iterator[None]:
        """Turn the driver's errors into ours: what is wrong in one line, what to do, and no secret."""
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            raise _translate(error, self._options.scrub(str(error)), limits) from None


def _identifier(name: str) -> str:
    return exp.to_identifier(name, quoted=True).sql("postgres")


def _text(value: str) -> str:
    return exp.Literal.string(value).sql("postgres")


def _type_name(column: Any) -> str:
    return str(column.type_display).upper()


_ARROW_TYPES = {
    16: "bool_",
    20: "int64",
    21: "int16",
    23: "int32",
    26: "int64",
    700: "float32",
    701: "float64",
    1082: "date32",
}
_NUMERIC, _TIMESTAMP, _TIMESTAMPTZ = 1700, 1114, 1184


def _arrow_schema(description: Any) -> pa.Schema:
    """Return the Arrow types of a cursor's columns by their object ids; what has no counterpart is text."""
    import pyarrow as pa

    special = {
        _NUMERIC: pa.decimal128(38, 10),
        _TIMESTAMP: pa.timestamp("us"),
        _TIMESTAMPTZ: pa.timestamp("us", "UTC"),
    }
    fields = []
    for column in description:
        plain = _ARROW_TYPES.get(column.type_code)
        kind = special.get(column.type_code) or (getattr(pa, plain)() if plain else pa.string())
        fields.append(pa.field(column.name, kind))
    return pa.schema(fields)


def _sql_type(kind: pa.DataType) -> str:
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return "TIMESTAMPTZ" if kind.tz else "TIMESTAMP"
    if pa.types.is_decimal(kind):
        return f"NUMERIC({kind.precision}, {kind.scale})"
    for check, name in (
        (pa.types.is_boolean, "BOOLEAN"),
        (pa.types.is_uint64, "NUMERIC(20)"),
        (pa.types.is_integer, "BIGINT"),
        (pa.types.is_floating, "DOUBLE PRECISION"),
        (pa.types.is_date, "DATE"),
    ):
        if check(kind):
            return name
    return "TEXT"


def _translate(error: Any, text: str, limits: Limits) -> EngineError:
    first = (text.splitlines() or [type(error).__name__])[0]
    state = error.sqlstate or ""
    hint = re.search(r"^HINT:\s*(.+)$", text, re.MULTILINE)
    advice = hint[1] if hint else None
    if state == "57014" and (limits.seconds is not None or "statement timeout" in text):
        return timed_out(limits.seconds)
    if state in ("42P01", "3F000"):
        return MissingTableError(first, hint=advice)
    if state.startswith("53"):
        return StorageFullError(f"PostgreSQL has no room left: {first}", hint="free some space and run again")
    if state.startswith(("08", "28", "57P")) or (not state and _is_connection(error)):
        return ConnectionFailedError(
            f"PostgreSQL cannot be reached: {first}", hint="check host, port, database, user and password"
        )
    return EngineError(first, hint=advice)


def _is_connection(error: Any) -> bool:
    import psycopg

    return isinstance(error, psycopg.OperationalError)
