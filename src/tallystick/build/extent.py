"""When the rows of a model begin."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from tallystick.compiler.definition_context import definition_context
from tallystick.compiler.extent import first_row
from tallystick.compiler.lower import source_names
from tallystick.compiler.model import Model
from tallystick.compiler.order import parts
from tallystick.definitions.metric import SqlQuery
from tallystick.definitions.project import Project
from tallystick.definitions.source import Source
from tallystick.sql.calendar import Calendar, start_of_day

if TYPE_CHECKING:
    import pyarrow as pa

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def history_start(run: Callable[[str], pa.Table], project: Project, model: Model, dialect: str) -> datetime | None:
    """Return where a model's history begins if the project does not say, or None where there are no rows.

    A query over tables that are no sources begins where its registry says, else long ago: nobody knows its first row.
    """
    first = first_instant(run, project, model, dialect)
    metric = project.metrics[model.metric]
    if first is not None or not isinstance(metric.definition, SqlQuery) or source_names(project, metric):
        return first
    return registered_start(metric.definition) or LONG_AGO


def registered_start(definition: SqlQuery) -> datetime | None:
    """Return the day a registry lets a definition's models start on, where it names one."""
    start = definition.oso.start if definition.oso is not None else None
    try:
        return datetime.fromisoformat(start[:10]).replace(tzinfo=UTC) if start is not None else None
    except ValueError:  # such as "1 year ago"
        return None


def first_instant(
    run: Callable[[str], pa.Table], project: Project, model: Model, dialect: str, path: tuple[Model, ...] = ()
) -> datetime | None:
    """Return the earliest instant (UTC) in the sources of a model, or None where they are empty."""
    found: list[datetime] = []
    for name in source_names(project, project.metrics[model.metric]):
        source = project.sources[name]
        if source.time is not None:
            value = run(first_row(source, project, dialect).sql(dialect)).column("first")[0].as_py()
            if value is not None:
                found.append(_instant(value, source, project))
    # A definition that reads nothing but other models begins where they begin.
    for part in () if found or model in path else parts(model, project, definition_context(project)):
        first = first_instant(run, project, part, dialect, (*path, model))
        found += [first] if first is not None else []
    return min(found, default=None)


def _instant(value: date | datetime, source: Source, project: Project) -> datetime:
    calendar = Calendar(source.time_zone or project.settings.time_zone, project.settings.week_start)
    if source.time_is_date or not isinstance(value, datetime):
        return start_of_day(value.date() if isinstance(value, datetime) else value, calendar)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
