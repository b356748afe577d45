"""How a run stands."""

from __future__ import annotations

from enum import StrEnum


class RunStatus(StrEnum):
    """A run is at work, done, failed, or lost: its worker stopped renewing the lease."""

    RUNNING = "running"
    SUCCESS = "success"
    ERROR = "error"
    LOST = "lost"
