"""A first look into a store that is a file: quick, without the machinery it takes to use one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def may_hold_definitions(file: Path) -> bool:
    """Tell whether definitions may have been made in the service; False only where it is sure that none were."""
    statement = "SELECT EXISTS (SELECT 1 FROM definitions WHERE owned_by = 'service')"
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=1)) as connection:
            return bool(connection.execute(statement).fetchone()[0])
    except sqlite3.Error:
        return True  # whoever opens the store says what is wrong with it
