"""Findings about metrics with queries of their own: what the warehouse would say of them, before anything is built."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from tallystick.build.direct import calendar, model_query
from tallystick.compiler.contract import is_faulty, tables_of
from tallystick.compiler.definition_context import DefinitionContext, definition_context
from tallystick.compiler.model import Model
from tallystick.compiler.plan import metric_models
from tallystick.compiler.run_dates import SAMPLE_DATE
from tallystick.compiler.span import Span
from tallystick.compiler.unknown_columns import table_name, unaliased, unknown_columns
from tallystick.definitions.column_kind import bucketed
from tallystick.definitions.condition import Kind
from tallystick.definitions.diagnostics import Diagnostic, diagnose
from tallystick.definitions.metric import Metric, SqlQuery
from tallystick.definitions.project import Project
from tallystick.engines.adapter import Engine
from tallystick.errors import (
    AccessRefusedError,
    DefinitionError,
    EngineError,
    Location,
    MissingTableError,
    TallystickError,
)

_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)
_CONTRACT = (
    ("amount", {Kind.NUMBER, Kind.BOOL}, "a number"),
    (SAMPLE_DATE, {Kind.DATE, Kind.TIMESTAMP}, "a date"),
)


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
    """Ask for the columns of some models, which no row is read for, up to the first one that is refused."""
    for model in _of_each_kind(metric_models(metric, project)):
        found = list(_asked(metric, model, project, engine))
        yield from found
        if found:
            return


def _of_each_kind(models: Iterable[Model]) -> Iterator[Model]:
    """Yield the first model of each kind of time view, and the last of all: that of the entity farthest from the base."""
    every = list(models)
    firsts: dict[tuple[bool, bool], Model] = {}
    for model in every:
        firsts.setdefault((model.time.window is not None, model.time.is_all_time), model)
    yield from dict.fromkeys([*firsts.values(), *every[-1:]])


def _asked(metric: Metric, model: Model, project: Project, engine: Engine) -> Iterator[Diagnostic]:
    span, at = Span(_SOME_DAY, _SOME_DAY + timedelta(days=1), calendar(project, model)), metric.origin.of("sql")
    if is_faulty(metric, model, definition_context(project)):
        return  # told where the definition is read
    try:
        columns = engine.columns(f"({model_query(engine, project, model, span)}) AS query")
    except (MissingTableError, AccessRefusedError):
        return
    except DefinitionError as error:
        yield diagnose("bad-definition", f"'{metric.name}': {error.message}", error.at or at, hint=error.hint)
    except TallystickError as error:
        code = "bad-sql" if isinstance(error, EngineError) else "bad-definition"
        yield diagnose(code, f"'{metric.name}' {model.time.suffix}: {error.message}", at, hint=error.hint)
    else:
        yield from _types(metric, columns, at)


def _types(metric: Metric, columns: Mapping[str, str], at: Location | None) -> Iterator[Diagnostic]:
    """Yield a finding for an amount that is no number and a sample date that is no date (spec oso §1)."""
    for name, kinds, what in _CONTRACT:
        held = columns.get(name)
        if held is not None and bucketed(held) not in kinds:
            message = f"'{metric.name}' puts out '{name}' as {held}, and every metric table has {what} there"
            yield diagnose("column-type", message, at)
