from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tallystick.collect.windows import Ruler, Stretch, asked, by_hand, chunks, regular, resume
from tallystick.definitions.collect_settings import CollectSettings
from tallystick.sql.calendar import Calendar, bucket_range
from tallystick.sql.grain import Grain

SETTINGS = CollectSettings()
GRAINS = st.sampled_from(list(Grain))
CALENDARS = st.builds(
    Calendar,
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.sampled_from([1, 7]),
)
INSTANTS = st.datetimes(datetime(2015, 1, 1), datetime(2030, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))
RULERS = st.builds(
    Ruler,
    grain=GRAINS,
    calendar=CALENDARS,
    since=st.none() | INSTANTS,
    settle=st.sampled_from([timedelta(), timedelta(minutes=90), timedelta(days=2)]),
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def ruler(grain: Grain, **more: object) -> Ruler:
    return Ruler(grain=grain, calendar=Calendar(), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("grain", "progress", "now", "start", "end"),
    [
        ("hour", "2026-03-01 10:00", "2026-03-01 11:59", "2026-03-01 08:00", "2026-03-01 11:00"),
        ("hour", None, "2026-03-02 06:10", "2026-03-01 00:00", "2026-03-02 06:00"),
        ("day", "2026-03-01", "2026-03-02 00:00", "2026-02-27", "2026-03-02"),
        ("week", "2026-03-02", "2026-03-12 08:00", "2026-02-16", "2026-03-09"),
        ("month", "2026-02-01", "2026-03-12 08:00", "2025-12-01", "2026-03-01"),
        ("5m", "2026-03-01 10:00", "2026-03-01 10:04", "2026-03-01 09:50", "2026-03-01 10:00"),
    ],
)
def test_regular_window(grain: str, progress: str | None, now: str, start: str, end: str) -> None:
    found = regular(at(progress) if progress else None, at(now), ruler(Grain(grain)), SETTINGS)
    assert found == Stretch(at(start), at(end))


def test_first_window_begins_with_the_project() -> None:
    days = ruler(Grain.DAY, since=at("2025-07-04 13:00"))
    assert regular(None, at("2026-01-01"), days, SETTINGS) == Stretch(at("2025-07-04"), at("2026-01-01"))


def test_what_still_settles_is_read_again_even_beyond_the_lookback() -> None:
    hours = ruler(Grain.HOUR, settle=timedelta(hours=6, minutes=30))
    assert resume(at("2026-03-01 10:00"), hours, SETTINGS) == at("2026-03-01 03:00")


@pytest.mark.parametrize(
    ("start", "end", "progress", "expected"),
    [
        (None, None, "2026-03-01", ("2026-02-01", "2026-03-03")),
        ("2026-01-05 07:00", "2026-01-07 01:00", "2026-03-01", ("2026-01-05", "2026-01-08")),
        ("2026-03-02", None, "2026-02-01", ("2026-01-30", "2026-03-03")),
        ("2026-03-02", "2027-01-01", None, ("2026-03-02", "2026-03-03")),
        ("2026-03-05", None, "2026-03-01", ("2026-02-27", "2026-03-03")),
    ],
)
def test_a_window_that_is_asked_for_widens_and_never_skips_ahead(
    start: str | None, end: str | None, progress: str | None, expected: tuple[str, str]
) -> None:
    found = asked(
        at(start) if start else None,
        at(end) if end else None,
        at(progress) if progress else None,
        at("2026-03-03 12:00"),
        ruler(Grain.DAY),
        SETTINGS,
    )
    assert found == Stretch(at(expected[0]), at(expected[1]))


def test_nothing_is_read_when_the_clock_went_back() -> None:
    assert regular(at("2026-03-05"), at("2026-03-03 12:00"), ruler(Grain.DAY), SETTINGS).is_empty


@given(RULERS, INSTANTS, st.integers(0, 40), st.integers(1, 9))
def test_chunks_are_the_window_cut_at_buckets(ruler: Ruler, start: datetime, length: int, size: int) -> None:
    first = ruler.floor(start)
    whole = Stretch(first, ruler.shift(first, length))
    pieces = list(chunks(whole, ruler, size))
    edges = [whole.start, *(piece.end for piece in pieces)]
    assert [piece.start for piece in pieces] == edges[:-1]
    assert edges[-1] == whole.end
    assert all(ruler.floor(edge) == edge for edge in edges)
    counted = [len(list(bucket_range(p.start, p.end, ruler.grain, ruler.calendar))) for p in pieces]
    assert sum(counted) == length and all(0 < count <= size for count in counted)


@given(RULERS, st.none() | INSTANTS, INSTANTS)
def test_windows_are_whole_buckets_that_have_ended_and_leave_no_gap(
    ruler: Ruler, reached: datetime | None, now: datetime
) -> None:
    progress = None if reached is None else ruler.floor(reached)
    assume(ruler.since is None or progress is None or progress >= ruler.floor(ruler.since))
    usual, more = regular(progress, now, ruler, SETTINGS), by_hand(progress, now, ruler, SETTINGS)
    for found in (usual, more):
        assert found.end <= now and ruler.floor(found.start) == found.start and ruler.floor(found.end) == found.end
        assert found.is_empty or progress is None or found.start <= progress <= found.end
    assert more.start <= usual.start and more.end == usual.end


@given(RULERS, st.none() | INSTANTS, st.none() | INSTANTS, INSTANTS, INSTANTS)
def test_an_asked_window_that_goes_beyond_the_progress_begins_before_it(
    ruler: Ruler, start: datetime | None, end: datetime | None, reached: datetime, now: datetime
) -> None:
    progress = ruler.floor(reached)
    found = asked(start, end, progress, now, ruler, SETTINGS)
    assert found.end <= now or found.is_empty
    assert found.end <= progress or found.start <= progress or ruler.since is not None
