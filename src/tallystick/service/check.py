"""Every finding about a project: of its files, and of the warehouse they speak about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tallystick.compiler.contract import check_definitions
from tallystick.compiler.definition_context import definition_context
from tallystick.compiler.relations import source_relation
from tallystick.definitions.diagnostics import Diagnostic, Severity, diagnose, from_error, sort
from tallystick.definitions.project import Project
from tallystick.definitions.resolve import check_columns
from tallystick.engines.adapter import Engine
from tallystick.engines.connect import check_options, setting_place
from tallystick.errors import EngineError, MissingTableError
from tallystick.service.data_checks import check_rows
from tallystick.service.query_checks import check_queries, written_as_queries
from tallystick.service.registry_checks import check_registered, has_registry


def check(project: Project, connect: Callable[[], Engine] | None) -> tuple[Diagnostic, ...]:
    """Return all diagnostics; with a connection, tables must exist, columns be there and ids make sense."""
    found = [*project.diagnostics, *check_definitions(definition_context(project)), *_settings(project)]
    reads = bool(project.sources or written_as_queries(project))
    if connect is not None and reads and not check_options(project.warehouse):
        try:
            engine = connect()
        except EngineError as error:
            found.append(from_error("warehouse-unavailable", error))
        else:
            columns, missing = source_columns(project, engine)
            found += [*missing, *check_columns(project, columns)]
            found += check_rows(project, engine, columns) if project.sources else ()
            found += _registered(project, engine)
            found += check_queries(project, engine)
    return sort(found)


def _registered(project: Project, engine: Engine) -> list[Diagnostic]:
    try:
        return list(check_registered(project, engine)) if has_registry(project) else []
    except EngineError as error:
        return [from_error("unreadable-source", error)]


def _settings(project: Project) -> Iterator[Diagnostic]:
    """Yield a finding for each setting of a warehouse that is unknown, wrong or missing, where it is written."""
    for warehouse in project.warehouses.values():
        for fault in check_options(warehouse):
            message = f"warehouse '{warehouse.name}': {fault.message}"
            yield diagnose(fault.code, message, setting_place(warehouse, fault), hint=fault.hint)


def source_columns(project: Project, engine: Engine) -> tuple[dict[str, Mapping[str, str]], list[Diagnostic]]:
    """Return the columns and types of every source that can be read, and a finding for each that can't."""
    columns: dict[str, Mapping[str, str]] = {}
    problems: list[Diagnostic] = []
    for source in project.sources.values():
        if source.warehouse not in (None, project.warehouse.name):
            continue  # its warehouse is opened where it is read
        relation = source_relation(source, source.name, project.dialect).sql(engine.dialect)
        try:
            columns[source.name] = engine.columns(relation)
        except MissingTableError as error:
            problems.append(
                diagnose(
                    "missing-table", f"source '{source.name}': {error.message}", source.origin.location, hint=error.hint
                )
            )
        except EngineError as error:
            problems.append(
                diagnose(
                    "unreadable-source",
                    f"source '{source.name}': {error.message}",
                    source.origin.location,
                    severity=Severity.ERROR,
                    hint=error.hint,
                )
            )
    return columns, problems
