"""On which calendar the days of a metric are counted."""

from __future__ import annotations

from tallystick.compiler.formula_model import operands
from tallystick.definitions.metric import Aggregate, Formula, Metric
from tallystick.definitions.project import Project
from tallystick.sql.calendar import Calendar


def calendar_of(project: Project, metric: Metric) -> Calendar:
    """Return the calendar a metric's days are counted on: its source's, else the project's."""
    settings, zone = project.settings, None
    if isinstance(metric.definition, Formula):
        metric = project.metrics[operands(metric, project.metrics, project.dialect)[0]]
    if isinstance(metric.definition, Aggregate):
        zone = project.sources[metric.definition.source].time_zone
    return Calendar(zone or settings.time_zone, settings.week_start)
