"""Findings about metrics with queries of their own: what the warehouse would say of them, before anything is built."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from tallystick.build.direct import calendar, model_query
from tallystick.compiler.contract import tables_of
from tallystick.compiler.definition_context import DefinitionContext, definition_context
from tallystick.compiler.plan import metric_models
from tallystick.compiler.span import Span
from tallystick.compiler.unknown_columns import table_name, unaliased, unknown_columns
from tallystick.definitions.diagnostics import Diagnostic, diagnose
from tallystick.definitions.metric import Metric, SqlQuery
from tallystick.definitions.project import Project
from tallystick.engines.adapter import Engine
from tallystick.errors import AccessRefusedError, EngineError, MissingTableError, TallystickError

_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)


def written_as_queries(project: Project) -> list[Metric]:
    """Return metrics with queries of their own, of those that share a text one: it has the same mistakes."""
    found: dict[tuple[str, str | None], Metric] = {}
    for metric in project.metrics.values():
        if metric.enabled and isinstance(metric.definition, SqlQuery):
            found.setdefault((metric.definition.sql, metric.origin.of("sql").file), metric)
    return list(found.values())


def check_queries(project: Project, engine: Engine) -> Iterator[Diagnostic]:
    """Yield a finding for each column that queries read and their tables do not have, and for queries that are refused.

    Whether it would refuse a query is asked of an embedded engine only: of others every answer takes its time.
    """
    context, known = definition_context(project), dict[str, Collection[str]]()
    for metric in written_as_queries(project):
        try:
            _look_up(metric, context, engine, known)
            unknown = unknown_columns(metric, context, known)
        except TallystickError:
            continue  # told where the definition is read
        yield from unknown
        if not unknown and engine.capabilities.one_pass:
            yield from _refused(metric, project, engine)


def _look_up(metric: Metric, context: DefinitionContext, engine: Engine, known: dict[str, Collection[str]]) -> None:
    """Add the columns of tables that a definition reads and that are not known yet."""
    for table in tables_of(metric, context):
        if table_name(table) not in known:
            # A table that cannot be read is told of elsewhere, or holds what is not built yet.
            with suppress(EngineError):
                columns = engine.columns(unaliased(table).sql(engine.dialect))
                known[table_name(table)] = frozenset(column.lower() for column in columns)


def _refused(metric: Metric, project: Project, engine: Engine) -> Iterator[Diagnostic]:
    """Ask for the columns of one model, which no row is read for."""
    span = Span(_SOME_DAY, _SOME_DAY + timedelta(days=1), calendar(project))
    for model in list(metric_models(metric, project))[:1]:
        try:
            engine.columns(f"({model_query(engine, project, model, span)}) AS query")
        except (MissingTableError, AccessRefusedError):
            return
        except EngineError as error:
            message = f"'{metric.name}': {error.message}"
            yield diagnose("bad-sql", message, metric.origin.of("sql"), hint=error.hint)
        except TallystickError:
            return  # told where the definition is read
