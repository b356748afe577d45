"""How far back the rows of a source reach."""

from __future__ import annotations

from sqlglot import exp

from tallystick.compiler.relations import scope
from tallystick.definitions.project import Project
from tallystick.definitions.source import Source


def first_row(source: Source, project: Project, dialect: str) -> exp.Select:
    """Return the query for the earliest time in a source."""
    rows = scope(source, project, dialect)
    return exp.select(exp.Min(this=rows.time()).as_("first")).from_(rows.relation())
