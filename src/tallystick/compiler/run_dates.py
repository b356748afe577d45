"""The macros of a run: what `@metrics_start`, `@metrics_end` and their kin mean for a range of days (spec oso §5.2).

A run covers `[first, until)`, whole buckets of its grain. Authors filter with inclusive BETWEEN, so a comparison
with `@metrics_end` is rewritten to `< until`: right for dates and for timestamps alike. Where the macro stands as
a value it is the last day that is covered (or its last microsecond, for 'TIMESTAMP').
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

from sqlglot import exp

from tallystick.compiler.definition_context import DefinitionContext
from tallystick.compiler.model import TimeView
from tallystick.errors import CompileError, MacroError
from tallystick.sql import buckets
from tallystick.sql.calendar import add_months, floor_date, shift_date, window_start
from tallystick.sql.grain import Grain, Window, WindowUnit
from tallystick.sql.macro_calls import arguments_of, calls, location, macro_of

EPOCH = date(1970, 1, 1)
SAMPLE_DATE = "metrics_sample_date"
_UNITS = {"day": 1, "week": 7}
_OSO_MONTHS = {WindowUnit.MONTH: 1, WindowUnit.QUARTER: 3, WindowUnit.YEAR: 12}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What the macros of one rendering return: DATE expressions, `until` exclusive.

    `sample` is None where the sample date is the bucket of a row; `span` is the covered length in days, None where
    it differs by bucket or is not known. `end` is where the last bucket of a grain is cut short (None: it is whole):
    its length counts up to there only (spec oso §9.12).
    """

    time: TimeView
    first: exp.Expr
    until: exp.Expr
    last: exp.Expr
    sample: exp.Expr | None
    span: exp.Expr | None
    dialect: str
    end: exp.Expr | None = None


def covered(
    time: TimeView, start: date | None, end: date | None, context: DefinitionContext
) -> tuple[date, date | None]:
    """Return the days of whole buckets around `[start, end)`; history begins in 1970 and has no end of its own."""
    first = start or EPOCH
    grain = time.grain
    if grain is None or grain.is_sub_day:
        return first, end
    if start is not None:
        first = floor_date(start, grain, context.calendar)
    if end is None or end <= first:
        return first, end
    last = floor_date(end - timedelta(days=1), grain, context.calendar)
    return first, shift_date(last, grain, 1)


def calendar_run(
    time: TimeView, start: date | None, end: date | None, as_of: date | None, context: DefinitionContext
) -> Run:
    """Return the run of a grain over `[start, end)`, or up to the day `as_of` if there is no end."""
    stop = end or _day_after(as_of)
    first, until = covered(time, start, stop, context)
    bounds = _bounds(first, until, context)
    cut = None if stop is None or until is None or stop >= until or context.is_oso else _literal(stop, context)
    return Run(time=time, sample=None, span=None, dialect=context.dialect, end=cut, **bounds)


def all_time_run(end: date | None, as_of: date | None, context: DefinitionContext) -> Run:
    """Return the run over all history: up to and sampled on the day `as_of`, else the last day before `end`."""
    last = as_of or (end - timedelta(days=1) if end else None)
    since = context.start
    bounds = _bounds(EPOCH, _day_after(last), context)
    span = exp.Literal.number(max(1, (last - since).days + 1)) if last and since else None
    sample = bounds["last"].copy()
    return Run(time=TimeView(), sample=sample, span=span, dialect=context.dialect, **bounds)


def tick_run(window: Window, tick: date, context: DefinitionContext) -> Run:
    """Return the run of a rolling window that ends with the day `tick`."""
    first = _oso_start(tick, window) if context.is_oso else window_start(tick, window)
    until = tick + timedelta(days=1)
    span = (tick - first).days + (0 if context.is_oso else 1)
    return Run(
        time=TimeView(window=window),
        sample=_literal(tick, context),
        span=exp.Literal.number(span),
        dialect=context.dialect,
        **_bounds(first, until, context),
    )


def spine_run(window: Window, day: exp.Column, context: DefinitionContext) -> Run:
    """Return the run of a rolling window that ends with each day of a spine."""
    return _spine_run(window, day.name, day.table, context.dialect)


@lru_cache(maxsize=256)
def _spine_run(window: Window, name: str, table: str, dialect: str) -> Run:
    day = exp.column(name, table=table)
    first = buckets.window_start(day, window, dialect=dialect)
    span: exp.Expr = exp.Literal.number(window.days)
    if not window.is_fixed:
        span = buckets.days_between(first, buckets.add_days(day, 1, dialect=dialect), dialect=dialect)
    return Run(
        time=TimeView(window=window),
        first=first,
        until=buckets.add_days(day, 1, dialect=dialect),
        last=day.copy(),
        sample=day.copy(),
        span=span,
        dialect=dialect,
    )


def bind_run(tree: exp.Query, run: Run, context: DefinitionContext) -> None:
    """Exchange every macro of the run in a tree for what it means, innermost first and ends last.

    A comparison with an end is written anew from copies of its sides, which must not hold open macros by then.
    """
    variable = False
    found: list[tuple[exp.Expr, bool]] = []
    for open_node in tree.find_all(exp.Anonymous, exp.Parameter):
        variable = variable or isinstance(open_node, exp.Parameter)
        if (macro := macro_of(open_node)) is not None and macro.run:
            found.append((open_node, macro.name == "metrics_end"))
    for node, is_end in reversed(found):
        if not is_end:
            _put(node, _value(node, run, context))
    ends = [node for node, is_end in found if is_end]
    while ends:
        for node in reversed(ends):
            if context.is_oso or not _bind_comparison(node, run):
                _put(node, _value(node, run, context))
        ends = [node for node, macro in calls(tree) if macro.run] if len(ends) > 1 else []
    for parameter in list(tree.find_all(exp.Parameter)) if variable else ():
        bound = run.first if parameter.name.lower() == "start_ds" else run.last
        parameter.replace(exp.cast(bound.copy(), "TEXT"))


def _put(node: exp.Expr, value: exp.Expr) -> None:
    """Exchange a macro for its value, in parentheses where the operator beside it would tear the value apart."""
    torn = isinstance(node.parent, (exp.Binary, exp.Unary, exp.Interval)) and not isinstance(node.parent, exp.Predicate)
    node.replace(exp.paren(value) if torn and isinstance(value, exp.Binary) else value)


def columns_of(tree: exp.Query, alias: str) -> list[exp.Expr]:
    """Return the columns of a query as one around it reads them, written as the query writes them."""
    if tree.is_star:
        return [exp.column(exp.Star(), table=alias)]
    return [exp.column(output_name(projection).copy(), table=alias) for projection in tree.selects]


def output_name(projection: exp.Expr) -> exp.Identifier:
    """Return the name a projection is put out under, quoted as it is written."""
    name = projection.args["alias"] if isinstance(projection, exp.Alias) else projection.this
    return name if isinstance(name, exp.Identifier) else exp.to_identifier(projection.alias_or_name)


def is_bounded(tree: exp.Query) -> bool:
    """Tell whether a template leaves out rows sampled outside of a run by itself: all tables are read between dates.

    What reads a table without dates, such as a peer's, may put out any of its rows (spec oso §7.4).
    """
    own = {cte.alias for cte in tree.find_all(exp.CTE)}
    read = (table for table in tree.find_all(exp.Table) if table.find_ancestor(exp.Where, exp.Having) is None)
    return all(_begins(table.find_ancestor(exp.Select)) for table in read if _holds_rows(table, own))


def _holds_rows(table: exp.Table, own: Collection[str]) -> bool:
    """Tell whether a template reads a table that lies somewhere, its own common ones and functions left out."""
    if isinstance(table.this, exp.Identifier):
        return bool(table.db) or table.name not in own
    return isinstance(table.this, exp.Anonymous) and macro_of(table.this) is not None


def _begins(select: exp.Select | None) -> bool:
    if select is None:
        return False
    conditions = [select.args.get("where"), *(join.args.get("on") for join in select.args.get("joins") or ())]
    return any(macro.name == "metrics_start" for each in conditions if each is not None for _, macro in calls(each))


def within(tree: exp.Query, first: date, until: date | None, context: DefinitionContext) -> exp.Query:
    """Keep the rows sampled in `[first, until)` of a query that has no filter of its own (spec oso §7.4)."""
    column = exp.column(SAMPLE_DATE, table="model")
    kept = exp.select(*columns_of(tree, "model")).from_(tree.subquery("model", copy=False))
    conditions: list[exp.Expr] = [exp.GTE(this=column, expression=_literal(first, context))]
    if until is not None:
        conditions.append(exp.LT(this=column.copy(), expression=_literal(until, context)))
    kept.set("where", exp.Where(this=exp.and_(*conditions, copy=False)))
    return kept


def _bounds(first: date, until: date | None, context: DefinitionContext) -> dict[str, exp.Expr]:
    if until is None:
        today = exp.CurrentDate()
        after = buckets.add_days(exp.cast(today, "DATE"), 1, dialect=context.dialect)
        return {"first": _literal(first, context), "until": after, "last": today}
    return {
        "first": _literal(first, context),
        "until": _literal(until, context),
        "last": _literal(until - timedelta(days=1), context),
    }


def _literal(day: date, context: DefinitionContext) -> exp.Expr:
    return buckets.date_literal(day, dialect=context.dialect)


def _day_after(day: date | None) -> date | None:
    return day + timedelta(days=1) if day else None


def _oso_start(tick: date, window: Window) -> date:
    """Return OSO's start of a window: one unit less than the window has, whatever the unit (spec oso §9.5)."""
    if window.unit in _OSO_MONTHS:
        return add_months(tick, -(window.count - 1) * _OSO_MONTHS[window.unit])
    return tick - timedelta(days=(window.count - 1) * _UNITS[window.unit])


def _bind_comparison(node: exp.Expr, run: Run) -> bool:
    """Rewrite a comparison with `@metrics_end` to `< until`; return whether the macro stood in one."""
    macro = macro_of(node)
    if macro is None or macro.name != "metrics_end":
        return False
    side = node
    while isinstance(side.parent, (exp.Cast, exp.Paren, exp.Date)) and side.arg_key == "this":
        side = side.parent
    parent, place = side.parent, side.arg_key
    if isinstance(parent, exp.Between) and place == "high" and not parent.args.get("symmetric"):
        value, low = parent.this, parent.args["low"]
        node.replace(_typed(run.until, node))
        above = exp.GTE(this=value.copy(), expression=low.copy())
        below = exp.LT(this=value.copy(), expression=(parent.args["high"]).copy())
        replacement = exp.and_(above, below, copy=False)
        _swap(parent, replacement)
        return True
    upper = (isinstance(parent, (exp.LTE, exp.LT)) and place == "expression") or (
        isinstance(parent, (exp.GTE, exp.GT)) and place == "this"
    )
    if upper and isinstance(parent, exp.Binary):
        node.replace(_typed(run.until, node))
        value, bound = (parent.this, parent.expression) if place == "expression" else (parent.expression, parent.this)
        parent.replace(exp.LT(this=value.copy(), expression=bound.copy()))
        return True
    return False


def _swap(between: exp.Expr, condition: exp.Expr) -> None:
    inside_and = isinstance(between.parent, (exp.And, exp.Where, exp.Join))
    between.replace(condition if inside_and else exp.paren(condition))


def _typed(day: exp.Expr, node: exp.Expr) -> exp.Expr:
    """Return a day as the type a call asks for: a DATE unless it says 'TIMESTAMP'."""
    wanted = arguments_of(node).get("data_type")
    word = wanted.name.upper() if wanted is not None else "DATE"
    if word == "DATE":
        return day.copy()
    if word in ("TIMESTAMP", "DATETIME"):
        return exp.cast(day.copy(), exp.DType.TIMESTAMP, copy=False)
    raise MacroError(f"'{word}' is not a type of date", at=location(node), hint="write 'DATE' or 'TIMESTAMP'")


def _value(node: exp.Expr, run: Run, context: DefinitionContext) -> exp.Expr:
    macro = macro_of(node)
    name = macro.name if macro is not None else ""
    if name == "metrics_start":
        return run.first.copy() if context.is_oso else _typed(run.first, node)
    if name == "metrics_end":
        return _end(node, run, context)
    if name == "metrics_sample_date":
        return run.sample.copy() if run.sample is not None else _bucket(arguments_of(node)["base"], run, context)
    if name == "metrics_sample_interval_length":
        return _interval_length(node, run, context)
    return exp.TimeToUnix(this=exp.cast(arguments_of(node)["base"].copy(), "TIMESTAMP"))


def _end(node: exp.Expr, run: Run, context: DefinitionContext) -> exp.Expr:
    if context.is_oso:
        return (run.until if run.time.grain is not None else run.last).copy()
    typed = _typed(run.last, node)
    if isinstance(typed, exp.Cast) and typed.is_type("TIMESTAMP"):
        return exp.Sub(this=_typed(run.until, node), expression=exp.Interval(this="1", unit=exp.var("MICROSECOND")))
    return typed


def _bucket(column: exp.Expr, run: Run, context: DefinitionContext) -> exp.Expr:
    grain = run.time.grain
    if grain is None:
        raise CompileError("only grains have buckets")
    oso_month = context.is_oso and context.dialect != "duckdb" and grain in (Grain.QUARTER, Grain.HALF)
    wanted = Grain.MONTH if oso_month else grain
    return buckets.bucket(column, wanted, context.calendar, is_date=not grain.is_sub_day, dialect=context.dialect)


def _interval_length(node: exp.Expr, run: Run, context: DefinitionContext) -> exp.Expr:
    """Return the covered length in the unit asked for, never 0 outside OSO's profile (spec oso §9.4)."""
    arguments = arguments_of(node)
    base, unit = arguments["base"], arguments.get("unit")
    if unit is None:
        base, unit = _sampled_column(node), base
    word = unit.name.lower()
    if word not in ("day", "week", "month", "quarter", "year"):
        raise MacroError(f"'{word}' is not a unit of length", at=location(node), hint="use day, week, month or year")
    if run.time.is_all_time and context.is_oso:
        return exp.Literal.number(0)
    if run.time.grain is not None:
        start = _bucket(base, run, context)
        if word == "day" and run.end is None:
            return buckets.bucket_days(start, run.time.grain, dialect=context.dialect)
        after = buckets.next_bucket(start, run.time.grain, dialect=context.dialect)
        if run.end is not None:
            after = exp.func("LEAST", exp.cast(after, "DATE"), run.end.copy())
        if word == "day":
            return _at_least_one(buckets.days_between(start, after, dialect=context.dialect))
        return _at_least_one(_difference(start, after, word))
    if word == "day" and run.span is not None:
        return run.span.copy()
    first = run.first if run.span is not None else exp.cast(exp.Min(this=base.copy()), "DATE")
    if word == "day":
        return _at_least_one(buckets.days_between(first, run.until, dialect=context.dialect))
    return _at_least_one(_difference(first, run.until, word))


def _difference(start: exp.Expr, end: exp.Expr, unit: str) -> exp.Expr:
    return exp.DateDiff(this=end.copy(), expression=start.copy(), unit=exp.var(unit.upper()))


def _at_least_one(length: exp.Expr) -> exp.Expr:
    return exp.func("GREATEST", length, exp.Literal.number(1))


def _sampled_column(node: exp.Expr) -> exp.Expr:
    """Return the column that the same SELECT samples, for the short form that names only a unit."""
    select = node.find_ancestor(exp.Select)
    for other, macro in calls(select) if select is not None else ():
        if macro.name == "metrics_sample_date":
            return arguments_of(other)["base"].copy()
    raise MacroError(
        "@metrics_sample_interval_length needs the date column",
        at=location(node),
        hint="write @metrics_sample_interval_length(column, 'day')",
    )
