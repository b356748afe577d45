"""The project a command works on: found from the current folder, opened, and closed again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tallystick.cli.output import note
from tallystick.errors import UsageError

if TYPE_CHECKING:
    from tallystick.service.workspace import Workspace

MARKER = "tally.toml"
_TOOLS = frozenset({"jetstream", "opmon", "looker"})
_PARTS = _TOOLS | {"definitions", "defaults", "outcomes", "featmon", "nimbus"}
"""Folders of a project or clone that could pass for a metric-hub clone by themselves."""


def find_root(given: Path | None, here: Path | None = None) -> Path:
    """Return the folder that was given, else the nearest project or metric-hub clone upwards, else the current one."""
    if given is not None:
        return given
    here = (here or Path.cwd()).resolve()
    upwards = (here, *here.parents)
    return next((_whole(folder) for folder in upwards if (folder / MARKER).is_file() or is_clone(folder)), here)


def is_clone(folder: Path) -> bool:
    """Tell whether a folder is a metric-hub clone; a folder with a tally.toml never is."""
    if (folder / MARKER).exists() or not folder.is_dir():
        return False
    if not any((folder / name).is_dir() for name in _PARTS) and not any(folder.glob("*.toml")):
        return False
    from tallystick.definitions.metric_hub.repository import is_repository

    return is_repository(folder)


def _whole(found: Path) -> Path:
    """Return what a folder is an overlay or a folder of definitions of: the project or clone around it, else itself."""
    whole = found
    for folder in (found, *found.parents):
        is_project = (folder / MARKER).is_file()
        if folder != found and found.relative_to(folder).parts[0] in _parts(folder):
            whole = folder if is_project or is_clone(folder) else whole
        if is_project or any((folder / tool).is_dir() for tool in _TOOLS):
            break  # what has overlays of its own is nobody's overlay
    return whole


def _parts(folder: Path) -> frozenset[str]:
    if not is_clone(folder):
        return _PARTS
    from tallystick.definitions.metric_hub.repository import tool_folders

    return _PARTS | {*tool_folders(folder)}


def clone_root(given: Path | None) -> Path | None:
    """Return the folder of the metric-hub clone a command is about, or None where it is about a project."""
    root = find_root(given)
    return root if is_clone(root) else None


def refuse_tool(tool: str | None) -> None:
    """Raise UsageError if a tool is named; only metric-hub clones have overlays of tools."""
    if tool is not None:
        raise UsageError(
            "--tool is for metric-hub repositories, and this is not one",
            hint="leave it out, or name the folder of a clone with --project",
        )


@contextmanager
def opened(folder: Path | None) -> Iterator[Workspace]:
    """Load a project and close it again; tell on stderr if some of its definitions are left out.

    Raise UsageError for a metric-hub clone.
    """
    from tallystick.service.workspace import load

    root = find_root(folder)
    if is_clone(root):
        raise UsageError(
            f"'{root}' is a metric-hub repository, which has no warehouse of its own here",
            hint="print the SQL with: tally render NAME, and run it where the tables are",
        )
    workspace = load(root)
    try:
        errors = len(workspace.project.errors)
        if errors:
            note(f"warning: {errors} {'error' if errors == 1 else 'errors'} in the project, see tally check")
        yield workspace
    finally:
        workspace.close()
