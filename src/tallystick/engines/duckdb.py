"""DuckDB: the default warehouse, one file owned by one process at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import exp

from tallystick.engines.adapter import BATCH, Rows, Whole
from tallystick.engines.capabilities import Capabilities
from tallystick.engines.limits import UNLIMITED, Limits, check_size, timed_out
from tallystick.engines.relations import column_list, kind_of, kind_query
from tallystick.errors import (
    EngineBrokenError,
    EngineError,
    MissingTableError,
    ResultTooLargeError,
    StorageFullError,
    WarehouseLockedError,
)

if TYPE_CHECKING:
    import pyarrow as pa

_READERS = {
    ".parquet": "read_parquet",
    ".csv": "read_csv",
    ".tsv": "read_csv",
    ".json": "read_json",
    ".ndjson": "read_json",
}


class DuckDBEngine:
    """A DuckDB file (or memory) in which `files` appear as views; nothing else on disk can be reached from SQL."""

    dialect = "duckdb"
    capabilities = Capabilities(transactions=True, one_pass=True, enforces_read_only=True, looks_beside=True)

    def __init__(
        self,
        path: Path | None = None,
        *,
        schema: str = "tally",
        files: Mapping[str, Path] | None = None,
        read_only: bool = False,
    ) -> None:
        self.schema = schema
        self.path = path
        self._absent: dict[str, Path] = {}
        self._depth = 0
        self._threads: int | None = None
        self._threads_wanted: int | None = None
        if path is not None and not read_only:
            path.parent.mkdir(parents=True, exist_ok=True)
        with self._translated():
            self._connection = self._open(read_only=read_only)
        try:
            self._prepare(files or {}, read_only=read_only and path is not None)
        except BaseException:
            self._connection.close()
            raise

    def _open(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        """Open the file under its own name, or under another where that would be mistaken for a schema's."""
        if self.path is None:
            return duckdb.connect(":memory:")
        if self.path.stem.lower() != self.schema.lower():
            connection = duckdb.connect(str(self.path), read_only=read_only)
            if not _is_mistaken(connection):
                return connection
            connection.close()
        connection = duckdb.connect(":memory:")
        mode = " (READ_ONLY)" if read_only else ""
        connection.execute(f"ATTACH {_quoted(str(self.path))} AS warehouse{mode}")
        connection.execute("USE warehouse")
        return connection

    def _prepare(self, files: Mapping[str, Path], *, read_only: bool) -> None:
        allowed = ", ".join(_quoted(str(path)) for path in files.values())
        settings = [
            "SET TimeZone = 'UTC'",
            f"SET allowed_paths = [{allowed}]",
            "SET enable_external_access = false",
            "SET autoinstall_known_extensions = false",
            "SET autoload_known_extensions = false",
            "SET enable_progress_bar = false",
            "SET allowed_configs = ['threads', 'max_vacuum_tasks']",
            "SET lock_configuration = true",
        ]
        for statement in settings:
            self._connection.execute(statement)
        for name, path in files.items():
            self._create_view(name, path)
        if not read_only:
            self.execute(f"CREATE SCHEMA IF NOT EXISTS {_identifier(self.schema)}")

    def _create_view(self, name: str, path: Path) -> None:
        reader = _READERS.get(path.suffix.lower())
        if reader is None:
            raise EngineError(
                f"source '{name}' reads {path.name}, a kind of file DuckDB is not asked to read",
                hint=f"use one of {', '.join(_READERS)}",
            )
        if not path.exists():
            # Other sources stay usable; asking for this one explains what is missing.
            self._absent[name] = path
            return
        self.execute(f"CREATE OR REPLACE TEMP VIEW {_identifier(name)} AS SELECT * FROM {reader}({_quoted(str(path))})")

    def columns(self, relation_sql: str) -> Mapping[str, str]:
        """Return the columns of a FROM item and their types, without reading rows; raise MissingTableError."""
        with self._translated():
            rows = self._connection.execute(f"DESCRIBE SELECT * FROM {relation_sql}").fetchall()
        return {str(row[0]): str(row[1]) for row in rows}

    def run(self, sql: str, limits: Limits = UNLIMITED) -> pa.Table:
        """Run one read-only query and return its rows; raise QueryTimeoutError or ResultTooLargeError."""
        with self._translated(), self._stopped_after(limits.seconds):
            relation = self._connection.sql(sql)
            if relation is None:
                raise EngineError("the statement returned no rows to read")
            if limits.rows is not None:
                relation = relation.limit(limits.rows + 1)
            table = _bounded(relation, limits).to_arrow_table()
        check_size(table.num_rows, table.nbytes, limits)
        return table

    @contextmanager
    def _stopped_after(self, seconds: float | None) -> Iterator[None]:
        """Interrupt what runs inside once it has taken longer; raise QueryTimeoutError then."""
        if seconds is None:
            yield
            return
        timer = Timer(seconds, self._connection.interrupt)
        timer.start()
        try:
            yield
        except duckdb.InterruptException as error:
            raise timed_out(seconds) from error
        finally:
            timer.cancel()

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Run one read-only query with a small answer and return its rows as plain values."""
        with self._translated():
            answer = self._connection.execute(sql)
            names = [column[0] for column in answer.description or ()]
            return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]

    def arrays(self, sql: str) -> dict[str, Whole]:
        """Run one read-only query of whole numbers, none of them missing, and return its columns.

        Arrow costs a third of it where rows are many, and half a second to load where they are few.
        """
        with self._translated():
            found: dict[str, Whole] = self._connection.execute(sql).fetchnumpy()
        return found

    def execute(self, sql: str) -> None:
        """Run one statement that writes into Tallystick's own schema."""
        with self._translated():
            self._connection.execute(sql)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Open a transaction: all writes inside become visible together or not at all; an inner one joins the outer."""
        if self._depth:
            yield
            return
        self.execute("BEGIN TRANSACTION")
        self._depth += 1
        try:
            yield
        except BaseException:
            self._rollback()
            raise
        else:
            self.execute("COMMIT")
        finally:
            self._depth -= 1

    def _rollback(self) -> None:
        try:
            self._connection.execute("ROLLBACK")
        except duckdb.Error:
            # A fatal error has already ended the transaction; the first error is the one to report.
            return

    def use_threads(self, count: int | None) -> None:
        """Work on so many threads from the next statement on, None: on as many as there are processors.

        Statements over few rows take up to a third less processor time where no thread waits for another.
        """
        self._threads_wanted = count

    def _change_threads(self) -> None:
        """Change the number of threads if another is wanted; it costs as much as three small statements."""
        if self._threads_wanted == self._threads:
            return
        self._threads = count = self._threads_wanted
        with suppress(duckdb.Error):
            # Only a connection that a fatal error has ended refuses; that error is the one to report.
            self._connection.execute("RESET threads" if count is None else f"SET threads = {count}")

    def checkpoint(self, *, leaves_gaps: bool = False) -> None:
        """Put what was committed in its place in the file, as closing would; not while others are writing to it.

        To close the gaps that deleted rows leave, DuckDB writes whole tables again if they are small: more often than
        not the larger part of its work. From a checkpoint that leaves them to the next one that does not, they stay.
        """
        self.use_threads(1)
        with self._translated(), suppress(duckdb.TransactionException):
            self._connection.execute("SET max_vacuum_tasks = 0" if leaves_gaps else "RESET max_vacuum_tasks")
            self._connection.execute("CHECKPOINT")

    def write(self, table: str, rows: pa.Table) -> None:
        """Create or replace a table of Tallystick's schema from Arrow rows."""
        self._take_in(rows, f"CREATE OR REPLACE TABLE {self.qualified(table)} AS SELECT * FROM incoming_rows")

    def insert(self, table: str, rows: Rows) -> None:
        """Add rows to a table of Tallystick's schema; columns are matched by name."""
        self._take_in(rows, f"INSERT INTO {self.qualified(table)} BY NAME SELECT * FROM incoming_rows")

    def _take_in(self, rows: Rows, statement: str) -> None:
        if not isinstance(rows, Mapping) and hasattr(rows, "combine_chunks"):
            rows = type(rows).from_batches(rows.combine_chunks().to_batches(max_chunksize=BATCH), rows.schema)
        with self.lend("incoming_rows", rows):
            self.execute(statement)

    @contextmanager
    def lend(self, name: str, rows: Rows) -> Iterator[None]:
        """Let statements inside read rows under a name."""
        with self._translated():
            self._connection.register(name, rows)
        try:
            yield
        finally:
            self._connection.unregister(name)

    def batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """Run one read-only query and yield its rows as they come; read them all before the next statement."""
        with self._translated():
            yield from self._connection.execute(sql).to_arrow_reader(BATCH)

    def create(self, table: str, columns: Mapping[str, str]) -> None:
        """Create an empty table of Tallystick's schema unless it is there; types as DuckDB spells them."""
        self.execute(f"CREATE TABLE IF NOT EXISTS {self.qualified(table)} ({column_list(columns, self.dialect)})")

    def create_as(self, table: str, query: str) -> None:
        """Create or replace a table of Tallystick's schema from a query."""
        self.execute(f"CREATE OR REPLACE TABLE {self.qualified(table)} AS {query}")

    def rename(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Give relations of Tallystick's schema new names, in order and all at once."""
        with self.transaction():
            for old, new in pairs:
                self._either("ALTER", f"{self.qualified(old)} RENAME TO {_identifier(new)}")

    def kind(self, name: str) -> str | None:
        """Return TABLE or VIEW for a relation of Tallystick's schema, None where there is none."""
        with self._translated(), suppress(duckdb.CatalogException):
            self._connection.table(self.qualified(name))
            return "TABLE"
        return kind_of(self.rows(kind_query(self.schema, name, self.dialect)))

    def drop(self, name: str) -> None:
        """Drop a table or view of Tallystick's schema if it is there."""
        self._either("DROP", f"IF EXISTS {self.qualified(name)}")

    def _either(self, verb: str, rest: str) -> None:
        """Run a statement about a table or else a view: asking first would look through all there are."""
        with self._translated():
            try:
                self._connection.execute(f"{verb} TABLE {rest}")
            except duckdb.CatalogException as error:
                if "VIEW" not in str(error).upper():
                    raise
                self._connection.execute(f"{verb} VIEW {rest}")

    def tables(self) -> frozenset[str]:
        """Return the names of tables and views in Tallystick's schema."""
        # Half the time that information_schema takes.
        kinds = (f"SELECT {kind}_name AS name, schema_name FROM duckdb_{kind}s()" for kind in ("table", "view"))
        query = f"SELECT name FROM ({' UNION ALL '.join(kinds)}) AS t WHERE schema_name = {_quoted(self.schema)}"
        return frozenset(str(row["name"]) for row in self.rows(query))

    def estimated_rows(self, table: str) -> int | None:
        """Return about how many rows a table of the warehouse has, None for what is no table of it."""
        named = exp.to_table(table, dialect=self.dialect)
        schema = f"schema_name = {_quoted(named.db)}" if named.db else "schema_name = current_schema()"
        where = f"table_name = {_quoted(named.name)} AND {schema}"
        found = self.rows(f"SELECT max(estimated_size) AS n FROM duckdb_tables() WHERE {where}")[0]["n"]
        return None if found is None else int(found)

    def qualified(self, name: str) -> str:
        """Return the quoted name of a table in Tallystick's schema."""
        return f"{_identifier(self.schema)}.{_identifier(name)}"

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn DuckDB's errors into ours: what is wrong in one line, and what to do."""
        self._change_threads()
        try:
            yield
        except duckdb.Error as error:
            for name, path in self._absent.items():
                if f"name {name} does not exist" in str(error):
                    raise MissingTableError(
                        f"source '{name}' reads {path}, which does not exist", hint="check file = in its definition"
                    ) from error
            raise _translate(error, self.path) from error


def _bounded(relation: duckdb.DuckDBPyRelation, limits: Limits) -> duckdb.DuckDBPyRelation:
    """Return the relation that fails at the row with which its values take more bytes than allowed.

    DuckDB gathers an answer as a whole, its streamed ones too where values are long: only the query itself can stop.
    """
    if limits.bytes is None:
        return relation
    kinds = [str(kind) for kind in relation.types]
    widths = [_width(name, kind) for name, kind in zip(relation.columns, kinds, strict=True)]
    fixed = all(isinstance(width, int) for width in widths)
    if fixed and limits.rows is not None and limits.rows * 16 * len(widths) <= limits.bytes:
        return relation
    width = " + ".join(str(width) for width in widths)
    counted = relation.project(f"*, sum({width}) OVER (ROWS UNBOUNDED PRECEDING) AS {_SO_FAR}")
    stop = f"error({_quoted(_TOO_LARGE)})"
    kept = counted.filter(f"CASE WHEN {_SO_FAR} > {limits.bytes} THEN {stop} ELSE TRUE END")
    return kept.project(f"* EXCLUDE ({_SO_FAR})")


_SO_FAR = "bytes_so_far"
_TOO_LARGE = "tallystick: the answer is too large"
_BYTES = {"BOOLEAN": 0, "TINYINT": 1, "SMALLINT": 2, "INTEGER": 4, "UTINYINT": 1, "USMALLINT": 2, "UINTEGER": 4}
_BYTES |= {"FLOAT": 4, "DATE": 4, "HUGEINT": 16, "UHUGEINT": 16, "UUID": 16}


def _width(name: str, kind: str) -> int | str:
    """Return the bytes of a column's values in Arrow, or the expression that tells them of a row."""
    column = _identifier(name)
    if kind in ("VARCHAR", "JSON"):
        return f"coalesce(strlen({column}), 0)"
    if kind == "BLOB":
        return f"coalesce(octet_length({column}), 0)"
    if kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION", "ENUM")):
        return f"coalesce(strlen(CAST({column} AS VARCHAR)), 0)"
    return 16 if kind.startswith("DECIMAL") else _BYTES.get(kind, 8)


def _is_mistaken(connection: duckdb.DuckDBPyConnection) -> bool:
    """Tell whether the file holds a schema of its own name: `shop.orders` in shop.duckdb would be either's table."""
    query = (
        "SELECT count(*) FROM duckdb_schemas() WHERE database_name = current_database() AND schema_name = database_name"
    )
    found = connection.execute(query).fetchone()
    return found is not None and found[0] > 0


@lru_cache(maxsize=1024)
def _identifier(name: str) -> str:
    return exp.to_identifier(name, quoted=True).sql("duckdb")


def _quoted(text: str) -> str:
    return exp.Literal.string(text).sql("duckdb")


def _translate(error: duckdb.Error, path: Path | None) -> EngineError:
    text = str(error)
    first = text.splitlines()[0] if text else type(error).__name__
    if _TOO_LARGE in text:
        return ResultTooLargeError("the answer holds more bytes than it may", hint="ask for less at once")
    name = path.name if path else "the warehouse"
    if "Could not set lock" in text or "Conflicting lock" in text:
        holder = re.search(r"PID (\d+)", text)
        who = f"process {holder[1]}" if holder else "another process"
        return WarehouseLockedError(f"{name} is in use by {who}", hint="close it, or wait until it has finished")
    if re.search(r"No space left|File too large|quota exceeded|disk full|Out of Disk", text, re.IGNORECASE):
        return StorageFullError(f"the disk is full: {name} could not be written", hint="free some space and run again")
    if "not a valid DuckDB database" in text:
        return EngineError(f"{path} is not a DuckDB file", hint="name another path in [warehouses]")
    if isinstance(error, (duckdb.InternalException, duckdb.FatalException)):
        return EngineBrokenError(f"DuckDB stopped: {first}", hint="run again; what was built is safe")
    if isinstance(error, duckdb.CatalogException) and "does not exist" in text:
        return MissingTableError(first.removeprefix("Catalog Error: "), hint=_suggestion(text))
    return EngineError(first, hint=_suggestion(text))


def _suggestion(text: str) -> str | None:
    found = re.search(r"(?:Did you mean|Candidate bindings:) *(.+)", text)
    if found is None:
        return None
    asked = re.search(r'(?:with name|column) "?(\w+)"?', text)
    if asked and not get_close_matches(asked[1], re.findall(r"\w+", found[1]), n=1):
        return None
    return f"did you mean {found[1].strip().rstrip('?')}?"
