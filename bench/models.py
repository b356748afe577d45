"""The models of the benchmarks: two metrics, three entities, three grains, three windows and all time."""

from __future__ import annotations

from tallystick.definitions.entity import Entity, RollUp
from tallystick.definitions.metric import Aggregate, Metric, SqlQuery, Views
from tallystick.definitions.project import Project, Settings, Warehouse
from tallystick.definitions.source import Source
from tallystick.sql.grain import Grain, Window

ENTITIES = ("artifact", "project", "collection")
WINDOWS = (30, 90, 180)
METRICS = {
    "stars": ("sum(amount)", "event_type = 'STARRED'"),
    "devs": ("count(distinct from_artifact_id)", "event_type = 'COMMIT_CODE'"),
}


QUERY = """
SELECT @metrics_sample_date(e.time) AS metrics_sample_date, '' AS event_source, e.to_artifact_id,
  '' AS from_artifact_id, @metric_name() AS metric, {expr} AS amount
FROM main.events AS e
WHERE {where} AND e.time BETWEEN @metrics_start('TIMESTAMP') AND @metrics_end('TIMESTAMP')
GROUP BY 1, 2, 3, 4, 5
"""


def project(
    metric: str,
    *,
    windows: tuple[int, ...] = WINDOWS,
    storage: str = "change_points",
    lookback: int = 3,
    is_query: bool = False,
) -> Project:
    """Return the project that compiles to the models of one metric, which may be written as a whole query."""
    expr, where = METRICS[metric]
    definition: Aggregate | SqlQuery = Aggregate(source="events", expr=expr, where=(where,))
    if is_query:
        definition = SqlQuery(sql=QUERY.format(expr=expr, where=where), sources=("events",))
    views = Views(
        entities=ENTITIES,
        grains=(Grain.DAY, Grain.WEEK, Grain.MONTH),
        rolling=tuple(Window(days) for days in windows),
        all_time=True,
    )
    ways = {"artifact": ("project", "artifacts_by_project"), "project": ("collection", "projects_by_collection")}
    return Project(
        root=".",
        settings=Settings(lookback=lookback),
        warehouses={"default": Warehouse(storage=storage)},
        sources={
            "events": Source(name="events", table="main.events", time="time", entities={"artifact": "to_artifact_id"})
        },
        entities={name: Entity(name=name, key=f"{name}_id", rolls_up_to=_edges(name, ways)) for name in ENTITIES},
        metrics={metric: Metric(name=metric, views=views, definition=definition)},
    )


def _edges(name: str, ways: dict[str, tuple[str, str]]) -> tuple[RollUp, ...]:
    if name not in ways:
        return ()
    parent, table = ways[name]
    return (RollUp(parent=parent, through=f"main.{table}", child_key=f"{name}_id", parent_key=f"{parent}_id"),)
