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
        str | None,
        typer.Option(
            "--from",
            metavar="FILE|TABLE",
            help="Guess a source and three metrics from this file of rows, or this table of the warehouse.",
        ),
    ] = None,
    warehouse: Annotated[
        Path | None, typer.Option("--warehouse", metavar="FILE", help="The DuckDB file a new project's table is in.")
    ] = None,
) -> None:
    """Write a new project, or one guessed from a file or table.

    Prints the files it wrote. Never overwrites one; in the folder of a project only definitions are added.
    """
    from tallystick.service.init import is_file, write_project

    given = Path(rows) if rows is not None and is_file(rows) else rows
    for path in write_project(folder, given, warehouse=warehouse):
        write_line(str(path))
    where = "" if folder == Path() else f" {folder}"
    note(f"next: tally check{where}, then tally build{where and f' --project{where}'}")
