"""Every model that the demo builds equals a query written here by hand, without any of the compiler's ideas.

Calendar models and all time are compared whole; windows on every 97th day, each day's rows counted again from events.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from tallystick.compiler.model import Model
from tallystick.service.demo import copy_project
from tallystick.service.workspace import load

FIRST, LAST = "DATE '1999-12-29'", "DATE '2026-08-22'"
ROWS = {
    "commits": ("count(*)", "SELECT * FROM events WHERE event_type = 'COMMIT_CODE'"),
    "releases": ("count(*)", "SELECT * FROM events WHERE event_type = 'RELEASE_PUBLISHED'"),
    "merges": ("count(*)", "SELECT * FROM events WHERE event_type = 'PULL_REQUEST_MERGED'"),
    "active_developers": (
        "count(DISTINCT from_artifact_id)",
        "SELECT * FROM events WHERE event_type = 'COMMIT_CODE'",
    ),
    "commits_per_developer": (
        "count(*) / count(DISTINCT from_artifact_id)",
        "SELECT * FROM events WHERE event_type = 'COMMIT_CODE'",
    ),
    "new_contributors": (
        "count(DISTINCT from_artifact_id)",
        "SELECT from_artifact_id, to_artifact_id, min(time) AS time FROM events WHERE event_type = 'COMMIT_CODE' GROUP BY ALL",
    ),
    "events_by_type": ("count(*)", "SELECT * FROM events"),
}
ROWS |= {f"{name}_sql": ROWS[name] for name in ("commits", "active_developers", "releases")}
MEMBERS = {
    "all": "SELECT DISTINCT to_artifact_id AS member, 'everything' AS entity FROM events",
    "artifact": "SELECT DISTINCT to_artifact_id AS member, to_artifact_id AS entity FROM events",
    "project": "SELECT DISTINCT artifact_id AS member, project_id AS entity FROM artifacts_by_project",
    "collection": "SELECT DISTINCT artifact_id AS member, collection_id AS entity "
    "FROM artifacts_by_project JOIN projects_by_collection USING (project_id)",
}
GRAINS = {
    "daily": "d",
    "weekly": "d - (isodow(d) - 1)::INTEGER",
    "monthly": "make_date(year(d), month(d), 1)",
    "quarterly": "make_date(year(d), (month(d) - 1) // 3 * 3 + 1, 1)",
    "yearly": "make_date(year(d), 1, 1)",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "demo"
    copy_project(folder)
    with load(folder) as workspace:
        assert not workspace.build().failed
    return folder


@pytest.fixture(scope="module")
def connection(built: Path):
    with duckdb.connect(str(built / "warehouse.duckdb"), read_only=True) as connection:
        for name, file in {
            "events": "read_parquet('{}/events.parquet')",
            "artifacts_by_project": "read_csv('{}/artifacts_by_project.csv')",
            "projects_by_collection": "read_csv('{}/projects_by_collection.csv')",
        }.items():
            connection.execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM {file.format(built / 'data')}")
        yield connection


def models() -> list[Model]:
    folder = Path(__file__).parents[2] / "src" / "tallystick" / "demo"
    return [model for model in load(folder).models() if model.metric in ROWS]


def by_hand(model: Model) -> str:
    """Return bucket, entity, breakdown and value of a model, counted from events."""
    value, rows = ROWS[model.metric]
    kind = "event_type" if model.by else "NULL"
    events = f"SELECT r.*, r.time::DATE AS d, m.entity, {kind} AS kind FROM ({rows}) r JOIN ({MEMBERS[model.entity]}) m ON r.to_artifact_id = m.member"
    if model.time.window is not None:
        days = model.time.window.count
        ticks = f"SELECT unnest(range({FIRST}, {LAST} + 1, INTERVAL 97 DAY))::DATE AS t UNION SELECT {LAST}"
        return (
            f"SELECT t AS bucket, entity, kind, {value} AS value FROM ({ticks}) JOIN ({events}) ON d > t - {days} AND d <= t "
            "GROUP BY ALL"
        )
    bucket = GRAINS.get(model.time.suffix, LAST)
    return f"SELECT {bucket} AS bucket, entity, kind, {value} AS value FROM ({events}) GROUP BY ALL"


def as_built(model: Model) -> str:
    """Return the same columns of the built model, on the days that are compared."""
    is_sql = model.metric.endswith("_sql")
    bucket, value = ("metrics_sample_date", "amount") if is_sql else ("bucket", "value")
    key = f"to_{model.entity}_id" if is_sql else f"{model.entity}_id"
    entity = key if model.has_entity else "'everything'"
    kind = "event_type" if model.by else "NULL"
    days = f"({bucket} - {FIRST}) % 97 = 0 OR {bucket} = {LAST}" if model.time.window is not None else "true"
    return f"SELECT {bucket} AS bucket, {entity} AS entity, {kind} AS kind, {value} AS value FROM tally.{model.name} WHERE {days}"


@pytest.mark.parametrize("model", models(), ids=lambda model: model.name)
def test_model_equals_the_query_written_by_hand(model: Model, connection: duckdb.DuckDBPyConnection) -> None:
    condition = "a.bucket = b.bucket AND a.entity = b.entity AND a.kind IS NOT DISTINCT FROM b.kind"
    rows, compared, different = connection.execute(
        f"WITH a AS ({by_hand(model)}), b AS ({as_built(model)}) "
        "SELECT (SELECT count(*) FROM a), count(*), count_if(a.entity IS NULL OR b.entity IS NULL "
        f"OR abs(a.value - b.value) > 1e-9 * abs(a.value)) FROM a FULL JOIN b ON {condition}"
    ).fetchone()
    assert rows > 0
    assert (compared, different) == (rows, 0)
