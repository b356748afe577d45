"""`tally export`: a project as models for another tool to run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli.options import ProjectOption, StartOption, new_app
from tallystick.cli.output import note, write_line
from tallystick.cli.project import opened

if TYPE_CHECKING:
    from tallystick.interop.exported import Report

FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write; empty, or an earlier export.")]
SelectOption = Annotated[
    list[str] | None,
    typer.Option("--select", "-s", metavar="NAME", help="Only this metric or model; repeatable.", show_default=False),
]
SchemaOption = Annotated[str, typer.Option("--schema", metavar="NAME", help="Schema the tool writes its tables to.")]

app = new_app()


@app.callback()
def export() -> None:
    """Write a project as models for another tool to run."""


@app.command()
def sqlmesh(
    folder: FolderArgument,
    select: SelectOption = None,
    schema: SchemaOption = "metrics",
    start: StartOption = None,
    project: ProjectOption = None,
) -> None:
    """Write a SQLMesh project: models with kinds, crons, grains and audits.

    Ends with 1 if a model could not be exported; the others are written all the same.
    """
    from tallystick.interop import sqlmesh_export

    _export(sqlmesh_export.export, folder, select, schema, start, project)


@app.command()
def dbt(
    folder: FolderArgument,
    select: SelectOption = None,
    schema: SchemaOption = "metrics",
    start: StartOption = None,
    project: ProjectOption = None,
) -> None:
    """Write a dbt project: incremental models with descriptions and tests.

    Ends with 1 if a model could not be exported; the others are written all the same.
    """
    from tallystick.interop import dbt_export

    _export(dbt_export.export, folder, select, schema, start, project)


def _export(
    write: Callable[..., Report],
    folder: Path,
    select: list[str] | None,
    schema: str,
    start: str | None,
    project: Path | None,
) -> None:
    from tallystick.service.instants import parse_instant
    from tallystick.service.query import select_models

    with opened(project) as workspace:
        models = select_models(workspace.project, tuple(select or ()))
        first = parse_instant(start, workspace.project) if start is not None else None
        report = write(workspace.project, models, folder, schema=schema, start=first)
    for name in report.files:
        write_line(str(folder / name))
    for failure in report.failed:
        note(f"error: {failure.name}: {failure.error}")
    note(f"{len(report.models)} {'model' if len(report.models) == 1 else 'models'} in {folder}, see README.md there")
    if report.failed:
        raise typer.Exit(1)
