"""`tally models`: what a project compiles to, by name."""

from __future__ import annotations

from typing import Annotated

import typer

from tallystick.cli.options import FormatOption, ProjectOption, new_app
from tallystick.cli.output import Format, write_rows
from tallystick.cli.project import opened

app = new_app()


@app.command()
def models(
    metric: Annotated[str | None, typer.Argument(metavar="METRIC", help="Only the models of this metric.")] = None,
    project: ProjectOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """List the models a project compiles to, by name.

    There is one per metric, entity and time view.
    """
    with opened(project) as workspace:
        rows = [
            {"name": m.name, "metric": m.metric, "entity": m.entity, "view": m.time.suffix, "by": m.by}
            for m in workspace.models(metric)
        ]
    write_rows(rows, ("name", "metric", "entity", "view", "by"), form)
