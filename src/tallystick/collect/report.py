"""What a pass did, window by window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tallystick.collect.due import Reason
from tallystick.compiler.series import PointState, Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectedWindow:
    """One series over one window: how many values it holds now, how far the newest can be trusted, or what failed."""

    wanted: Wanted
    reason: Reason
    start: datetime
    end: datetime
    points: int | None = None
    restated: int = 0
    state: PointState | None = None
    seconds: float = 0.0
    error: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectReport:
    """All windows of a pass; `left` are series that stay due for want of time, `busy` those others are at work on.

    `deprecated` are metrics that are collected although nobody should begin to use them, `conflicts` say which
    definitions of files the catalog could not take, `late` up to when sources have rows that should have more by now.
    """

    windows: tuple[CollectedWindow, ...]
    left: tuple[str, ...] = ()
    busy: tuple[str, ...] = ()
    deprecated: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    late: Mapping[str, datetime] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def failed(self) -> tuple[CollectedWindow, ...]:
        """Return the windows that could not be collected."""
        return tuple(window for window in self.windows if window.error is not None)

    @property
    def empty(self) -> tuple[str, ...]:
        """Return the metrics that were read for the first time, or on demand, and have no value at all there."""
        found: dict[str, bool] = {}
        for window in self.windows:
            is_empty = window.points == 0 and window.reason in (Reason.NEW, Reason.ASKED)
            found[window.wanted.metric] = found.get(window.wanted.metric, True) and is_empty
        return tuple(name for name, is_empty in found.items() if is_empty)
