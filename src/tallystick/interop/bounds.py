"""Queries over a range of days that the tool which runs them fills in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from sqlglot import exp

from tallystick.compiler.aggregate_model import BUCKET, VALUE, N
from tallystick.compiler.binding import bound_template, drop_constant_keys
from tallystick.compiler.contract import contracted
from tallystick.compiler.definition_context import DefinitionContext, definition_context
from tallystick.compiler.lower import key_columns, lower, lower_from_parts
from tallystick.compiler.model import Model
from tallystick.compiler.order import parts
from tallystick.compiler.rolling import roll_over
from tallystick.compiler.run_dates import EPOCH, SAMPLE_DATE, Run, bind_run, columns_of, is_bounded
from tallystick.compiler.span import Span, parameter
from tallystick.compiler.sql_definition import Stage, compile_definition
from tallystick.definitions.metric import Aggregate, Metric, SqlQuery
from tallystick.definitions.project import Project
from tallystick.definitions.source import Source
from tallystick.sql import buckets
from tallystick.sql.calendar import Calendar
from tallystick.sql.grain import Grain
from tallystick.sql.macro_calls import calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Expressions of the range `[first, until)`: DATEs, or instants (UTC) of buckets shorter than a day.

    `last` is the last day of the range, the sample date of an all-time value. `end` is the day after the last one that
    has begun, where the range goes on to the end of a bucket that has not.
    """

    first: exp.Expr
    until: exp.Expr
    last: exp.Expr
    are_instants: bool = False
    end: exp.Expr | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranged:
    """What a query is written for: a dialect, a schema, and the models that are tables there."""

    project: Project
    dialect: str
    schema: str
    exported: frozenset[Model]


def ranged_query(model: Model, bounds: Bounds, where: Ranged) -> exp.Query:
    """Return the direct query of a model with its range filled in, without the row count that queries show.

    A derived model reads the tables of its operands where all of them are exported. Raises CompileError.
    """
    metric = where.project.metrics[model.metric]
    if isinstance(metric.definition, SqlQuery):
        return _definition(model, metric, bounds, where)
    if isinstance(metric.definition, Aggregate):
        return _without_n(_aggregate(model, metric, bounds, where))
    return _without_n(_formula(model, bounds, where))


def _aggregate(model: Model, metric: Metric, bounds: Bounds, where: Ranged) -> exp.Query:
    assert isinstance(metric.definition, Aggregate)  # noqa: S101 - the caller dispatches on the definition
    source = where.project.sources[metric.definition.source]
    settings = where.project.settings
    calendar = Calendar(source.time_zone or settings.time_zone, settings.week_start)
    tree = lower(replace(model, metric=metric.name), where.project, Span(calendar=calendar), where.dialect)
    return _Filling(bounds, source, calendar, where.dialect).fill(tree)


def _formula(model: Model, bounds: Bounds, where: Ranged) -> exp.Query:
    project = where.project
    made_of = parts(model, project, definition_context(project))
    tables = {part.metric: part for part in made_of if part in where.exported}
    from_tables = len(tables) == len(made_of)

    def leaf(operand: Metric) -> exp.Query:
        if from_tables:
            return _rows(tables[operand.name], bounds, where)
        return _aggregate(model, operand, bounds, where)

    if not from_tables:
        lower(model, project, Span(), where.dialect)  # raises where an operand is a whole query
    return lower_from_parts(model, project, leaf)


def _rows(part: Model, bounds: Bounds, where: Ranged) -> exp.Query:
    columns = [exp.column(name) for name in (BUCKET, *key_columns(part, where.project), VALUE)]
    query = exp.select(*columns, exp.Literal.number(0).as_(N)).from_(exp.table_(part.name, db=where.schema))
    if part.time.is_all_time:
        return query
    bucket = exp.column(BUCKET)
    after, before = bucket >= bounds.first.copy(), bucket.copy() < bounds.until.copy()
    return query.where(after, before, copy=False)


def _without_n(query: exp.Query) -> exp.Query:
    """Drop the row count, the last column of every direct query that has one."""
    if isinstance(query, exp.Select) and query.named_selects[-1] == N:
        query.set("expressions", query.expressions[:-1])
    return query


@dataclass(frozen=True, slots=True)
class _Filling:
    """Exchanges the parameters `start` and `end` of one source's query for a range."""

    bounds: Bounds
    source: Source
    calendar: Calendar
    dialect: str

    def fill(self, tree: exp.Query) -> exp.Query:
        sampled = buckets.add_days(exp.cast(parameter("end"), "date"), -1, dialect=self.dialect)
        for node in list(tree.walk()):
            if node == sampled:
                node.replace(self.bounds.last.copy())
        for node in list(tree.find_all(exp.GTE, exp.LT)):
            if node.expression.find(exp.Parameter) is not None:
                node.replace(self._comparison(node))
        return cast(exp.Query, self._filled(tree))

    def _filled(self, tree: exp.Expr) -> exp.Expr:
        values = {"start": self.bounds.first, "end": self.bounds.until}

        def exchange(node: exp.Expr) -> exp.Expr:
            inner = node.this if isinstance(node, exp.Cast) else node
            if isinstance(inner, exp.Parameter) and inner.name in values:
                return values[inner.name].copy()
            return node

        return tree.transform(exchange, copy=False)

    def _comparison(self, node: exp.Expr) -> exp.Expr:
        """Return the filter on time; in a time zone on the local date, with a day to spare on the raw column."""
        column, bound = node.this.copy(), self._filled(exp.paren(node.expression.copy())).this
        if self.source.time_is_date or self.bounds.are_instants:
            return type(node)(this=column, expression=bound)
        if self.calendar.is_utc:
            return type(node)(this=column, expression=exp.cast(bound, "timestamp"))
        spare = buckets.add_days(bound, -1 if isinstance(node, exp.GTE) else 1, dialect=self.dialect)
        local = buckets.bucket(column, Grain.DAY, self.calendar, is_date=False, dialect=self.dialect)
        near = type(node)(this=column, expression=exp.cast(spare, "timestamp"))
        return exp.and_(near, type(node)(this=local, expression=bound), copy=False)


def _definition(model: Model, metric: Metric, bounds: Bounds, where: Ranged) -> exp.Query:
    assert isinstance(metric.definition, SqlQuery)  # noqa: S101 - the caller dispatches on the definition
    context = definition_context(where.project, where.dialect, schema=where.schema)
    tree = compile_definition(metric, model, context, stage=Stage.INTERMEDIATE)
    window = model.time.window
    bounded = is_bounded(bound_template(metric.definition.sql, context.dialect_of(metric.definition)))
    if window is not None:
        is_bound = any(macro.run for _, macro in calls(tree))
        tree = roll_over(tree, window, bounds.first, bounds.until, context)
    else:
        is_bound = bounded or model.time.is_all_time
        bind_run(tree, _run(model, bounds, context), context)
    if not is_bound:
        tree = _within(tree, bounds)
    drop_constant_keys(tree)
    # Unions read the columns of a registry's tables by name; what other queries put out stays as it is.
    return tree if metric.definition.oso is None else contracted(tree, model, context)


def _run(model: Model, bounds: Bounds, context: DefinitionContext) -> Run:
    dialect = context.dialect
    if not model.time.is_all_time:
        return Run(
            time=model.time,
            first=bounds.first,
            until=bounds.until,
            last=bounds.last,
            sample=None,
            span=None,
            end=bounds.end,
            dialect=dialect,
        )
    span = None
    if context.start is not None:
        since = buckets.date_literal(context.start, dialect=dialect)
        length = buckets.days_between(since, bounds.until, dialect=dialect)
        span = exp.func("GREATEST", length, exp.Literal.number(1))
    first = buckets.date_literal(EPOCH, dialect=dialect)
    last = bounds.last
    return Run(time=model.time, first=first, until=bounds.until, last=last, sample=last, span=span, dialect=dialect)


def _within(tree: exp.Query, bounds: Bounds) -> exp.Query:
    """Keep the rows sampled in the range of a query that has no filter of its own (spec oso §7.4)."""
    column = exp.column(SAMPLE_DATE, table="model")
    kept = exp.select(*columns_of(tree, "model")).from_(tree.subquery("model", copy=False))
    return kept.where(column >= bounds.first.copy(), column.copy() < bounds.until.copy(), copy=False)
