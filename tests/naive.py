"""What every number means, in plain Python: no SQL, no shortcuts. Tests compare everything else with this."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import median, stdev
from typing import Any

from tallystick.compiler.model import Model
from tallystick.sql.calendar import Calendar, floor, local_date, window_start

Row = Mapping[str, Any]


def values(rows: Iterable[Row], name: str) -> list[Any]:
    """Return a column without its NULLs."""
    return [row[name] for row in rows if row[name] is not None]


def _or_none(function: Callable[[list[Any]], Any], found: list[Any]) -> Any:
    return function(found) if found else None


def _last(rows: list[Row]) -> Any:
    """Sum over (artifact, user) of the last x that is not NULL; the larger one where times are equal."""
    latest: dict[tuple[Any, Any], tuple[datetime, Any]] = {}
    for row in rows:
        if row["x"] is not None:
            key = (row["artifact_id"], row["user_id"])
            latest[key] = max(latest.get(key, (row["time"], row["x"])), (row["time"], row["x"]))
    return _or_none(sum, [x for _, x in latest.values()])


STATISTICS: dict[str, Callable[[list[Row]], Any]] = {
    "count(*)": len,
    "count(x)": lambda rows: len(values(rows, "x")),
    "sum(x)": lambda rows: _or_none(sum, values(rows, "x")),
    "min(x)": lambda rows: _or_none(min, values(rows, "x")),
    "max(x)": lambda rows: _or_none(max, values(rows, "x")),
    "bool_or(x > 2)": lambda rows: _or_none(any, [x > 2 for x in values(rows, "x")]),
    "avg(x)": lambda rows: _or_none(lambda xs: sum(xs) / len(xs), values(rows, "x")),
    "stddev(x)": lambda rows: stdev(values(rows, "x")) if len(values(rows, "x")) > 1 else None,
    "sum(x) / count(distinct user_id)": lambda rows: (
        sum(values(rows, "x")) / len(set(values(rows, "user_id")))
        if values(rows, "x") and values(rows, "user_id")
        else None
    ),
    "count(distinct user_id)": lambda rows: len(set(values(rows, "user_id"))),
    "count(distinct user_id) filter (where x > 2)": lambda rows: len(
        {row["user_id"] for row in rows if row["user_id"] is not None and row["x"] is not None and row["x"] > 2}
    ),
    "count(distinct user_id, x)": lambda rows: len(
        {(row["user_id"], row["x"]) for row in rows if row["user_id"] is not None and row["x"] is not None}
    ),
    "median(x)": lambda rows: _or_none(median, values(rows, "x")),
    "last(x)": _last,
}


@dataclass(frozen=True)
class World:
    """Rows and memberships; `members` are (artifact, project) and (project, collection) pairs, repeats allowed."""

    rows: list[Row]
    projects: list[tuple[str, str]]
    collections: list[tuple[str, str]]

    def groups(self, artifact: str | None, entity: str) -> set[str]:
        """Return the things of an entity an artifact belongs to, each once."""
        if artifact is None:
            return set()
        if entity == "artifact":
            return {artifact}
        projects = {project for member, project in self.projects if member == artifact}
        if entity == "project":
            return projects
        return {collection for member, collection in self.collections if member in projects}


def model_values(
    model: Model, statistic: Callable[[list[Row]], Any], world: World, calendar: Calendar, start: date, end: datetime
) -> dict[tuple[Any, ...], Any]:
    """Return {(bucket, entity id…, breakdown…): value} by gathering the rows of each bucket one by one."""
    gathered: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in world.rows:
        if row["time"] is None or row["time"].replace(tzinfo=end.tzinfo) >= end:
            continue
        for bucket in _buckets(model, row["time"], calendar, start, end):
            for key in _keys(model, row, world):
                gathered[bucket, *key, *(row[name] for name in model.by)].append(row)
    return {key: statistic(rows) for key, rows in gathered.items()}


def _keys(model: Model, row: Row, world: World) -> Iterator[tuple[str, ...]]:
    if not model.has_entity:
        yield ()
        return
    for entity_id in world.groups(row["artifact_id"], model.entity):
        yield (entity_id,)


def _buckets(model: Model, time: datetime, calendar: Calendar, start: date, end: datetime) -> Iterator[date | datetime]:
    last = local_date(end - timedelta(microseconds=1), calendar)
    day = local_date(time, calendar)
    if model.time.is_all_time:
        yield last
    elif model.time.grain is not None:
        bucket = floor(time, model.time.grain, calendar)
        yield bucket.replace(tzinfo=None) if model.time.grain.is_sub_day else local_date(bucket, calendar)
    else:
        assert model.time.window is not None
        for offset in range((last - start).days + 1):
            tick = start + timedelta(days=offset)
            if window_start(tick, model.time.window) <= day <= tick:
                yield tick
