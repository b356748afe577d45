"""The models of the benchmarks as most people write them: one SELECT per model, rolling ones by a range join."""

from __future__ import annotations

from datetime import date, timedelta

BEGIN = "2024-01-01"
ROWS = {
    "artifact": "SELECT to_artifact_id AS id, time::DATE AS day, from_artifact_id AS who, amount FROM {events}",
    "project": (
        "SELECT m.project_id AS id, time::DATE AS day, from_artifact_id AS who, amount FROM {events} AS e "
        "JOIN (SELECT DISTINCT artifact_id, project_id FROM {projects}) AS m ON artifact_id = to_artifact_id"
    ),
    "collection": (
        "SELECT m.collection_id AS id, time::DATE AS day, from_artifact_id AS who, amount FROM {events} AS e "
        "JOIN (SELECT DISTINCT artifact_id, collection_id FROM {projects} JOIN {collections} USING (project_id)) AS m "
        "ON artifact_id = to_artifact_id"
    ),
}
VALUE = {"stars": "sum(amount)", "devs": "count(DISTINCT who)"}
TYPE = {"stars": "STARRED", "devs": "COMMIT_CODE"}
SOURCES = {
    "events": "main.events",
    "projects": "main.artifacts_by_project",
    "collections": "main.projects_by_collection",
}


def rows(metric: str, entity: str, sources: dict[str, str] | None = None) -> str:
    """Return the query of (id, day, who, amount) for a metric and entity."""
    text = ROWS[entity].format(**(sources or SOURCES))
    return f"{text} WHERE event_type = '{TYPE[metric]}'"


def bucket(view: str, day: str) -> str:
    """Return the first day of the bucket that a day lies in; a window's is the day, and all time begins with the data."""
    at = date.fromisoformat(day)
    starts = {"week": at - timedelta(days=at.weekday()), "month": at.replace(day=1), "all": date.fromisoformat(BEGIN)}
    return starts.get(view, at).isoformat()


def model(
    metric: str, entity: str, view: str, last: str, sources: dict[str, str] | None = None, *, first: str | None = None
) -> str:
    """Return the query of one model: `view` is day, week, month, all or a number of days; `last` the last day.

    With `first`, buckets that begin before it are left out, and rows after the last day too, if there are any.
    """
    source = rows(metric, entity, sources)
    if first is not None:
        source += f" AND time < DATE '{last}' + 1 AND time >= DATE '{first}' - {int(view) - 1 if view.isdigit() else 0}"
    value = f"{VALUE[metric]}::BIGINT AS value"
    if view == "all":
        return f"SELECT DATE '{last}' AS bucket, id, {value} FROM ({source}) AS r GROUP BY ALL"
    if not view.isdigit():
        return f"SELECT date_trunc('{view}', day)::DATE AS bucket, id, {value} FROM ({source}) AS r GROUP BY ALL"
    spine = f"SELECT unnest(generate_series(DATE '{first or BEGIN}', DATE '{last}', INTERVAL 1 DAY))::DATE AS tick"
    join = f"r.day <= s.tick AND r.day > s.tick - {view}"
    return f"SELECT s.tick AS bucket, id, {value} FROM ({spine}) AS s JOIN ({source}) AS r ON {join} GROUP BY ALL"


def name(metric: str, entity: str, view: str) -> str:
    """Return Tallystick's name of a model."""
    endings = {"day": "daily", "week": "weekly", "month": "monthly", "all": "over_all_time"}
    return f"{metric}_to_{entity}_{endings.get(view, f'over_{view}_day_window')}"


VIEWS = ("day", "week", "month", "all", "30", "90", "180")
ENTITIES = ("artifact", "project", "collection")
