"""What commands have in common: the settings of their apps, and options with the same name, letter and words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from tallystick.cli.output import Format


def new_app(*, cls: type[TyperGroup] | None = None) -> typer.Typer:
    """Return an app with plain, quick help and no tracebacks with local values in them."""
    return typer.Typer(
        cls=cls,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


ProjectOption = Annotated[
    Path | None,
    typer.Option(
        "--project",
        "-p",
        metavar="DIR",
        help="Folder of a project or metric-hub clone; by default the nearest one upwards.",
        show_default=False,
    ),
]
ToolOption = Annotated[
    str | None,
    typer.Option(
        "--tool", "-t", metavar="TOOL", help="What this tool of a metric-hub clone works with: jetstream, opmon, …"
    ),
]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="How to print the result.")]
EntityOption = Annotated[
    str | None, typer.Option("--entity", "-e", metavar="ENTITY", help="Value per this kind of thing.")
]
GrainOption = Annotated[
    str | None, typer.Option("--grain", "-g", metavar="GRAIN", help="Calendar grain: day, week, month, …")
]
WindowOption = Annotated[
    str | None, typer.Option("--window", "-w", metavar="WINDOW", help='Rolling window: 30, 30d, "12 weeks".')
]
AllTimeOption = Annotated[bool, typer.Option("--all-time", help="One value over the whole history.")]
ByOption = Annotated[
    list[str] | None,
    typer.Option("--by", "-b", metavar="DIMENSION", help="Break down by a dimension; repeatable.", show_default=False),
]
StartOption = Annotated[
    str | None, typer.Option("--start", metavar="DATE", help="First day or moment: 2026-01-31, 2026-01-31T12:00:00Z.")
]
EndOption = Annotated[str | None, typer.Option("--end", metavar="DATE", help="First day or moment after the range.")]
