from __future__ import annotations

import calendar as stdlib_calendar
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import DefinitionError
from tallystick.sql.calendar import (
    UTC_CALENDAR,
    BucketState,
    Calendar,
    bucket_range,
    floor,
    floor_date,
    local_date,
    shift,
    shift_date,
    start_of_day,
    state,
    widen,
    window_leave,
    window_start,
)
from tallystick.sql.grain import Grain, Window, WindowUnit

# Zones by what they do: Berlin and New York change at night, Sao Paulo, Cairo and Asuncion at midnight, Havana and
# the Azores show midnight twice, Lord Howe changes by half an hour, Kathmandu and Chatham are off by quarters.
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Havana",
    "America/Asuncion",
    "Atlantic/Azores",
    "Africa/Cairo",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Pacific/Chatham",
    "Australia/Lord_Howe",
    "Australia/Adelaide",
    "Pacific/Kiritimati",
)
SUB_DAY = tuple(grain for grain in Grain if grain.is_sub_day)
DAILY = tuple(grain for grain in Grain if not grain.is_sub_day)

instants = st.datetimes(datetime(1995, 1, 1), datetime(2035, 1, 1)).map(lambda d: d.replace(tzinfo=UTC))
days = st.dates(date(1995, 1, 1), date(2035, 1, 1))
calendars = st.builds(Calendar, st.sampled_from(ZONES), st.sampled_from((1, 7)))
whole_hour_calendars = calendars.filter(lambda c: c.zone != "Australia/Lord_Howe")
grains = st.sampled_from(Grain)
windows = st.sampled_from([Window(n, unit) for unit in WindowUnit for n in (1, 2, 3, 7, 10)])


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_unknown_zone_names_the_nearest() -> None:
    with pytest.raises(DefinitionError, match=r"'Europe/Berln' is not a time zone \(did you mean 'Europe/Berlin'\?\)"):
        Calendar("Europe/Berln")
    with pytest.raises(DefinitionError, match="did you mean 'America/New_York'"):
        Calendar("New York")
    with pytest.raises(DefinitionError, match="IANA"):
        Calendar("../../etc/passwd")


@pytest.mark.parametrize("day", [0, 2, 6, 8])
def test_weeks_start_on_monday_or_sunday(day: int) -> None:
    with pytest.raises(DefinitionError, match="1 for Monday or 7 for Sunday"):
        Calendar("UTC", day)


@pytest.mark.parametrize(
    ("instant", "grain", "zone", "week_start", "expected"),
    [
        ("2024-05-15T13:47:31.5", Grain.FIVE_MINUTES, "UTC", 1, "2024-05-15T13:45"),
        ("2024-05-15T13:47:31.5", Grain.FIFTEEN_MINUTES, "UTC", 1, "2024-05-15T13:45"),
        ("2024-05-15T13:47:31.5", Grain.HOUR, "UTC", 1, "2024-05-15T13:00"),
        ("2024-05-15T13:47:31.5", Grain.SIX_HOURS, "UTC", 1, "2024-05-15T12:00"),
        ("2024-05-15T13:47:31.5", Grain.DAY, "UTC", 1, "2024-05-15T00:00"),
        ("2024-05-15T13:47:31.5", Grain.WEEK, "UTC", 1, "2024-05-13T00:00"),
        ("2024-05-15T13:47:31.5", Grain.WEEK, "UTC", 7, "2024-05-12T00:00"),
        ("2024-05-12T00:00", Grain.WEEK, "UTC", 7, "2024-05-12T00:00"),
        ("2024-05-12T00:00", Grain.WEEK, "UTC", 1, "2024-05-06T00:00"),
        ("2024-05-15T13:47:31.5", Grain.MONTH, "UTC", 1, "2024-05-01T00:00"),
        ("2024-05-15T13:47:31.5", Grain.QUARTER, "UTC", 1, "2024-04-01T00:00"),
        ("2024-05-15T13:47:31.5", Grain.HALF, "UTC", 1, "2024-01-01T00:00"),
        ("2024-07-01T00:00", Grain.HALF, "UTC", 1, "2024-07-01T00:00"),
        ("2024-05-15T13:47:31.5", Grain.YEAR, "UTC", 1, "2024-01-01T00:00"),
        # 31 December 23:30 in UTC is already the new year in Berlin.
        ("2023-12-31T23:30", Grain.YEAR, "Europe/Berlin", 1, "2023-12-31T23:00"),
        # Kathmandu is 5:45 ahead: its hours start at quarter past in UTC.
        ("2024-05-15T13:47", Grain.HOUR, "Asia/Kathmandu", 1, "2024-05-15T13:15"),
        ("2024-05-15T13:47", Grain.SIX_HOURS, "Asia/Kathmandu", 1, "2024-05-15T12:15"),
        # Berlin's hour from 2 to 3 happens twice on 27 October 2024: two hourly buckets, one of six hours.
        ("2024-10-27T00:30", Grain.HOUR, "Europe/Berlin", 1, "2024-10-27T00:00"),
        ("2024-10-27T01:30", Grain.HOUR, "Europe/Berlin", 1, "2024-10-27T01:00"),
        ("2024-10-27T01:30", Grain.SIX_HOURS, "Europe/Berlin", 1, "2024-10-26T22:00"),
        ("2024-10-27T04:59", Grain.SIX_HOURS, "Europe/Berlin", 1, "2024-10-26T22:00"),
        ("2024-10-27T05:00", Grain.SIX_HOURS, "Europe/Berlin", 1, "2024-10-27T05:00"),
        # Midnight is skipped in Cairo on 26 April 2024 and happens twice in Havana on 3 November 2024.
        ("2024-04-25T22:30", Grain.DAY, "Africa/Cairo", 1, "2024-04-25T22:00"),
        ("2024-11-03T05:30", Grain.DAY, "America/Havana", 1, "2024-11-03T04:00"),
        # Toronto set clocks forward at 23:30 until 1919: that new day began at half past midnight.
        ("1919-03-31T04:45", Grain.DAY, "America/Toronto", 1, "1919-03-31T04:30"),
    ],
)
def test_floor(instant: str, grain: Grain, zone: str, week_start: int, expected: str) -> None:
    assert floor(utc(instant), grain, Calendar(zone, week_start)) == utc(expected)


def test_naive_is_utc_and_aware_is_converted() -> None:
    assert floor(datetime(2024, 1, 1, 5, 59), Grain.SIX_HOURS) == utc("2024-01-01")
    berlin = datetime(2024, 1, 1, 0, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert floor(berlin, Grain.DAY) == utc("2023-12-31")
    assert floor(berlin, Grain.DAY).tzinfo is UTC


@given(instants, grains, calendars)
def test_an_instant_is_within_its_bucket(instant: datetime, grain: Grain, calendar: Calendar) -> None:
    start = floor(instant, grain, calendar)
    assert start <= instant < shift(start, grain, 1, calendar)


@given(instants, grains, whole_hour_calendars)
def test_floor_is_idempotent_and_shift_comes_back(instant: datetime, grain: Grain, calendar: Calendar) -> None:
    start = floor(instant, grain, calendar)
    assert floor(start, grain, calendar) == start
    assert shift(shift(start, grain, 1, calendar), grain, -1, calendar) == start
    assert shift(start, grain, 3, calendar) == shift(shift(start, grain, 1, calendar), grain, 2, calendar)


@given(instants, st.sampled_from(DAILY), calendars)
def test_days_and_longer_follow_the_local_date(instant: datetime, grain: Grain, calendar: Calendar) -> None:
    start = floor(instant, grain, calendar)
    zone = ZoneInfo(calendar.zone)
    assert start.astimezone(zone).date() == floor_date(instant.astimezone(zone).date(), grain, calendar)
    assert (start - timedelta(microseconds=1)).astimezone(zone).date() < start.astimezone(zone).date()


@given(instants, st.sampled_from(SUB_DAY), whole_hour_calendars)
def test_shorter_buckets_start_on_the_local_grid(instant: datetime, grain: Grain, calendar: Calendar) -> None:
    local = floor(instant, grain, calendar).astimezone(ZoneInfo(calendar.zone))
    minutes = {Grain.FIVE_MINUTES: 5, Grain.FIFTEEN_MINUTES: 15}.get(grain, 60)
    assert (local.minute % minutes, local.second, local.microsecond) == (0, 0, 0)
    if grain is Grain.SIX_HOURS and local.hour % 6:
        # The only way off the grid: the clock jumped over the local start of the bucket.
        just_before = (local.astimezone(UTC) - timedelta(microseconds=1)).astimezone(local.tzinfo)
        assert local.utcoffset() != just_before.utcoffset()


@given(days, calendars)
def test_a_week_starts_on_its_day(day: date, calendar: Calendar) -> None:
    start = floor_date(day, Grain.WEEK, calendar)
    assert start.isoweekday() == calendar.week_start
    assert 0 <= (day - start).days < 7


@pytest.mark.parametrize(
    ("day", "hours"), [("2024-03-31", 23), ("2024-10-27", 25), ("2024-05-01", 24)], ids=["gap", "fold", "usual"]
)
@pytest.mark.parametrize("grain", [Grain.FIVE_MINUTES, Grain.FIFTEEN_MINUTES, Grain.HOUR])
def test_a_day_with_a_clock_change_has_more_or_fewer_buckets(day: str, hours: int, grain: Grain) -> None:
    berlin = Calendar("Europe/Berlin")
    start = start_of_day(date.fromisoformat(day), berlin)
    end = shift(start, Grain.DAY, 1, berlin)
    buckets = list(bucket_range(start, end, grain, berlin))
    per_hour = {Grain.FIVE_MINUTES: 12, Grain.FIFTEEN_MINUTES: 4, Grain.HOUR: 1}[grain]
    assert len(buckets) == hours * per_hour
    assert len(list(bucket_range(start, end, Grain.SIX_HOURS, berlin))) == 4


@pytest.mark.parametrize("around", ["2024-04-06T13:00", "2024-10-05T13:00"], ids=["fold", "gap"])
def test_half_hour_clock_changes_still_tile_time(around: str) -> None:
    calendar = Calendar("Australia/Lord_Howe")
    start = utc(around)
    minutes = [start + timedelta(minutes=n) for n in range(240)]
    for grain in SUB_DAY:
        walked = sorted({floor(minute, grain, calendar) for minute in minutes})
        assert list(bucket_range(minutes[0], minutes[-1], grain, calendar)) == walked
        backwards = [walked[-1]]
        while backwards[-1] > walked[0]:
            backwards.append(shift(backwards[-1], grain, -1, calendar))
        assert backwards[::-1] == walked


def test_a_skipped_date_has_no_time_of_its_own() -> None:
    # Samoa went from 29 to 31 December 2011.
    apia = Calendar("Pacific/Apia")
    assert start_of_day(date(2011, 12, 30), apia) == start_of_day(date(2011, 12, 31), apia)
    walked = list(bucket_range(utc("2011-12-29T10:00"), utc("2012-01-01T09:00"), Grain.DAY, apia))
    assert [local_date(start, apia).isoformat() for start in walked[:2]] == ["2011-12-29", "2011-12-31"]


@given(instants, st.timedeltas(timedelta(), timedelta(days=40)), st.sampled_from(DAILY), calendars)
def test_ranges_hold_what_was_asked_for(start: datetime, length: timedelta, grain: Grain, calendar: Calendar) -> None:
    end = start + length
    first, last = widen(start, end, grain, calendar)
    buckets = list(bucket_range(start, end, grain, calendar))
    if not length:
        assert buckets == [] and first == last
        return
    assert first <= start and end <= last
    assert buckets == list(bucket_range(first, last, grain, calendar))
    assert buckets[0] == first and shift(buckets[-1], grain, 1, calendar) == last


def test_widen_keeps_whole_buckets() -> None:
    assert widen(utc("2024-01-01"), utc("2024-04-01"), Grain.QUARTER) == (utc("2024-01-01"), utc("2024-04-01"))
    assert widen(utc("2024-02-10"), utc("2024-04-01T00:00:01"), Grain.QUARTER) == (utc("2024-01-01"), utc("2024-07-01"))


@pytest.mark.parametrize("grain", SUB_DAY)
def test_dates_have_no_shorter_buckets(grain: Grain) -> None:
    with pytest.raises(DefinitionError, match="day or a coarser grain"):
        floor_date(date(2024, 1, 1), grain)
    with pytest.raises(DefinitionError, match="day or a coarser grain"):
        shift_date(date(2024, 1, 1), grain, 1)


@pytest.mark.parametrize(
    ("day", "window", "first", "leave"),
    [
        ("2024-01-30", Window(30), "2024-01-01", "2024-02-29"),
        ("2024-01-30", Window(1), "2024-01-30", "2024-01-31"),
        ("2024-01-14", Window(2, WindowUnit.WEEK), "2024-01-01", "2024-01-28"),
        ("2024-03-31", Window(1, WindowUnit.MONTH), "2024-03-01", "2024-05-01"),
        ("2024-01-31", Window(1, WindowUnit.MONTH), "2024-01-01", "2024-03-01"),
        ("2024-02-29", Window(1, WindowUnit.YEAR), "2023-03-01", "2025-03-01"),
        ("2024-03-01", Window(1, WindowUnit.MONTH), "2024-02-02", "2024-04-01"),
        ("2024-05-31", Window(1, WindowUnit.QUARTER), "2024-03-01", "2024-08-31"),
    ],
)
def test_windows(day: str, window: Window, first: str, leave: str) -> None:
    assert window_start(date.fromisoformat(day), window) == date.fromisoformat(first)
    assert window_leave(date.fromisoformat(day), window) == date.fromisoformat(leave)


@given(days, windows)
def test_leaving_is_the_first_day_that_no_longer_looks_back(day: date, window: Window) -> None:
    leave = window_leave(day, window)
    holders = [day + timedelta(days=n) for n in range((leave - day).days)]
    assert all(window_start(t, window) <= day for t in holders)
    assert window_start(leave, window) > day


@given(days, windows)
def test_a_window_starts_the_day_after_the_same_date_before(day: date, window: Window) -> None:
    before = window_start(day, window) - timedelta(days=1)
    if window.is_fixed:
        assert (day - before).days == window.days
        return
    months = {WindowUnit.MONTH: 1, WindowUnit.QUARTER: 3, WindowUnit.YEAR: 12}[window.unit] * window.count
    assert (day.year - before.year) * 12 + day.month - before.month == months
    assert before.day == min(day.day, stdlib_calendar.monthrange(before.year, before.month)[1])


def test_state_is_final_only_after_settling() -> None:
    end = utc("2024-01-02")
    assert state(end, utc("2024-01-01T23:59:59")) is BucketState.SETTLING
    assert state(end, utc("2024-01-02")) is BucketState.FINAL
    assert state(end, utc("2024-01-02T05:59"), timedelta(hours=6)) is BucketState.SETTLING
    assert state(end, utc("2024-01-02T06:00"), timedelta(hours=6)) is BucketState.FINAL


def test_utc_has_several_names() -> None:
    assert Calendar("Etc/UTC").is_utc
    assert UTC_CALENDAR.is_utc
    assert not Calendar("Europe/London").is_utc
