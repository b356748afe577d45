"""Trino: tables are written beside and renamed, since most connectors know neither transactions over DDL nor DELETE."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tallystick.engines.answers import fetched_table
from tallystick.engines.capabilities import Capabilities
from tallystick.engines.limits import UNLIMITED, Limits
from tallystick.engines.options import read_options
from tallystick.engines.relations import column_list, identifier, kind_of, kind_query, qualified, text
from tallystick.errors import (
    ConnectionFailedError,
    EngineError,
    MissingDriverError,
    MissingTableError,
    QueryTimeoutError,
)

if TYPE_CHECKING:
    import pyarrow as pa

OPTIONS = ("host", "port", "user", "password", "catalog", "scheme", "roles")


class TrinoEngine:
    """A connection to one Trino coordinator; `catalog` holds Tallystick's schema."""

    dialect = "trino"
    capabilities = Capabilities(transactions=False, one_pass=False, enforces_read_only=False, deletes=False)

    def __init__(self, options: Mapping[str, str], *, schema: str = "tally", read_only: bool = False) -> None:
        self.schema = schema
        self._options = read_options("trino", options, OPTIONS)
        self._connection = self._connect()
        if not read_only:
            self.execute(f"CREATE SCHEMA IF NOT EXISTS {identifier(schema, self.dialect)}")

    def _connect(self) -> Any:
        try:
            import trino
        except ImportError as error:
            raise MissingDriverError(
                "the driver for Trino is not installed", hint="pip install 'tallystick[trino]'"
            ) from error
        user, password = self._options.get("user") or "tallystick", self._options.get("password")
        scheme = self._options.get("scheme") or ("https" if password else "http")
        return trino.dbapi.connect(  # type: ignore[no-untyped-call]
            host=self._options.get("host", "localhost"),
            port=self._options.number("port", 443 if scheme == "https" else 8080),
            user=user,
            http_scheme=scheme,
            auth=trino.auth.BasicAuthentication(user, password) if password else None,
            catalog=self._options.get("catalog"),
            timezone="UTC",
            source="tallystick",
            max_attempts=1,
        )

    def columns(self, relation_sql: str) -> Mapping[str, str]:
        """Return the columns of a FROM item and their types, without reading rows; raise MissingTableError."""
        with self._cursor(f"SELECT * FROM {relation_sql} LIMIT 0", UNLIMITED) as cursor:
            return {column[0]: str(column[1]).upper() for column in cursor.description or ()}

    def run(self, sql: str, limits: Limits = UNLIMITED) -> pa.Table:
        """Run one read-only query and return its rows; raise QueryTimeoutError or ResultTooLargeError."""
        with self._cursor(sql, limits) as cursor:
            return fetched_table(arrow_schema(cursor.description or ()), cursor.fetchmany, limits)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Run one read-only query with a small answer and return its rows as plain values."""
        with self._cursor(sql, UNLIMITED) as cursor:
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def execute(self, sql: str) -> None:
        """Run one statement that writes into Tallystick's own schema."""
        with self._cursor(sql, UNLIMITED) as cursor:
            cursor.fetchall()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do nothing: there are no transactions, `capabilities` says so, and tables are published by `rename`."""
        yield

    def write(self, table: str, rows: pa.Table) -> None:
        """Create or replace a table of Tallystick's schema from Arrow rows."""
        names = ", ".join(identifier(name, self.dialect) for name in rows.column_names)
        lines = [f"({', '.join(_literal(value) for value in row.values())})" for row in rows.to_pylist()]
        values = ", ".join(lines) or f"({', '.join('NULL' for _ in rows.column_names)})"
        kept = "" if lines else " WHERE false"
        self.create_as(table, f"SELECT * FROM (VALUES {values}) AS incoming ({names}){kept}")

    def create(self, table: str, columns: Mapping[str, str]) -> None:
        """Create an empty table of Tallystick's schema unless it is there; types as DuckDB spells them."""
        spelled = {name: kind.removesuffix(" NOT NULL") for name, kind in columns.items()}
        self.execute(f"CREATE TABLE IF NOT EXISTS {self.qualified(table)} ({column_list(spelled, self.dialect)})")

    def create_as(self, table: str, query: str) -> None:
        """Create or replace a table of Tallystick's schema from a query."""
        self.drop(table)
        self.execute(f"CREATE TABLE {self.qualified(table)} AS {query}")

    def rename(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Give relations of Tallystick's schema new names, in order; not all at once, see the module."""
        for old, new in pairs:
            self.execute(f"ALTER {self.kind(old) or 'TABLE'} {self.qualified(old)} RENAME TO {self.qualified(new)}")

    def kind(self, name: str) -> str | None:
        """Return TABLE or VIEW for a relation of Tallystick's schema, None where there is none."""
        return kind_of(self.rows(kind_query(self.schema, name, self.dialect)))

    def drop(self, name: str) -> None:
        """Drop a table or view of Tallystick's schema if it is there."""
        if (found := self.kind(name)) is not None:
            self.execute(f"DROP {found} {self.qualified(name)}")

    def tables(self) -> frozenset[str]:
        """Return the names of tables and views in Tallystick's schema."""
        where = f"table_schema = {text(self.schema, self.dialect)}"
        rows = self.rows(f"SELECT table_name FROM information_schema.tables WHERE {where}")
        return frozenset(row["table_name"] for row in rows)

    def qualified(self, name: str) -> str:
        """Return the quoted name of a table in Tallystick's schema."""
        return qualified(self.schema, name, self.dialect)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def _cursor(self, sql: str, limits: Limits) -> Iterator[Any]:
        """Run a statement and give its cursor; turn the driver's errors into ours, without any secret."""
        import requests
        import trino

        self._connection._client_session.properties.pop("query_max_run_time", None)  # noqa: SLF001 - no public way
        if limits.seconds is not None:
            bound = f"{max(1, round(limits.seconds * 1000))}ms"
            self._connection._client_session.properties["query_max_run_time"] = bound  # noqa: SLF001
        cursor = self._connection.cursor()
        try:
            cursor.execute(sql)
            yield cursor
        except (trino.exceptions.Error, requests.RequestException) as error:
            raise _translate(error, self._options.scrub(str(error)), limits) from None
        finally:
            cursor.close()


def arrow_schema(description: Any) -> pa.Schema:
    """Return the Arrow types of a Trino answer by the names of its types; what has no counterpart is text."""
    import pyarrow as pa

    return pa.schema([pa.field(column[0], _arrow_type(str(column[1]).lower())) for column in description])


def _arrow_type(name: str) -> pa.DataType:
    import pyarrow as pa

    if name.startswith("timestamp"):
        return pa.timestamp("us", "UTC") if "with time zone" in name else pa.timestamp("us")
    if name.startswith("decimal"):
        return pa.decimal128(38, 10)
    plain = {
        "boolean": pa.bool_(),
        "tinyint": pa.int8(),
        "smallint": pa.int16(),
        "integer": pa.int32(),
        "bigint": pa.int64(),
        "real": pa.float32(),
        "double": pa.float64(),
        "date": pa.date32(),
    }
    return plain.get(name, pa.string())


def _literal(value: object) -> str:
    from sqlglot import exp

    return exp.convert(value).sql("trino")


def _translate(error: Exception, message: str, limits: Limits) -> EngineError:
    name = getattr(error, "error_name", None) or ""
    said = getattr(error, "message", None) or message
    first = (said.splitlines() or [type(error).__name__])[0]
    if name in ("TABLE_NOT_FOUND", "SCHEMA_NOT_FOUND", "CATALOG_NOT_FOUND"):
        return MissingTableError(first)
    if name == "EXCEEDED_TIME_LIMIT":
        return QueryTimeoutError(
            f"the query ran longer than {limits.seconds or 0:g} s and was ended", hint="narrow it, or allow more time"
        )
    if not name:
        return ConnectionFailedError(
            f"Trino cannot be reached: {first[:200]}", hint="check host, port, user and password"
        )
    return EngineError(first)
