"""`tally collect`: series read into the store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli.options import EndOption, FormatOption, ProjectOption, StartOption, new_app
from tallystick.cli.output import Format, Row, note, write_rows
from tallystick.cli.project import opened

if TYPE_CHECKING:
    from tallystick.collect.report import CollectedWindow, CollectReport

app = new_app()


@app.command()
def collect(
    metrics: Annotated[
        list[str] | None,
        typer.Argument(metavar="[METRIC]...", help="Only these metrics; all active ones unless named."),
    ] = None,
    due: Annotated[bool, typer.Option("--due", help="Only what is due, as a scheduler does.")] = False,
    start: StartOption = None,
    end: EndOption = None,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", min=0, metavar="N", help="Begin nothing more after this time; the rest stays due."),
    ] = None,
    project: ProjectOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Read the series of metrics into the store, bucket by bucket.

    Only buckets that have ended are read. Values, progress and the record of the run are kept together or not at all.
    Ends with 1 if a window failed; the others are collected all the same.
    """
    with opened(project) as workspace:
        report = workspace.collect(tuple(metrics or ()), due=due, start=start, end=end, seconds=seconds)
    rows = [_row(window) for window in report.windows]
    columns = [
        "metric",
        "grain",
        "entity",
        "by",
        "start",
        "end",
        "points",
        "restated",
        "state",
        "seconds",
        "note",
        "error",
    ]
    if form is Format.TABLE:
        columns = [name for name in columns if name not in _SELDOM or any(row[name] for row in rows)]
        rows = [{**row, "start": _moment(row["start"]), "end": _moment(row["end"])} for row in rows]
    if rows or form is not Format.TABLE:
        write_rows(rows, columns, form)
    for line in remarks(report, is_bounded=start is not None or end is not None):
        note(line)
    note(summary(report))
    if report.failed:
        raise typer.Exit(1)


_SELDOM = ("entity", "by", "restated", "note", "error")


def _row(window: CollectedWindow) -> Row:
    wanted = window.wanted
    return {
        "metric": wanted.metric,
        "grain": wanted.grain.value,
        "entity": wanted.entity if wanted.entity != "all" else None,
        "by": wanted.by,
        "start": window.start,
        "end": window.end,
        "points": window.points,
        "restated": window.restated,
        "state": window.state.value if window.state else None,
        "seconds": round(window.seconds, 3),
        "note": window.note,
        "error": window.error,
    }


def _moment(value: object) -> str:
    return f"{value:%Y-%m-%d %H:%M}".removesuffix(" 00:00")


def remarks(report: CollectReport, *, is_bounded: bool) -> Iterator[str]:
    """Yield what somebody should know beside the windows; `is_bounded` where they named a window themselves."""
    yield from (f"warning: {conflict}" for conflict in report.conflicts)
    for name, until in report.late.items():
        yield f"warning: source '{name}' has rows up to {_moment(until)} only: what follows waits for more"
    for name in report.deprecated:
        yield f"warning: metric '{name}' is deprecated, and collected until it is archived"
    if report.empty and not is_bounded:
        first = min(window.start for window in report.windows if window.wanted.metric in report.empty)
        rest = f" and {len(report.empty) - NAMED} more" if len(report.empty) > NAMED else ""
        yield (
            f"no rows since {_moment(first)} for {', '.join(report.empty[:NAMED])}{rest}: "
            "older ones are collected with --start DATE"
        )


NAMED = 5
"""A remark names this many metrics."""


def summary(report: CollectReport) -> str:
    """Say in one line how many windows were collected, failed or left for the next pass."""
    total, failed = len(report.windows), len(report.failed)
    parts = [f"{total - failed} {'window' if total - failed == 1 else 'windows'} collected"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{len(report.busy)} in other hands"] if report.busy else []
    parts += [f"{len(report.left)} left for the next pass"] if report.left else []
    return f"{', '.join(parts)} in {report.seconds:.1f} s"
