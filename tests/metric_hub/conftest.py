"""The part of metric-hub's repository that is copied here, and what its own parser says about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hub import FIXTURES
from tallystick.definitions.metric_hub import loading
from tallystick.definitions.metric_hub.collection import Collection
from tallystick.definitions.metric_hub.merging import merge
from tallystick.definitions.metric_hub.mode import Mode
from tallystick.definitions.metric_hub.repository import Repository, open_repository

Write = Callable[[dict[str, str]], Path]
Build = Callable[..., Collection]


@pytest.fixture(scope="session")
def part() -> Path:
    return FIXTURES / "repo"


@pytest.fixture(scope="session")
def repository(part: Path) -> Repository:
    return open_repository(part)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Load collections from texts and merge them in order."""
    count = 0

    def build(*repositories: dict[str, str], mode: Mode = Mode.COMPAT) -> Collection:
        nonlocal count
        merged: Collection | None = None
        for files in repositories:
            count += 1
            root = tmp_path / str(count)
            for name, text in files.items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            loaded = loading.load(root, mode)
            merged = loaded if merged is None else merge(merged, loaded)
        assert merged is not None
        return merged

    return build
