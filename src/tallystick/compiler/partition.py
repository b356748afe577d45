"""Partitions of sources: a bound on the partition column, so that engines leave out what cannot hold the rows.

A row lies in the partition of the day it happened or of a later one, on which it arrived: the start of a span bounds
the partition from below, with a day to spare for time zones. From above nothing does, since rows may come late.
"""

from __future__ import annotations

from datetime import date, timedelta

from sqlglot import exp

from tallystick.compiler.relations import Scope
from tallystick.compiler.span import Span
from tallystick.definitions.condition import Kind
from tallystick.definitions.condition_sql import kind_of
from tallystick.sql import buckets
from tallystick.sql.calendar import window_start
from tallystick.sql.grain import Window

SPARE = timedelta(days=1)


def from_partition(rows: Scope, span: Span, window: Window | None = None) -> exp.Expr | None:
    """Return the predicate that leaves out partitions before a bound span, or None where there is nothing to say."""
    column = rows.source.partition
    if column is None or column == rows.source.time or not span.is_bound or span.first_day is None:
        return None
    day = span.first_day if window is None else window_start(span.first_day, window)
    kind = kind_of(rows.source, column)
    return exp.GTE(this=rows.parse(column), expression=_bound(day - SPARE, kind, rows.dialect))


def _bound(day: date, kind: Kind | None, dialect: str) -> exp.Expr:
    """Return a day as the partition column spells it: a date unless the source says text or a number (20250131)."""
    if kind is Kind.STRING:
        return exp.Literal.string(day.isoformat())
    if kind is Kind.NUMBER:
        return exp.Literal.number(f"{day:%Y%m%d}")
    return buckets.date_literal(day, dialect=dialect)
