"""Spark: a session on this machine, on a cluster (`master`) or over Spark Connect (`remote`, also Databricks).

Tables of the default catalog know neither transactions nor DELETE: a table is written beside and renamed, so a reader
may meet the moment between two renames, and a build that is killed there begins the model anew.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from tallystick.engines.capabilities import Capabilities
from tallystick.engines.limits import UNLIMITED, Limits, check_size, timed_out
from tallystick.engines.options import read_options
from tallystick.engines.relations import column_list, identifier, qualified
from tallystick.errors import (
    ConnectionFailedError,
    EngineError,
    MissingDriverError,
    MissingTableError,
    ResultTooLargeError,
)

if TYPE_CHECKING:
    import pyarrow as pa

OPTIONS = ("master", "remote", "path", "memory", "partitions")
NUMBERS = ("partitions",)
RETRY = 0.2
"""Seconds between attempts to end a query whose time has passed."""


class SparkEngine:
    """A Spark session in UTC; one process has one, which all connections share."""

    dialect = "spark"
    capabilities = Capabilities(transactions=False, one_pass=False, enforces_read_only=False, deletes=False)

    def __init__(self, options: Mapping[str, str], *, schema: str = "tally", read_only: bool = False) -> None:
        self.schema = schema
        self._options = read_options("spark", options, OPTIONS)
        self._read_only = read_only
        self._session = self._connect()
        if not read_only:
            self.execute(f"CREATE SCHEMA IF NOT EXISTS {identifier(schema, self.dialect)}")

    def _connect(self) -> Any:
        try:
            from pyspark.sql import SparkSession
        except ImportError as error:
            raise MissingDriverError("Spark is not installed", hint="pip install 'tallystick[spark]'") from error
        builder = SparkSession.builder.appName("tallystick")
        remote = self._options.get("remote")
        builder = builder.remote(remote) if remote else builder.master(self._options.get("master") or "local[2]")
        for name, value in self._settings().items():
            builder = builder.config(name, value)
        with self._translated():
            session = builder.getOrCreate()
            session.conf.set("spark.sql.session.timeZone", "UTC")
        logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)  # it repeats what our errors say
        return session

    def _settings(self) -> Mapping[str, str]:
        found = {
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.shuffle.partitions": self._options.get("partitions", "8") or "8",
        }
        if self._options.get("remote") is None:
            found |= {
                "spark.ui.enabled": "false",
                "spark.ui.showConsoleProgress": "false",
                "spark.sql.legacy.createHiveTableByDefault": "false",
            }
        memory = self._options.get("memory")
        if memory is not None:
            found |= {"spark.driver.memory": memory, "spark.executor.memory": memory}
        if (most := _largest_answer(memory or "1g")) is not None:
            found["spark.driver.maxResultSize"] = most
        if (path := self._options.get("path")) is not None:
            found["spark.sql.warehouse.dir"] = path
        return found

    def columns(self, relation_sql: str) -> Mapping[str, str]:
        """Return the columns of a FROM item and their types, without reading rows; raise MissingTableError."""
        with self._translated():
            return {name: kind.upper() for name, kind in self._session.sql(f"SELECT * FROM {relation_sql}").dtypes}

    def run(self, sql: str, limits: Limits = UNLIMITED) -> pa.Table:
        """Run one read-only query and return its rows; raise QueryTimeoutError or ResultTooLargeError."""
        with self._translated(), self._stopped_after(limits.seconds):
            frame = self._session.sql(sql)
            if limits.rows is not None:
                frame = frame.limit(limits.rows + 1)
            table = frame.toArrow()
        check_size(table.num_rows, table.nbytes, limits)
        return table

    @contextmanager
    def _stopped_after(self, seconds: float | None) -> Iterator[None]:
        """End the session's jobs once what runs inside has taken longer; raise QueryTimeoutError then."""
        if seconds is None:
            yield
            return
        done, passed = Event(), Event()

        def stop() -> None:
            # A job that is not submitted yet cannot be cancelled, so that once is not enough.
            pause = seconds
            while not done.wait(pause):
                passed.set()
                self._cancel()
                pause = RETRY

        watch = Thread(target=stop, name="spark-timeout", daemon=True)
        watch.start()
        try:
            yield
        except Exception:
            if not passed.is_set():
                raise
            raise timed_out(seconds) from None
        finally:
            done.set()
            watch.join()

    def _cancel(self) -> None:
        """End all jobs of the session."""
        if self._options.get("remote"):
            self._session.interruptAll()
        else:
            # Rows are fetched by a thread of the virtual machine that carries no tag to interrupt it by.
            self._session.sparkContext.cancelAllJobs()

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Run one read-only query with a small answer and return its rows as plain values."""
        with self._translated():
            return [row.asDict() for row in self._session.sql(sql).collect()]

    def execute(self, sql: str) -> None:
        """Run one statement that writes into Tallystick's own schema."""
        with self._translated():
            self._session.sql(sql)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do nothing: there are no transactions, `capabilities` says so, and tables are published by `rename`."""
        yield

    def write(self, table: str, rows: pa.Table) -> None:
        """Create or replace a table of Tallystick's schema from Arrow rows."""
        with self._translated():
            self.drop(table)
            self._session.createDataFrame(rows).write.saveAsTable(f"{self.schema}.{table}")

    def create(self, table: str, columns: Mapping[str, str]) -> None:
        """Create an empty table of Tallystick's schema unless it is there; types as DuckDB spells them."""
        spelled = {name: kind.removesuffix(" NOT NULL") for name, kind in columns.items()}
        self.execute(f"CREATE TABLE IF NOT EXISTS {self.qualified(table)} ({column_list(spelled, self.dialect)})")

    def create_as(self, table: str, query: str) -> None:
        """Create or replace a table of Tallystick's schema from a query."""
        self.drop(table)
        self.execute(f"CREATE TABLE {self.qualified(table)} USING parquet AS {query}")

    def rename(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Give relations of Tallystick's schema new names, in order; not all at once, see the module."""
        for old, new in pairs:
            self.execute(f"ALTER {self.kind(old) or 'TABLE'} {self.qualified(old)} RENAME TO {self.qualified(new)}")

    def kind(self, name: str) -> str | None:
        """Return TABLE or VIEW for a relation of Tallystick's schema, None where there is none."""
        with self._translated():
            if not self._session.catalog.tableExists(f"{self.schema}.{name}"):
                return None
            return "VIEW" if self._session.catalog.getTable(f"{self.schema}.{name}").tableType == "VIEW" else "TABLE"

    def drop(self, name: str) -> None:
        """Drop a table or view of Tallystick's schema if it is there."""
        if (found := self.kind(name)) is not None:
            self.execute(f"DROP {found} {self.qualified(name)}")

    def tables(self) -> frozenset[str]:
        """Return the names of tables and views in Tallystick's schema."""
        with self._translated():
            return frozenset(table.name for table in self._session.catalog.listTables(self.schema))

    def qualified(self, name: str) -> str:
        """Return the quoted name of a table in Tallystick's schema."""
        return qualified(self.schema, name, self.dialect)

    def close(self) -> None:
        """Leave the session to the process: others may use it, and starting one takes seconds."""

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn Spark's errors into ours: what is wrong in one line, what to do, and no secret."""
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException

        try:
            yield
        except (PySparkException, Py4JError) as error:
            raise _translate(error, self._options.scrub(str(error))) from None


def _largest_answer(memory: str) -> str | None:
    """Return a third of the driver's memory: Spark's own limit lets an answer fill all of it, which ends the session."""
    found = re.fullmatch(r"(\d+)([kmgt])b?", memory.strip().lower())
    if found is None:
        return None
    return f"{int(found[1]) * 1024 ** 'kmgt'.index(found[2]) // 3}k"


_CONDITION = re.compile(r"^\[(?P<code>[A-Z_.]+)\]\s*(?P<text>.*)$", re.DOTALL)


def _translate(error: Exception, message: str) -> EngineError:
    found = _CONDITION.match(message)
    code = found["code"] if found else ""
    first = ((found["text"] if found else message).strip().splitlines() or [type(error).__name__])[0]
    suggestion = re.search(r"Did you mean one of the following\? \[(.+?)\]", message)
    hint = f"did you mean {suggestion[1]}?" if suggestion else None
    if code.startswith(("TABLE_OR_VIEW_NOT_FOUND", "SCHEMA_NOT_FOUND")):
        return MissingTableError(first.split(" Verify ")[0], hint=hint)
    if "spark.driver.maxResultSize" in message:
        return ResultTooLargeError("the answer is larger than Spark's driver takes", hint="ask for less at once")
    if code.startswith(("CONNECT", "SPARK_CONNECT")) or "Connection refused" in message:
        return ConnectionFailedError(f"Spark cannot be reached: {first}", hint="check master or remote")
    return EngineError(first.split(" SQLSTATE")[0], hint=hint)
