"""Where a project's metadata store is, and opening it: TALLY_STORE, else a file in the project's folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tallystick.errors import MissingDriverError, StoreError
from tallystick.store import peek

if TYPE_CHECKING:
    from tallystick.definitions.made import Made
    from tallystick.store.database import Store

STORE_FILE = Path(".tally") / "tally.db"
STORE_VARIABLE = "TALLY_STORE"


def has_store(root: Path | str) -> bool:
    """Tell whether there is a store to read, without opening one."""
    return bool(os.environ.get(STORE_VARIABLE)) or (Path(root) / STORE_FILE).is_file()


@contextmanager
def opened_store(root: Path | str) -> Iterator[Store]:
    """Open the store of a project's folder, made or brought up to date where it has to be, and close it again."""
    from tallystick.store.database import open_store

    store = open_store(root=_folder(root))
    try:
        yield store
    finally:
        store.close()


def may_hold_definitions(root: Path | str) -> bool:
    """Tell whether definitions may have been made in the service; quick where a store is a file of the project."""
    if not has_store(root):
        return False
    return bool(os.environ.get(STORE_VARIABLE)) or peek.may_hold_definitions(Path(root) / STORE_FILE)


def made_in(root: Path | str, project: str) -> Made:
    """Return the definitions of a project that were made in the service; a store that fails is a finding."""
    from tallystick.definitions.diagnostics import from_error
    from tallystick.definitions.made import Made

    if not may_hold_definitions(root):
        return Made()
    from tallystick.store.database import find_store
    from tallystick.store.made import read_made

    try:
        store = find_store(root=_folder(root))
        try:
            return read_made(store, project)
        finally:
            store.close()
    except (StoreError, MissingDriverError) as error:
        return Made(findings=(from_error("store-unavailable", error),))


def _folder(root: Path | str) -> Path:
    root = Path(root)
    return root if root.is_dir() else root.parent
