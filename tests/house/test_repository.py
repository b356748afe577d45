"""What is committed works on any machine: no index, no local path, nothing that a tool should have left out."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
TOOL_LOCKS = sorted((ROOT / "requirements" / "exports").glob("*.txt"))


@pytest.fixture(scope="module")
def committed() -> list[str]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S607
    if done.returncode:
        pytest.skip("not a git checkout")
    return done.stdout.split("\n")


@pytest.mark.parametrize("lock", [*LOCKS, *TOOL_LOCKS], ids=lambda path: path.name)
def test_every_pin_has_a_hash_and_no_origin(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    pins = re.findall(r"^([a-z0-9-]+)==", text, flags=re.MULTILINE)
    assert pins
    assert len(re.findall(r"== *[^\n]+\\\n    --hash=sha256:", text)) == len(pins)
    assert not re.search(r"https?://|file:|--index-url|--find-links|(^|\s)/", text)


def test_locks_hold_every_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = {re.split(r"[\[<>=~; ]", spec, maxsplit=1)[0] for spec in project["project"]["dependencies"]}
    for lock in LOCKS:
        pinned = set(re.findall(r"^([a-z0-9-]+)==", lock.read_text(encoding="utf-8"), flags=re.MULTILINE))
        assert declared <= pinned


def test_nothing_generated_is_committed(committed: list[str]) -> None:
    assert not [name for name in committed if re.search(r"(^|/)(uv\.lock|\.coverage|.*\.duckdb|__pycache__)", name)]
