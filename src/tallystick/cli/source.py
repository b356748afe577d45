"""`tally source`: look at sources before and after something is defined on them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli.options import FormatOption, ProjectOption, new_app
from tallystick.cli.output import Format, Row, cell, write_json, write_line, write_rows
from tallystick.cli.project import opened
from tallystick.cli.sparkline import sparkline
from tallystick.errors import UsageError

if TYPE_CHECKING:
    from tallystick.service.source import Preview

COLUMNS = ("name", "reads", "time", "entities", "metrics", "settles after")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400

app = new_app()


@app.callback()
def source() -> None:
    """Look at sources: what they hold, how fresh they are, and who uses them."""


@app.command("list")
def list_sources(project: ProjectOption = None, form: FormatOption = Format.TABLE) -> None:
    """List the sources of a project, one per line, with how many metrics use each."""
    from tallystick.service.dependants import usage

    with opened(project) as workspace:
        used = usage(workspace.project)
        rows = [
            {
                "name": one.name,
                "reads": one.table or one.file or "query",
                "time": one.time,
                "entities": list(one.entities),
                "metrics": len(used[one.name].metrics),
                "settles after": _duration(one.settle_seconds) if one.settle_seconds else None,
            }
            for one in workspace.project.sources.values()
        ]
    write_rows(rows, COLUMNS, form)


@app.command("preview")
def preview(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A source of the project.")] = None,
    sql: Annotated[str | None, typer.Option("--sql", metavar="QUERY", help="A query on the warehouse.")] = None,
    table: Annotated[str | None, typer.Option("--table", metavar="TABLE", help="A table of the warehouse.")] = None,
    file: Annotated[Path | None, typer.Option("--file", metavar="FILE", help="A file of rows.")] = None,
    project: ProjectOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show the columns of a source with their roles, a sample, how fresh it is, and who uses it.

    What is not a source yet can be looked at as a query, a table or a file; roles are guessed then.
    """
    if sum(given is not None for given in (name, sql, table, file)) != 1:
        raise UsageError("name one source, or give one of --sql, --table and --file")
    shown = _preview_file(file) if file is not None else _preview(project, name, sql, table)
    match form:
        case Format.JSON:
            write_json(as_dict(shown))
        case Format.CSV:
            write_rows(_columns(shown), COLUMN_KEYS, form)
        case Format.TABLE:
            _write(shown)


COLUMN_KEYS = ("column", "kind", "type", "role")


def _preview_file(file: Path) -> Preview:
    from tallystick.service.source import preview_file

    if not file.is_file():
        raise UsageError(f"there is no file '{file}'")
    return preview_file(file, datetime.now(UTC))


def _preview(project: Path | None, name: str | None, sql: str | None, table: str | None) -> Preview:
    with opened(project) as workspace:
        return workspace.preview(name, sql=sql, table=table)


def as_dict(shown: Preview) -> Row:
    """Return a preview as plain data."""
    return {
        "name": shown.name,
        "reads": shown.reads,
        "columns": [{"name": c.name, "kind": c.kind, "type": c.type, "role": c.role} for c in shown.columns],
        "rows": list(shown.rows),
        "seconds": round(shown.seconds, 3),
        "latest": shown.latest,
        "age_seconds": shown.age_seconds,
        "rows_per_day": [{"day": day, "rows": count} for day, count in shown.rows_per_day],
        "used_by": {
            "metrics": list(shown.used_by.metrics),
            "sources": list(shown.used_by.sources),
            "entities": list(shown.used_by.entities),
        },
        "warnings": list(shown.warnings),
        "advice": list(shown.advice),
        "unpivot": shown.unpivot.sql if shown.unpivot else None,
    }


def _columns(shown: Preview) -> list[Row]:
    return [{"column": c.name, "kind": c.kind, "type": c.type, "role": c.role} for c in shown.columns]


def _write(shown: Preview) -> None:
    write_line(f"{shown.name}  {cell(shown.reads)}")
    write_line()
    write_rows(_columns(shown), COLUMN_KEYS)
    write_line()
    if shown.rows:
        write_rows(shown.rows, list(shown.rows[0]))
        write_line()
    for key, value in _facts(shown):
        write_line(f"{key.ljust(12)}  {value}")
    if shown.unpivot is not None and shown.warnings:
        write_line()
        write_line('-- one row per date, as a source with time = "event_time":')
        write_line(shown.unpivot.sql)


def _facts(shown: Preview) -> Sequence[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    if shown.latest is not None and shown.age_seconds is not None:
        ago = f"{_duration(shown.age_seconds)} ago" if shown.age_seconds >= 0 else "in the future"
        facts.append(("latest row", f"{cell(shown.latest.replace(tzinfo=None))}, {ago}"))
    if shown.rows_per_day:
        counts = [count for _, count in shown.rows_per_day]
        days = f"{shown.rows_per_day[0][0]} to {shown.rows_per_day[-1][0]}"
        facts.append(("rows per day", f"{sparkline(counts)}  {sum(counts) / len(counts):,.0f} on average, {days}"))
    names = shown.used_by.names
    if names:
        facts.append(("used by", f"{len(names)}: {', '.join(names)}"))
    facts += [("warning", text) for text in shown.warnings]
    facts += [(f"advice {index}", text) for index, text in enumerate(shown.advice, start=1)]
    return facts


def _duration(seconds: float) -> str:
    """Write a length of time in its largest whole unit."""
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit:
            return f"{seconds // unit:.0f} {name}"
    return f"{seconds:.0f} s"
