"""`tally check`: all findings about a project, as a compiler would print them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli.options import FormatOption, new_app
from tallystick.cli.output import Format, note, write_line, write_rows
from tallystick.cli.project import find_root, is_clone
from tallystick.definitions.diagnostics import Diagnostic, Severity

KEYS = ("code", "severity", "file", "line", "column", "message", "hint")

app = new_app()


@app.command()
def check(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR", help="Folder of a project or metric-hub clone; by default the nearest one upwards."
        ),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Read files only; do not ask the warehouse for its tables and columns.")
    ] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Count warnings as findings, too, and read a metric-hub clone in strict mode."),
    ] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Report everything that is wrong with a project, with file:line:column.

    Ends with 0 if there are no errors, with 1 if there are, and with 2 if the folder is not a project.
    """
    root = find_root(folder)
    if is_clone(root):
        from tallystick.cli.metric_hub_views import check_clone

        findings, metrics = check_clone(root, strict=strict)
    else:
        findings, metrics = _check_project(root, offline=offline)
    if form is Format.TABLE:
        for finding in findings:
            write_line(str(finding))
    else:
        write_rows([finding.as_dict() for finding in findings], KEYS, form)
    note(summary(findings, metrics))
    if any(counts(finding, strict=strict) for finding in findings):
        raise typer.Exit(1)


def _check_project(root: Path, *, offline: bool) -> tuple[Sequence[Diagnostic], int]:
    from tallystick.service.workspace import load

    workspace = load(root)
    try:
        usable = sum(metric.operand_of is None for metric in workspace.metrics.values())
        return workspace.check(offline=offline), usable
    finally:
        workspace.close()


def counts(finding: Diagnostic, *, strict: bool) -> bool:
    """Tell whether a finding makes the check fail."""
    return finding.severity is Severity.ERROR or (strict and finding.severity is Severity.WARNING)


def summary(findings: Sequence[Diagnostic], metrics: int) -> str:
    """Say in one line how many findings of each severity there are, and how many metrics can be used."""
    number = Counter(finding.severity for finding in findings)
    parts = [f"{number[s]} {s}{'' if number[s] == 1 else 's'}" for s in (Severity.ERROR, Severity.WARNING) if number[s]]
    usable = f"{metrics} {'metric' if metrics == 1 else 'metrics'}"
    return f"{', '.join(parts) or 'no problems'}; {usable} ready to use"
