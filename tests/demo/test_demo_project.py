"""The bundled project: it is clean, its spellings agree, and retention is what a person would count by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pytest

from tallystick import load
from tallystick.service.demo import BUNDLED, summarise
from tallystick.service.workspace import Workspace

EVENTS = BUNDLED / "data" / "events.parquet"
MEMBERS = f"read_csv('{BUNDLED / 'data' / 'artifacts_by_project.csv'}')"
PROJECTS = f"read_csv('{BUNDLED / 'data' / 'projects_by_collection.csv'}')"


@pytest.fixture(scope="module")
def project() -> Iterator[Workspace]:
    with load(BUNDLED) as workspace:
        yield workspace


def test_nothing_is_wrong_with_it(project: Workspace) -> None:
    assert project.check() == ()


def test_has_the_metrics_and_views_that_it_is_there_to_show(project: Workspace) -> None:
    assert {
        "commits",
        "active_developers",
        "releases",
        "merges",
        "commits_per_developer",
        "new_contributors",
        "developer_retention",
    } <= set(project.metrics)
    models = project.models("active_developers")
    assert {m.entity for m in models} == {"all", "artifact", "project", "collection"}
    assert {m.time.suffix for m in models} == {
        "daily",
        "weekly",
        "monthly",
        "quarterly",
        "yearly",
        "over_30_day_window",
        "over_90_day_window",
        "over_180_day_window",
        "over_all_time",
    }


def test_the_clock_stands_at_the_midnight_after_the_last_event(project: Workspace) -> None:
    last, midnight = duckdb.sql(
        f"select max(time), date_trunc('day', max(time)) + interval 1 day from '{EVENTS}'"
    ).fetchall()[0]
    assert project.as_of.replace(tzinfo=None) == midnight > last


@pytest.mark.parametrize("metric", ["commits", "active_developers", "releases"])
@pytest.mark.parametrize("view", [{"grain": "month"}, {"grain": "year"}, {"window": 30, "start": "2026-06-01"}])
@pytest.mark.parametrize("entity", ["artifact", "project", "collection"])
def test_sql_gives_the_values_of_toml(metric: str, view: dict[str, str | int], entity: str, project: Workspace) -> None:
    toml = project.query(metric, entity=entity, **view).to_pylist()
    sql = project.query(f"{metric}_sql", entity=entity, **view).to_pylist()
    key = project.project.entities[entity].key
    assert {(row["bucket"], row[key]): row["value"] for row in sql} == {
        (row["bucket"], row[key]): row["value"] for row in toml if row["value"]
    }
    assert len(sql) > 100


def test_retention_is_the_share_of_last_months_people_who_are_back(project: Workspace) -> None:
    rows = project.query("developer_retention", entity="collection", grain="month").to_pylist()
    found = {(row["bucket"], row["collection_id"]): row["value"] for row in rows}
    people: dict[tuple[date, str], set[str]] = {}
    for month, collection, person in duckdb.sql(
        f"select distinct date_trunc('month', time)::date, p.collection_id, e.from_artifact_id from '{EVENTS}' e "
        f"join {MEMBERS} m on e.to_artifact_id = m.artifact_id join {PROJECTS} p using (project_id) "
        "where event_type = 'COMMIT_CODE'"
    ).fetchall():
        people.setdefault((month, collection), set()).add(person)
    expected = {}
    for (month, collection), before in people.items():
        following = date(month.year + month.month // 12, month.month % 12 + 1, 1)
        if following <= date(2026, 8, 1):
            again = before & people.get((following, collection), set())
            expected[following, collection] = len(again) / len(before)
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected)
    assert 0 in expected.values()


def test_new_contributors_are_new_to_a_repository(project: Workspace) -> None:
    rows = project.query("new_contributors", grain="year", start="2020-01-01").to_pylist()
    expected = duckdb.sql(
        "select year(first)::int, count(distinct person) from (select to_artifact_id, from_artifact_id as person, "
        f"min(time) as first from '{EVENTS}' where event_type = 'COMMIT_CODE' group by all) "
        "where first >= '2020-01-01' group by 1 order by 1"
    ).fetchall()
    assert [(row["bucket"].year, row["value"]) for row in rows] == expected


def test_summary_speaks_of_the_last_month_that_is_over(project: Workspace) -> None:
    found = {summary.metric.name: summary for summary in summarise(project)}
    assert "commits_sql" not in found
    assert {summary.bucket for summary in found.values()} == {date(2026, 7, 1)}
    commits = found["commits"]
    value, previous = duckdb.sql(
        f"select count(*) filter (time >= '2026-07-01'), count(*) filter (time < '2026-07-01') from '{EVENTS}' "
        "where event_type = 'COMMIT_CODE' and time >= '2026-06-01' and time < '2026-08-01'"
    ).fetchall()[0]
    assert (commits.value, commits.previous) == (value, previous)
    assert commits.change == pytest.approx(value / previous - 1)
    assert len(commits.history) == 24
    assert commits.history[-1] == value


def test_data_keeps_its_licence_and_explanation() -> None:
    assert {"LICENSE", "README.md", "events.parquet"} <= {path.name for path in Path(EVENTS.parent).iterdir()}
