"""`tally query`: the values of a metric."""

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
def query(
    metric: Annotated[str, typer.Argument(metavar="METRIC", help="Name of a metric.")],
    grain: GrainOption = None,
    window: WindowOption = None,
    all_time: AllTimeOption = False,
    entity: EntityOption = None,
    by: ByOption = None,
    where: Annotated[
        str | None,
        typer.Option("--where", metavar="CONDITION", help="Only rows of the source that pass: a filter's name or SQL."),
    ] = None,
    start: StartOption = None,
    end: EndOption = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=0, metavar="N", help="At most this many rows.")
    ] = None,
    project: ProjectOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Compute a metric from the rows of its source and print its values."""
    with opened(project) as workspace:
        table: pa.Table = workspace.query(
            metric,
            grain=grain,
            window=window,
            all_time=all_time,
            entity=entity,
            by=tuple(by or ()),
            where=where,
            start=start,
            end=end,
            limit=limit,
        )
    write_rows(table.to_pylist(), table.column_names, form)
