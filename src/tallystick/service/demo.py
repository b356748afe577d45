"""The demo: the bundled project copied to a folder of its own, and what its metrics say."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import tallystick
from tallystick.definitions.entity import ALL
from tallystick.definitions.metric import Metric
from tallystick.errors import ProjectError
from tallystick.service.workspace import Workspace
from tallystick.sql.grain import Grain

BUNDLED = Path(tallystick.__file__).parent / "demo"
HISTORY = 24
FINAL = "final"


@dataclass(frozen=True, slots=True)
class Summary:
    """The latest final month of a metric over everything, the one before, and the months up to it, oldest first."""

    metric: Metric
    bucket: date | None
    value: float | None
    previous: float | None
    history: tuple[float | None, ...]

    @property
    def change(self) -> float | None:
        """Return the relative change against the month before, where there is one to speak of."""
        if self.value is None or not self.previous:
            return None
        return self.value / self.previous - 1


def default_folder() -> Path:
    """Return where the demo lives unless told otherwise: the user's cache, or a temporary folder without one."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    name = f"tallystick/demo-{tallystick.__version__}"
    writable = next(parent for parent in (cache, *cache.parents) if parent.exists())
    return cache / name if os.access(writable, os.W_OK) else Path(tempfile.gettempdir()) / name


def copy_project(folder: Path) -> None:
    """Copy the bundled project into a folder; files that are already there, edited or not, are kept.

    Raises ProjectError if the folder holds something else, or cannot be written.
    """
    if folder.exists() and not (folder / "tally.toml").exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProjectError(
            f"{folder} is not empty and not a copy of the demo", hint="choose an empty folder with --dir"
        )
    for path in sorted(BUNDLED.rglob("*")):
        target = folder / path.relative_to(BUNDLED)
        if path.is_dir() or path.suffix in {".py", ".pyc"} or target.exists():
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        except OSError as error:
            raise ProjectError(
                f"{target} cannot be written: {error.strerror}", hint="choose a folder with --dir"
            ) from error


def summarise(workspace: Workspace) -> tuple[Summary, ...]:
    """Return the summary of every metric that is built by month over everything, in the order they are written."""
    built = {m.metric for m in workspace.models() if m.entity == ALL and m.time.grain is Grain.MONTH and not m.by}
    return tuple(_summary(workspace, metric) for name, metric in workspace.metrics.items() if name in built)


def _summary(workspace: Workspace, metric: Metric) -> Summary:
    table = workspace.query(metric.name, grain=Grain.MONTH)
    final = [row for row in table.to_pylist() if row["state"] == FINAL]
    values: Sequence[float | None] = [row["value"] for row in final]
    return Summary(
        metric=metric,
        bucket=final[-1]["bucket"] if final else None,
        value=values[-1] if values else None,
        previous=values[-2] if len(values) > 1 else None,
        history=tuple(values[-HISTORY:]),
    )
