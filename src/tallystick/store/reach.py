"""Where a generation of a series begins, and turns: who may claim runs of a project at a moment."""

from __future__ import annotations

import hashlib
from datetime import datetime

from sqlalchemy import Connection, func, select, text

from tallystick.store.tables import points


def first_bucket(connection: Connection, series: int) -> datetime | None:
    """Return the first bucket that holds a value in a generation."""
    bucket = points.c.bucket
    found: datetime | None = connection.execute(
        select(func.min(bucket, type_=bucket.type)).where(points.c.series_id == series)
    ).scalar()
    return found


def take_turn(connection: Connection, project: str) -> None:
    """Keep others from claiming runs of a project until the transaction ends; on SQLite every transaction does."""
    if connection.dialect.name == "postgresql":
        key = int.from_bytes(hashlib.sha256(project.encode()).digest()[:8], signed=True)
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
