"""Buckets as SQL trees: what `calendar` says, in the words of each dialect.

Every builder takes the dialect its tree is for. Days and longer buckets are DATEs on the local calendar; shorter ones
are instants, in the engine's plain timestamp type holding UTC. Engines pin their sessions to UTC, so an instant without
a zone means UTC.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import lru_cache

from sqlglot import exp

from tallystick.errors import CompileError
from tallystick.sql.calendar import MONDAY, UTC_CALENDAR, Calendar, local_date, window_months
from tallystick.sql.dates import dates_of
from tallystick.sql.grain import Grain, Window, WindowUnit
from tallystick.sql.template import fill

_MINUTES = {Grain.FIVE_MINUTES: 5, Grain.FIFTEEN_MINUTES: 15, Grain.HOUR: 60, Grain.SIX_HOURS: 360}
_MONTHS = {Grain.MONTH: 1, Grain.QUARTER: 3, Grain.HALF: 6, Grain.YEAR: 12}
_UNIT_DAYS = {WindowUnit.DAY: 1, WindowUnit.WEEK: 7}
_UNIT_MONTHS = {WindowUnit.MONTH: 1, WindowUnit.QUARTER: 3, WindowUnit.YEAR: 12}


def bucket(column: exp.Expr, grain: Grain, calendar: Calendar, *, is_date: bool, dialect: str) -> exp.Expr:
    """Return the start of the bucket a time column falls in: a DATE from day up, a UTC timestamp below.

    A date column (`is_date`) already holds local dates and is never converted between zones; CompileError if shorter
    buckets are asked of it.
    """
    if grain.is_sub_day:
        if is_date:
            raise CompileError(
                f"{grain} buckets cannot be cut from a date", hint="give the source a timestamp, or use day or coarser"
            )
        return _instant_bucket(column, grain, calendar, dialect)
    return date_bucket(
        _local_date(column, calendar, is_date=is_date, dialect=dialect), grain, calendar, dialect=dialect
    )


def date_bucket(day: exp.Expr, grain: Grain, calendar: Calendar, *, dialect: str) -> exp.Expr:
    """Return the first day of the bucket that a DATE expression falls in; CompileError for a grain below day."""
    dates = dates_of(dialect)
    if grain is Grain.DAY:
        return day.copy()
    if grain is Grain.WEEK and calendar.week_start != MONDAY:
        if dates.sunday_week:
            return fill(dates.sunday_week, dates.dialect, d=day)
        # Sunday starts the week that the Monday after it starts in ISO weeks.
        monday = fill(dates.week, dates.dialect, d=add_days(day, 1, dialect=dialect))
        return add_days(monday, -1, dialect=dialect)
    if grain.is_sub_day:
        raise CompileError(f"{grain} buckets cannot be cut from a date", hint="use day or a coarser grain")
    template: str = getattr(dates, grain.value)
    return fill(template, dates.dialect, d=day)


def _local_date(column: exp.Expr, calendar: Calendar, *, is_date: bool, dialect: str) -> exp.Expr:
    dates = dates_of(dialect)
    if is_date:
        return fill(dates.to_date, dates.dialect, x=column)
    if calendar.is_utc:
        return fill(dates.utc_date, dates.dialect, x=column)
    return fill(dates.zone_date, dates.dialect, x=column, zone=exp.Literal.string(calendar.zone))


def _instant_bucket(column: exp.Expr, grain: Grain, calendar: Calendar, dialect: str) -> exp.Expr:
    dates, minutes = dates_of(dialect), _MINUTES[grain]
    if calendar.is_utc:
        template = dates.hour_utc if grain is Grain.HOUR else dates.sub_utc.format(n=minutes)
        return fill(template, dates.dialect, x=column)
    zone = exp.Literal.string(calendar.zone)
    if grain is Grain.SIX_HOURS:
        return fill(dates.six_zone, dates.dialect, x=column, zone=zone)
    return fill(dates.sub_zone.format(n=minutes), dates.dialect, x=column, zone=zone)


def literal_instant(instant: datetime, *, is_date: bool, dialect: str, calendar: Calendar = UTC_CALENDAR) -> exp.Expr:
    """Return a typed literal to compare the raw time column with; for a date column the local date of the instant."""
    if is_date:
        return date_literal(local_date(instant, calendar), dialect=dialect)
    utc = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    dates = dates_of(dialect)
    text = utc.replace(tzinfo=None).isoformat(sep=" ")
    return fill(dates.instant, dates.dialect, text=exp.Literal.string(text))


def date_literal(day: date, *, dialect: str) -> exp.Expr:
    """Return a DATE literal."""
    return _date_literal(day, dialect).copy()


@lru_cache(maxsize=1024)
def _date_literal(day: date, dialect: str) -> exp.Expr:
    dates = dates_of(dialect)
    return fill(dates.date, dates.dialect, text=exp.Literal.string(day.isoformat()))


def add_days(day: exp.Expr, n: int | exp.Expr, *, dialect: str) -> exp.Expr:
    """Return the DATE n days later; `n` may be an integer expression."""
    dates = dates_of(dialect)
    if dates.add_days == "_d + _n":
        if not isinstance(n, int):
            # DuckDB adds INTEGERs to dates, but counts days in BIGINTs.
            return fill("_d + CAST(_n AS INT)", dates.dialect, d=day, n=n)
        if n < 0:
            return fill("_d - _n", dates.dialect, d=day, n=exp.Literal.number(-n))
    return fill(dates.add_days, dates.dialect, d=day, n=_number(n))


def add(day: exp.Expr, n: int, unit: WindowUnit, *, dialect: str) -> exp.Expr:
    """Return the DATE n units later, the last day of a month where it is too short for the day."""
    if unit in _UNIT_DAYS:
        return add_days(day, n * _UNIT_DAYS[unit], dialect=dialect)
    return _add_months(day, n * _UNIT_MONTHS[unit], dialect)


def _add_months(day: exp.Expr, n: int, dialect: str) -> exp.Expr:
    dates = dates_of(dialect)
    return fill(dates.add_months.format(n=n), dates.dialect, d=day, n=_number(n))


def day_number(day: exp.Expr, *, dialect: str) -> exp.Expr:
    """Return the integer number of days from 1970-01-01 to a DATE."""
    dates = dates_of(dialect)
    return fill(dates.number, dates.dialect, d=day)


def day_from_number(number: exp.Expr, *, dialect: str) -> exp.Expr:
    """Return the DATE that lies an integer number of days after 1970-01-01."""
    dates = dates_of(dialect)
    return fill(dates.from_number, dates.dialect, n=number)


def days_between(start: exp.Expr, end: exp.Expr, *, dialect: str) -> exp.Expr:
    """Return the integer number of days from one DATE to another."""
    dates = dates_of(dialect)
    return fill(dates.days_between, dates.dialect, a=start, b=end)


def next_bucket(start: exp.Expr, grain: Grain, *, dialect: str, calendar: Calendar = UTC_CALENDAR) -> exp.Expr:
    """Return the start of the bucket after the one that starts at `start` (a DATE from day up, else a timestamp)."""
    if grain in _MONTHS:
        return _add_months(start, _MONTHS[grain], dialect)
    if not grain.is_sub_day:
        return add_days(start, 7 if grain is Grain.WEEK else 1, dialect=dialect)
    if grain is Grain.SIX_HOURS and not calendar.is_utc:
        # Where clocks change, six local hours are five or seven: look into the next bucket, then back to its start.
        return _instant_bucket(_add_minutes(start, 8 * 60, dialect), grain, calendar, dialect)
    return _add_minutes(start, _MINUTES[grain], dialect)


def _add_minutes(start: exp.Expr, n: int, dialect: str) -> exp.Expr:
    dates = dates_of(dialect)
    return fill(dates.add_minutes.format(n=n), dates.dialect, t=start, n=_number(n))


def bucket_days(start: exp.Expr, grain: Grain, *, dialect: str) -> exp.Expr:
    """Return the length in days of the bucket that starts at a DATE: 28 to 31, 90 to 92, … as the calendar has it."""
    if grain.is_sub_day:
        raise CompileError(f"{grain} buckets are shorter than a day", hint="use day or a coarser grain")
    if grain not in _MONTHS:
        return exp.Literal.number(7 if grain is Grain.WEEK else 1)
    return days_between(start, next_bucket(start, grain, dialect=dialect), dialect=dialect)


def spine(start: exp.Expr, end: exp.Expr, alias: str, *, dialect: str, column: str = "day") -> exp.Subquery:
    """Return a table with one DATE column that holds every day with start <= day < end; empty if there is none."""
    dates = dates_of(dialect)
    days = fill(dates.spine, dates.dialect, start=start, end=end)
    if column != "day":
        named = exp.alias_(exp.column("day", table="s"), column)
        days = exp.select(named).from_(exp.Subquery(this=days, alias=exp.TableAlias(this=exp.to_identifier("s"))))
    return exp.Subquery(this=days, alias=exp.TableAlias(this=exp.to_identifier(alias)))


def window_start(day: exp.Expr, window: Window, *, dialect: str) -> exp.Expr:
    """Return the first DATE inside the window `(day - count units, day]`."""
    if window.is_fixed:
        return add_days(day, 1 - window.days, dialect=dialect)
    return add_days(_add_months(day, -window_months(window), dialect), 1, dialect=dialect)


def _number(n: int | exp.Expr) -> exp.Expr:
    if isinstance(n, int):
        return exp.Literal.number(n)
    return n
