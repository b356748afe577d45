"""Dates as users write them."""

from __future__ import annotations

from datetime import UTC, date, datetime

from tallystick.definitions.project import Project
from tallystick.errors import UsageError
from tallystick.sql.calendar import Calendar, start_of_day


def parse_instant(value: str | date | datetime, project: Project, days: Calendar | None = None) -> datetime:
    """Return the UTC instant of a date or date-time; raise UsageError.

    A date is its start on a calendar, of the project if no other is given.
    """
    if isinstance(value, str):
        value = _parse(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return start_of_day(value, days or project_calendar(project))


def project_calendar(project: Project) -> Calendar:
    """Return the calendar of a project."""
    return Calendar(project.settings.time_zone, project.settings.week_start)


def _parse(text: str) -> date | datetime:
    try:
        return date.fromisoformat(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"'{text}' is not a date", hint="write 2026-01-31 or 2026-01-31T12:00:00Z") from None
