"""Grains and windows: the lengths of time a metric is viewed over, and the words they are known by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from tallystick.errors import DefinitionError


class Grain(StrEnum):
    """A calendar grain, ordered from finest to coarsest."""

    FIVE_MINUTES = "5m"
    FIFTEEN_MINUTES = "15m"
    HOUR = "hour"
    SIX_HOURS = "6h"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    HALF = "half"
    YEAR = "year"

    @property
    def is_sub_day(self) -> bool:
        """Tell whether buckets of this grain start at instants rather than on dates."""
        return self in _SUB_DAY

    @property
    def suffix(self) -> str:
        """Return the ending of a model name at this grain (spec oso §2)."""
        return _SUFFIXES[self]


_SUB_DAY = frozenset({Grain.FIVE_MINUTES, Grain.FIFTEEN_MINUTES, Grain.HOUR, Grain.SIX_HOURS})
_SUFFIXES = {
    Grain.FIVE_MINUTES: "every_5_minutes",
    Grain.FIFTEEN_MINUTES: "every_15_minutes",
    Grain.HOUR: "hourly",
    Grain.SIX_HOURS: "every_6_hours",
    Grain.DAY: "daily",
    Grain.WEEK: "weekly",
    Grain.MONTH: "monthly",
    Grain.QUARTER: "quarterly",
    Grain.HALF: "biannually",
    Grain.YEAR: "yearly",
}
_ALIASES = {suffix: grain for grain, suffix in _SUFFIXES.items()} | {
    "1h": Grain.HOUR,
    "1d": Grain.DAY,
    "1w": Grain.WEEK,
    "half_year": Grain.HALF,
    "half-year": Grain.HALF,
}

OVER_ALL_TIME = "over_all_time"


def parse_grain(text: str) -> Grain:
    """Read a grain from its name or a synonym (`day`, `daily`, `1d`); raise DefinitionError on anything else."""
    word = text.strip().lower()
    if word in _ALIASES:
        return _ALIASES[word]
    try:
        return Grain(word)
    except ValueError:
        raise DefinitionError(
            f"'{text}' is not a grain", hint=f"grains are {', '.join(grain.value for grain in Grain)}"
        ) from None


class WindowUnit(StrEnum):
    """The unit a rolling window is counted in."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


MAX_WINDOW_DAYS = 3660
_DAYS = {WindowUnit.DAY: 1, WindowUnit.WEEK: 7, WindowUnit.MONTH: 31, WindowUnit.QUARTER: 92, WindowUnit.YEAR: 366}
_WINDOW = re.compile(r"(\d+)\s*(?:[ _-]?(d|w|m|q|y|days?|weeks?|months?|quarters?|years?))?")


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A rolling window `(t - count units, t]` that ends with day t, sampled every day."""

    count: int
    unit: WindowUnit = WindowUnit.DAY

    def __post_init__(self) -> None:
        if self.count < 1:
            raise DefinitionError(f"a rolling window of {self.count} {self.unit}s is empty", hint="use 1 or more")
        if self.count * _DAYS[self.unit] > MAX_WINDOW_DAYS:
            raise DefinitionError(
                f"a rolling window of {self.count} {self.unit}s is longer than ten years",
                hint="use all_time = true for the whole history",
            )

    @property
    def suffix(self) -> str:
        """Return the ending of a model name over this window (spec oso §2)."""
        return f"over_{self.count}_{self.unit}_window"

    @property
    def is_fixed(self) -> bool:
        """Tell whether the window has the same number of days wherever it ends."""
        return self.unit in (WindowUnit.DAY, WindowUnit.WEEK)

    @property
    def days(self) -> int:
        """Return the length in days; for calendar units the longest it can be."""
        return self.count * _DAYS[self.unit]


def parse_window(value: int | str) -> Window:
    """Read a window from a number of days or text such as `30d`, `12 weeks`; raise DefinitionError otherwise."""
    if isinstance(value, int) and not isinstance(value, bool):
        return Window(value)
    match = _WINDOW.fullmatch(str(value).strip().lower())
    if not match:
        raise DefinitionError(f"'{value}' is not a window", hint='write days as 30, other units as "12 weeks"')
    letter = (match[2] or "d")[0]
    return Window(int(match[1]), next(unit for unit in WindowUnit if unit.value[0] == letter))
