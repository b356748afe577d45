"""`tally models`: what a project compiles to, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli.options import FormatOption, ProjectOption, new_app
from tallystick.cli.output import Format, note, write_rows
from tallystick.cli.project import opened
from tallystick.definitions.diagnostics import Severity

app = new_app()


@app.command()
def models(
    metric: Annotated[str | None, typer.Argument(metavar="METRIC", help="Only the models of this metric.")] = None,
    registry: Annotated[
        Path | None,
        typer.Option("--registry", metavar="FILE", help="List what an OSO registry given as JSON compiles to."),
    ] = None,
    project: ProjectOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """List the models a project compiles to, by name.

    There is one per metric, entity and time view; a registry has unions and metadata as well.
    """
    if registry is not None:
        _write_registry(registry, metric, form)
        return
    with opened(project) as workspace:
        rows = [
            {"name": m.name, "metric": m.metric, "entity": m.entity, "view": m.time.suffix, "by": m.by}
            for m in workspace.models(metric)
        ]
    write_rows(rows, ("name", "metric", "entity", "view", "by"), form)


def _write_registry(file: Path, metric: str | None, form: Format) -> None:
    from tallystick.service.registry import registry_models

    found, findings = registry_models(file)
    rows = [model for model in found if metric is None or model["metric"] == metric]
    write_rows(rows, ("name", "kind", "metric", "entity", "time_aggregation", "window", "unit", "cron"), form)
    for finding in findings:
        note(str(finding))
    if any(finding.severity is Severity.ERROR for finding in findings):
        raise typer.Exit(1)
