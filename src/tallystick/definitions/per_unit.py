"""Values per unit: rows become one value per unit and bucket first, and a statistic over units after."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Across(StrEnum):
    """The statistic over the values of all units of a bucket."""

    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    MEDIAN = "median"


@dataclass(frozen=True, slots=True, kw_only=True)
class PerUnit:
    """What becomes of a unit's value before the statistic; no more than one of the four options is set.

    `cap` is the most a unit may count. `winsorize` moves values to the bounds of these shares of the bucket's units.
    With `threshold` a unit counts 1 where its value reaches it and 0 else, with `participation` 1 where it has rows.
    """

    entity: str
    cap: float | None = None
    winsorize: tuple[float, float] | None = None
    threshold: float | None = None
    participation: bool = False
    across: Across = Across.SUM
