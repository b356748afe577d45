"""What a change of definitions does to the SQL of models: a project against another folder, file or git revision."""

from __future__ import annotations

import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import unified_diff
from functools import partial
from pathlib import Path, PurePosixPath
from shutil import copyfile

from tallystick.definitions.load import DEFINITIONS, TALLY_TOML, load
from tallystick.definitions.project import Project
from tallystick.errors import ProjectError, UnknownNameError, UsageError
from tallystick.service.render import Clock, render_request
from tallystick.service.render_cache import definition_files
from tallystick.service.render_request import RenderRequest
from tallystick.service.stores import made_in

_SUFFIXES = (".toml", ".sql", ".py")
_SETTINGS = frozenset({"project", "warehouse", "warehouses", "defaults", "collect"})
_GIT_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDiff:
    """One model whose SQL differs, with the unified diff; a model that is on one side only is added or removed."""

    model: str
    change: str
    diff: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """What differs, and how many mistakes leave definitions out of each side: they look as if they were not there."""

    models: tuple[ModelDiff, ...]
    errors: int
    errors_before: int


def render_diff(folder: Path, old: str, request: RenderRequest, *, clock: Clock | None = None) -> Differences:
    """Return the models of a request whose SQL differs from that of `old`, in plan order, removed ones last.

    `old` is another project folder, a definition file (a whole project, or a former state of one file of this one) or
    a git revision. Both sides have the same clock. Raise UsageError or UnknownNameError where nothing can be compared.
    """
    now = (clock or (lambda: datetime.now(UTC)))()
    project = load(folder, partial(made_in, folder))
    with _former(folder, old) as former:
        as_of = project.settings.as_of or former.settings.as_of or now
        before, after = _texts(former, request, as_of), _texts(project, request, as_of)
        errors_before = len(former.errors)
    if before is None and after is None:
        # Asking again raises the error that says what the name might have been.
        render_request(project, request, as_of)
    found = tuple(_differences(before or {}, after or {}, old))
    return Differences(models=found, errors=len(project.errors), errors_before=errors_before)


def _texts(project: Project, request: RenderRequest, as_of: datetime) -> dict[str, str] | None:
    """Return the SQL of the request's models by name, or None where the project knows no such name."""
    try:
        return {model.model: model.sql for model in render_request(project, request, as_of).models}
    except UnknownNameError:
        return None


def _differences(before: dict[str, str], after: dict[str, str], old: str) -> Iterator[ModelDiff]:
    for name in dict.fromkeys([*after, *before]):
        was, now = before.get(name), after.get(name)
        if was == now:
            continue
        change = "added" if was is None else "removed" if now is None else "changed"
        lines = unified_diff(
            (was or "").splitlines(),
            (now or "").splitlines(),
            f"{old}/{name}" if was is not None else "/dev/null",
            name if now is not None else "/dev/null",
            lineterm="",
        )
        yield ModelDiff(model=name, change=change, diff="\n".join(lines))


@contextmanager
def _former(folder: Path, old: str) -> Iterator[Project]:
    """Load the other side of a comparison."""
    path = Path(old)
    if path.is_dir():
        yield load(path, partial(made_in, path))
    elif path.is_file():
        with tempfile.TemporaryDirectory(prefix="tally-") as scratch:
            yield _with_file(folder, path, Path(scratch))
    else:
        with tempfile.TemporaryDirectory(prefix="tally-") as scratch:
            _check_out(folder, old, Path(scratch))
            yield load(Path(scratch), partial(made_in, folder))


# -- a file -----------------------------------------------------------------------------------------------------------


def _with_file(folder: Path, file: Path, scratch: Path) -> Project:
    """Load the project with a file in place of its namesake, or a file that is a project by itself."""
    ours = definition_files(folder) or []
    namesakes = [path for path in ours if path.name == file.name]
    if len(namesakes) == 1:
        for path in ours:
            _copy(file if path == namesakes[0] else path, scratch / path.relative_to(folder))
        return load(scratch, partial(made_in, folder))
    alone = _alone(folder, file, scratch) if file.suffix == ".toml" else None
    if alone is None:
        many = f"{len(namesakes)} files" if namesakes else "no file"
        raise UsageError(
            f"'{file}' is not a project by itself, and the project has {many} named {file.name} it could stand for",
            hint="compare with a project folder or a git revision",
        )
    return alone


def _alone(folder: Path, file: Path, scratch: Path) -> Project | None:
    """Load a file that holds all it needs, with this project's settings unless it has its own; None for any other."""
    try:
        alone = load(file)
    except ProjectError:
        return None
    if not alone.metrics or alone.errors:
        return None
    ours = folder / TALLY_TOML
    if _tables(file).isdisjoint(_SETTINGS) and ours.is_file() and _tables(ours) <= _SETTINGS:
        _copy(ours, scratch / TALLY_TOML)
        _copy(file, scratch / DEFINITIONS / file.name)
        return load(scratch)
    return alone


def _tables(file: Path) -> frozenset[str]:
    """Return the names of a file's tables, none for a file that cannot be read."""
    try:
        return frozenset(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return frozenset()


def _copy(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    copyfile(file, target)


# -- a git revision ---------------------------------------------------------------------------------------------------


def _check_out(folder: Path, revision: str, scratch: Path) -> None:
    """Write the definition files of a project as they were at a git revision."""
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if commit is None:
        raise UsageError(
            f"'{revision}' is neither a folder, nor a definition file, nor a git revision of the project",
            hint="such as HEAD~1, main, ../old-project or definitions/metrics.toml",
        )
    listed = _git(folder, "ls-tree", "-r", "-z", commit.decode().strip(), "--", ".") or b""
    blobs: list[tuple[str, PurePosixPath]] = []
    for entry in listed.decode().split("\0"):
        head, _, name = entry.partition("\t")
        # Links and submodules have other modes; they lead out of what the revision holds.
        if name.endswith(_SUFFIXES) and head.startswith("100"):
            blobs.append((head.split()[2], PurePosixPath(name)))
    content = _git(folder, "cat-file", "--batch", feed="".join(f"{blob}\n" for blob, _ in blobs).encode()) or b""
    for (_, place), text in zip(blobs, _blobs(content), strict=True):
        target = scratch / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text)
    if not blobs:
        raise UsageError(f"the project has no definition files at '{revision}'", hint="choose a later revision")


def _blobs(content: bytes) -> Iterator[bytes]:
    """Yield the contents in the output of `git cat-file --batch`: a head with the size, the bytes, a line end."""
    place = 0
    while place < len(content):
        end = content.index(b"\n", place)
        size = int(content[place:end].split()[2])
        yield content[end + 1 : end + 1 + size]
        place = end + size + 2


def _git(folder: Path, *arguments: str, feed: bytes | None = None) -> bytes | None:
    """Run git in a folder and return what it prints, or None where it fails."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and the user's word stands behind --end-of-options
            command, input=feed, capture_output=True, check=False, timeout=_GIT_SECONDS
        )
    except FileNotFoundError:
        raise UsageError("git is not installed", hint="compare with a project folder instead") from None
    except subprocess.TimeoutExpired:
        raise UsageError("git does not answer", hint="compare with a project folder instead") from None
    return done.stdout if done.returncode == 0 else None
