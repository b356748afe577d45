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
from tallystick.definitions.project import Project
from tallystick.definitions.source import Source
from tallystick.sql.calendar import Calendar, start_of_day

if TYPE_CHECKING:
    import pyarrow as pa


def first_instant(run: Callable[[str], pa.Table], project: Project, model: Model, dialect: str) -> datetime | None:
    """Return the earliest instant (UTC) in the sources of a model, or None where they are empty."""
    found: list[datetime] = []
    for name in source_names(project, project.metrics[model.metric]):
        source = project.sources[name]
        if source.time is not None:
            value = run(first_row(source, project, dialect).sql(dialect)).column("first")[0].as_py()
            if value is not None:
                found.append(_instant(value, source, project))
    # A definition that reads nothing but other models begins where they begin.
    for part in () if found else parts(model, project, definition_context(project)):
        first = first_instant(run, project, part, dialect)
        found += [first] if first is not None else []
    return min(found, default=None)


def _instant(value: date | datetime, source: Source, project: Project) -> datetime:
    calendar = Calendar(source.time_zone or project.settings.time_zone, project.settings.week_start)
    if source.time_is_date or not isinstance(value, datetime):
        return start_of_day(value.date() if isinstance(value, datetime) else value, calendar)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
