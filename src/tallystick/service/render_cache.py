"""Rendered SQL kept beside the definitions it came from, so that asking again parses nothing.

An entry is found by the SHA-256 of everything its text depends on: the bytes of every definition file, this package's
own code, and the request. Entries live in `.tally/cache/`, which may be deleted at any time; a cache that cannot be
read or written is simply not there. Projects with a Python registry have none: what code returns may depend on more
than its text.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import NamedTemporaryFile

from tallystick.service.render_request import Rendered, Rendering, RenderRequest

FOLDER = Path(".tally") / "cache"
MAX_ENTRIES = 64
MAX_FILES = 20_000
"""Projects of more files than this are read anew every time: finding out whether one changed would take as long."""

_SUFFIXES = (".toml", ".sql")
_REGISTRY_FOLDERS = (".", "models")
_REGISTRY_WORDS = (b"metrics_tools", b"tallystick")
_MAGIC = b"tally render 1\n"


def key_of(root: Path, request: RenderRequest) -> str | None:
    """Return the key of a request to a project folder, or None where its answer must not be kept."""
    files = definition_files(root)
    if files is None:
        return None
    digest = sha256()
    for part in (_own_version(), root.resolve().name, json.dumps(asdict(request), sort_keys=True)):
        _add(digest.update, part.encode())
    try:
        for path in files:
            content = path.read_bytes()
            if path.suffix == ".py" and any(word in content for word in _REGISTRY_WORDS):
                return None
            _add(digest.update, path.relative_to(root).as_posix().encode())
            _add(digest.update, content)
    except OSError:
        return None
    return digest.hexdigest()


def recall(root: Path, key: str, now: datetime) -> Rendering | None:
    """Return what was kept under a key, if it still holds at `now`; anything odd about the entry means it is not."""
    try:
        content = _file(root, key).read_bytes()
    except OSError:
        return None
    head, _, packed = content.removeprefix(_MAGIC).partition(b"\n")
    if not content.startswith(_MAGIC) or head != sha256(packed).hexdigest().encode():
        return None
    try:
        stored = json.loads(zlib.decompress(packed))
        if stored["from"] is not None and now < datetime.fromisoformat(stored["from"]):
            return None
        models = tuple(Rendered(**dict(zip(Rendered.__slots__, row, strict=True))) for row in stored["models"])
        failures = tuple((name, reason) for name, reason in stored["failures"])
        return Rendering(models=models, failures=failures, left_out=stored["left_out"])
    except (ValueError, TypeError, KeyError, AttributeError, zlib.error):
        return None


def keep(root: Path, key: str, rendering: Rendering, holds_from: datetime | None) -> None:
    """Keep an answer that holds from an instant on (None: always); a folder that cannot be written is left alone."""
    rows = [[getattr(model, name) for name in Rendered.__slots__] for model in rendering.models]
    stored = {
        "models": rows,
        "failures": rendering.failures,
        "left_out": rendering.left_out,
        "from": holds_from.isoformat() if holds_from else None,
    }
    packed = zlib.compress(json.dumps(stored, ensure_ascii=False).encode(), 1)
    with suppress(OSError):
        folder = root / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        ignore = root / FOLDER.parts[0] / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
        _write(_file(root, key), _MAGIC + sha256(packed).hexdigest().encode() + b"\n" + packed)
        _forget_oldest(folder)


def _write(path: Path, content: bytes) -> None:
    """Write a file at once: whoever reads it sees all of it or the one before."""
    with NamedTemporaryFile(dir=path.parent, prefix="render-", suffix=".part", delete=False) as file:
        part = Path(file.name)
        try:
            file.write(content)
            file.close()
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise


def _forget_oldest(folder: Path) -> None:
    entries = [entry for entry in os.scandir(folder) if entry.name.startswith("render-")]
    if len(entries) > MAX_ENTRIES:
        entries.sort(key=lambda entry: entry.stat().st_mtime_ns)
        for entry in entries[: len(entries) - MAX_ENTRIES]:
            Path(entry.path).unlink(missing_ok=True)


def _file(root: Path, key: str) -> Path:
    return root / FOLDER / f"render-{key}"


def _add(update: object, part: bytes) -> None:
    assert callable(update)  # noqa: S101 - a bound method of a hash, whose type has no public name
    update(len(part).to_bytes(8, "big"))
    update(part)


def definition_files(root: Path) -> list[Path] | None:
    """Return every file a project may be read from, in a fixed order; None for too many or a folder unread."""
    if not root.is_dir():
        return None
    found: list[Path] = []
    for path in _walk(root):
        if path.suffix in _SUFFIXES:
            found.append(path)
        if len(found) > MAX_FILES:
            return None
    for folder in _REGISTRY_FOLDERS:
        found += sorted((root / folder).glob("*.py"))
    return found


def _walk(root: Path) -> Iterator[Path]:
    """Yield the files below a folder, links followed, in a fixed order; hidden folders are never read from."""
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
        yield from (Path(folder, name) for name in sorted(files))


def _own_version() -> str:
    """Return what this package's code is: its version and, for those who change it, when its modules were written."""
    package = Path(__file__).parents[1]
    modules = sorted((path.as_posix(), path.stat().st_mtime_ns) for path in package.rglob("*.py"))
    return json.dumps([_version("tallystick"), _version("sqlglot"), modules])


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "none"
