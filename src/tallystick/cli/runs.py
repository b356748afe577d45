"""`tally runs`: what the collector did."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli.options import FormatOption, ProjectOption, new_app
from tallystick.cli.output import Format, write_rows
from tallystick.cli.project import opened
from tallystick.errors import UsageError

app = new_app()

COLUMNS = (
    "run", "series", "start", "end", "attempt", "status", "rows", "bytes", "seconds", "sql", "started", "note", "error"
)  # fmt: skip
_STEP = 1024


@app.command()
def runs(
    metric: Annotated[str | None, typer.Argument(metavar="[METRIC]", help="Only runs of this metric.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, metavar="N", help="At most this many runs.")] = 20,
    failed: Annotated[bool, typer.Option("--failed", help="Only runs that failed or were lost.")] = False,
    totals: Annotated[
        bool, typer.Option("--totals", help="What each metric has cost instead, the dearest first.")
    ] = False,
    start: Annotated[
        str | None, typer.Option("--start", metavar="DATE", help="With --totals: only of runs since then.")
    ] = None,
    project: ProjectOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """List what the collector did, newest first: windows, rows, bytes, seconds, the hash of the SQL, and errors."""
    if totals and (failed or metric is not None):
        raise UsageError("--totals are of all metrics", hint="leave METRIC and --failed out")
    if start is not None and not totals:
        raise UsageError("--start goes with --totals", hint="add --totals, or list more runs with --limit")
    if totals:
        _write_totals(project, start, limit, form)
        return
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
            "bytes": run.bytes,
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
        rows = [{**row, "bytes": size(run.bytes)} for row, run in zip(rows, found, strict=True)]
    columns = [name for name in COLUMNS if name != "note" or form is not Format.TABLE or any(row[name] for row in rows)]
    if rows or form is not Format.TABLE:
        write_rows(rows, columns, form)


def size(count: int | None) -> str | None:
    """Return bytes as people read them, in steps of 1024 to the tebibyte: `512 B`, `1.5 KiB`; None stays None."""
    if count is None or count < _STEP:
        return None if count is None else f"{count} B"
    number, units = count / _STEP, ["KiB", "MiB", "GiB", "TiB"]
    while round(number, 1) >= _STEP and len(units) > 1:
        number /= _STEP
        del units[0]
    return f"{number:.1f} {units[0]}"


def _write_totals(project: Path | None, start: str | None, limit: int, form: Format) -> None:
    with opened(project) as workspace:
        found = workspace.totals(start=start)[:limit]
    rows = [
        {
            "metric": total.metric,
            "runs": total.runs,
            "failed": total.failed,
            "rows": total.rows,
            "seconds": round(total.seconds, 3),
            "bytes": size(total.bytes) if form is Format.TABLE else total.bytes,
        }
        for total in found
    ]
    if rows or form is not Format.TABLE:
        write_rows(rows, ("metric", "runs", "failed", "rows", "seconds", "bytes"), form)
