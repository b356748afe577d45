"""`tally demo`: real metrics from real data, in one command, offline."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli.build import failures
from tallystick.cli.options import FormatOption, new_app
from tallystick.cli.output import Format, Row, cell, note, write_line, write_rows
from tallystick.cli.progress import progress_bar
from tallystick.cli.sparkline import sparkline
from tallystick.errors import UnknownNameError

if TYPE_CHECKING:
    from rich.table import Table

    from tallystick.service.demo import Summary

COLUMNS = ("metric", "of", "month", "value", "unit", "before", "change", "history")

app = new_app()


@app.command()
def demo(
    name: Annotated[
        str | None, typer.Argument(metavar="[shop]", help="The shop instead: made-up rows, one metric of every kind.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            metavar="DIR",
            help="Where to put the project; by default a folder in your cache.",
            show_default=False,
        ),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", envvar="TALLY_DEMO_ONCE", help="End after the summary, as without a terminal.")
    ] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Build the bundled project of real data and show its metrics.

    The project is copied first, so that you can change it; run the command again to see what your change did.
    """
    from tallystick.service import demo as service
    from tallystick.service.workspace import load

    del once  # there is nothing yet that would go on after the summary
    if name is not None:
        _run_shop(name, folder, form)
        return
    started = perf_counter()
    folder = folder or service.default_folder()
    service.copy_project(folder)
    with load(folder) as workspace, progress_bar() as progress:
        report = workspace.build(progress=progress)
        summaries = service.summarise(workspace)
        name, errors = workspace.project.settings.name, len(workspace.project.errors)
    if form is not Format.TABLE:
        write_rows([describe(summary) for summary in summaries], COLUMNS, form)
    else:
        _write_summary(title_of(name, summaries), summaries)
    for line in failures(report.failed):
        note(f"error: {line}")
    rows = sum(model.rows or 0 for model in report.models)
    for line in what_next(f"{len(report.models)} models, {rows:,} values, {perf_counter() - started:.1f} s", folder):
        note(line)
    if report.failed or errors:
        raise typer.Exit(1)


def _run_shop(name: str, folder: Path | None, form: Format) -> None:
    from tallystick.cli import demo_shop

    if name != "shop":
        raise UnknownNameError(f"there is no demo '{name}'", hint="known: shop, and the one without a name")
    if not demo_shop.show(folder, form):
        raise typer.Exit(1)


def describe(summary: Summary) -> Row:
    """Return a summary as a row of plain values."""
    return {
        "metric": summary.metric.name,
        "of": summary.of,
        "month": summary.bucket,
        "value": summary.value,
        "unit": summary.metric.about.unit,
        "before": summary.previous,
        "change": summary.change,
        "history": list(summary.history),
    }


def what_next(done: str, folder: Path) -> Iterator[str]:
    """Yield what was done and what to type next, line by line."""
    where = shlex.quote(str(folder))
    yield f"Built {done}. The project is in {where}. Next, try:"
    for line in (
        *activation(),
        f"cd {where}",
        "tally list",
        "tally show commits_per_developer",
        "tally query active_developers --grain year --entity collection --start 2024-01-01",
        "tally render active_developers --entity project --window 30 --dialect bigquery",
    ):
        yield f"  {line}"


def activation() -> Iterator[str]:
    """Yield what makes `tally` a command where it is not: after `make demo` it lives in an environment of its own."""
    script = Path(sys.prefix) / "bin" / "activate"
    if shutil.which("tally") is None and script.exists():
        yield f". {shlex.quote(str(script))}"


def title_of(name: str, summaries: Sequence[Summary]) -> str:
    """Return what the summary is about."""
    months = {summary.bucket for summary in summaries if summary.bucket}
    return f"{name}, {max(months):%B %Y}: the latest month that is final" if months else name


def _write_summary(title: str, summaries: Sequence[Summary]) -> None:
    if sys.stdout.isatty():
        _write_rich(title, summaries)
        return
    write_line(title)
    write_rows([_texts(summary) for summary in summaries], ("metric", "value", "change", "last 24 months"))


def _texts(summary: Summary) -> dict[str, object]:
    return {
        "metric": summary.metric.name + (f" ({summary.of})" if summary.of else ""),
        "value": None if summary.value is None else round(float(summary.value), 2),
        "change": None if summary.change is None else f"{summary.change:>+7.1%}",
        "last 24 months": sparkline(summary.history),
    }


def _write_rich(title: str, summaries: Sequence[Summary]) -> None:
    from rich.console import Console

    Console().print(summary_table(title, summaries))


def summary_table(title: str, summaries: Sequence[Summary]) -> Table:
    """Return the summary as it is shown on a terminal; good news is green, bad news red, by each metric's direction."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", title=title, title_justify="left")
    for column in ("metric", "value", "change", "last 24 months"):
        table.add_column(column, justify="right" if column in ("value", "change") else "left", no_wrap=True)
    for summary in summaries:
        cells = [Text(cell(value)) for value in _texts(summary).values()]
        cells[2].stylize(_colour(summary))
        cells[3].stylize("cyan")
        table.add_row(*cells)
    return table


def _colour(summary: Summary) -> str:
    direction, change = summary.metric.about.direction, summary.change
    if direction not in ("up", "down") or not change:
        return ""
    return "green" if (change > 0) == (direction == "up") else "red"
