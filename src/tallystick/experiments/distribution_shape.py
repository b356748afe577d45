"""The shape of a distribution per branch: cumulative share and density on a grid (spec metric_hub §10.1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from tallystick.experiments.results import Result, result

Floats = NDArray[np.float64]


def grid(values: Floats, size: int, *, log_space: bool = False) -> Floats:
    """Return points from the smallest to the largest value; a logarithmic grid needs values that are not negative.

    Where the smallest is 0 a logarithmic grid starts at the smallest positive value, with 0 added in front.
    """
    low, high = float(values.min()), float(values.max())
    if not log_space or low < 0 or high <= 0:
        return np.linspace(low, high, size)
    if low > 0:
        return np.geomspace(low, high, size)
    return np.concatenate([[0.0], np.geomspace(float(values[values > 0].min()), high, size)])


def empirical_cdf(values: Mapping[str, Floats], size: int = 256, *, log_space: bool = False) -> Iterator[Result]:
    """Yield the share of each branch's values at or below each point of the grid."""
    for branch, found in values.items():
        ordered = np.sort(found)
        points = grid(ordered, size, log_space=log_space)
        shares = np.searchsorted(ordered, points, side="right") / len(ordered)
        for point, share in zip(points, shares, strict=True):
            yield result("empirical_cdf", branch, float(share), parameter=float(point))


def kernel_density_estimate(
    values: Mapping[str, Floats], size: int = 256, *, log_space: bool = False, bandwidth: str | float = "scott"
) -> Iterator[Result]:
    """Yield each branch's density by Gaussian kernels; the bandwidth is Scott's, Silverman's, or given."""
    for branch, found in values.items():
        spread = float(np.std(found, ddof=1)) if len(found) > 1 else 0.0
        width = _bandwidth(bandwidth, len(found), spread)
        if width <= 0:
            continue
        points = grid(found, size, log_space=log_space)
        distinct, counts = np.unique(found, return_counts=True)
        scaled = (points[:, None] - distinct[None, :]) / width
        kernels = np.exp(-0.5 * scaled**2) @ counts / (np.sqrt(2 * np.pi) * width * counts.sum())
        for point, density in zip(points, kernels, strict=True):
            yield result("kernel_density_estimate", branch, float(density), parameter=float(point))


def _bandwidth(kind: str | float, n: int, spread: float) -> float:
    if isinstance(kind, int | float):
        return float(kind)
    factor = n**-0.2 if kind == "scott" else (n * 3 / 4) ** -0.2
    return float(factor * spread)
