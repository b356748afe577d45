"""In a project with a time zone, SQL definitions count local days where they sample instants."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import duckdb
import pytest

from tallystick.compiler.definition_context import definition_context
from tallystick.compiler.model import Model, TimeView
from tallystick.compiler.sql_definition import compile_definition, render_definition
from tallystick.definitions.metric import Metric, SqlQuery, Views
from tallystick.definitions.project import Project, Settings
from tallystick.definitions.source import Source
from tallystick.sql.calendar import floor_date
from tallystick.sql.grain import Grain, Window

ZONE = "America/New_York"
START, END = date(2024, 3, 1), date(2024, 3, 20)
INSTANTS = [
    datetime(2024, 3, 1, 4, 59, 59, 999999),  # still February in New York
    datetime(2024, 3, 1, 5),
    datetime(2024, 3, 10, 4, 30),  # the evening before clocks change
    datetime(2024, 3, 11, 3, 59, 59),  # the evening after
    datetime(2024, 3, 11, 4),
    datetime(2024, 3, 18, 3, 59),  # a Sunday there, a Monday in UTC
    datetime(2024, 3, 20, 3, 59, 59, 999999),
    datetime(2024, 3, 20, 4),
]
SQL = """
SELECT @metrics_sample_date({column}) AS metrics_sample_date, e.artifact AS to_artifact_id,
  @metric_name() AS metric, COUNT(*) AS amount
FROM visits AS e
WHERE {column} BETWEEN @metrics_start('DATE') AND @metrics_end('{kind}')
GROUP BY 1, 2, 3
"""


def _rows(sql: str, time: TimeView, *, zone: str = ZONE, compat: str | None = None, is_date: bool = False) -> dict:
    source = Source(name="visits", table="main.visits", time="day" if is_date else "visited", time_is_date=is_date)
    metric = Metric(name="visits", views=Views(entities=("artifact",)), definition=SqlQuery(sql=sql))
    settings = Settings(time_zone=zone, compat=compat) if compat else Settings(time_zone=zone)
    project = Project(root=".", settings=settings, sources={"visits": source}, metrics={"visits": metric})
    context = definition_context(project, "duckdb")
    as_of = END - timedelta(days=1) if time.is_all_time else None
    query = compile_definition(metric, Model("visits", "artifact", time), context, start=START, end=END, as_of=as_of)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE TABLE visits (visited TIMESTAMP, day DATE, artifact VARCHAR)")
        connection.executemany("INSERT INTO visits VALUES (?, ?, 'a')", [(at, at.date()) for at in INSTANTS])
        text = render_definition(query, "duckdb").replace("main.visits", "visits")
        return {row[0]: row[-1] for row in connection.execute(text).fetchall()}


def _local(zone: str) -> list[date]:
    return [at.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).date() for at in INSTANTS]


def _counted(days: list[date], time: TimeView) -> dict[date, int]:
    found: dict[date, int] = {}
    first = floor_date(START, time.grain) if time.grain else START
    for day in days:
        if time.window is not None:
            ticks = [day + timedelta(days=n) for n in range(time.window.days)]
        elif time.is_all_time:
            ticks = [END - timedelta(days=1)] if day < END else []
        else:
            ticks = [floor_date(day, time.grain)]
        for tick in ticks:
            if first <= tick < END:
                found[tick] = found.get(tick, 0) + 1
    return found


@pytest.mark.parametrize("kind", ["DATE", "TIMESTAMP"])
@pytest.mark.parametrize("column", ["e.visited", "visited"])
@pytest.mark.parametrize(
    "time", [TimeView(grain=Grain.DAY), TimeView(window=Window(7)), TimeView()], ids=lambda time: time.suffix
)
def test_instants_count_on_their_local_day(time, column, kind):
    assert _rows(SQL.format(column=column, kind=kind), time) == _counted(_local(ZONE), time)


def test_weeks_begin_with_the_local_monday():
    rows = _rows(SQL.format(column="e.visited", kind="DATE"), TimeView(grain=Grain.WEEK))
    days = [day for day in _local(ZONE) if day < date(2024, 3, 25)]
    assert rows == {
        week: sum(floor_date(day, Grain.WEEK) == week for day in days)
        for week in sorted({floor_date(day, Grain.WEEK) for day in days})
    }


@pytest.mark.parametrize(("zone", "is_date"), [("UTC", False), (ZONE, True)])
def test_dates_and_days_of_utc_are_left_alone(zone, is_date):
    column = "e.day" if is_date else "e.visited"
    rows = _rows(SQL.format(column=column, kind="DATE"), TimeView(grain=Grain.DAY), zone=zone, is_date=is_date)
    assert rows == _counted([at.date() for at in INSTANTS], TimeView(grain=Grain.DAY))


def test_oso_knows_no_zones():
    rows = _rows(SQL.format(column="e.visited", kind="DATE"), TimeView(grain=Grain.DAY), compat="oso")
    assert rows[date(2024, 3, 1)] == 2
