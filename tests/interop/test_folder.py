from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.errors import UsageError
from tallystick.interop.folder import MANIFEST, write_folder


def test_an_export_replaces_the_one_before_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write_folder(folder, {"a.sql": "1", "models/b.sql": "2"}, "dbt")
    (folder / "mine.txt").write_text("keep")
    write_folder(folder, {"a.sql": "3"}, "dbt")
    assert (folder / "a.sql").read_text() == "3"
    assert (folder / "mine.txt").read_text() == "keep"
    assert not (folder / "models/b.sql").exists()


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="not empty"):
        write_folder(tmp_path, {"a.sql": "1"}, "dbt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_export_for_another_tool_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a.sql": "1"}, "dbt")
    with pytest.raises(UsageError, match="sqlmesh"):
        write_folder(tmp_path, {"a.sql": "1"}, "sqlmesh")


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        write_folder(tmp_path / "file", {}, "dbt")


@pytest.mark.parametrize("text", ["bad", "[]", '{"tool": "dbt"}', '{"tool": "dbt", "files": 3}', "[" * 100_000, "\xff"])
def test_a_manifest_that_cannot_be_read_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match="does not say"):
        write_folder(tmp_path, {"a.sql": "1"}, "dbt")


def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("keep")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / MANIFEST).write_text('{"tool": "dbt", "files": ["../other.txt"]}')
    write_folder(folder, {"a.sql": "1"}, "dbt")
    assert (tmp_path / "other.txt").exists()
