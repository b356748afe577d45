"""Statistics by resampling: seeded per branch, so that neither order nor other branches change a number (spec §10.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from tallystick.experiments.distributions import beta_quantile
from tallystick.experiments.results import Comparison, Result, result

Floats = NDArray[np.float64]
_CELLS = 4_000_000
"""How many random numbers are held at once."""
DECILES = tuple(round(0.1 * k, 1) for k in range(1, 10))


def generator(seed: int, *labels: str) -> np.random.Generator:
    """Return a random generator that depends on the seed and on what it is for, and on nothing else."""
    digest = hashlib.sha256("\0".join((str(seed), *labels)).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def bootstrap_mean(values: Floats, samples: int, rng: np.random.Generator) -> Floats:
    """Return draws of the mean by the Bayesian bootstrap: Dirichlet weights over tallied values."""
    distinct, counts = np.unique(values, return_counts=True)
    draws = np.empty(samples)
    step = max(1, _CELLS // max(1, len(distinct)))
    for start in range(0, samples, step):
        weights = rng.standard_gamma(counts, size=(min(step, samples - start), len(distinct)))
        draws[start : start + step] = weights @ distinct / weights.sum(axis=1)
    return draws


def ratio_of_means(numerator: Floats, denominator: Floats, samples: int, rng: np.random.Generator) -> Floats:
    """Return draws of mean(numerator) / mean(denominator) by the ordinary bootstrap over tallied pairs."""
    pairs, counts = np.unique(np.column_stack([numerator, denominator]), axis=0, return_counts=True)
    draws = np.empty(samples)
    step = max(1, _CELLS // max(1, len(pairs)))
    for start in range(0, samples, step):
        size = min(step, samples - start)
        drawn = rng.multinomial(int(counts.sum()), counts / counts.sum(), size=size)
        with np.errstate(divide="ignore", invalid="ignore"):
            draws[start : start + size] = (drawn @ pairs[:, 0]) / (drawn @ pairs[:, 1])
    return draws


def quantile_draws(values: Floats, quantile: float, samples: int, rng: np.random.Generator) -> Floats:
    """Return draws of a quantile: the order statistic at a Binomial(n − 1, q) position."""
    ordered = np.sort(values)
    return ordered[rng.binomial(len(ordered) - 1, quantile, size=samples)]


def proportion_draws(values: Floats, samples: int, rng: np.random.Generator) -> Floats:
    """Return draws of a proportion from its posterior under a Beta(1, 1) prior."""
    successes = float(values.sum())
    return rng.beta(1 + successes, 1 + len(values) - successes, size=samples)


def proportion(values: Floats, confidence: float) -> tuple[float, tuple[float, float]]:
    """Return the posterior mean of a proportion and its exact interval."""
    successes = float(values.sum())
    a, b = 1 + successes, 1 + len(values) - successes
    tail = (1 - confidence) / 2
    return a / (a + b), (beta_quantile(tail, a, b), beta_quantile(1 - tail, a, b))


def interval(draws: Floats, confidence: float) -> tuple[float, float]:
    """Return the central interval of draws."""
    usable = draws[np.isfinite(draws)]
    if not len(usable):
        return np.nan, np.nan
    lower, upper = np.quantile(usable, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(lower), float(upper)


def individual(
    statistic: str, draws: Mapping[str, Floats], confidence: float, parameter: float | None = None
) -> Iterator[Result]:
    """Yield each branch's mean draw and interval."""
    for branch, drawn in draws.items():
        yield result(
            statistic, branch, float(np.mean(drawn)), interval(drawn, confidence),
            ci_width=confidence, parameter=parameter,
        )  # fmt: skip


def comparisons(
    statistic: str, draws: Mapping[str, Floats], reference: str, confidence: float, parameter: float | None = None
) -> Iterator[Result]:
    """Yield difference and uplift of every other branch, from draws of both."""
    kinds: dict[Comparison, Callable[[Floats, Floats], Floats]] = {
        Comparison.DIFFERENCE: lambda ours, theirs: ours - theirs,
        Comparison.RELATIVE_UPLIFT: lambda ours, theirs: ours / theirs - 1,
    }
    for branch, drawn in draws.items():
        if branch == reference or reference not in draws:
            continue
        for comparison, compare in kinds.items():
            with np.errstate(divide="ignore", invalid="ignore"):
                compared = compare(drawn, draws[reference])
            yield result(
                statistic, branch, float(np.mean(compared)), interval(compared, confidence),
                ci_width=confidence, comparison=comparison, to=reference, parameter=parameter,
            )  # fmt: skip
