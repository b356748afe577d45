"""Rolling windows of SQL definitions as one query for many days (spec oso §7.2, §13.5).

Equal to running the definition once per day. A grouped SELECT joins a spine of days; anything else is applied to
each day laterally, and where an engine has no lateral joins a few days are written out one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from functools import reduce

from sqlglot import exp

from tallystick.compiler.definition_context import DefinitionContext
from tallystick.compiler.run_dates import EPOCH, SAMPLE_DATE, bind_run, columns_of, spine_run, tick_run, within
from tallystick.errors import CompileError, TooManyDaysError
from tallystick.sql import buckets
from tallystick.sql.calendar import SUNDAY
from tallystick.sql.grain import Window
from tallystick.sql.macro_calls import calls, macro_of

LATERAL_DIALECTS = frozenset({"duckdb", "postgres", "snowflake", "spark", "databricks"})
INNER_LATERAL_DIALECTS = frozenset({"duckdb"})
"""Dialects among them whose lateral joins take inner and one-sided joins only."""
MAX_WRITTEN_DAYS = 62
_TICKS, _DAY = "ticks", "tick_day"


def roll(
    tree: exp.Query, window: Window, start: date, end: date, context: DefinitionContext, cron: str | None = None
) -> exp.Query:
    """Bind a rolling definition for every day t with start <= t < end; raise CompileError for none or too many.

    OSO's profile samples the ticks of `cron` only: Sundays, or the first days of months or years.
    """
    if end <= start:
        raise CompileError(f"no day lies between {start} and {end}", hint="end is exclusive")
    if not _reads_run(tree):
        return within(tree, start, end, context)
    days = (start + timedelta(days=n) for n in range((end - start).days))
    if context.is_oso:
        return _written_out(tree, window, [day for day in days if _TICKS_OF.get(cron or "", _every_day)(day)], context)
    if (end - start).days == 1:
        bind_run(tree, tick_run(window, start, context), context)
        return tree
    if _rolls_at_once(tree, context):
        first, until = (buckets.date_literal(day, dialect=context.dialect) for day in (start, end))
        return _at_once(tree, window, first, until, context)
    return _written_out(tree, window, list(days), context)


def _every_day(_: date) -> bool:
    return True


_TICKS_OF: Mapping[str, Callable[[date], bool]] = {
    "@weekly": lambda day: day.isoweekday() == SUNDAY,
    "@monthly": lambda day: day.day == 1,
    "@yearly": lambda day: (day.month, day.day) == (1, 1),
}


def roll_over(
    tree: exp.Query, window: Window, first: exp.Expr, until: exp.Expr, context: DefinitionContext
) -> exp.Query:
    """Bind a rolling definition for every day between two DATE expressions, `until` exclusive.

    Raises CompileError where that takes a query per day, whose number is not known before the dates are.
    """
    if not _reads_run(tree):
        return tree
    if not _rolls_at_once(tree, context):
        raise CompileError(
            f"this definition cannot be rolled over a range of days in one {context.dialect} query",
            hint="group it by @metrics_sample_date and filter it with @metrics_start",
        )
    return _at_once(tree, window, first, until, context)


def _rolls_at_once(tree: exp.Query, context: DefinitionContext) -> bool:
    if context.is_oso or context.dialect not in LATERAL_DIALECTS:
        return not context.is_oso and _joins_spine(tree)
    return context.dialect not in INNER_LATERAL_DIALECTS or _joins_spine(tree) or not _joins_oddly(tree)


def _joins_oddly(tree: exp.Query) -> bool:
    """Tell whether a query joins both sides in full, or by whether there is a partner at all."""
    return any(join.side == "FULL" or join.kind in ("SEMI", "ANTI", "POSITIONAL") for join in tree.find_all(exp.Join))


def _at_once(
    tree: exp.Query, window: Window, first: exp.Expr, until: exp.Expr, context: DefinitionContext
) -> exp.Query:
    if _joins_spine(tree):
        return _with_spine(tree, window, first, until, context)
    return _lateral(tree, window, first, until, context)


def _arms(tree: exp.Expr) -> list[exp.Expr]:
    if isinstance(tree, exp.Union) and not tree.args.get("with_"):
        return [*_arms(tree.left), *_arms(tree.right)]
    return [tree]


def _joins_spine(tree: exp.Query) -> bool:
    """Tell whether every arm is one grouped SELECT whose rows and groups depend on the day in plain sight."""
    return all(isinstance(arm, exp.Select) and _is_plain(arm) for arm in _arms(tree))


def _is_plain(select: exp.Select) -> bool:
    group = select.args.get("group")
    if not isinstance(group, exp.Group) or any(
        select.args.get(key) for key in ("with_", "limit", "offset", "distinct", "qualify", "laterals")
    ):
        return False
    inner = (query for query in select.find_all(exp.Query) if query is not select)
    if select.find(exp.Window) is not None or any(_reads_run(query) for query in inner):
        return False
    sampled = any(
        (macro := macro_of(key)) is not None and macro.name == "metrics_sample_date" for key in group.expressions
    )
    where = select.args.get("where")
    started = where is not None and any(macro.name == "metrics_start" for _, macro in calls(where))
    return sampled and started and select.args.get("from_") is not None


def _reads_run(query: exp.Query) -> bool:
    return any(macro.run for _, macro in calls(query))


def _spine(first: exp.Expr, until: exp.Expr, context: DefinitionContext) -> exp.Expr:
    return buckets.spine(first, until, _TICKS, dialect=context.dialect, column=_DAY)


def _with_spine(
    tree: exp.Query, window: Window, first: exp.Expr, until: exp.Expr, context: DefinitionContext
) -> exp.Query:
    for arm in _arms(tree):
        if isinstance(arm, exp.Select):
            arm.append("joins", exp.Join(this=_spine(first, until, context), kind="CROSS"))
    bind_run(tree, spine_run(window, exp.column(_DAY, table=_TICKS), context), context)
    return tree


def _lateral(
    tree: exp.Query, window: Window, first: exp.Expr, until: exp.Expr, context: DefinitionContext
) -> exp.Query:
    day = exp.column(_DAY, table=_TICKS)
    bind_run(tree, spine_run(window, day, context), context)
    lateral = exp.Lateral(this=exp.Subquery(this=tree), alias=exp.TableAlias(this=exp.to_identifier("model")))
    return (
        exp.select(*columns_of(tree, "model"))
        .from_(_spine(first, until, context))
        .join(lateral, join_type="cross")
        .where(exp.column(SAMPLE_DATE, table="model").eq(day.copy()))
    )


def _written_out(tree: exp.Query, window: Window, days: list[date], context: DefinitionContext) -> exp.Query:
    """Write the definition out once per day; without any day, once for none of its rows."""
    if len(days) > MAX_WRITTEN_DAYS:
        raise TooManyDaysError(
            f"this definition cannot be rolled over {len(days)} days in one {context.dialect} query", MAX_WRITTEN_DAYS
        )
    if len(days) == 1:
        bind_run(tree, tick_run(window, days[0], context), context)
        return tree
    arms: list[exp.Query] = []
    for day in days or [EPOCH]:
        arm = tree.copy()
        bind_run(arm, tick_run(window, day, context), context)
        arms.append(exp.select("*").from_(arm.subquery("model")))
    if not days:
        return exp.select("*").from_(arms[0].subquery("none")).where(exp.false())
    return reduce(lambda a, b: exp.union(a, b, distinct=False, copy=False), arms[1:], arms[0])
