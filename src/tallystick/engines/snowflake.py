"""Snowflake: sessions in UTC with weeks from Monday, names folded to upper case as its own clients do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tallystick.engines.answers import bounded_table
from tallystick.engines.capabilities import Capabilities
from tallystick.engines.limits import UNLIMITED, Limits
from tallystick.engines.options import read_options
from tallystick.engines.relations import column_list, kind_of, text
from tallystick.errors import (
    ConnectionFailedError,
    EngineError,
    MissingDriverError,
    MissingTableError,
    QueryTimeoutError,
)

if TYPE_CHECKING:
    import pyarrow as pa

OPTIONS = ("account", "user", "password", "token", "authenticator", "private_key", "warehouse", "database", "role")
_SESSION = {"TIMEZONE": "UTC", "WEEK_START": 1, "TIMESTAMP_TYPE_MAPPING": "TIMESTAMP_NTZ", "QUERY_TAG": "tallystick"}
_LOGIN = frozenset({250001, 250003, 251005, 390100, 390144, 390189, 390201, 390422})
_ENDED = frozenset({604, 630, 57014})
_MISSING = frozenset({2003, 2043})


class SnowflakeEngine:
    """A connection to one Snowflake database."""

    dialect = "snowflake"
    capabilities = Capabilities(transactions=False, one_pass=False, enforces_read_only=False)

    def __init__(self, options: Mapping[str, str], *, schema: str = "tally", read_only: bool = False) -> None:
        self.schema = schema
        self._options = read_options("snowflake", options, OPTIONS)
        self._connection = self._connect()
        if not read_only:
            self.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")

    def _connect(self) -> Any:
        try:
            import snowflake.connector
        except ImportError as error:
            raise MissingDriverError(
                "the driver for Snowflake is not installed", hint="pip install 'tallystick[snowflake]'"
            ) from error
        values: dict[str, Any] = dict(self._options.values)
        with self._translated():
            return snowflake.connector.connect(
                **values, session_parameters=_SESSION, application="tallystick", login_timeout=20
            )

    def columns(self, relation_sql: str) -> Mapping[str, str]:
        """Return the columns of a FROM item and their types, without reading rows; raise MissingTableError."""
        from snowflake.connector import constants

        names: Any = constants

        with self._translated(), self._connection.cursor() as cursor:
            described = cursor.describe(f"SELECT * FROM {relation_sql}")
            return {column.name.lower(): str(names.FIELD_ID_TO_NAME[column.type_code]) for column in described}

    def run(self, sql: str, limits: Limits = UNLIMITED) -> pa.Table:
        """Run one read-only query and return its rows; raise QueryTimeoutError or ResultTooLargeError."""
        bounded = sql if limits.rows is None else f"SELECT * FROM ({sql}) AS bounded LIMIT {limits.rows + 1}"
        with self._translated(limits), self._connection.cursor() as cursor:
            cursor.execute(bounded, timeout=None if limits.seconds is None else max(1, round(limits.seconds)))
            if cursor.rowcount:
                table = bounded_table(cursor.fetch_arrow_batches(), limits)
            else:
                table = cursor.fetch_arrow_all(force_return_table=True)
        return table.rename_columns([name.lower() for name in table.column_names])

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Run one read-only query with a small answer and return its rows as plain values."""
        with self._translated(), self._connection.cursor() as cursor:
            cursor.execute(sql)
            names = [column.name.lower() for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def execute(self, sql: str) -> None:
        """Run one statement that writes into Tallystick's own schema."""
        with self._translated(), self._connection.cursor() as cursor:
            cursor.execute(sql)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do nothing: every DDL statement commits by itself, `capabilities` says so."""
        yield

    def write(self, table: str, rows: pa.Table) -> None:
        """Create or replace a table of Tallystick's schema from Arrow rows."""
        from sqlglot import exp

        names = ", ".join(rows.column_names)
        lines = [
            f"({', '.join(exp.convert(value).sql(self.dialect) for value in row.values())})" for row in rows.to_pylist()
        ]
        values = ", ".join(lines) or f"({', '.join('NULL' for _ in rows.column_names)})"
        kept = "" if lines else " WHERE FALSE"
        self.create_as(table, f"SELECT * FROM (VALUES {values}) AS incoming ({names}){kept}")

    def create(self, table: str, columns: Mapping[str, str]) -> None:
        """Create an empty table of Tallystick's schema unless it is there; types as DuckDB spells them."""
        written = column_list(columns, self.dialect).replace('"', "")
        self.execute(f"CREATE TABLE IF NOT EXISTS {self.qualified(table)} ({written})")

    def create_as(self, table: str, query: str) -> None:
        """Create or replace a table of Tallystick's schema from a query."""
        self.execute(f"CREATE OR REPLACE TABLE {self.qualified(table)} AS {query}")

    def rename(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Give relations of Tallystick's schema new names, in order; each by a statement that commits by itself."""
        for old, new in pairs:
            self.execute(f"ALTER {self.kind(old) or 'TABLE'} {self.qualified(old)} RENAME TO {self.qualified(new)}")

    def kind(self, name: str) -> str | None:
        """Return TABLE or VIEW for a relation of Tallystick's schema, None where there is none."""
        place = f"table_schema = {self._text(self.schema)} AND table_name = {self._text(name)}"
        return kind_of(self.rows(f"SELECT table_type AS kind FROM information_schema.tables WHERE {place}"))

    def drop(self, name: str) -> None:
        """Drop a table or view of Tallystick's schema if it is there."""
        if (found := self.kind(name)) is not None:
            self.execute(f"DROP {found} {self.qualified(name)}")

    def tables(self) -> frozenset[str]:
        """Return the names of tables and views in Tallystick's schema."""
        where = f"table_schema = {self._text(self.schema)}"
        rows = self.rows(f"SELECT table_name FROM information_schema.tables WHERE {where}")
        return frozenset(row["table_name"].lower() for row in rows)

    def qualified(self, name: str) -> str:
        """Return the name of a table in Tallystick's schema, not quoted: Snowflake folds it to upper case."""
        return f"{self.schema}.{name}"

    def _text(self, name: str) -> str:
        return text(name.upper(), self.dialect)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def _translated(self, limits: Limits = UNLIMITED) -> Iterator[None]:
        """Turn the driver's errors into ours: what is wrong in one line, what to do, and no secret."""
        import snowflake.connector

        try:
            yield
        except snowflake.connector.Error as error:
            raise _translate(error.errno, self._options.scrub(str(error.msg or error)), limits) from None


def _translate(number: int | None, message: str, limits: Limits) -> EngineError:
    first = " ".join(message.split())
    if number in _LOGIN:
        return ConnectionFailedError(f"Snowflake cannot be reached: {first}", hint="check account, user and password")
    if number in _ENDED:
        return QueryTimeoutError(
            f"the query ran longer than {limits.seconds or 0:g} s and was ended", hint="narrow it, or allow more time"
        )
    if number in _MISSING:
        return MissingTableError(first)
    return EngineError(first)
