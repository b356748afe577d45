"""When the rows of a model begin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from sqlglot import exp

from tallystick.compiler.definition_context import definition_context
from tallystick.compiler.extent import first_row, first_rows_read
from tallystick.compiler.lower import source_names, to_text
from tallystick.compiler.model import Model
from tallystick.compiler.order import parts
from tallystick.definitions.metric import SqlQuery
from tallystick.definitions.project import Project
from tallystick.definitions.source import Source
from tallystick.sql.calendar import Calendar, start_of_day

if TYPE_CHECKING:
    import pyarrow as pa

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""Where a query over tables that are no sources begins if nothing tells its first row."""


def first_instant(run: Callable[[str], pa.Table], project: Project, model: Model, dialect: str) -> datetime | None:
    """Return the earliest instant (UTC) in what a model is computed from, or None where that is empty.

    A registry says when its history starts: what lies before is left out.
    """
    return _first(run, project, model, dialect, frozenset())


def _first(
    run: Callable[[str], pa.Table], project: Project, model: Model, dialect: str, readers: frozenset[str]
) -> datetime | None:
    found: list[datetime] = []
    metric = project.metrics[model.metric]
    for name in source_names(project, metric):
        source = project.sources[name]
        if source.time is not None:
            value = run(first_row(source, project, dialect).sql(dialect)).column("first")[0].as_py()
            if value is not None:
                found.append(_instant(value, source, project))
    registered, is_known = None, bool(source_names(project, metric))
    if isinstance(metric.definition, SqlQuery):
        registered = registered_start(metric.definition, project)
        looks = [] if found else list(first_rows_read(metric.definition, project))
        found += _instants_read(run, project, metric.definition, looks, dialect)
        is_known = is_known or bool(looks)
    # A definition that reads nothing but other models begins where they begin.
    others = () if found else parts(model, project, definition_context(project))
    for part in others:
        if part.name not in readers:
            first = _first(run, project, part, dialect, readers | {model.name})
            found += [first] if first is not None else []
    first = min(found, default=None)
    if first is not None and registered is not None:
        return max(first, registered)
    return first or registered or (None if is_known or others else LONG_AGO)


def _instants_read(
    run: Callable[[str], pa.Table],
    project: Project,
    definition: SqlQuery,
    looks: Iterable[exp.Select],
    dialect: str,
) -> Iterator[datetime]:
    days = Calendar(project.settings.time_zone, project.settings.week_start)
    for query in looks:
        text = to_text(query, dialect, reads=definition.dialect or project.dialect, pretty=False)
        value = run(text).column("first")[0].as_py()
        if isinstance(value, datetime):
            yield value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        elif isinstance(value, date):
            yield start_of_day(value, days)


def registered_start(definition: SqlQuery, project: Project) -> datetime | None:
    """Return the day a registry lets a definition's models start on, where it names one."""
    start = definition.oso.start if definition.oso is not None else None
    days = Calendar(project.settings.time_zone, project.settings.week_start)
    return start_of_day(date.fromisoformat(start), days) if start is not None else None


def _instant(value: date | datetime, source: Source, project: Project) -> datetime:
    calendar = Calendar(source.time_zone or project.settings.time_zone, project.settings.week_start)
    if source.time_is_date or not isinstance(value, datetime):
        return start_of_day(value.date() if isinstance(value, datetime) else value, calendar)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
