"""Queries of metrics per unit: one value per unit and bucket below, one statistic over units above.

Such values never follow from finer buckets: who reaches a cap in a week need not reach it on any day. So every grain,
window and entity reads the rows again.
"""

from __future__ import annotations

from sqlglot import exp

from tallystick.compiler.aggregate_model import (
    BUCKET,
    DAY,
    DENOMINATOR,
    NUMERATOR,
    VALUE,
    Input,
    N,
    group_by_head,
    matching_rows,
    sum_of_counts,
)
from tallystick.compiler.entity_paths import is_not_null
from tallystick.compiler.span import Span
from tallystick.definitions.per_unit import Across, PerUnit
from tallystick.definitions.project import Project
from tallystick.sql import buckets, portable
from tallystick.sql.expression import guard_division, substitute
from tallystick.sql.grain import Grain

UNITS, BOUNDS = "units", "bounds"
UNIT, UNIT_VALUE, LOWEST, HIGHEST = "unit_id", "unit_value", "lowest", "highest"


def unit_model(source: Input, per_unit: PerUnit, project: Project, span: Span) -> exp.Select:
    """Return the query of one model per unit over a span: bucket, entity key, dimensions, value and its parts, n.

    An average keeps both its sides, as every quotient does (DESIGN §2).
    """
    units = _units(source, per_unit, project, span.on(source.calendar))
    names = [BUCKET, *source.names]
    columns = [exp.column(name, UNITS) for name in names]
    value = _value(per_unit)
    outer = exp.select(
        *(column.as_(name, copy=False) for column, name in zip(columns, names, strict=True)),
        *_statistic(per_unit.across, value, source.dialect),
        sum_of_counts(N, UNITS).as_(N, copy=False),
        copy=False,
    ).with_(UNITS, as_=units, copy=False)
    outer = outer.from_(exp.to_table(UNITS), copy=False)
    if per_unit.winsorize is not None:
        outer = _with_bounds(outer, source, per_unit.winsorize, names)
    return group_by_head(outer, len(names))


def _units(source: Input, per_unit: PerUnit, project: Project, span: Span) -> exp.Select:
    """Return one row per bucket, key and unit; rows without a unit belong to none."""
    rows, bucket = matching_rows(source, project, span), _bucket(source, span)
    if (window := source.model.time.window) is not None:
        ticks = buckets.spine(
            span.first_tick(source.dialect), span.end_tick(source.dialect), "ticks", dialect=source.dialect
        )
        tick, day = exp.column(DAY, "ticks"), source.bucket(Grain.DAY)
        first = buckets.window_start(tick, window, dialect=source.dialect)
        rows = rows.join(ticks, on=exp.and_(day <= tick, day >= first, copy=False), copy=False)
    unit = source.scope.parse(source.scope.source.entities[per_unit.entity])
    head = [bucket.as_(BUCKET, copy=False), *source.columns(), unit.as_(UNIT, copy=False)]
    values = {measure.name: source.scope.bind(measure.aggregate) for measure in source.expression.measures}
    value = substitute(source.expression.combine, values).as_(UNIT_VALUE, copy=False)
    rows = rows.where(is_not_null(unit.copy()), copy=False)
    return group_by_head(rows.select(*head, value, exp.Count(this=exp.Star()).as_(N), copy=False), len(head))


def _bucket(source: Input, span: Span) -> exp.Expr:
    view = source.model.time
    if view.window is not None:
        return exp.column(DAY, "ticks")
    return span.sample_day(source.dialect) if view.grain is None else source.bucket(view.grain)


def _value(per_unit: PerUnit) -> exp.Expr:
    """Return what a unit counts; comparisons rather than LEAST, which engines answer differently where one is NULL."""
    value: exp.Expr = exp.column(UNIT_VALUE, UNITS)
    if per_unit.participation:
        return exp.Literal.number(1)
    if per_unit.threshold is not None:
        reached = exp.GTE(this=value, expression=_number(per_unit.threshold))
        return exp.Case().when(reached, exp.Literal.number(1)).else_(exp.Literal.number(0))
    if per_unit.cap is not None:
        cap = _number(per_unit.cap)
        if not per_unit.cap.is_integer():
            # Some engines have no type that holds both 64-bit integers and fractions.
            value = exp.cast(value, "double")
        return exp.Case().when(exp.GT(this=value, expression=cap), cap.copy()).else_(value.copy())
    if per_unit.winsorize is not None:
        number = exp.cast(value, "double")
        lowest, highest = exp.column(LOWEST, BOUNDS), exp.column(HIGHEST, BOUNDS)
        return (
            exp.Case()
            .when(exp.LT(this=number, expression=lowest), lowest.copy())
            .when(exp.GT(this=number.copy(), expression=highest), highest.copy())
            .else_(number.copy())
        )
    return value


def _number(value: float) -> exp.Expr:
    return exp.Literal.number(int(value) if value.is_integer() else value)


def _statistic(across: Across, value: exp.Expr, dialect: str) -> list[exp.Expr]:
    """Return the value of a model, and numerator and denominator where it is a quotient."""
    if across is Across.MEDIAN:
        return [portable.quantile(value, 0.5, dialect=dialect).as_(VALUE, copy=False)]
    if across is Across.AVG:
        total, count = exp.Sum(this=value), exp.Count(this=value.copy())
        average = guard_division(exp.Div(this=total.copy(), expression=count.copy()))
        named = ((average, VALUE), (total, NUMERATOR), (count, DENOMINATOR))
        return [tree.as_(name, copy=False) for tree, name in named]
    kinds = {Across.SUM: exp.Sum, Across.MIN: exp.Min, Across.MAX: exp.Max}
    return [kinds[across](this=value).as_(VALUE, copy=False)]


def _with_bounds(query: exp.Select, source: Input, shares: tuple[float, float], names: list[str]) -> exp.Select:
    """Join the bounds of each bucket and key: quantiles of its units' values."""
    value = exp.column(UNIT_VALUE, UNITS)
    low, high = (portable.quantile(value.copy(), share, dialect=source.dialect) for share in shares)
    bounds = exp.select(*(exp.column(name, UNITS).as_(name) for name in names)).select(
        low.as_(LOWEST), high.as_(HIGHEST), copy=False
    )
    bounds = group_by_head(bounds.from_(exp.to_table(UNITS)), len(names))
    same = [
        exp.NullSafeEQ(this=exp.column(name, UNITS), expression=exp.column(name, BOUNDS)) for name in source.model.by
    ]
    keys = [name for name in names if name not in source.model.by]
    same += [exp.EQ(this=exp.column(name, UNITS), expression=exp.column(name, BOUNDS)) for name in keys]  # type: ignore[misc]
    query = query.with_(BOUNDS, as_=bounds, copy=False)
    return query.join(exp.to_table(BOUNDS), on=exp.and_(*same, copy=False), copy=False)
