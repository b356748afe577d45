"""`tally init`: a new project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli.options import new_app
from tallystick.cli.output import note, write_line

app = new_app()


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the new project.")] = Path(),
    rows: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Guess a source and three metrics from this file of rows."),
    ] = None,
) -> None:
    """Write a new project, or one guessed from a Parquet or CSV file.

    Prints the files it wrote. Never overwrites one.
    """
    from tallystick.service.init import write_project

    for path in write_project(folder, rows):
        write_line(str(path))
    where = "" if folder == Path() else f" {folder}"
    note(f"next: tally check{where}, then tally build{where and f' --project{where}'}")
