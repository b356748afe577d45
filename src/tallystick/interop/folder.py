"""Writing an export into a folder, and writing it again without leaving files of the one before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from tallystick.errors import UsageError

MANIFEST = ".tally-export.json"
"""Lists what an export wrote, so that the next one removes that and nothing else."""


def write_folder(folder: Path, files: Mapping[str, str], tool: str) -> None:
    """Write files by their relative names; raise UsageError if the folder holds anything but an earlier export."""
    earlier = _earlier(folder, tool)
    for name in earlier:
        if name not in files:
            (folder / name).unlink(missing_ok=True)
    for name, text in files.items():
        path = folder / PurePosixPath(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    manifest = {"tool": tool, "files": sorted(files)}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _read(manifest: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(manifest.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("files"), list):
        raise UsageError(
            f"{manifest} does not say what an earlier export wrote", hint="remove it, or name another folder"
        )
    return found


def _earlier(folder: Path, tool: str) -> list[str]:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", hint="name a folder")
    manifest = folder / MANIFEST
    if manifest.is_file():
        found = _read(manifest)
        if found.get("tool") == tool:
            root = folder.resolve()
            return [str(name) for name in found["files"] if (root / str(name)).resolve().is_relative_to(root)]
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty and not an earlier export for {tool}", hint="name another folder")
    return []
