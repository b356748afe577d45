"""Opening the warehouse a project names."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from tallystick.definitions.diagnostics import nearest
from tallystick.definitions.project import Project, Warehouse
from tallystick.engines.adapter import Engine
from tallystick.engines.unavailable import unavailable
from tallystick.errors import EngineError, WarehouseOptionError

DEFAULT_FILE = Path(".tally") / "warehouse.duckdb"
SERVERS = {
    "postgres": "tallystick.engines.postgres:PostgresEngine",
    "clickhouse": "tallystick.engines.clickhouse:ClickHouseEngine",
    "spark": "tallystick.engines.spark:SparkEngine",
    "bigquery": "tallystick.engines.bigquery:BigQueryEngine",
    "snowflake": "tallystick.engines.snowflake:SnowflakeEngine",
    "trino": "tallystick.engines.trino:TrinoEngine",
}
"""Engines that are reached by connection settings; each is imported when it is asked for."""


def connect(project: Project, *, read_only: bool = False, name: str | None = None) -> Engine:
    """Open the project's warehouse, or the one of that name; without a file yet, a read-only one lives in memory.

    Raise EngineError.
    """
    warehouse = project.warehouses[name] if name is not None else project.warehouse
    engine = _open(project, warehouse, read_only=read_only)
    if not warehouse.allow:
        return engine
    from tallystick.engines.governed import GovernedEngine

    files = [source.name for source in project.sources.values() if source.file]
    return GovernedEngine(engine, (*warehouse.allow, *files), warehouse.name)


def _open(project: Project, warehouse: Warehouse, *, read_only: bool) -> Engine:
    if warehouse.engine in SERVERS:
        return connect_server(warehouse, read_only=read_only)
    if warehouse.engine != "duckdb":
        raise EngineError(
            f"warehouse '{warehouse.name}' asks for engine '{warehouse.engine}', which is not there",
            hint=nearest(warehouse.engine, ("duckdb", *SERVERS)),
        )
    from tallystick.engines.duckdb import DuckDBEngine

    path = warehouse_file(project, warehouse)
    files = {source.name: _resolve(project, source.file) for source in project.sources.values() if source.file}
    missing = read_only and not path.exists()
    return DuckDBEngine(None if missing else path, schema=warehouse.schema, files=files, read_only=read_only)


def check_options(warehouse: Warehouse) -> None:
    """Raise WarehouseOptionError for an engine that is not there or a setting it does not know; nothing is opened."""
    known: tuple[str, ...] = ()
    if warehouse.engine in SERVERS:
        known = import_module(SERVERS[warehouse.engine].partition(":")[0]).OPTIONS
    elif warehouse.engine != "duckdb":
        hint = nearest(warehouse.engine, ("duckdb", *SERVERS))
        raise WarehouseOptionError(f"there is no engine '{warehouse.engine}'", hint=hint)
    for name in warehouse.options:
        if name not in known:
            raise WarehouseOptionError(
                f"'{name}' is not an option of {warehouse.engine}", hint=nearest(name, (*known, "path", "schema"))
            )


def connect_server(warehouse: Warehouse, *, read_only: bool = False) -> Engine:
    """Open a warehouse that is a server; raise EngineError, or UsageError for settings it does not know."""
    module, _, name = SERVERS[warehouse.engine].partition(":")
    options = {**warehouse.options, **({"path": warehouse.path} if warehouse.path else {})}
    engine: Engine = getattr(import_module(module), name)(options, schema=warehouse.schema, read_only=read_only)
    return engine


def connect_others(project: Project) -> dict[str, Engine]:
    """Open for reading every warehouse beside the project's that a source names; one that fails says so when asked."""
    named = {source.warehouse for source in project.sources.values() if source.warehouse is not None}
    found: dict[str, Engine] = {}
    for name in sorted(named - {project.warehouse.name}):
        try:
            found[name] = connect(project, read_only=True, name=name)
        except EngineError as error:
            warehouse = project.warehouses[name]
            found[name] = unavailable(error, dialect=warehouse.engine, schema=warehouse.schema)
    return found


def warehouse_file(project: Project, warehouse: Warehouse | None = None) -> Path:
    """Return the file of a DuckDB warehouse: the configured one, or one inside the project folder."""
    return _resolve(project, (warehouse or project.warehouse).path or str(DEFAULT_FILE))


def _resolve(project: Project, path: str) -> Path:
    return (Path(project.root) / path).resolve()
