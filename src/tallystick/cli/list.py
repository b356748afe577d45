"""`tally list`: the catalog, one metric per line."""

from __future__ import annotations

from tallystick.cli.options import FormatOption, ProjectOption, new_app
from tallystick.cli.output import Format, Row, write_rows
from tallystick.cli.project import opened
from tallystick.definitions.metric import Aggregate, Metric, SqlQuery, Views

COLUMNS = ("name", "kind", "source", "entities", "views", "owner", "description")

app = new_app()


@app.command("list")
def list_metrics(project: ProjectOption = None, form: FormatOption = Format.TABLE) -> None:
    """List the metrics of a project, one per line."""
    with opened(project) as workspace:
        rows = [describe(metric) for metric in workspace.metrics.values()]
    write_rows(rows, COLUMNS, form)


def describe(metric: Metric) -> Row:
    """Return the line of a metric."""
    text = (metric.about.description or metric.about.friendly_name or "").strip()
    return {
        "name": metric.name,
        "kind": metric.kind,
        "source": source_of(metric),
        "entities": list(metric.views.entities),
        "views": views_of(metric.views),
        "owner": ", ".join(metric.about.owners) or None,
        "description": text.splitlines()[0] if text else None,
    }


def source_of(metric: Metric) -> str | None:
    """Return what a metric reads: a source, or the sources an SQL definition names."""
    match metric.definition:
        case Aggregate(source=source):
            return source
        case SqlQuery(sources=sources):
            return ", ".join(sources) or None
        case _:
            return None


def views_of(views: Views) -> list[str]:
    """Return the time views in words: grains, then windows, then all time."""
    windows = [f"{window.count}{window.unit[0]}" for window in views.rolling]
    return [*(grain.value for grain in views.grains), *windows, *(["all time"] if views.all_time else [])]
