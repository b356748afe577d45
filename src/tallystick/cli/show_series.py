"""The collected series of a metric below its sheet: a sparkline per grain and the newest buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.cli.output import Row, cell, write_line, write_rows

if TYPE_CHECKING:
    from tallystick.service.workspace import Workspace
    from tallystick.store.series import StoredPoint

NEWEST = 8
WIDTH = 40
SETTLING = "~"
"""What stands for a bucket that may still change; only final values are drawn."""


def collected(workspace: Workspace, metric: str) -> dict[str, list[Row]]:
    """Return the collected values of a metric over everything by grain, oldest first; nothing where there is no store."""
    from tallystick.service import collect

    if not collect.has_store(workspace.project):
        return {}
    from tallystick.collect.subjects import series_of

    found: dict[str, list[Row]] = {}
    for wanted in series_of(workspace.metrics[metric], workspace.project):
        if wanted.by is None and wanted.grain.value not in found and wanted.entity == "all":
            points = collect.stored(workspace.project, wanted)[-WIDTH:]
            if points:
                found[wanted.grain.value] = [_row(point) for point in points]
    return found


def _row(stored: StoredPoint) -> Row:
    point = stored.point
    return {"bucket": point.bucket, "value": point.value, "n": point.n, "state": stored.state.value}


def write_series(series: dict[str, list[Row]]) -> None:
    """Write a sparkline for each grain and a table of the newest buckets of the first."""
    if not series:
        return
    write_line()
    width = max(map(len, series))
    for grain, rows in series.items():
        write_line(f"  {grain.ljust(width)}  {_drawn(rows)}  {cell(rows[-1]['value'])}")
    write_line()
    newest = next(iter(series.values()))[-NEWEST:]
    write_rows(
        [{**row, "bucket": f"{row['bucket']:%Y-%m-%d %H:%M}".removesuffix(" 00:00")} for row in newest], list(newest[0])
    )


def _drawn(rows: list[Row]) -> str:
    from tallystick.cli.sparkline import sparkline

    final = [row["state"] != "settling" for row in rows]
    values = [
        float(str(row["value"])) if sure and row["value"] is not None else None
        for row, sure in zip(rows, final, strict=True)
    ]
    drawn = sparkline(values)
    return "".join(mark if sure else SETTLING for mark, sure in zip(drawn, final, strict=True))
