"""What a statistic gives back: one row per branch, comparison and parameter (spec metric_hub §9.6)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum


class Comparison(StrEnum):
    """How two branches are compared: T − R, or T / R − 1."""

    DIFFERENCE = "difference"
    RELATIVE_UPLIFT = "relative_uplift"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One number with its interval; what is not finite is `None`."""

    statistic: str
    branch: str
    point: float | None
    lower: float | None = None
    upper: float | None = None
    ci_width: float | None = None
    comparison: Comparison | None = None
    comparison_to_branch: str | None = None
    parameter: str | None = None
    metric: str | None = None
    segment: str | None = None
    analysis_basis: str | None = None


def result(
    statistic: str,
    branch: str,
    point: float,
    interval: tuple[float, float] | None = None,
    *,
    ci_width: float | None = None,
    comparison: Comparison | None = None,
    to: str | None = None,
    parameter: float | str | None = None,
) -> Result:
    """Build a result, dropping what is not finite and writing parameters with at most six decimals."""
    lower, upper = interval or (math.nan, math.nan)
    return Result(
        statistic=statistic,
        branch=branch,
        point=finite(point),
        lower=finite(lower),
        upper=finite(upper),
        ci_width=ci_width if interval else None,
        comparison=comparison,
        comparison_to_branch=to,
        parameter=parameter_text(parameter),
    )


def finite(value: float) -> float | None:
    """Return a plain float, or nothing if it is not finite."""
    return float(value) if math.isfinite(value) else None


def parameter_text(value: float | str | None) -> str | None:
    """Return a parameter as text: numbers with at most six decimals."""
    if value is None or isinstance(value, str):
        return value
    return f"{value:.6f}".rstrip("0").rstrip(".")


def labelled(results: Iterable[Result], metric: str, segment: str, basis: str) -> tuple[Result, ...]:
    """Return results that say what they are about."""
    return tuple(replace(one, metric=metric, segment=segment, analysis_basis=basis) for one in results)
