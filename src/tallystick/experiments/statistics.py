"""Every statistic of the registry, computed: name and parameters in, results out (spec metric_hub §10.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tallystick.definitions.diagnostics import nearest
from tallystick.definitions.metric_hub.statistics import REGISTRY, Consumer
from tallystick.errors import UnknownNameError, UsageError
from tallystick.experiments import distribution_shape as shape
from tallystick.experiments import linear_model, resampling
from tallystick.experiments.results import Result, result

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Values of one metric per unit, with each unit's branch; for ratios also the denominator's values."""

    values: Floats
    branches: NDArray[np.str_]
    covariate: Floats | None = None
    denominator: Floats | None = None
    seed: int = 0
    label: str = ""
    names: tuple[str, ...] = field(default=())

    def by_branch(self, values: Floats | None = None) -> dict[str, Floats]:
        """Return the values of each branch, without NULLs; branches in order of name."""
        chosen = self.values if values is None else values
        present = ~np.isnan(chosen)
        return {
            str(branch): chosen[(self.branches == branch) & present]
            for branch in sorted(set(self.branches.tolist()))
            if ((self.branches == branch) & present).any()
        }

    def generator(self, statistic: str, branch: str, *more: str) -> np.random.Generator:
        """Return the random generator of one statistic and branch."""
        return resampling.generator(self.seed, self.label, statistic, branch, *more)


Compute = Callable[[Sample, str, Mapping[str, Any]], Iterator[Result]]


def compute(name: str, sample: Sample, reference: str, parameters: Mapping[str, Any] | None = None) -> list[Result]:
    """Compute a statistic for every branch and against a reference branch; raises `UsageError`.

    Parameters not given take their defaults from the registry; unknown ones are an error.
    """
    if name not in STATISTICS:
        raise UnknownNameError(f"Statistic '{name}' does not exist.", hint=nearest(name, STATISTICS))
    kind = REGISTRY[Consumer.JETSTREAM, name]
    given = {key: value for key, value in (parameters or {}).items() if key != "pre_treatments"}
    for key, value in given.items():
        if key not in kind.parameters:
            raise UsageError(f"statistic '{name}' takes no parameter '{key}'", hint=nearest(key, kind.parameters))
        if problem := kind.parameters[key].problem(value):
            raise UsageError(f"'{key}' of statistic '{name}' {problem}")
    filled = {key: parameter.default for key, parameter in kind.parameters.items()} | given
    if not len(sample.values) or np.isnan(sample.values).all():
        return []
    return list(STATISTICS[name](sample, reference, filled))


def capped(values: Floats, drop_highest: float) -> Floats:
    """Return one branch's values, those above the (1 − drop) quantile set to it."""
    return np.minimum(values, np.quantile(values, 1 - drop_highest)) if drop_highest and len(values) else values


def _count(sample: Sample, _: str, __: Mapping[str, Any]) -> Iterator[Result]:
    for branch, values in sample.by_branch().items():
        yield result("count", branch, float(len(values)))


def _sum(sample: Sample, _: str, __: Mapping[str, Any]) -> Iterator[Result]:
    for branch, values in sample.by_branch().items():
        yield result("sum", branch, float(values.sum()))


def _bootstrap_mean(sample: Sample, reference: str, given: Mapping[str, Any]) -> Iterator[Result]:
    draws = {
        branch: resampling.bootstrap_mean(
            capped(values, given["drop_highest"]), given["num_samples"], sample.generator("bootstrap_mean", branch)
        )
        for branch, values in sample.by_branch().items()
    }
    yield from resampling.individual("mean", draws, given["confidence_interval"])
    yield from resampling.comparisons("mean", draws, reference, given["confidence_interval"])


def _linear_sums(sample: Sample, given: Mapping[str, Any]) -> linear_model.Sums:
    """Return the sums of the model: rows without a value (or covariate) are left out, values capped once."""
    present = ~np.isnan(sample.values)
    covariate = sample.covariate
    if covariate is not None:
        present &= ~np.isnan(covariate)
        covariate = linear_model.cap(covariate[present], given["drop_highest"])
    y = linear_model.cap(sample.values[present], given["drop_highest"])
    return linear_model.sums(y, sample.branches[present], covariate)


def _linear_model_mean(sample: Sample, reference: str, given: Mapping[str, Any]) -> Iterator[Result]:
    yield from linear_model.read_out(_linear_sums(sample, given), reference)


def _dau_impact(sample: Sample, reference: str, given: Mapping[str, Any]) -> Iterator[Result]:
    yield from linear_model.dau_impact(_linear_sums(sample, given), reference)


def _binomial(sample: Sample, reference: str, given: Mapping[str, Any]) -> Iterator[Result]:
    confidence = given["confidence_interval"]
    draws = {}
    for branch, values in sample.by_branch().items():
        if not np.isin(values, (0.0, 1.0)).all():
            raise UsageError(f"statistic 'binomial' needs values of 0 and 1, not those of branch '{branch}'")
        point, interval = resampling.proportion(values, confidence)
        yield result("binomial", branch, point, interval, ci_width=confidence)
        draws[branch] = resampling.proportion_draws(values, 10_000, sample.generator("binomial", branch))
    yield from resampling.comparisons("binomial", draws, reference, confidence)


def _deciles(sample: Sample, reference: str, given: Mapping[str, Any]) -> Iterator[Result]:
    confidence, by_branch = given["confidence_interval"], sample.by_branch()
    for quantile in resampling.DECILES:
        draws = {
            branch: resampling.quantile_draws(
                values, quantile, given["num_samples"], sample.generator("deciles", branch, str(quantile))
            )
            for branch, values in by_branch.items()
        }
        yield from resampling.individual("deciles", draws, confidence, quantile)
        yield from resampling.comparisons("deciles", draws, reference, confidence, quantile)


def _population_ratio(sample: Sample, reference: str, given: Mapping[str, Any]) -> Iterator[Result]:
    if sample.denominator is None:
        raise UsageError("statistic 'population_ratio' needs the values of a denominator")
    present = ~np.isnan(sample.values) & ~np.isnan(sample.denominator)
    draws = {}
    for branch in sorted(set(sample.branches[present].tolist())):
        chosen = (sample.branches == branch) & present
        draws[str(branch)] = resampling.ratio_of_means(
            capped(sample.values[chosen], given["drop_highest"]),
            capped(sample.denominator[chosen], given["drop_highest"]),
            given["num_samples"],
            sample.generator("population_ratio", str(branch)),
        )
    yield from resampling.individual("population_ratio", draws, given["confidence_interval"])
    yield from resampling.comparisons("population_ratio", draws, reference, given["confidence_interval"])


def _empirical_cdf(sample: Sample, _: str, given: Mapping[str, Any]) -> Iterator[Result]:
    yield from shape.empirical_cdf(sample.by_branch(), given["grid_size"], log_space=given["log_space"])


def _density(sample: Sample, _: str, given: Mapping[str, Any]) -> Iterator[Result]:
    yield from shape.kernel_density_estimate(
        sample.by_branch(), given["grid_size"], log_space=given["log_space"], bandwidth=given["bandwidth"]
    )


STATISTICS: Mapping[str, Compute] = MappingProxyType(
    {
        "bootstrap_mean": _bootstrap_mean,
        "linear_model_mean": _linear_model_mean,
        "per_client_dau_impact": _dau_impact,
        "binomial": _binomial,
        "deciles": _deciles,
        "population_ratio": _population_ratio,
        "count": _count,
        "sum": _sum,
        "empirical_cdf": _empirical_cdf,
        "kernel_density_estimate": _density,
    }
)
