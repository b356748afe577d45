"""Direct queries for aggregate metrics: the value of each bucket computed from the rows of the source.

These queries are portable, and they define what a number is: whatever derives values another way must agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlglot import exp

from tallystick.compiler.entity_paths import (
    GROUP,
    MEMBER,
    VALID_FROM,
    VALID_TO,
    Anchor,
    anchor,
    is_not_null,
    membership,
    membership_intervals,
)
from tallystick.compiler.model import Model
from tallystick.compiler.partition import from_partition
from tallystick.compiler.relations import Scope, scope
from tallystick.compiler.span import Span
from tallystick.definitions.conditions import conditions, expand, named_conditions
from tallystick.definitions.metric import Aggregate, Metric
from tallystick.definitions.project import Project
from tallystick.definitions.source import Source
from tallystick.sql import buckets, guard, portable
from tallystick.sql.calendar import Calendar
from tallystick.sql.expression import Component, Measure, MeasureClass, Merge, MetricExpression, parse, substitute
from tallystick.sql.grain import Grain

BUCKET = "bucket"
VALUE = "value"
NUMERATOR = "numerator"
DENOMINATOR = "denominator"
N = "n"
DAY = "day"


@dataclass(frozen=True, slots=True)
class Input:
    """The rows an aggregate model reads: bound filters, and how they reach the model's entity."""

    model: Model
    scope: Scope
    where: tuple[exp.Expr, ...]
    expression: MetricExpression
    anchor: Anchor | None
    calendar: Calendar
    key: str | None

    @property
    def dialect(self) -> str:
        """Return the dialect the query will be written in."""
        return self.scope.dialect

    def bucket(self, grain: Grain) -> exp.Expr:
        """Return the start of the bucket a row falls into."""
        return buckets.bucket(
            self.scope.time(), grain, self.calendar, is_date=self.scope.source.time_is_date, dialect=self.dialect
        )

    def columns(self) -> list[exp.Expr]:
        """Return the entity and breakdown columns of a row, named as in the model."""
        found: list[exp.Expr] = []
        if self.key is not None:
            found.append(self.entity_id().as_(self.key, copy=False))
        found += [self.scope.dimension(name).as_(name, copy=False) for name in self.model.by]
        return found

    def entity_id(self) -> exp.Expr:
        """Return the id a row is counted for."""
        assert self.anchor is not None  # noqa: S101 - only asked for where the model has an entity
        return exp.column(GROUP, "membership") if self.anchor.paths else self.scope.parse(self.anchor.column)

    @property
    def names(self) -> list[str]:
        """Return the names of the entity and breakdown columns."""
        return [*([self.key] if self.key is not None else []), *self.model.by]


def read_input(
    model: Model, metric: Metric, project: Project, dialect: str, extra: Iterable[str] = (), *, marked: bool = False
) -> Input:
    """Resolve what a model reads; `extra` are further SQL conditions. Raise CompileError or ExpressionError."""
    definition = metric.definition
    assert isinstance(definition, Aggregate)  # noqa: S101 - the caller dispatches on the definition
    source = project.sources[definition.source]
    rows = scope(source, project, dialect, marked=marked)
    reach = anchor(source, model.entity, project.entities) if model.has_entity else None
    where = [rows.parse(text) for text in conditions(project, metric)]
    where += [rows.bind(_asked(text, source, project)) for text in extra]
    calendar = Calendar(source.time_zone or project.settings.time_zone, project.settings.week_start)
    key = project.entities[model.entity].key if model.has_entity else None
    return Input(model, rows, tuple(where), parse(definition.expr, rows.reads), reach, calendar, key)


def _asked(text: str, source: Source, project: Project) -> exp.Expr:
    """Return a condition somebody asks for, names of filters written out; raise GuardError where it is more than one."""
    written = expand(text, named_conditions(source, project.segments), project.dialect)
    return guard.fragment(written, project.dialect, allow_functions=project.settings.allow_functions)


def aggregate_model(source: Input, project: Project, span: Span) -> exp.Select:
    """Return the query of one aggregate model over a span: bucket, entity key, dimensions, value and its parts, n."""
    view, span = source.model.time, span.on(source.calendar)
    if view.window is not None:
        return _rolling(source, project, span)
    bucket = span.sample_day(source.dialect) if view.grain is None else source.bucket(view.grain)
    rows = matching_rows(source, project, span)
    return _finish(source, rows, bucket)


def _finish(source: Input, rows: exp.Select, bucket: exp.Expr) -> exp.Select:
    """Group rows by bucket, entity and dimensions, and compute the value straight from them."""
    head = [bucket.as_(BUCKET, copy=False), *source.columns()]
    if source.expression.kind is MeasureClass.SEMI_ADDITIVE:
        return _balances(source, rows, head)
    values = {measure.name: source.scope.bind(measure.aggregate) for measure in source.expression.measures}
    for measure in source.expression.measures:
        values |= {part.name: source.scope.bind(part.accumulate) for part in measure.components}
    tail = outputs(source.expression, values, exp.Count(this=exp.Star()))
    return group_by_head(rows.select(*head, *tail, copy=False), len(head))


def outputs(expression: MetricExpression, values: dict[str, exp.Expr], n: exp.Expr) -> list[exp.Expr]:
    """Return value, numerator and denominator where the value is a quotient, and n, from measures and components."""
    found = [substitute(expression.combine, values).as_(VALUE, copy=False)]
    ratio = expression.ratio()
    if ratio is not None:
        found += [
            substitute(side, values).as_(name, copy=False)
            for side, name in zip(ratio, (NUMERATOR, DENOMINATOR), strict=True)
        ]
    return [*found, n.as_(N, copy=False)]


def group_by_head(query: exp.Select, count: int) -> exp.Select:
    """Group a query by its first columns, by position."""
    return query.group_by(*(exp.Literal.number(index + 1) for index in range(count)), copy=False)


def matching_rows(source: Input, project: Project, span: Span) -> exp.Select:
    """Return a select without projections over the rows that belong to the model and the span."""
    query = exp.Select().from_(source.scope.relation(), copy=False)
    query = _join_membership(query, source, project)
    predicates = [condition.copy() for condition in source.where]
    if source.anchor is not None and not source.anchor.paths:
        predicates.append(is_not_null(source.entity_id()))
    predicates += _within(source, span)
    return query.where(*map(_bracketed, predicates), copy=False) if predicates else query


def _within(source: Input, span: Span) -> list[exp.Expr]:
    """Return the predicates on time; an all-time value of a source without time counts every row."""
    rows, view = source.scope, source.model.time
    if view.is_all_time and rows.source.time is None:
        return []
    time, is_date = rows.time(), rows.source.time_is_date
    found = [span.before_end(time, is_date=is_date, dialect=source.dialect)]
    if not view.is_all_time:
        start = span.from_start(time, is_date=is_date, dialect=source.dialect, window=view.window)
        partition = from_partition(rows, span, view.window)
        found = [*(one for one in (partition, start) if one is not None), *found]
    return found


def _bracketed(condition: exp.Expr) -> exp.Expr:
    return exp.paren(condition, copy=False) if isinstance(condition, exp.Connector) else condition


def _join_membership(query: exp.Select, source: Input, project: Project) -> exp.Select:
    if source.anchor is None or not source.anchor.paths:
        return query
    pairs = membership(source.anchor, project).subquery("membership", copy=False)
    member = source.scope.parse(source.anchor.column)
    query.join(pairs, on=exp.EQ(this=member, expression=exp.column(MEMBER, "membership")), copy=False)
    if not source.anchor.has_validity:
        return query
    day = source.bucket(Grain.DAY)
    intervals = membership_intervals(source.anchor, project).subquery("valid")
    valid = (
        exp.select("1")
        .from_(intervals)
        .where(
            exp.column(MEMBER, "valid").eq(exp.column(MEMBER, "membership")),
            exp.column(GROUP, "valid").eq(exp.column(GROUP, "membership")),
            exp.column(VALID_FROM, "valid") <= day,
            exp.column(VALID_TO, "valid") > day.copy(),
        )
    )
    return query.where(exp.Exists(this=valid), copy=False)


def _balances(source: Input, rows: exp.Select, head: list[exp.Expr]) -> exp.Select:
    """Take first or last values per unit of the source, then add them up over units (semi-additive, DESIGN §2)."""
    expression = source.expression
    units = [
        source.scope.parse(column).as_(f"unit_{index}")
        for index, column in enumerate(source.scope.source.entities.values())
    ]
    inner: list[exp.Expr] = []
    merged: dict[str, exp.Expr] = {}
    for measure in expression.measures:
        if measure.key is not None:
            pick = portable.arg_max if measure.is_last else portable.arg_min
            balance = source.scope.bind(measure.key)
            moment = _tie_break(source.scope.time(), balance, source.dialect)
            inner.append(pick(balance, moment, source.dialect).as_(measure.name))
            merged[measure.name] = exp.Sum(this=exp.column(measure.name))
        else:
            inner += [source.scope.bind(part.accumulate).as_(part.name) for part in measure.components]
            merged |= merge_measure(measure)
    inner.append(exp.Count(this=exp.Star()).as_(N))
    per_unit = group_by_head(rows.select(*head, *units, *inner, copy=False), len(head) + len(units))
    names = [BUCKET, *source.names]
    outer = exp.select(*(exp.column(name) for name in names), *outputs(expression, merged, sum_of_counts(N)))
    return group_by_head(outer.from_(per_unit.subquery("units")), len(names))


def _tie_break(time: exp.Expr, balance: exp.Expr, dialect: str) -> exp.Expr:
    """Order rows of the same instant by the balance itself, so that the answer is the same every time."""
    if dialect not in ("duckdb", "clickhouse"):
        return time
    return exp.Tuple(expressions=[time, balance.copy()])


def merge_component(part: Component, table: str | None = None) -> exp.Expr:
    """Return the aggregate that merges a stored component; counts stay integers."""
    column = exp.column(part.name, table)
    if part.is_count:
        return sum_of_counts(part.name, table)
    return _MERGES[part.merge](this=column)


def merge_measure(measure: Measure, table: str | None = None) -> dict[str, exp.Expr]:
    """Return a measure and its components as aggregates over stored components, by name."""
    parts = {part.name: merge_component(part, table) for part in measure.components}
    assert measure.combine is not None  # noqa: S101 - additive and algebraic measures have one
    return parts | {measure.name: substitute(measure.combine, parts)}


def sum_of_counts(name: str, table: str | None = None) -> exp.Expr:
    """Return the sum of a column of counts as an integer, whatever wider type the engine sums in."""
    return exp.cast(exp.Sum(this=exp.column(name, table)), exp.DType.BIGINT, copy=False)


_MERGES = {
    Merge.SUM: exp.Sum,
    Merge.MIN: exp.Min,
    Merge.MAX: exp.Max,
    Merge.ANY: exp.LogicalOr,
    Merge.ALL: exp.LogicalAnd,
}


def _rolling(source: Input, project: Project, span: Span) -> exp.Select:
    """Sample a window that ends on each day of the span."""
    window = source.model.time.window
    assert window is not None  # noqa: S101 - the caller dispatches on the view
    rows = matching_rows(source, project, span)
    first_tick, end_tick = span.first_tick(source.dialect), span.end_tick(source.dialect)
    ticks = buckets.spine(first_tick, end_tick, "ticks", dialect=source.dialect)
    tick = exp.column(DAY, "ticks")
    first = buckets.window_start(tick, window, dialect=source.dialect)
    if source.expression.is_gathered_by_day:
        days, values = _by_day(source, rows)
        query = exp.select(tick.as_(BUCKET), *(exp.column(name, "days") for name in source.names), copy=False)
        query = query.select(*outputs(source.expression, values, sum_of_counts(N, "days")), copy=False)
        gathered = exp.column(DAY, "days")
        query = (
            query.with_("days", as_=days, copy=False)
            .from_(ticks, copy=False)
            .join(exp.to_table("days"), on=exp.and_(gathered <= tick, gathered >= first, copy=False), copy=False)
        )
        return group_by_head(query, 1 + len(source.names))
    day = source.bucket(Grain.DAY)
    rows = rows.join(ticks, on=exp.and_(day <= tick, day >= first, copy=False), copy=False)
    return _finish(source, rows, tick)


def _by_day(source: Input, rows: exp.Select) -> tuple[exp.Select, dict[str, exp.Expr]]:
    """Return rows gathered by day and distinct key, and the aggregates that turn them into measures."""
    head = [source.bucket(Grain.DAY).as_(DAY, copy=False), *source.columns()]
    tail: list[exp.Expr] = []
    values: dict[str, exp.Expr] = {}
    for measure in source.expression.measures:
        if measure.key is not None:
            head.append(source.scope.bind(measure.key).as_(measure.name, copy=False))
            keys = exp.Distinct(expressions=[exp.column(measure.name, "days")])
            values[measure.name] = exp.Count(this=keys, big_int=True)
        else:
            tail += [source.scope.bind(part.accumulate).as_(part.name, copy=False) for part in measure.components]
            values |= merge_measure(measure, "days")
    tail.append(exp.Count(this=exp.Star()).as_(N))
    return group_by_head(rows.select(*head, *tail, copy=False), len(head)), values
