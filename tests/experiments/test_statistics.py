"""Every statistic of the registry is computed, alone, in any order, and within what theory says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tallystick.definitions.metric_hub.statistics import PRE_TREATMENTS, REGISTRY, Consumer
from tallystick.errors import UnknownNameError, UsageError
from tallystick.experiments.pre_treatments import TREATMENTS, treat
from tallystick.experiments.results import Comparison, labelled, parameter_text
from tallystick.experiments.statistics import STATISTICS, Sample, compute

RNG = np.random.default_rng(7)
N = 2000
BRANCHES = np.array(["control", "new"])[RNG.integers(0, 2, N)]
VALUES = RNG.gamma(2, 2, N) + (BRANCHES == "new") * 0.5


def by(results):
    return {(r.branch, r.comparison, r.parameter): r for r in results}


def test_the_registry_and_what_computes_it_agree():
    assert set(STATISTICS) == {name for consumer, name in REGISTRY if consumer is Consumer.JETSTREAM}
    assert set(TREATMENTS) == set(PRE_TREATMENTS)


@pytest.mark.parametrize("name", ["bootstrap_mean", "deciles", "binomial"])
def test_random_statistics_depend_on_seed_label_and_branch_only(name):
    values = (VALUES > 4).astype(float) if name == "binomial" else VALUES
    sample = Sample(values=values, branches=BRANCHES, seed=3, label="m")
    order = RNG.permutation(N)
    shuffled = Sample(values=values[order], branches=BRANCHES[order], seed=3, label="m")
    only = Sample(values=values[BRANCHES == "new"], branches=BRANCHES[BRANCHES == "new"], seed=3, label="m")
    first = by(compute(name, sample, "control", {"num_samples": 500} if name != "binomial" else {}))
    for other in (shuffled, only):
        found = by(compute(name, other, "control", {"num_samples": 500} if name != "binomial" else {}))
        alone = {key: r for key, r in found.items() if key[0] == "new" and key[1] is None}
        assert alone
        assert all(first[key] == r for key, r in alone.items())
    reseeded = compute(name, Sample(values=values, branches=BRANCHES, seed=4, label="m"), "control")
    assert (
        by(reseeded)["new", Comparison.DIFFERENCE, None if name != "deciles" else "0.5"]
        != first["new", Comparison.DIFFERENCE, None if name != "deciles" else "0.5"]
    )


def test_the_bootstrap_mean_has_the_error_of_a_mean():
    found = by(compute("bootstrap_mean", Sample(values=VALUES, branches=BRANCHES), "control", {"drop_highest": 0}))
    for branch in ("control", "new"):
        values = VALUES[branch == BRANCHES]
        error = values.std() / math.sqrt(len(values))
        one = found[branch, None, None]
        assert one.statistic == "mean"
        assert one.point == pytest.approx(values.mean(), abs=0.1 * error)
        assert (one.upper - one.lower) / 2 == pytest.approx(1.96 * error, rel=0.1)
    uplift = found["new", Comparison.RELATIVE_UPLIFT, None]
    assert uplift.comparison_to_branch == "control"
    assert uplift.point == pytest.approx(
        VALUES[BRANCHES == "new"].mean() / VALUES[BRANCHES == "control"].mean() - 1, abs=0.01
    )


def test_values_are_capped_per_branch():
    values = np.concatenate([np.arange(1000.0), np.arange(1000.0), [1e9]])
    branches = np.array(["a"] * 1000 + ["b"] * 1001)
    found = by(compute("bootstrap_mean", Sample(values=values, branches=branches), "a", {"num_samples": 200}))
    assert found["b", None, None].point == pytest.approx(found["a", None, None].point, rel=0.1)


def test_a_proportion_has_the_exact_interval_and_keeps_its_confidence():
    values = np.array([1.0] * 30 + [0.0] * 70)
    sample = Sample(values=values, branches=np.array(["a"] * 100))
    (one,) = compute("binomial", sample, "a")
    assert (one.point, one.lower, one.upper) == pytest.approx((31 / 102, 0.2189, 0.3959), abs=1e-3)
    (narrow,) = compute("binomial", sample, "a", {"confidence_interval": 0.8})
    assert narrow.ci_width == 0.8
    assert narrow.upper - narrow.lower < one.upper - one.lower
    with pytest.raises(UsageError, match="needs values of 0 and 1"):
        compute("binomial", Sample(values=VALUES, branches=BRANCHES), "control")


def test_deciles_are_quantiles():
    found = by(compute("deciles", Sample(values=VALUES, branches=BRANCHES), "control"))
    for quantile in (0.1, 0.5, 0.9):
        wanted = np.quantile(VALUES[BRANCHES == "new"], quantile)
        one = found["new", None, str(quantile)]
        assert one.lower <= wanted <= one.upper
        assert one.point == pytest.approx(wanted, rel=0.05)


def test_a_ratio_of_means():
    denominator = RNG.gamma(5, 1, N)
    sample = Sample(values=VALUES, branches=BRANCHES, denominator=denominator)
    given = {"numerator": "a", "denominator": "b", "drop_highest": 0.0, "num_samples": 2000}
    found = by(compute("population_ratio", sample, "control", given))
    chosen = BRANCHES == "new"
    assert found["new", None, None].point == pytest.approx(VALUES[chosen].mean() / denominator[chosen].mean(), rel=0.01)
    with pytest.raises(UsageError, match="needs the values of a denominator"):
        compute("population_ratio", Sample(values=VALUES, branches=BRANCHES), "control", given)


def test_impact_is_the_difference_times_the_units():
    sample = Sample(values=VALUES, branches=BRANCHES)
    (impact,) = compute("per_client_dau_impact", sample, "control")
    model = by(compute("linear_model_mean", sample, "control", {"drop_highest": 0.0}))
    assert impact.point == pytest.approx(model["new", Comparison.DIFFERENCE, None].point * N)


def test_counts_sums_and_nulls():
    values = np.array([1.0, math.nan, 3.0, 5.0])
    sample = Sample(values=values, branches=np.array(["a", "a", "a", "b"]))
    assert [(r.branch, r.point) for r in compute("count", sample, "a")] == [("a", 2.0), ("b", 1.0)]
    assert [(r.branch, r.point) for r in compute("sum", sample, "a")] == [("a", 4.0), ("b", 5.0)]
    assert compute("sum", Sample(values=np.array([math.nan]), branches=np.array(["a"])), "a") == []


def test_a_cumulative_share_rises_to_one_on_either_grid():
    values = np.concatenate([[0.0], VALUES])
    sample = Sample(values=values, branches=np.array(["a"] * len(values)))
    for log_space, points in ((False, 256), (True, 257)):
        shares = [r.point for r in compute("empirical_cdf", sample, "a", {"log_space": log_space})]
        assert len(shares) == points
        assert shares == sorted(shares)
        assert shares[-1] == 1.0


def test_a_density_integrates_to_one():
    values = np.random.default_rng(1).normal(0, 1, 4000)
    found = compute(
        "kernel_density_estimate", Sample(values=values, branches=np.array(["a"] * 4000)), "a", {"grid_size": 500}
    )
    x, y = [float(r.parameter) for r in found], [r.point for r in found]
    assert np.trapezoid(y, x) == pytest.approx(1, abs=0.01)
    constant = Sample(values=np.ones(5), branches=np.array(["a"] * 5))
    assert compute("kernel_density_estimate", constant, "a") == []


def test_wrong_names_and_parameters_are_refused():
    sample = Sample(values=VALUES, branches=BRANCHES)
    with pytest.raises(UnknownNameError, match="'medians' does not exist"):
        compute("medians", sample, "control")
    with pytest.raises(UsageError, match="takes no parameter 'num_sample'"):
        compute("deciles", sample, "control", {"num_sample": 5})
    with pytest.raises(UsageError, match="should be between"):
        compute("deciles", sample, "control", {"confidence_interval": 95})


def test_treatments_apply_in_order():
    values = np.array([math.nan, math.inf, 100.0, 10.0, 1.0])
    assert treat(values, [("remove_indefinites", {}), ("log", {})]).tolist() == [2.0, 1.0, 0.0]
    assert treat(values, [("zero_fill", {})]).tolist() == [0.0, math.inf, 100.0, 10.0, 1.0]
    assert treat(np.array([7.0]), [("normalize_over_analysis_period", {})], days=7).tolist() == [1.0]
    assert treat(np.arange(10.0), [("censor_values_above_threshold", {"threshold": 3})]).tolist() == [0, 1, 2, 3]
    assert treat(np.arange(10.0), [("censor_values_below_threshold", {"threshold": 7})]).tolist() == [7, 8, 9]
    assert treat(np.arange(10.0), [("censor_highest_values", {"fraction": 0.5})]).tolist() == [0, 1, 2, 3, 4]
    assert treat(np.arange(10.0), [("censor_lowest_values", {"fraction": 0.5})]).tolist() == [5, 6, 7, 8, 9]
    with pytest.raises(UnknownNameError, match="no pre-treatment 'logg'"):
        treat(values, [("logg", {})])


def test_results_say_what_they_are_about():
    (one,) = labelled(
        compute("count", Sample(values=np.ones(3), branches=np.array(["a"] * 3)), "a"), "m", "all", "enrollments"
    )
    assert (one.metric, one.segment, one.analysis_basis, one.lower) == ("m", "all", "enrollments", None)
    assert [parameter_text(v) for v in (0.1, 1.0, 1 / 3, "x", None)] == ["0.1", "1", "0.333333", "x", None]
