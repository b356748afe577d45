"""`tally render`: the SQL of a metric, in any dialect."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tallystick.cli.options import (
    AllTimeOption,
    ByOption,
    EndOption,
    EntityOption,
    GrainOption,
    ProjectOption,
    StartOption,
    WindowOption,
    new_app,
)
from tallystick.cli.output import write_line
from tallystick.cli.project import opened

app = new_app()


@app.command()
def render(
    metric: Annotated[str, typer.Argument(metavar="METRIC", help="Name of a metric.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="MODEL", help="A model by its full name, see tally models.")
    ] = None,
    entity: EntityOption = None,
    grain: GrainOption = None,
    window: WindowOption = None,
    all_time: AllTimeOption = False,
    by: ByOption = None,
    dialect: Annotated[
        str | None,
        typer.Option("--dialect", "-d", metavar="DIALECT", help="SQL dialect; by default the warehouse's own."),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="With dates and macros filled in, ready to run, instead of placeholders.")
    ] = False,
    start: StartOption = None,
    end: EndOption = None,
    project: ProjectOption = None,
) -> None:
    """Print the SQL of a metric, in any dialect.

    Nothing is run. Without --full, dates stay placeholders.
    """
    with opened(project) as workspace:
        sql = workspace.render(
            metric,
            model=model,
            entity=entity,
            grain=grain,
            window=window,
            all_time=all_time,
            by=tuple(by or ()),
            dialect=dialect,
            full=full,
            start=start,
            end=end,
        )
    write_sql(sql)


def write_sql(sql: str) -> None:
    """Write SQL to stdout, coloured on a terminal, and otherwise exactly as it is."""
    if not sys.stdout.isatty():
        write_line(sql)
        return
    from rich.console import Console
    from rich.syntax import Syntax

    Console(soft_wrap=True).print(Syntax(sql, "sql", theme="ansi_dark", background_color="default"))
