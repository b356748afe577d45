"""Stored rows as spans of days, for readers who need not have every day written out (performance spec §6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from tallystick.compiler.model import Model
from tallystick.compiler.one_pass import days
from tallystick.compiler.one_pass.family import Family, Member
from tallystick.compiler.one_pass.gather import ID, dimension
from tallystick.compiler.one_pass.held import Reach, condition, held_days, stored_rows
from tallystick.compiler.one_pass.interning import entity_table
from tallystick.compiler.one_pass.layout import VIEW, Layout
from tallystick.compiler.one_pass.names import DIALECT, Schema, quoted
from tallystick.compiler.one_pass.views import keys_of_query, value_columns
from tallystick.sql import buckets
from tallystick.sql.calendar import Calendar
from tallystick.sql.grain import Grain

FUNCTIONS = ("count", "sum", "avg", "min", "max")
_STEPS = {
    Grain.WEEK: "7 DAYS",
    Grain.MONTH: "1 MONTH",
    Grain.QUARTER: "3 MONTHS",
    Grain.HALF: "6 MONTHS",
    Grain.YEAR: "12 MONTHS",
}


@dataclass(frozen=True, slots=True)
class Totals:
    """What to sum up over the rows of a model: functions of its value, per bucket of a grain, per entity or over all.

    `wide` says that sums may not fit 64 bits.
    """

    functions: tuple[str, ...]
    calendar: Calendar
    per: Grain | None = None
    by_entity: bool = False
    wide: bool = False


def span_rows(model: Model, member: Member, layout: Layout, schema: Schema, reach: Reach) -> str:
    """Return the query of stored rows as (eid, first, until, value, …), of entities of every kind."""
    held = held_days(model, layout, reach)
    values = ", ".join(tree.sql(DIALECT) for tree in value_columns(member, layout, "c"))
    rows = stored_rows(layout, schema, held)
    return (
        f"SELECT c.eid AS eid, {held.first} AS first, {held.until} AS until, {values} FROM {rows} AS c{condition(held)}"
    )


def series_rows(model: Model, member: Member, layout: Layout, schema: Schema) -> tuple[str, str | None]:
    """Return queries of stored rows as (eid, first, until, value, …): what is settled, and what may still change.

    Both lack a condition on entities, and are as plain as can be: they take less time to run than to plan. Void rows
    end before they begin. Days have no rows apart that may still change.
    """
    values = ", ".join(tree.sql(DIALECT) for tree in value_columns(member, layout, "c"))
    view = model.time
    until = "c.nxt" if view.window is not None else "least(c.nxt, c.day + 1)"
    if view.grain is Grain.DAY:
        rows = f"SELECT c.eid, c.day AS first, c.day + 1 AS until, {values} FROM {schema.table(layout.days)} AS c"
        return f"{rows} WHERE true", None
    rows = f"SELECT c.eid, c.day AS first, {until} AS until, {values} FROM {{}} AS c WHERE c.{VIEW} = {{}}"
    number = layout.number(view.window or view.grain)
    recent = schema.table(layout.recent(layout.spans))
    return rows.format(schema.table(layout.spans), number), rows.format(recent, number) + " ORDER BY eid"


def numbers_of(model: Model, family: Family, member: Member, schema: Schema, ids: Sequence[str | int]) -> str:
    """Return the query of (eid, id, breakdowns) of some entities of a kind, of queries with all they put beside."""
    columns = [quoted(ID), *(quoted(dimension(i)) for i in range(len(family.by)))]
    if member.query is not None:
        columns = [f"{sql} AS {quoted(name)}" for name, sql in keys_of_query(model, family, member.query)]
    some = exp.column(ID, "e", quoted=True).isin(*ids).sql(DIALECT)
    return f"SELECT eid, {', '.join(columns)} FROM {schema.table(entity_table(family, model.entity))} AS e WHERE {some}"


def total_rows(model: Model, family: Family, spans: str, schema: Schema, ask: Totals, ids: Sequence[str | int]) -> str:
    """Return the query of totals over spans: (bucket, id, breakdowns, one column per function), each if asked for.

    They have working names, which no dimension has, and are ordered by all but the functions. A span counts once for each of its days; none of them is written out, unless totals per day are asked for.
    """
    names = [*([ID] if ask.by_entity else []), *(dimension(i) for i in range(len(family.by)))]
    keys = [f"e.{quoted(name)} AS {quoted(name)}" for name in names]
    only = f" WHERE {exp.column(ID, 'e', quoted=True).isin(*ids).sql(DIALECT)}" if ids else ""
    entity = schema.table(entity_table(family, model.entity))
    found = ", ".join([*map(quoted, names), "value", "first", "until"])
    columns = ", ".join([*keys, "s.value AS value", "s.first AS first", "s.until AS until"])
    rows = f"SELECT {columns} FROM ({spans}) AS s JOIN {entity} AS e ON e.eid = s.eid{only}"
    heads = [*map(quoted, names)]
    if ask.per is not None:
        rows = _cut(rows, found, ask.per, ask.calendar)
        heads.insert(0, "bucket")
    else:
        rows = f"SELECT *, until - first AS days FROM ({rows}) AS r"
    functions = [f"{_total(name, wide=ask.wide)} AS {name}" for name in ask.functions]
    tail = f" GROUP BY {', '.join(heads)} ORDER BY {', '.join(heads)}" if heads else ""
    return f"SELECT {', '.join([*heads, *functions])} FROM ({rows}) AS t{tail}"


def _cut(rows: str, columns: str, grain: Grain, calendar: Calendar) -> str:
    """Cut spans at the borders of buckets; `days` is what is left of each."""
    if grain is Grain.DAY:
        day = days.as_date("unnest(range(first, until))::INTEGER")
        return f"SELECT {columns}, {day} AS bucket, 1 AS days FROM ({rows}) AS r"
    start = buckets.date_bucket(exp.column("day"), grain, calendar, dialect=DIALECT).sql(DIALECT)
    dated = f"SELECT *, {days.as_date('first')} AS day FROM ({rows}) AS r"
    every = f"range(({start})::DATE, {days.as_date('until')}, INTERVAL '{_STEPS[grain]}')"
    spread = f"SELECT {columns}, unnest({every})::DATE AS bucket FROM ({dated}) AS d"
    after = buckets.next_bucket(exp.column("bucket"), grain, dialect=DIALECT)
    begin, end = (
        buckets.day_number(tree, dialect=DIALECT).sql(DIALECT)
        for tree in (exp.column("bucket"), exp.cast(after, "date"))
    )
    return f"SELECT *, least(until, {end}) - greatest(first, {begin}) AS days FROM ({spread}) AS b"


def _total(name: str, *, wide: bool) -> str:
    value = "value::HUGEINT" if wide else "value"
    if name == "count":
        return "coalesce(sum(days) FILTER (WHERE value IS NOT NULL), 0)::BIGINT"
    if name == "sum":
        return f"sum({value} * days)"
    if name == "avg":
        return f"sum({value} * days)::DOUBLE / sum(days) FILTER (WHERE value IS NOT NULL)"
    return f"{name}(value)"
