"""`tally list`: the catalog, one metric per line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli.options import FormatOption, ProjectOption, ToolOption, new_app
from tallystick.cli.output import Format, Row, write_rows
from tallystick.cli.project import clone_root, opened, refuse_tool
from tallystick.compiler.model import Model, TimeView
from tallystick.definitions.made import is_made
from tallystick.definitions.metric import Aggregate, Formula, Metric, SqlQuery
from tallystick.errors import UsageError

COLUMNS = ("name", "kind", "source", "entities", "views", "status", "origin", "owner", "description")

app = new_app()


@app.command("list")
def list_metrics(
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="The same as --project DIR.")] = None,
    tool: ToolOption = None,
    project: ProjectOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """List the metrics of a project, one per line."""
    if folder is not None and project is not None:
        raise UsageError("the folder is given twice", hint="leave --project out")
    project = folder or project
    if (clone := clone_root(project)) is not None:
        from tallystick.cli.metric_hub_views import list_clone

        list_clone(clone, tool, form)
        return
    refuse_tool(tool)
    with opened(project) as workspace:
        listed = [metric for metric in workspace.metrics.values() if metric.operand_of is None]
        rows = [describe(metric, workspace.models(metric.name)) for metric in listed]
    seldom = {"origin": any(map(_is_made, listed)), "status": any(row["status"] != "active" for row in rows)}
    write_rows(rows, [name for name in COLUMNS if form is not Format.TABLE or seldom.get(name, True)], form)


def _is_made(metric: Metric) -> bool:
    return is_made(metric.origin)


def describe(metric: Metric, models: Sequence[Model]) -> Row:
    """Return the line of a metric; which entities and views it has follows from its models."""
    text = (metric.about.description or metric.about.friendly_name or "").strip()
    return {
        "name": metric.name,
        "kind": metric.kind,
        "source": source_of(metric),
        "entities": entities_of(models),
        "views": views_of(models),
        "status": metric.about.status.value,
        "origin": str(replace(metric.origin.location, column=None)) or None,
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
        case Formula(operands=(_, *_) as operands):
            return ", ".join(dict.fromkeys(filter(None, map(source_of, operands)))) or None
        case _:
            return None


def entities_of(models: Iterable[Model]) -> list[str]:
    """Return the entities of models, each once."""
    return list(dict.fromkeys(model.entity for model in models))


def views_of(models: Iterable[Model]) -> list[str]:
    """Return the time views of models in words, each once."""
    return list(dict.fromkeys(_view(model.time) for model in models))


def _view(time: TimeView) -> str:
    if time.window is not None:
        return f"{time.window.count}{time.window.unit[0]}"
    return time.grain.value if time.grain is not None else "all time"
