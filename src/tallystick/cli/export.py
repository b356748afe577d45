"""`tally export`: a project as models for another tool, definitions made in the service as a file, a metric-hub clone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli.options import ProjectOption, StartOption, ToolOption, new_app
from tallystick.cli.output import note, write_line
from tallystick.cli.project import clone_root, find_root, opened
from tallystick.definitions.diagnostics import Severity
from tallystick.errors import UsageError

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
    """Write a project as models for another tool, what the service holds as a file, or a metric-hub clone."""


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


@app.command()
def definitions(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these; everything made in the service else.")
    ] = None,
    project: ProjectOption = None,
) -> None:
    """Print what was made in the service as a definition file.

    Written below definitions/, such a file takes its definitions over at the next tally collect: they are read-only in
    the service then, and keep their history.
    """
    from tallystick.service import catalog
    from tallystick.service.stores import has_store

    with opened(project) as workspace:
        if not has_store(workspace.project.root):
            raise UsageError("nothing was made in the service: the project has no store yet")
        text = catalog.export(workspace.project, tuple(names or ()))
    if text:
        write_line(text.rstrip("\n"))
    else:
        note("nothing was made in the service")


@app.command()
def lookml(folder: FolderArgument, tool: ToolOption = None, project: ProjectOption = None) -> None:
    """Write LookML for a metric-hub clone: one view and explore per data source.

    Measures come from the statistics of metrics, by default as looker sees them. Ends with 1 if a metric could not be
    written; the others are written all the same.
    """
    clone = _clone(project, "LookML")
    from tallystick.cli.metric_hub_views import lookml_files

    files, findings = lookml_files(clone, tool)
    for finding in findings:
        note(str(finding))
    _write_files(folder, files, "lookml")
    if any(finding.severity is Severity.ERROR for finding in findings):
        raise typer.Exit(1)


@app.command()
def docs(folder: FolderArgument, project: ProjectOption = None) -> None:
    """Write a documentation site for a metric-hub clone.

    Pages are plain HTML that loads nothing from elsewhere: every definition, its SQL, and the lines it came from.
    """
    clone = _clone(project, "a documentation site")
    from tallystick.cli.metric_hub_views import documentation_files

    _write_files(folder, documentation_files(clone), "docs")


def _clone(project: Path | None, what: str) -> Path:
    clone = clone_root(project)
    if clone is None:
        raise UsageError(
            f"{what} is written for metric-hub repositories, and '{find_root(project)}' is not one",
            hint="name the folder of a clone with --project",
        )
    return clone


def _write_files(folder: Path, files: Mapping[str, str], kind: str) -> None:
    from tallystick.interop.folder import write_folder

    write_folder(folder, files, kind)
    for name in files:
        write_line(str(folder / name))
    note(f"{len(files)} {'file' if len(files) == 1 else 'files'} in {folder}")


def _export(
    write: Callable[..., Report],
    folder: Path,
    select: list[str] | None,
    schema: str,
    start: str | None,
    project: Path | None,
) -> None:
    if not schema.strip():
        raise UsageError("the schema has no name", hint='leave --schema out for "metrics"')
    from tallystick.service import derived
    from tallystick.service.instants import parse_instant
    from tallystick.service.query import select_models

    with opened(project) as workspace:
        unions, names = derived.with_parts(workspace.project, tuple(select or ()))
        models = select_models(workspace.project, names) if names or not select else ()
        first = parse_instant(start, workspace.project) if start is not None else None
        report = write(workspace.project, models, folder, unions=unions, schema=schema, start=first)
    for name in report.files:
        write_line(str(folder / name))
    for failure in report.failed:
        note(f"error: {failure.name}: {failure.error}")
    if report.left_out:
        note(f"audits that the tool does not have are left out: {', '.join(report.left_out)}")
    note(f"{len(report.models)} {'model' if len(report.models) == 1 else 'models'} in {folder}, see README.md there")
    if report.failed:
        raise typer.Exit(1)
