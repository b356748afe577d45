"""What a build did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

Progress = Callable[[int, int, str], None]
"""Called with models done, models in total, and the name of the one just finished."""


class Action(StrEnum):
    """What happened to one model."""

    CREATED = "created"
    REBUILT = "rebuilt"
    REFRESHED = "refreshed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltModel:
    """The outcome for one model; `rows` counts what it now holds (None: not counted), `error` says why it failed."""

    name: str
    metric: str
    action: Action
    rows: int | None = 0
    seconds: float = 0.0
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """The outcome of one build, model by model, and its wall time."""

    models: tuple[BuiltModel, ...]
    seconds: float

    @property
    def failed(self) -> tuple[BuiltModel, ...]:
        """Return the models that could not be built."""
        return tuple(model for model in self.models if model.action is Action.FAILED)
