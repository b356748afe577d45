"""`tally models`: what a project compiles to, by name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli.options import FormatOption, ProjectOption, ToolOption, new_app
from tallystick.cli.output import Format, note, write_json, write_rows
from tallystick.cli.project import clone_root, opened, refuse_tool
from tallystick.definitions.diagnostics import Severity

if TYPE_CHECKING:
    from tallystick.compiler.factory_models import FactoryModel
    from tallystick.compiler.model import Model

app = new_app()


@app.command()
def models(
    metric: Annotated[str | None, typer.Argument(metavar="METRIC", help="Only the models of this metric.")] = None,
    registry: Annotated[
        Path | None,
        typer.Option("--registry", metavar="FILE", help="List what an OSO registry given as JSON compiles to."),
    ] = None,
    tool: ToolOption = None,
    project: ProjectOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """List the models a project compiles to, by name.

    There is one per metric, entity and time view; a registry has unions and metadata as well, listed unless METRIC is given. In a metric-hub
    clone, METRIC is PLATFORM.NAME; metrics that have no ordinary form are told on stderr.
    """
    if registry is not None:
        _write_registry(registry, metric, form)
        return
    if (clone := clone_root(project)) is not None:
        from tallystick.cli.metric_hub_views import models_of_clone

        _write(models_of_clone(clone, metric, tool), form)
        return
    refuse_tool(tool)
    with opened(project) as workspace:
        _write(workspace.models(metric), form, workspace.derived() if metric is None else ())


def _write(found: Iterable[Model], form: Format, derived: Iterable[FactoryModel] = ()) -> None:
    rows: list[dict[str, object]] = [
        {"name": m.name, "metric": m.metric, "entity": m.entity, "view": m.time.suffix, "by": m.by} for m in found
    ]
    rows += [{"name": m.table, "metric": m.metric, "entity": m.entity, "view": m.kind, "by": ()} for m in derived]
    write_rows(rows, ("name", "metric", "entity", "view", "by"), form)


def _write_registry(file: Path, metric: str | None, form: Format) -> None:
    from tallystick.service.registry import registry_models

    found, findings = registry_models(file)
    rows = [model for model in found if metric is None or model["metric"] == metric]
    if form is Format.JSON:
        write_json(rows)
    else:
        write_rows(rows, ("name", "kind", "metric", "entity", "time_aggregation", "window", "unit", "cron"), form)
    for finding in findings:
        note(str(finding))
    if any(finding.severity is Severity.ERROR for finding in findings):
        raise typer.Exit(1)
