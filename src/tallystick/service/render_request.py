"""What `tally render` is asked for and what it answers, as plain values: the cache knows both without parsing SQL."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRequest:
    """Which models, in which dialect, with which dates.

    With `every`, all models of the metric, or of the project where no metric is named. Dates are ISO texts; `full` or
    either of them binds the dates of a run.
    """

    metric: str | None = None
    model: str | None = None
    entity: str | None = None
    grain: str | None = None
    window: str | None = None
    all_time: bool = False
    by: tuple[str, ...] = ()
    every: bool = False
    dialect: str | None = None
    full: bool = False
    start: str | None = None
    end: str | None = None

    @property
    def is_bound(self) -> bool:
        """Tell whether dates are written into the SQL."""
        return self.full or self.start is not None or self.end is not None

    @property
    def names_a_model(self) -> bool:
        """Tell whether one model of the metric is meant, and not any."""
        return any((self.model, self.entity, self.grain, self.window, self.all_time, self.by))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """The SQL of one model."""

    model: str
    metric: str
    entity: str
    view: str
    dialect: str
    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """The answer: models in plan order, what could not be written (name and reason), and errors in definitions."""

    models: tuple[Rendered, ...]
    failures: tuple[tuple[str, str], ...] = ()
    left_out: int = 0
