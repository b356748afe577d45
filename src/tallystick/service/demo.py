"""The demo: the bundled project copied to a folder of its own, and what its metrics say."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
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
EXAMPLE = "example"
FINAL = "final"


@dataclass(frozen=True, slots=True)
class Summary:
    """The latest final month of a metric, the one before, and the months up to it, oldest first.

    Over everything, or for one thing (`of`, such as the collection "web") where the metric has no value over everything.
    """

    metric: Metric
    of: str | None
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


def default_folder(name: str = "demo") -> Path:
    """Return where a demo lives unless told otherwise: the user's cache, or a temporary folder without one."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    name = f"tallystick/{name}-{tallystick.__version__}"
    writable = next(parent for parent in (cache, *cache.parents) if parent.exists())
    return cache / name if os.access(writable, os.W_OK) else Path(tempfile.gettempdir()) / name


def copy_project(folder: Path, bundled: Path = BUNDLED) -> None:
    """Copy a bundled project into a folder; files that are already there, edited or not, are kept.

    Raises ProjectError if the folder holds something else, or cannot be written.
    """
    if folder.exists() and not (folder / "tally.toml").exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProjectError(
            f"{folder} is not empty and not a copy of the demo", hint="choose an empty folder with --dir"
        )
    for path in sorted(bundled.rglob("*")):
        target = folder / path.relative_to(bundled)
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
    """Return the summary of every metric that is built by month, but for breakdowns and examples of other spellings."""
    entities: dict[str, list[str]] = {}
    for model in workspace.models():
        if model.time.grain is Grain.MONTH and not model.by:
            entities.setdefault(model.metric, []).append(model.entity)
    shown = [
        m for m in workspace.metrics.values() if m.name in entities and not m.views.by and EXAMPLE not in m.about.tags
    ]
    return tuple(_summary(workspace, metric, entities[metric.name]) for metric in shown)


def _summary(workspace: Workspace, metric: Metric, entities: Sequence[str]) -> Summary:
    entity = ALL if ALL in entities else entities[-1]
    table = workspace.query(metric.name, grain=Grain.MONTH, entity=entity)
    final = [row for row in table.to_pylist() if row["state"] == FINAL]
    of = None
    if entity != ALL and final:
        key = workspace.project.entities[entity].key
        longest = min(Counter(row[key] for row in final).items(), key=lambda item: (-item[1], item[0]))[0]
        final = [row for row in final if row[key] == longest]
        of = str(longest)
    values: Sequence[float | None] = [row["value"] for row in final]
    return Summary(
        metric=metric,
        of=of,
        bucket=final[-1]["bucket"] if final else None,
        value=values[-1] if values else None,
        previous=values[-2] if len(values) > 1 else None,
        history=tuple(values[-HISTORY:]),
    )
