"""Days of SQL definitions in a project whose days are not UTC's: instants become local dates where days are meant.

OSO's definitions sample DATEs, which are local already. The time column of a declared source of instants is another
matter: where a macro of days is applied to it or compared with it, its local date is meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlglot import exp

from tallystick.compiler.definition_context import DefinitionContext
from tallystick.compiler.model import TimeView
from tallystick.definitions.source import Source
from tallystick.sql import buckets
from tallystick.sql.calendar import Calendar
from tallystick.sql.grain import Grain
from tallystick.sql.macro_calls import calls

_SAMPLED = frozenset({"metrics_sample_date", "metrics_sample_interval_length"})
_BOUNDS = frozenset({"metrics_start", "metrics_end"})
_COMPARISONS = (exp.Between, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)


def keep_local_days(tree: exp.Query, time: TimeView, context: DefinitionContext) -> None:
    """Exchange instants for their local dates in a tree that still has its macros of the run, in place.

    Buckets shorter than a day are cut from instants. OSO's profile knows no zone.
    """
    if context.is_oso or (time.grain is not None and time.grain.is_sub_day):
        return
    zoned = {name: source for name, source in context.project.sources.items() if not _calendar(source, context).is_utc}
    if not zoned:
        return
    found: dict[int, tuple[exp.Column, Source]] = {}
    for node, macro in calls(tree):
        place = node if macro.name in _SAMPLED else node.find_ancestor(*_COMPARISONS) if macro.name in _BOUNDS else None
        for column in place.find_all(exp.Column) if place is not None else ():
            source = source_of_instant(column, zoned)
            if source is not None:
                found[id(column)] = column, source
    for column, source in found.values():
        calendar = _calendar(source, context)
        day = buckets.bucket(column.copy(), Grain.DAY, calendar, is_date=False, dialect=context.dialect)
        column.replace(day)


def source_of_instant(column: exp.Column, sources: Mapping[str, Source]) -> Source | None:
    """Return the source whose time a column of a query is, where its rows are instants."""
    select = column.find_ancestor(exp.Select)
    for table in _tables(select) if select is not None else ():
        if column.table not in ("", table.alias_or_name):
            continue
        for source in sources.values():
            is_read = table.name in (source.name, (source.table or "").rpartition(".")[2])
            if is_read and source.time == column.name and not source.time_is_date:
                return source
    return None


def _tables(select: exp.Select) -> Iterator[exp.Table]:
    first = select.args.get("from_")
    for item in (*([first] if first else []), *(select.args.get("joins") or ())):
        if isinstance(item.this, exp.Table):
            yield item.this


def _calendar(source: Source, context: DefinitionContext) -> Calendar:
    return Calendar(source.time_zone or context.calendar.zone, context.calendar.week_start)
