"""The statistics metric-hub's consumers know, by name, with the parameters each takes (spec metric_hub §10, §12.1).

One registry for experiments, monitoring and BI. How they are computed is `tallystick.experiments`' business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from tallystick.definitions.diagnostics import nearest


class Consumer(StrEnum):
    """Who computes a statistic."""

    JETSTREAM = "jetstream"
    OPMON = "opmon"
    LOOKER = "looker"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a statistic: its type, its default (none: must be given), and the values allowed."""

    type: type | tuple[type, ...]
    default: Any = None
    required: bool = False
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    def problem(self, value: object) -> str | None:
        """Say what is wrong with a value, if anything."""
        types = self.type if isinstance(self.type, tuple) else (self.type,)
        allowed = (*types, int) if float in types else types
        if isinstance(value, bool) != (bool in types) or not isinstance(value, allowed):
            return f"should be {' or '.join(_NAMES[t] for t in types)}"
        if isinstance(value, int | float) and self.low is not None and self.high is not None:
            return None if self.low <= value <= self.high else f"should be between {self.low} and {self.high}"
        if self.choices and value not in self.choices:
            return f"should be one of {', '.join(self.choices)}"
        return None


_NAMES: Mapping[type, str] = {
    float: "a number",
    int: "a whole number",
    str: "a text",
    bool: "true or false",
    Mapping: "a table",
    tuple: "a list",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticKind:
    """A statistic: who computes it, what it is called in results, what it takes."""

    name: str
    consumer: Consumer
    parameters: Mapping[str, Parameter] = field(default_factory=lambda: MappingProxyType({}))
    result: str | None = None
    compares: bool = False
    is_random: bool = False
    needs_composite: bool = False
    types: tuple[str, ...] = ("scalar",)
    summary: str = ""

    @property
    def result_name(self) -> str:
        """Return the name used in results."""
        return self.result or self.name


_FRACTION = Parameter(float, 0.005, low=0.0, high=0.5)
_INTERVAL = Parameter(float, 0.95, low=0.5, high=0.9999)
_SAMPLES = Parameter(int, 10_000, low=100, high=1_000_000)
_GRID = {"grid_size": Parameter(int, 256, low=2, high=100_000), "log_space": Parameter(bool, False)}
_COVARIATE = Parameter(Mapping)
_POP = Parameter(Mapping)
_BI = {"period_over_period": _POP}


def _jetstream() -> Iterator[StatisticKind]:
    jetstream = Consumer.JETSTREAM
    sampled = {"num_samples": _SAMPLES, "confidence_interval": _INTERVAL}
    linear = {"drop_highest": _FRACTION, "covariate_adjustment": _COVARIATE}
    yield StatisticKind(
        name="bootstrap_mean",
        consumer=jetstream,
        result="mean",
        compares=True,
        is_random=True,
        parameters={**sampled, "drop_highest": _FRACTION},
        summary="Bayesian bootstrap of the mean, capped per branch",
    )
    yield StatisticKind(
        name="linear_model_mean",
        consumer=jetstream,
        result="mean_lm",
        compares=True,
        parameters=linear,
        summary="Linear model of the mean, capped over all branches, with optional covariate adjustment",
    )
    yield StatisticKind(
        name="per_client_dau_impact",
        consumer=jetstream,
        compares=True,
        parameters={**linear, "drop_highest": Parameter(float, 0.0, low=0.0, high=0.5)},
        summary="Linear-model difference times the number of clients",
    )
    yield StatisticKind(
        name="binomial",
        consumer=jetstream,
        compares=True,
        is_random=True,
        parameters={"confidence_interval": _INTERVAL},
        summary="Proportion with a Beta(1, 1) prior",
    )
    yield StatisticKind(
        name="deciles",
        consumer=jetstream,
        compares=True,
        is_random=True,
        parameters=sampled,
        summary="Quantiles 0.1 to 0.9 from order statistics",
    )
    yield StatisticKind(
        name="population_ratio",
        consumer=jetstream,
        compares=True,
        is_random=True,
        needs_composite=True,
        parameters={
            **sampled,
            "drop_highest": _FRACTION,
            "numerator": Parameter(str, required=True),
            "denominator": Parameter(str, required=True),
        },
        summary="Ratio of two means",
    )


def _jetstream_shapes() -> Iterator[StatisticKind]:
    jetstream = Consumer.JETSTREAM
    density = {
        **_GRID,
        "bandwidth": Parameter((str, float), "scott"),
        "kernel": Parameter(str, "gaussian", choices=("gaussian",)),
        "adjust": Parameter(float, 1.0, low=1.0, high=1.0),
    }
    yield StatisticKind(name="empirical_cdf", consumer=jetstream, parameters=_GRID, summary="Cumulative distribution")
    yield StatisticKind(
        name="kernel_density_estimate", consumer=jetstream, parameters=density, summary="Density by Gaussian kernels"
    )
    for name, text in (("count", "Number of values"), ("sum", "Sum of values")):
        yield StatisticKind(name=name, consumer=jetstream, summary=text)


def _opmon() -> Iterator[StatisticKind]:
    opmon, both = Consumer.OPMON, ("scalar", "histogram")
    for name, text in (("count", "Number of values"), ("sum", "Sum of values"), ("mean", "Mean of values")):
        yield StatisticKind(name=name, consumer=opmon, summary=text)
    ratio = {"denominator_metric": Parameter(str, required=True)}
    yield StatisticKind(name="total_ratio", consumer=opmon, parameters=ratio, summary="Sum over sum")
    yield StatisticKind(
        name="quantile",
        consumer=opmon,
        parameters={"quantile": Parameter((float, tuple)), "number_of_quantiles": Parameter(int)},
        summary="Approximate median",
    )
    percentiles = {"percentiles": Parameter(tuple, (50, 90, 99)), "remove_nulls": Parameter(bool, False)}
    yield StatisticKind(
        name="percentile", consumer=opmon, parameters=percentiles, is_random=True, types=both, summary="Percentiles"
    )


def _looker() -> Iterator[StatisticKind]:
    looker = Consumer.LOOKER
    for name in ("sum", "average", "min", "max", "median", "count", "client_count"):
        yield StatisticKind(name=name, consumer=looker, parameters=_BI, summary=f"LookML measure: {name}")
    ratio = {"numerator": Parameter(str, required=True), "denominator": Parameter(str, required=True), **_BI}
    yield StatisticKind(name="ratio", consumer=looker, parameters=ratio, summary="One measure over another")
    proportion = {"numerator": Parameter(str, required=True), **_BI}
    yield StatisticKind(name="dau_proportion", consumer=looker, parameters=proportion, summary="Share of active users")
    rolling = {"aggregations": Parameter(tuple, ("sum",)), "window_sizes": Parameter(tuple, required=True), **_BI}
    yield StatisticKind(
        name="rolling_average", consumer=looker, parameters=rolling, summary="Moving average of a measure"
    )


REGISTRY: Mapping[tuple[Consumer, str], StatisticKind] = MappingProxyType(
    {(kind.consumer, kind.name): kind for make in (_jetstream, _jetstream_shapes, _opmon, _looker) for kind in make()}
)
PRE_TREATMENTS: Mapping[str, Mapping[str, Parameter]] = MappingProxyType(
    {
        "remove_nulls": {},
        "remove_indefinites": {},
        "censor_highest_values": {"fraction": Parameter(float, 1 - 1e-5, low=0.0, high=1.0)},
        "censor_lowest_values": {"fraction": Parameter(float, 1e-5, low=0.0, high=1.0)},
        "censor_values_below_threshold": {"threshold": Parameter(float, required=True)},
        "censor_values_above_threshold": {"threshold": Parameter(float, required=True)},
        "normalize_over_analysis_period": {},
        "log": {"base": Parameter(float, 10.0, low=1.0, high=1e9)},
        "zero_fill": {},
    }
)


@lru_cache(maxsize=1)
def known_statistics() -> tuple[str, ...]:
    """Return the name of every statistic."""
    return tuple(dict.fromkeys(name for _, name in REGISTRY))


def kinds_of(name: str) -> tuple[StatisticKind, ...]:
    """Return the statistics of a name, one per consumer that has it."""
    return tuple(kind for (_, known), kind in REGISTRY.items() if known == name)


def parameter_problems(name: str, table: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str, str | None]]:
    """Yield (path, message, hint) for each parameter that no consumer of a statistic takes."""
    kinds = kinds_of(name)
    known = {key: parameter for kind in kinds for key, parameter in kind.parameters.items()}
    for key, value in table.items():
        if key == "pre_treatments":
            yield from _treatment_problems(value)
        elif key not in known:
            yield (key,), f"takes no parameter '{key}'", nearest(key, known)
        elif problem := known[key].problem(value):
            yield (key,), f"'{key}' {problem}", None
    for kind in kinds:
        missing = [key for key, parameter in kind.parameters.items() if parameter.required and key not in table]
        if missing and len(kinds) == 1:
            yield (), f"needs '{missing[0]}'", None


def _treatment_problems(value: object) -> Iterator[tuple[tuple[str | int, ...], str, str | None]]:
    for number, item in enumerate(value if isinstance(value, tuple) else ()):
        name = item.get("name") if isinstance(item, Mapping) else item
        place: tuple[str | int, ...] = ("pre_treatments", number)
        if name not in PRE_TREATMENTS:
            yield place, f"there is no pre-treatment '{name}'", nearest(str(name), PRE_TREATMENTS)
            continue
        known = PRE_TREATMENTS[str(name)]
        for key, given in item.items() if isinstance(item, Mapping) else ():
            if key == "name":
                continue
            if key not in known:
                yield (*place, key), f"pre-treatment '{name}' takes no argument '{key}'", nearest(key, known)
            elif problem := known[key].problem(given):
                yield (*place, key), f"'{key}' of pre-treatment '{name}' {problem}", None
