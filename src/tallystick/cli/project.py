"""The project a command works on: found from the current folder, opened, and closed again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tallystick.cli.output import note

if TYPE_CHECKING:
    from tallystick.service.workspace import Workspace

MARKER = "tally.toml"


def find_root(given: Path | None, here: Path | None = None) -> Path:
    """Return the folder that was given, else the nearest one upwards with a tally.toml, else the current one."""
    if given is not None:
        return given
    here = (here or Path.cwd()).resolve()
    return next((folder for folder in (here, *here.parents) if (folder / MARKER).is_file()), here)


@contextmanager
def opened(folder: Path | None) -> Iterator[Workspace]:
    """Load a project and close it again; tell on stderr if some of its definitions are left out."""
    from tallystick.service.workspace import load

    workspace = load(find_root(folder))
    try:
        errors = len(workspace.project.errors)
        if errors:
            note(f"warning: {errors} {'error' if errors == 1 else 'errors'} in the project, see tally check")
        yield workspace
    finally:
        workspace.close()
