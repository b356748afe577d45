"""`tally render`: the SQL of a metric, in any dialect."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from pathlib import Path
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
    ToolOption,
    WindowOption,
    new_app,
)
from tallystick.cli.output import Format, note, write_json, write_line, write_rows
from tallystick.cli.project import find_root, is_clone, refuse_tool
from tallystick.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from rich.text import Text

    from tallystick.compiler.model import Model
    from tallystick.definitions.project import Project
    from tallystick.service.render_request import Rendering, RenderRequest

COLUMNS = ("model", "metric", "entity", "view", "dialect", "sql")
LEFT = 130

MetricArgument = Annotated[
    str | None, typer.Argument(metavar="[METRIC]", help="Name of a metric, or of one of its models.")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", metavar="MODEL", help="A model by its full name, see tally models.")
]
EveryOption = Annotated[
    bool, typer.Option("--all", "-a", help="Every model of METRIC, or of the project where none is named.")
]
DialectOption = Annotated[
    str | None, typer.Option("--dialect", "-d", metavar="DIALECT", help="SQL dialect; by default the warehouse's own.")
]
FullOption = Annotated[
    bool, typer.Option("--full", help="With dates and macros filled in, ready to run, instead of placeholders.")
]
DiffOption = Annotated[
    str | None,
    typer.Option(
        "--diff",
        metavar="OLD",
        help="Show what has changed since OLD: a project folder, a definition file or a git revision. "
        "Ends with status 1 if anything has.",
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Write one file per model here.", show_default=False),
]

app = new_app()


@app.command()
def render(
    metric: MetricArgument = None,
    model: ModelOption = None,
    entity: EntityOption = None,
    grain: GrainOption = None,
    window: WindowOption = None,
    all_time: AllTimeOption = False,
    by: ByOption = None,
    every: EveryOption = False,
    dialect: DialectOption = None,
    full: FullOption = False,
    start: StartOption = None,
    end: EndOption = None,
    diff: DiffOption = None,
    output: OutputOption = None,
    tool: ToolOption = None,
    project: ProjectOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Print the SQL of a metric, in any dialect.

    Nothing is run. Without --full or dates, dates stay placeholders. On a terminal, a metric of several models opens a
    list to choose from; the part of the SQL that comes from the definition stands out.

    In a metric-hub clone, METRIC is PLATFORM.NAME and the SQL is metric-hub's own query, in BigQuery unless told
    otherwise. A view, --entity or dates ask for a model of the metric instead.
    """
    from tallystick.service.render_request import RenderRequest

    request = RenderRequest(
        metric=metric if metric is not None else model,
        model=model,
        entity=entity,
        grain=grain,
        window=window,
        all_time=all_time,
        by=tuple(by or ()),
        every=every or (metric is None and model is None and diff is not None),
        dialect=dialect,
        full=full,
        start=start,
        end=end,
    )
    if every and request.names_a_model:
        raise UsageError("--all is every model", hint="leave --model, --entity, --grain, --window and --by out")
    folder = find_root(project)
    if is_clone(folder):
        return _clone(folder, request, tool, diff, output, form)
    refuse_tool(tool)
    if diff is not None:
        return _diff(folder, diff, request, form)
    if _is_terminal() and form is Format.TABLE and output is None and not every:
        return _on_terminal(folder, request)
    return _plain(folder, request, output, form)


def write_sql(sql: str) -> None:
    """Write SQL to stdout, coloured on a terminal, and otherwise exactly as it is."""
    if not sys.stdout.isatty():
        write_line(sql)
        return
    from tallystick.cli.sql_text import sql_text, write_text

    write_text(sql_text(sql, ()))


def _is_terminal() -> bool:
    # What a dumb terminal cannot draw would be waited for.
    return sys.stdout.isatty() and sys.stdin.isatty() and os.environ.get("TERM") != "dumb"


# -- plain output -----------------------------------------------------------------------------------------------------


def _plain(folder: Path, request: RenderRequest, output: Path | None, form: Format) -> int:
    from tallystick.service.render import render_project

    if request.every:
        # Looking for garbage among thousands of trees takes a quarter of the time, and this process ends soon.
        gc.disable()
        atexit.register(gc.freeze)
    return _write(render_project(folder, request), request, output, form)


def _clone(
    folder: Path, request: RenderRequest, tool: str | None, diff: str | None, output: Path | None, form: Format
) -> int:
    if diff is not None:
        raise UsageError("--diff compares projects, and this is a metric-hub repository", hint="leave --diff out")
    from tallystick.cli.metric_hub_views import render_clone

    return _write(render_clone(folder, request, tool), request, output, form)


def _write(rendering: Rendering, request: RenderRequest, output: Path | None, form: Format) -> int:
    _tell(rendering)
    if output is not None:
        _write_files(rendering, output)
    elif form is not Format.TABLE:
        write_rows([{name: getattr(found, name) for name in COLUMNS} for found in rendering.models], COLUMNS, form)
    elif request.every:
        for place, found in enumerate(rendering.models):
            write_line(("\n" if place else "") + f"-- {found.model}\n{found.sql};")
    else:
        write_sql(rendering.models[0].sql)
    return 1 if rendering.failures else 0


def _tell(rendering: Rendering) -> None:
    if rendering.left_out:
        errors = "error" if rendering.left_out == 1 else "errors"
        note(f"warning: {rendering.left_out} {errors} in the project, see tally check")
    for name, reason in rendering.failures:
        note(f"error: {name}: {reason}")


def _write_files(rendering: Rendering, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for found in rendering.models:
        (folder / f"{found.model}.sql").write_text(found.sql + "\n", encoding="utf-8")
    note(f"{len(rendering.models)} {'file' if len(rendering.models) == 1 else 'files'} in {folder}")


# -- differences ------------------------------------------------------------------------------------------------------


def _diff(folder: Path, old: str, request: RenderRequest, form: Format) -> int:
    from tallystick.service.render_diff import render_diff

    differences = render_diff(folder, old, request)
    found = differences.models
    for count, where in ((differences.errors, "the project"), (differences.errors_before, old)):
        if count:
            note(
                f"warning: {count} {'error' if count == 1 else 'errors'} in {where}: what is left out there is compared as if it were not there"
            )
    if form is Format.JSON:
        write_json([{"model": one.model, "change": one.change, "diff": one.diff} for one in found])
    elif form is Format.CSV:
        write_rows([{"model": one.model, "change": one.change} for one in found], ("model", "change"), form)
    for one in found if form is Format.TABLE else ():
        if sys.stdout.isatty():
            from tallystick.cli.sql_text import diff_text, write_text

            write_text(diff_text(one.diff))
        else:
            write_line(one.diff)
    return 1 if found else 0


# -- on a terminal ----------------------------------------------------------------------------------------------------


def _on_terminal(folder: Path, request: RenderRequest) -> int:
    from tallystick.cli.project import opened
    from tallystick.cli.sql_text import write_text
    from tallystick.compiler.plan import plan
    from tallystick.service import derived
    from tallystick.service.render import requested_models

    with opened(folder) as workspace:
        project, as_of = workspace.project, workspace.as_of
        if derived.find(project, request.model or request.metric) is not None:
            write_sql(workspace.render(request.metric or "", model=request.model, dialect=request.dialect))
            return 0
        if request.metric in project.metrics or request.metric is None:
            offered = [model for model in plan(project) if request.metric in (None, model.metric)]
        else:
            offered = []
        if len(offered) > 1 and not request.names_a_model:
            from tallystick.cli.pick_model import pick

            known = {model.name: model for model in offered}
            name = pick(list(known), lambda name: _coloured(project, known[name], request, as_of))
            if name is None:
                return LEFT
            chosen = known[name]
        else:
            chosen = requested_models(project, request)[0]
        write_text(_coloured(project, chosen, request, as_of))
    return 0


def _coloured(project: Project, model: Model, request: RenderRequest, as_of: datetime) -> Text:
    """Return a model's SQL in colours; in the list, a model that cannot be written says why."""
    from tallystick.cli.sql_text import sql_text
    from tallystick.service.render import render_marked

    marked = render_marked(project, model, request, as_of)
    return sql_text(marked.text, marked.ranges)
