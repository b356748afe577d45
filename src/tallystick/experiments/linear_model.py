"""The linear model of a mean in closed form: everything follows from six sums per branch (spec metric_hub §10.2).

Sums are taken about a centre, so that squares do not lose digits; they may come from rows or from a warehouse.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tallystick.experiments.distributions import normal_quantile, t_quantile
from tallystick.experiments.results import Comparison, Result, result

Floats = NDArray[np.float64]
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Sums over the units of one branch: of y and x less their centres, and of squares and products."""

    n: int
    y: float
    yy: float
    x: float = 0.0
    xx: float = 0.0
    xy: float = 0.0

    @property
    def mean_y(self) -> float:
        """Return the mean of y less its centre."""
        return self.y / self.n

    @property
    def mean_x(self) -> float:
        """Return the mean of x less its centre."""
        return self.x / self.n


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """The moments of all branches, and where they are centred; `covariate` is the mean of x's quantiles (q̄)."""

    branches: Mapping[str, Moments]
    centre_y: float = 0.0
    centre_x: float = 0.0
    covariate: float | None = None

    @property
    def n(self) -> int:
        """Return the number of units."""
        return sum(moments.n for moments in self.branches.values())


class NoModelError(ValueError):
    """The model cannot be fitted; the text says why."""


def cap(values: Floats, drop_highest: float) -> Floats:
    """Return values with those above the pooled (1 − drop) quantile set to it; for integers to its ceiling."""
    if not drop_highest or not len(values):
        return values
    limit = float(np.quantile(values, 1 - drop_highest))
    if np.all(values == np.floor(values)):
        limit = math.ceil(limit)
    return np.minimum(values, limit)


def sums(y: Floats, branches: NDArray[np.str_], x: Floats | None = None) -> Sums:
    """Return the sums of rows; `y` and `x` are capped already and have no nulls."""
    centre_y = float(np.mean(y)) if len(y) else 0.0
    centre_x = float(np.mean(x)) if x is not None and len(x) else 0.0
    moments = {}
    for branch in dict.fromkeys(branches.tolist()):
        chosen = branches == branch
        dy = y[chosen] - centre_y
        dx = x[chosen] - centre_x if x is not None else np.zeros(0)
        moments[branch] = Moments(
            n=len(dy),
            y=float(dy.sum()),
            yy=float(dy @ dy),
            x=float(dx.sum()),
            xx=float(dx @ dx),
            xy=float(dx @ dy) if x is not None else 0.0,
        )
    quantiles = np.arange(10_000) / 10_000
    covariate = float(np.mean(np.quantile(x, quantiles))) if x is not None and len(x) else None
    return Sums(branches=moments, centre_y=centre_y, centre_x=centre_x, covariate=covariate)


def read_out(found: Sums, reference: str, statistic: str = "mean_lm") -> Iterator[Result]:
    """Yield each branch's mean and every comparison with the reference; raises `NoModelError`."""
    for branch, moments in found.branches.items():
        yield result(statistic, branch, *_mean(moments, found.centre_y), ci_width=CONFIDENCE)
    model = _Model(found, reference)
    for branch in found.branches:
        if branch == reference:
            continue
        yield result(
            statistic, branch, *model.difference(branch),
            ci_width=CONFIDENCE, comparison=Comparison.DIFFERENCE, to=reference,
        )  # fmt: skip
        yield result(
            statistic, branch, *model.relative(branch),
            ci_width=CONFIDENCE, comparison=Comparison.RELATIVE_UPLIFT, to=reference,
        )  # fmt: skip


def dau_impact(found: Sums, reference: str) -> Iterator[Result]:
    """Yield the differences between branches times the number of units (spec §10.1)."""
    model = _Model(found, reference)
    for branch in found.branches:
        if branch == reference:
            continue
        point, (lower, upper) = model.difference(branch)
        yield result(
            "per_client_dau_impact", branch, point * found.n, (lower * found.n, upper * found.n),
            ci_width=CONFIDENCE, comparison=Comparison.DIFFERENCE, to=reference,
        )  # fmt: skip


def _mean(moments: Moments, centre: float) -> tuple[float, tuple[float, float]]:
    mean = moments.mean_y + centre
    if moments.n < 2:
        return mean, (math.nan, math.nan)
    variance = max(0.0, moments.yy - moments.n * moments.mean_y**2) / (moments.n - 1)
    half = t_quantile((1 + CONFIDENCE) / 2, moments.n - 1) * math.sqrt(variance / moments.n)
    return mean, (mean - half, mean + half)


class _Model:
    """Ordinary least squares on branch dummies and, if there is one, a covariate."""

    def __init__(self, found: Sums, reference: str) -> None:
        if reference not in found.branches:
            raise NoModelError(f"the reference branch '{reference}' has no rows")
        self.sums, self.reference = found, reference
        branches = found.branches.values()
        within_yy = sum(m.yy - m.n * m.mean_y**2 for m in branches)
        self.within_xx = sum(m.xx - m.n * m.mean_x**2 for m in branches)
        within_xy = sum(m.xy - m.n * m.mean_x * m.mean_y for m in branches)
        self.adjusts = found.covariate is not None and self.within_xx > 0
        self.slope = within_xy / self.within_xx if self.adjusts else 0.0
        residual = within_yy - (within_xy**2 / self.within_xx if self.adjusts else 0.0)
        self.df = found.n - len(found.branches) - int(self.adjusts)
        if self.df < 1:
            raise NoModelError("there are too few rows for a model")
        self.variance = max(0.0, residual) / self.df

    def difference(self, branch: str) -> tuple[float, tuple[float, float]]:
        """Return the coefficient of a branch and its interval."""
        ours, theirs = self.sums.branches[branch], self.sums.branches[self.reference]
        point = (ours.mean_y - self.slope * ours.mean_x) - (theirs.mean_y - self.slope * theirs.mean_x)
        spread = 1 / ours.n + 1 / theirs.n
        if self.adjusts:
            spread += (ours.mean_x - theirs.mean_x) ** 2 / self.within_xx
        half = t_quantile((1 + CONFIDENCE) / 2, self.df) * math.sqrt(self.variance * spread)
        return point, (point - half, point + half)

    def relative(self, branch: str) -> tuple[float, tuple[float, float]]:
        """Return the uplift at the mean covariate and its interval by the delta method on logarithms."""
        at = (self.sums.covariate or 0.0) - self.sums.centre_x
        ours, theirs = self._at(branch, at), self._at(self.reference, at)
        if theirs[0] == 0:
            raise NoModelError(f"the mean of the reference branch '{self.reference}' is zero")
        ratio = ours[0] / theirs[0]
        if ratio <= 0:
            return ratio - 1, (math.nan, math.nan)
        variance = self._log_variance(ours, theirs, branch)
        half = normal_quantile((1 + CONFIDENCE) / 2) * math.sqrt(variance)
        return ratio - 1, (ratio * math.exp(-half) - 1, ratio * math.exp(half) - 1)

    def _at(self, branch: str, at: float) -> tuple[float, float]:
        """Return a branch's model mean at a covariate, and how far that is from the branch's own mean covariate."""
        moments = self.sums.branches[branch]
        away = at - moments.mean_x if self.adjusts else 0.0
        return moments.mean_y + self.sums.centre_y + self.slope * away, away

    def _log_variance(self, ours: tuple[float, float], theirs: tuple[float, float], branch: str) -> float:
        """Return the variance of log(m_T / m_R): branch means and the slope are independent of each other."""
        n_ours, n_theirs = self.sums.branches[branch].n, self.sums.branches[self.reference].n
        total = 1 / (n_ours * ours[0] ** 2) + 1 / (n_theirs * theirs[0] ** 2)
        if self.adjusts:
            total += (ours[1] / ours[0] - theirs[1] / theirs[0]) ** 2 / self.within_xx
        return self.variance * total
