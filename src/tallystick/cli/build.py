"""`tally build`: models written into the warehouse."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli.options import EndOption, FormatOption, ProjectOption, StartOption, new_app
from tallystick.cli.output import Format, note, write_rows
from tallystick.cli.progress import progress_bar
from tallystick.cli.project import opened

if TYPE_CHECKING:
    from tallystick.build.report import BuiltModel

_NAMED = 5
"""Metrics that are named at most where one error is that of many."""

app = new_app()


@app.command()
def build(
    select: Annotated[
        list[str] | None,
        typer.Option(
            "--select",
            "-s",
            metavar="NAME",
            help="Only this metric or model; repeatable.",
            show_default=False,
        ),
    ] = None,
    start: StartOption = None,
    end: EndOption = None,
    restate: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="START END", help="Read a range of the past again that has changed.", show_default=False),
    ] = None,
    project: ProjectOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Write models into the warehouse, incrementally.

    A second run does only what is new, changed, or may still have changed. Ends with 1 if a model failed, or
    was left out because a definition is wrong; the others are built all the same.
    """
    with opened(project) as workspace, progress_bar() as progress:
        # Imports and definitions stay until the end: looking through them for garbage costs as much as a small build.
        gc.freeze()
        report = workspace.build(select=tuple(select or ()), start=start, end=end, restate=restate, progress=progress)
    rows = [{"name": m.name, "action": m.action, "rows": m.rows, "seconds": round(m.seconds, 3)} for m in report.models]
    counted = form is not Format.TABLE or any(m.rows is not None for m in report.models)
    write_rows(rows, ("name", "action", *(["rows"] if counted else []), "seconds"), form)
    for line in failures(report.failed):
        note(f"error: {line}")
    note(summary((str(model.action) for model in report.models), report.seconds))
    if report.failed or (not select and workspace.project.errors):
        raise typer.Exit(1)


def failures(failed: Iterable[BuiltModel]) -> Iterator[str]:
    """Say once why models could not be built, however many they are: the metrics they are of, and their number."""
    found: dict[str | None, list[BuiltModel]] = {}
    for model in failed:
        found.setdefault(model.error, []).append(model)
    for error, models in found.items():
        if len(models) == 1:
            yield f"{models[0].name}: {error}"
            continue
        names = list(dict.fromkeys(model.metric for model in models))
        others = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield f"{', '.join(names[:_NAMED])}{others}: {error}; {len(models)} models are left out"


def summary(actions: Iterable[str], seconds: float) -> str:
    """Say in one line what was done to how many models, and how long it took."""
    number = Counter(actions)
    total = number.total()
    parts = ", ".join(f"{count} {action}" for action, count in sorted(number.items()))
    return f"{total} {'model' if total == 1 else 'models'}{f': {parts}' if parts else ''} in {seconds:.1f} s"
