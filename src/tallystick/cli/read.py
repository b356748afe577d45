"""`tally read`: rows of a built model, or totals of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli.options import (
    AllTimeOption,
    ByOption,
    EndOption,
    EntityOption,
    FormatOption,
    GrainOption,
    ProjectOption,
    StartOption,
    WindowOption,
    new_app,
)
from tallystick.cli.output import Format, write_rows
from tallystick.cli.project import opened

if TYPE_CHECKING:
    import pyarrow as pa

app = new_app()


@app.command()
def read(
    metric: Annotated[str, typer.Argument(metavar="METRIC", help="Name of a metric, or of one of its models.")],
    grain: GrainOption = None,
    window: WindowOption = None,
    all_time: AllTimeOption = False,
    entity: EntityOption = None,
    by: ByOption = None,
    ids: Annotated[
        list[str] | None,
        typer.Option("--id", metavar="KEY", help="Only this entity; repeatable.", show_default=False),
    ] = None,
    start: StartOption = None,
    end: EndOption = None,
    totals: Annotated[
        list[str] | None,
        typer.Option(
            "--total",
            metavar="FUNCTION",
            help="count, sum, avg, min or max of the values instead of the rows; repeatable.",
            show_default=False,
        ),
    ] = None,
    per: Annotated[
        str | None, typer.Option("--per", metavar="GRAIN", help="Totals for each week, month, quarter, …")
    ] = None,
    by_entity: Annotated[bool, typer.Option("--by-entity", help="Totals for each entity.")] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=0, metavar="N", help="At most this many rows.")
    ] = None,
    project: ProjectOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Print rows of a built model, or totals of them, without computing it again.

    Rolling models are stored as the days on which they change, so that one day of them, the series of some entities,
    and totals are read as fast as from a table of all rows.
    """
    with opened(project) as workspace:
        table: pa.Table = workspace.read(
            metric,
            grain=grain,
            window=window,
            all_time=all_time,
            entity=entity,
            by=tuple(by or ()),
            start=start,
            end=end,
            ids=tuple(ids or ()),
            totals=tuple(totals or ()),
            per=per,
            by_entity=by_entity,
            limit=limit,
        )
    write_rows(table.to_pylist(), table.column_names, form)
