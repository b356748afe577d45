"""Opening the warehouse a project names."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

from tallystick.definitions.diagnostics import misspelled, nearest
from tallystick.definitions.origin import place_of
from tallystick.definitions.project import Project, Warehouse
from tallystick.engines.adapter import Engine
from tallystick.engines.options import ENV, SettingFault
from tallystick.engines.unavailable import unavailable
from tallystick.errors import EngineError, Location, WarehouseOptionError

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
    _refuse_faults(warehouse)
    if warehouse.engine in SERVERS:
        return connect_server(warehouse, read_only=read_only)
    from tallystick.engines.duckdb import DuckDBEngine

    path = warehouse_file(project, warehouse)
    files = {source.name: _resolve(project, source.file) for source in project.sources.values() if source.file}
    missing = read_only and not path.exists()
    return DuckDBEngine(None if missing else path, schema=warehouse.schema, files=files, read_only=read_only)


def check_options(warehouse: Warehouse) -> tuple[SettingFault, ...]:
    """Return all that is wrong with the settings of a warehouse; nothing is opened, no reference is resolved."""
    if warehouse.engine != "duckdb" and warehouse.engine not in SERVERS:
        hint = nearest(warehouse.engine, ("duckdb", *SERVERS))
        return (SettingFault(setting="engine", message=f"there is no engine '{warehouse.engine}'", hint=hint),)
    module = import_module(SERVERS[warehouse.engine].partition(":")[0]) if warehouse.engine in SERVERS else None
    known: tuple[str, ...] = getattr(module, "OPTIONS", ())
    found = [_fault(warehouse.engine, module, name, text, known) for name, text in warehouse.options.items()]
    missing = [name for name in getattr(module, "REQUIRED", ()) if name not in warehouse.options]
    found += [
        SettingFault(
            setting=name,
            message=f"{warehouse.engine} needs '{name}'",
            hint=f'write {name} = "…", or "env:NAME" to take it from the environment',
            code="missing-key",
        )
        for name in missing
    ]
    return tuple(fault for fault in found if fault is not None)


def _fault(engine: str, module: ModuleType | None, name: str, text: str, known: tuple[str, ...]) -> SettingFault | None:
    """Return what is wrong with one setting that is written, if anything is."""
    if name not in known:
        hint = nearest(name, (*known, "path", "schema"))
        if "timeout" in name.replace("_", "") and not misspelled(name, known):
            hint = "how long a query may take is 'timeout' in [collect]"
        return SettingFault(setting=name, message=f"'{name}' is not an option of {engine}", hint=hint)
    if text.startswith(ENV):
        return None
    if name in getattr(module, "NUMBERS", ()) and not text.strip().isdigit():
        message = f"'{name}' must be a whole number, not '{text}'"
        return SettingFault(
            setting=name, message=message, hint=f"write {name} = 10 or another number", code="bad-value"
        )
    if name in getattr(module, "FLAGS", ()) and text not in ("true", "false"):
        message = f"'{name}' must be true or false, not '{text}'"
        return SettingFault(setting=name, message=message, hint=f"write {name} = true", code="bad-value")
    return None


def setting_place(warehouse: Warehouse, fault: SettingFault) -> Location:
    """Return where the setting at fault is written, else where its warehouse is."""
    return place_of(warehouse.origin, fault.setting, f"options.{fault.setting}")


def _refuse_faults(warehouse: Warehouse) -> None:
    """Raise WarehouseOptionError that tells all faults of the settings, at the place of the first."""
    faults = check_options(warehouse)
    if not faults:
        return
    at = setting_place(warehouse, faults[0])
    if len(faults) == 1:
        raise WarehouseOptionError(f"warehouse '{warehouse.name}': {faults[0].message}", at=at, hint=faults[0].hint)
    told = "; ".join(f"{each.message} ({each.hint})" if each.hint else each.message for each in faults)
    raise WarehouseOptionError(f"warehouse '{warehouse.name}': {told}", at=at)


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
