"""`tally metric-hub`: what experiments and monitoring projects of a metric-hub clone compute, and their SQL."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli.options import FormatOption, new_app
from tallystick.cli.output import Format, note, write_json, write_line, write_rows
from tallystick.cli.project import find_root
from tallystick.errors import UsageError

if TYPE_CHECKING:
    from tallystick.service.metric_hub_plans import ExperimentReading, ProjectReading

app = new_app()

RepositoryOption = Annotated[
    Path | None,
    typer.Option(
        "--project",
        "-p",
        metavar="DIR",
        help="Folder of the metric-hub clone; by default the nearest one upwards.",
        show_default=False,
    ),
]
ToolOption = Annotated[str | None, typer.Option("--tool", metavar="TOOL", help="Overlay to read: jetstream, opmon, …")]
StrictOption = Annotated[bool, typer.Option("--strict", help="Correct metric-hub's defects instead of keeping them.")]
SqlOption = Annotated[bool, typer.Option("--sql/--no-sql", help="Print the queries after the plan.")]
DialectOption = Annotated[str, typer.Option("--dialect", "-d", metavar="DIALECT", help="SQL dialect of the queries.")]


@app.callback()
def metric_hub() -> None:
    """Read experiments and monitoring projects of a metric-hub clone."""


@app.command()
def experiment(
    slug: Annotated[str, typer.Argument(metavar="SLUG", help="Slug of the experiment.")],
    enrollments: Annotated[
        str, typer.Option("--enrollments", metavar="TABLE", help="Table of enrollments the metrics read.")
    ] = "enrollments",
    app_name: Annotated[
        str | None,
        typer.Option("--app", metavar="APP", help="App of the experiment; by default where its names are defined."),
    ] = None,
    app_id: Annotated[str | None, typer.Option("--app-id", metavar="ID", help="Dataset of the app's events.")] = None,
    start: Annotated[str | None, typer.Option("--start", metavar="DATE", help="First day of enrollment.")] = None,
    end: Annotated[str | None, typer.Option("--end", metavar="DATE", help="Last day of the experiment.")] = None,
    enrollment_days: Annotated[
        int | None, typer.Option("--enrollment-days", metavar="N", help="Days of enrollment after the first.")
    ] = None,
    reference: Annotated[
        str, typer.Option("--reference", metavar="BRANCH", help="Branch the others are compared with.")
    ] = "control",
    project: RepositoryOption = None,
    tool: ToolOption = None,
    strict: StrictOption = False,
    sql: SqlOption = True,
    dialect: DialectOption = "bigquery",
    form: FormatOption = Format.TABLE,
) -> None:
    """Print the analysis plan of an experiment and the SQL of its enrollments, exposures and metrics.

    The plan lists metric × statistic × period with bases and segments. What cannot be resolved is reported on
    stderr, and the exit status is 1.
    """
    from tallystick.service.metric_hub_plans import read_experiment

    reading = read_experiment(
        find_root(project),
        slug,
        tool=tool or "jetstream",
        strict=strict,
        app_name=app_name,
        app_id=app_id,
        start=_day(start),
        end=_day(end),
        enrollment_days=enrollment_days,
        reference=reference,
        enrollments=enrollments,
        dialect=dialect,
        with_sql=sql,
    )
    _write_experiment(reading, form)
    _finish(reading.diagnostics)


@app.command()
def opmon(
    slug: Annotated[str, typer.Argument(metavar="SLUG", help="Slug of the monitoring project.")],
    day: Annotated[str | None, typer.Option("--day", metavar="DATE", help="Day of the run.")] = None,
    project: RepositoryOption = None,
    tool: ToolOption = None,
    strict: StrictOption = False,
    sql: SqlOption = True,
    dialect: DialectOption = "bigquery",
    form: FormatOption = Format.TABLE,
) -> None:
    """Print what a monitoring project computes: population, metrics, statistics, alerts, and their SQL."""
    from tallystick.service.metric_hub_plans import read_project

    reading = read_project(
        find_root(project),
        slug,
        tool=tool or "opmon",
        strict=strict,
        day=_day(day) or datetime.now(UTC).date(),
        dialect=dialect,
        with_sql=sql,
    )
    _write_project(reading, form)
    _finish(reading.diagnostics)


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        raise UsageError(f"'{text}' is not a date", hint="write YYYY-MM-DD") from None


def _write_experiment(reading: ExperimentReading, form: Format) -> None:
    if form is Format.JSON:
        write_json({"experiment": reading.facts, "plan": reading.rows, "sql": reading.queries})
        return
    for name, value in reading.facts.items():
        write_line(f"-- {name}: {value}")
    write_rows(reading.rows, reading.columns, form)
    _write_queries(reading.queries)


def _write_project(reading: ProjectReading, form: Format) -> None:
    if form is Format.JSON:
        write_json(
            {"project": reading.facts, "summaries": reading.rows, "alerts": reading.alerts, "sql": reading.queries}
        )
        return
    for name, value in reading.facts.items():
        write_line(f"-- {name}: {value}")
    write_rows(reading.rows, reading.columns, form)
    if reading.alerts:
        write_rows(reading.alerts, ("alert", "type", "metrics", "bounds"), form)
    _write_queries(reading.queries)


def _write_queries(queries: dict[str, str]) -> None:
    for name, sql in queries.items():
        write_line(f"\n-- {name}\n{sql};")


def _finish(diagnostics: tuple[object, ...]) -> None:
    for finding in diagnostics:
        note(str(finding))
    if diagnostics:
        raise typer.Exit(1)
