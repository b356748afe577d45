"""`tally runs`: what the collector did."""

from __future__ import annotations

from typing import Annotated

import typer

from tallystick.cli.options import FormatOption, ProjectOption, new_app
from tallystick.cli.output import Format, write_rows
from tallystick.cli.project import opened

app = new_app()

COLUMNS = ("run", "series", "start", "end", "attempt", "status", "rows", "seconds", "sql", "started", "note", "error")


@app.command()
def runs(
    metric: Annotated[str | None, typer.Argument(metavar="[METRIC]", help="Only runs of this metric.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, metavar="N", help="At most this many runs.")] = 20,
    failed: Annotated[bool, typer.Option("--failed", help="Only runs that failed or were lost.")] = False,
    project: ProjectOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """List what the collector did, newest first: windows, rows, seconds, the hash of the SQL, and errors."""
    with opened(project) as workspace:
        found = workspace.runs(metric, limit=limit, failed=failed)
    rows = [
        {
            "run": run.id,
            "series": run.key.subject,
            "start": run.key.start,
            "end": run.key.end,
            "attempt": run.attempt,
            "status": run.status.value,
            "rows": run.rows,
            "seconds": None if run.seconds is None else round(run.seconds, 3),
            "sql": run.sql_hash,
            "started": run.started_at,
            "note": run.note,
            "error": run.error,
        }
        for run in found
    ]
    if form is Format.TABLE:
        times = ("start", "end", "started")
        rows = [
            {**row, **{name: f"{row[name]:%Y-%m-%d %H:%M}".removesuffix(" 00:00") for name in times}} for row in rows
        ]
    columns = [name for name in COLUMNS if name != "note" or form is not Format.TABLE or any(row[name] for row in rows)]
    if rows or form is not Format.TABLE:
        write_rows(rows, columns, form)
