"""The linear model from sums equals least squares on rows, and equals the sums a warehouse makes."""

from __future__ import annotations

import math

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from tallystick.compiler.metric_hub.tree import to_sql
from tallystick.experiments import linear_model
from tallystick.experiments.distributions import beta_quantile, normal_quantile, t_quantile
from tallystick.experiments.linear_model import cap, read_out, sums
from tallystick.experiments.pushdown import additive_tree, covariate_tree, linear_sums_tree, sums_from
from tallystick.experiments.results import Comparison


def data(seed: int = 1, n: int = 600):
    rng = np.random.default_rng(seed)
    branches = np.array(["a", "b", "c"])[rng.integers(0, 3, n)]
    x = rng.gamma(2, 3, n)
    return branches, x, 0.5 * x + rng.gamma(1, 2, n) + (branches == "b") * 0.4


def by_regression(branches, y, x, branch, reference):
    """Return coefficient, its interval, uplift and its interval from the normal equations themselves."""
    names = sorted(set(branches))
    columns = [(branches == name).astype(float) for name in names]
    design = np.column_stack(columns if x is None else [*columns, x])
    inverse = np.linalg.inv(design.T @ design)
    beta = inverse @ design.T @ y
    df = len(y) - design.shape[1]
    variance = float(((y - design @ beta) ** 2).sum() / df) * inverse
    at = 0.0 if x is None else float(np.mean(np.quantile(x, np.arange(10_000) / 10_000)))
    contrast = {
        name: np.array([*(float(name == other) for other in names), *([] if x is None else [at])]) for name in names
    }
    difference = contrast[branch] - contrast[reference]
    half = t_quantile(0.975, df) * math.sqrt(difference @ variance @ difference)
    means = contrast[branch] @ beta, contrast[reference] @ beta
    gradient = contrast[branch] / means[0] - contrast[reference] / means[1]
    log_half = normal_quantile(0.975) * math.sqrt(gradient @ variance @ gradient)
    ratio = means[0] / means[1]
    delta = float(difference @ beta)
    return (delta, delta - half, delta + half), (
        ratio - 1,
        ratio * math.exp(-log_half) - 1,
        ratio * math.exp(log_half) - 1,
    )


@pytest.mark.parametrize("adjusts", [False, True])
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_closed_forms_are_those_of_least_squares(adjusts, seed):
    branches, x, y = data(seed, 60)
    x = x if adjusts else None
    results = {(r.branch, r.comparison): r for r in read_out(sums(y, branches, x), "a")}
    for branch in ("b", "c"):
        wanted = by_regression(branches, y, x, branch, "a")
        for comparison, triple in zip(Comparison, wanted, strict=True):
            found = results[branch, comparison]
            assert (found.point, found.lower, found.upper) == pytest.approx(triple, rel=1e-9, abs=1e-9)


REFERENCE = {
    False: {
        ("a", None): (5.115771, 4.849643, 5.381900),
        ("b", None): (5.402002, 5.153636, 5.650369),
        ("b", Comparison.DIFFERENCE): (0.286231, -0.077820, 0.650282),
        ("b", Comparison.RELATIVE_UPLIFT): (0.055951, -0.014740, 0.131713),
        ("c", Comparison.RELATIVE_UPLIFT): (0.011315, -0.057295, 0.084920),
    },
    True: {
        ("b", Comparison.DIFFERENCE): (0.305364, 0.047594, 0.563135),
        ("b", Comparison.RELATIVE_UPLIFT): (0.060378, 0.009135, 0.114223),
        ("c", Comparison.DIFFERENCE): (0.201261, -0.054901, 0.457423),
        ("c", Comparison.RELATIVE_UPLIFT): (0.039794, -0.010606, 0.092762),
    },
}
"""What mozanalysis 2026.10.1 says about the same 1,500 rows (`compare_branches_lm`, threshold quantile 0.995)."""


@pytest.mark.parametrize("adjusts", [False, True])
def test_results_are_those_of_the_reference_implementation(adjusts):
    branches, x, y = data(1, 1500)
    found = {
        (r.branch, r.comparison): (r.point, r.lower, r.upper)
        for r in read_out(sums(cap(y, 0.005), branches, cap(x, 0.005) if adjusts else None), "a")
    }
    for key, wanted in REFERENCE[adjusts].items():
        assert found[key] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("adjusts", [False, True])
def test_sums_of_a_warehouse_give_the_same(adjusts):
    branches, x, y = data(3)
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE units AS SELECT UNNEST($b) AS branch, UNNEST($x) AS x, UNNEST($y) AS y",
        {"b": branches.tolist(), "x": x.tolist(), "y": y.tolist()},
    )
    connection.execute("INSERT INTO units VALUES ('a', 1.0, NULL)")
    units = exp.to_table("units")

    def fetch(tree) -> list[dict]:
        cursor = connection.execute(to_sql(tree, "duckdb"))
        return [dict(zip([c[0] for c in cursor.description], row, strict=True)) for row in cursor.fetchall()]

    covariate = "x" if adjusts else None
    mean = fetch(covariate_tree(units, "y", "x", dialect="duckdb"))[0]["covariate"] if adjusts else None
    pushed = sums_from(fetch(linear_sums_tree(units, "y", covariate=covariate, dialect="duckdb")), mean)
    local = sums(cap(y, 0.005), branches, cap(x, 0.005) if adjusts else None)
    for found, wanted in zip(
        sorted(read_out(pushed, "a"), key=str), sorted(read_out(local, "a"), key=str), strict=True
    ):
        assert (found.branch, found.comparison) == (wanted.branch, wanted.comparison)
        assert (found.point, found.lower, found.upper) == pytest.approx(
            (wanted.point, wanted.lower, wanted.upper), rel=1e-9
        )
    counts = {row["branch"]: (row["n"], row["total"]) for row in fetch(additive_tree(units, "y"))}
    assert counts["b"] == (int((branches == "b").sum()), pytest.approx(y[branches == "b"].sum()))


def test_capping_is_over_all_branches_and_integers_keep_whole():
    assert cap(np.arange(101.0), 0.05).max() == 95
    assert cap(np.array([1.0, 2.0, 3.0, 1000.0]), 0.4).max() == 3.0
    assert cap(np.array([0.5, 1.0, 9.0]), 0.0).max() == 9.0


def test_a_reference_of_zeros_or_nobody_is_explained():
    branches = np.array(["a", "a", "b", "b"])
    with pytest.raises(linear_model.NoModelError, match="'a' is zero"):
        list(read_out(sums(np.array([0.0, 0.0, 1.0, 2.0]), branches), "a"))
    with pytest.raises(linear_model.NoModelError, match="'z' has no rows"):
        list(read_out(sums(np.array([0.0, 0.0, 1.0, 2.0]), branches), "z"))


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (t_quantile(0.975, 1), 12.706204736174698),
        (t_quantile(0.975, 10), 2.2281388519649385),
        (t_quantile(0.995, 100), 2.6258905214380173),
        (t_quantile(0.025, 30), -2.0422724563012373),
        (t_quantile(0.975, 1e6), 1.959966305),
        (beta_quantile(0.025, 3, 7), 0.07485463141969),
        (beta_quantile(0.5, 1, 1), 0.5),
        (beta_quantile(0.975, 0.5, 0.5), math.sin(math.pi * 0.975 / 2) ** 2),
    ],
)
def test_quantiles_are_those_of_tables(found, wanted):
    assert found == pytest.approx(wanted, rel=1e-7)
