"""Sums for statistics, made where the rows are: a linear model needs six numbers per branch (spec metric_hub §10.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlglot import exp

from tallystick.compiler.metric_hub.skeleton import filled, literal
from tallystick.experiments.linear_model import Moments, Sums

_PLAIN = """
SELECT c.branch, COUNT(c.y) AS n, SUM(c.y - t.cy) AS y, SUM((c.y - t.cy) * (c.y - t.cy)) AS yy,
  SUM(c.x - t.cx) AS x, SUM((c.x - t.cx) * (c.x - t.cx)) AS xx, SUM((c.x - t.cx) * (c.y - t.cy)) AS xy,
  ANY_VALUE(t.cy) AS centre_y, ANY_VALUE(t.cx) AS centre_x
FROM capped AS c CROSS JOIN centres AS t
GROUP BY c.branch
"""
_CENTRES = "SELECT AVG(y) AS cy, AVG(x) AS cx FROM capped"
_CAPPED = "SELECT r.branch, LEAST(r.y, k.top_y) AS y, LEAST(r.x, k.top_x) AS x FROM rows_read AS r CROSS JOIN tops AS k"
_ROWS = "SELECT u.branch AS branch, CAST(:y AS FLOAT64) AS y, CAST(:x AS FLOAT64) AS x FROM :units AS u WHERE :present"

_RANKED = """
SELECT LEAST(r.x, k.top_x) AS x, ROW_NUMBER() OVER (ORDER BY r.x) - 1 AS place, COUNT(*) OVER () AS n
FROM rows_read AS r CROSS JOIN tops AS k
"""
_GRID = """
SELECT CAST(step AS FLOAT64) / 10000 * (SELECT MAX(n) - 1 FROM ranked) AS place
FROM UNNEST(GENERATE_ARRAY(0, 9999)) AS step
"""
_MEAN_QUANTILE = """
SELECT AVG(a.x + (g.place - FLOOR(g.place)) * (b.x - a.x)) AS covariate
FROM grid AS g
JOIN ranked AS a ON a.place = FLOOR(g.place)
JOIN ranked AS b ON b.place = CEIL(g.place)
"""


def linear_sums_tree(
    units: exp.Expr,
    metric: str,
    *,
    covariate: str | None = None,
    drop_highest: float = 0.005,
    is_integer: bool = False,
    dialect: str = "bigquery",
) -> exp.Select:
    """Return the query for the sums of a linear model: capped once over all branches, centred, one row per branch.

    `units` is a table of per-unit values with a column `branch`. Integers are capped at the quantile's ceiling.
    """
    y = exp.column(metric, "u")
    x = exp.column(covariate, "u") if covariate else literal(0)
    present: exp.Expr = exp.Not(this=exp.Is(this=y.copy(), expression=exp.Null()))
    if covariate:
        present = exp.and_(present, exp.Not(this=exp.Is(this=x.copy(), expression=exp.Null())))
    rows = filled(_ROWS, {"units": units}, y=y, x=x, present=present)
    select = filled(_PLAIN)
    tops = _tops(drop_highest, dialect, {"y": is_integer, "x": False})
    for name, tree in (("rows_read", rows), ("tops", tops), ("capped", filled(_CAPPED)), ("centres", filled(_CENTRES))):
        select = select.with_(name, as_=tree)
    return select


def _tops(drop_highest: float, dialect: str, columns: Mapping[str, bool]) -> exp.Select:
    """Return the exact quantiles above which values are set to them; BigQuery has them as window functions only."""
    tops = []
    for name, is_integer in columns.items():
        quantile = literal(1 - drop_highest)
        top: exp.Expr = exp.WithinGroup(
            this=exp.PercentileCont(this=quantile),
            expression=exp.Order(expressions=[exp.Ordered(this=exp.column(name), nulls_first=False)]),
        )
        if dialect == "bigquery":
            top = exp.Window(this=exp.PercentileCont(this=exp.column(name), expression=quantile))
        tops.append(exp.alias_(exp.Ceil(this=top) if is_integer else top, f"top_{name}"))
    select = exp.select(*tops).from_("rows_read")
    return select.limit(1) if dialect == "bigquery" else select


def covariate_tree(
    units: exp.Expr, metric: str, covariate: str, *, drop_highest: float = 0.005, dialect: str = "bigquery"
) -> exp.Select:
    """Return the query for q̄ of spec §10.2: the mean of a capped covariate's quantiles at 0, 0.0001, …, 0.9999."""
    present = [exp.Not(this=exp.Is(this=exp.column(name, "u"), expression=exp.Null())) for name in (metric, covariate)]
    rows = filled(
        _ROWS, {"units": units}, y=exp.column(metric, "u"), x=exp.column(covariate, "u"), present=exp.and_(*present)
    )
    top = _tops(drop_highest, dialect, {"x": False})
    select = filled(_MEAN_QUANTILE)
    for name, tree in (("rows_read", rows), ("tops", top), ("ranked", filled(_RANKED)), ("grid", filled(_GRID))):
        select = select.with_(name, as_=tree)
    return select


def sums_from(rows: Iterable[Mapping[str, Any]], covariate: float | None = None) -> Sums:
    """Return the sums that a warehouse computed, ready to be read out."""
    found = list(rows)
    moments = {
        str(row["branch"]): Moments(
            n=int(row["n"]),
            y=float(row["y"]),
            yy=float(row["yy"]),
            x=float(row["x"]),
            xx=float(row["xx"]),
            xy=float(row["xy"]),
        )
        for row in sorted(found, key=lambda row: str(row["branch"]))
    }
    first = found[0] if found else {"centre_y": 0.0, "centre_x": 0.0}
    return Sums(
        branches=moments, centre_y=float(first["centre_y"]), centre_x=float(first["centre_x"]), covariate=covariate
    )


def additive_tree(units: exp.Expr, metric: str) -> exp.Select:
    """Return the query for count, sum and number of successes per branch: all `count`, `sum` and `binomial` need."""
    skeleton = """
    SELECT u.branch AS branch, COUNT(:y) AS n, SUM(:y) AS total FROM :units AS u GROUP BY u.branch
    """
    return filled(skeleton, {"units": units}, y=exp.column(metric, "u"))
