"""Row transforms before a statistic, in the order they are written (spec metric_hub §10.1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick.errors import UnknownNameError

Floats = NDArray[np.float64]
Treatment = Callable[..., Floats]


def remove_nulls(values: Floats, *, days: int = 1) -> Floats:
    """Drop NULLs (NaN)."""
    del days
    return values[~np.isnan(values)]


def remove_indefinites(values: Floats, *, days: int = 1) -> Floats:
    """Drop NULLs and infinities."""
    del days
    return values[np.isfinite(values)]


def censor_highest_values(values: Floats, *, fraction: float = 1 - 1e-5, days: int = 1) -> Floats:
    """Drop rows at or above the quantile `fraction`."""
    del days
    return values[values < np.nanquantile(values, fraction)] if len(values) else values


def censor_lowest_values(values: Floats, *, fraction: float = 1e-5, days: int = 1) -> Floats:
    """Drop rows at or below the quantile `fraction`."""
    del days
    return values[values > np.nanquantile(values, fraction)] if len(values) else values


def censor_values_below_threshold(values: Floats, *, threshold: float, days: int = 1) -> Floats:
    """Drop rows below a threshold."""
    del days
    return values[values >= threshold]


def censor_values_above_threshold(values: Floats, *, threshold: float, days: int = 1) -> Floats:
    """Drop rows above a threshold."""
    del days
    return values[values <= threshold]


def normalize_over_analysis_period(values: Floats, *, days: int = 1) -> Floats:
    """Divide by the length of the window in days."""
    return values / days


def log(values: Floats, *, base: float = 10.0, days: int = 1) -> Floats:
    """Take logarithms."""
    del days
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(values) / math.log(base)


def zero_fill(values: Floats, *, days: int = 1) -> Floats:
    """Read NULL as 0."""
    del days
    return np.nan_to_num(values, nan=0.0, posinf=np.inf, neginf=-np.inf)


TREATMENTS: Mapping[str, Treatment] = MappingProxyType(
    {
        treatment.__name__: treatment
        for treatment in (
            remove_nulls,
            remove_indefinites,
            censor_highest_values,
            censor_lowest_values,
            censor_values_below_threshold,
            censor_values_above_threshold,
            normalize_over_analysis_period,
            log,
            zero_fill,
        )
    }
)


def treat(values: Floats, treatments: list[tuple[str, Mapping[str, Any]]], *, days: int = 1) -> Floats:
    """Apply treatments in order; `days` is the length of the analysis window. Raises `UnknownNameError`."""
    for name, arguments in treatments:
        if name not in TREATMENTS:
            raise UnknownNameError(f"there is no pre-treatment '{name}'", hint=f"one of {', '.join(TREATMENTS)}")
        values = TREATMENTS[name](values, days=days, **arguments)
    return values
