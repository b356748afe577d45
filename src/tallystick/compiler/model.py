"""Models as pure data: one metric × entity × time view, named but not yet SQL."""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.definitions.entity import ALL
from tallystick.definitions.metric import model_name
from tallystick.sql.grain import OVER_ALL_TIME, Grain, Window


@dataclass(frozen=True, slots=True)
class TimeView:
    """A calendar grain, a rolling window, or (neither) all time."""

    grain: Grain | None = None
    window: Window | None = None

    @property
    def suffix(self) -> str:
        """Return the ending of model names and of OSO's metric labels (spec oso §2)."""
        if self.window is not None:
            return self.window.suffix
        return self.grain.suffix if self.grain is not None else OVER_ALL_TIME

    @property
    def is_all_time(self) -> bool:
        """Tell whether the view covers the whole history in one value."""
        return self.grain is None and self.window is None


@dataclass(frozen=True, slots=True)
class Model:
    """One compiled SELECT to be: what it measures, for whom, over which time, broken down by what."""

    metric: str
    entity: str
    time: TimeView
    by: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the table name (spec oso §2)."""
        return model_name(self.metric, self.by, self.entity, self.time.suffix)

    @property
    def has_entity(self) -> bool:
        """Tell whether rows carry an entity column; the model of everything does not."""
        return self.entity != ALL
