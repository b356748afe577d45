"""Questions from outside: conditions are guarded, names of filters stand for themselves, states follow the clock."""

from __future__ import annotations

import pytest

from tallystick.errors import GuardError, UsageError
from tallystick.service.demo import BUNDLED
from tallystick.service.workspace import load


@pytest.fixture(scope="module")
def demo():
    with load(BUNDLED) as workspace:
        yield workspace


def total(demo, where: str) -> int:
    rows = demo.query("events_by_type", grain="year", start="2025-01-01", end="2026-01-01", where=where).to_pylist()
    return sum(row["value"] for row in rows)


def test_a_condition_may_be_sql_or_the_name_of_a_filter(demo):
    assert total(demo, "releases") == total(demo, "event_type = 'RELEASE_PUBLISHED'") > 0
    assert total(demo, "event_type = 'RELEASE_PUBLISHED' -- or true") == total(demo, "releases")
    assert total(demo, "releases or merges") == total(demo, "releases") + total(demo, "merges")


@pytest.mark.parametrize(
    "where",
    [
        "1 = 1) OR (2 = 2",
        "to_artifact_id in (select content from read_text('/etc/passwd'))",
        "getenv('HOME') = ''",
        "count(*) > 1",
        "1; drop table events",
    ],
)
def test_a_condition_is_one_condition_on_a_row(demo, where):
    with pytest.raises(GuardError):
        total(demo, where)


def test_only_buckets_that_are_over_and_settled_are_final(demo):
    rows = demo.query("commits", grain="day", start="2026-08-20").to_pylist()
    assert [(row["bucket"].isoformat(), row["state"]) for row in rows] == [
        ("2026-08-20", "final"),
        ("2026-08-21", "final"),
        ("2026-08-22", "settling"),
    ]


def test_frames_come_in_the_library_asked_for(demo):
    question = {"metric": "commits", "grain": "year", "start": "2024-01-01"}
    arrow = demo.query(**question)
    assert demo.query(**question, format="pandas")["value"].tolist() == arrow.column("value").to_pylist()
    assert demo.query(**question, format="polars")["value"].to_list() == arrow.column("value").to_pylist()


def test_views_exclude_each_other(demo):
    with pytest.raises(UsageError, match="exclude each other"):
        demo.query("commits", grain="day", all_time=True)
    with pytest.raises(UsageError, match="nothing lies between"):
        demo.query("commits", start="2030-01-01")
    with pytest.raises(UsageError, match="is not a date"):
        demo.query("commits", start="soon")
