"""Showing the SQL of a model, without a connection."""

from __future__ import annotations

from datetime import datetime

from tallystick.compiler.lower import lower, to_text
from tallystick.compiler.model import Model
from tallystick.compiler.span import Span
from tallystick.definitions.diagnostics import nearest
from tallystick.definitions.project import Project
from tallystick.errors import UsageError
from tallystick.service.instants import project_calendar


def render(project: Project, model: Model, dialect: str, span: Span | None, as_of: datetime) -> str:
    """Return a model's SQL: with parameters where no span is given, else with its dates. Raise UsageError."""
    check_dialect(dialect)
    if span is not None and span.start is None and model.time.window is not None:
        span = Span(as_of.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0), span.end, span.calendar)
    tree = lower(model, project, span or Span(calendar=project_calendar(project)), dialect)
    return to_text(tree, dialect, reads=project.dialect)


def check_dialect(dialect: str) -> None:
    """Raise UsageError unless sqlglot knows the dialect."""
    from sqlglot.dialects.dialect import Dialects

    known = sorted(item.value for item in Dialects if item.value)
    if dialect not in known:
        raise UsageError(
            f"'{dialect}' is not an SQL dialect", hint=nearest(dialect, known) or f"known: {', '.join(known)}"
        )
