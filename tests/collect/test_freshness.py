"""How fresh a source is, on every engine that runs here: instants, whole days in a zone, and no rows at all."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa

from tallystick.collect.freshness import late_sources
from tallystick.definitions.project import Project, Settings
from tallystick.definitions.source import Source
from tallystick.engines.limits import UNLIMITED

NOW = datetime(2026, 3, 3, 12, 10, tzinfo=UTC)
LATEST = datetime(2026, 3, 3, 9, 24, 30)
HOUR = 3600


def test_late_sources_on_real_engines(live) -> None:
    moments = pa.array([datetime(2026, 3, 1), LATEST, None], pa.timestamp("us"))
    live.load("shop.orders", pa.table({"moment": moments}))
    live.load("shop.days", pa.table({"day": pa.array([date(2026, 2, 28), date(2026, 3, 1)], pa.date32())}))
    live.load("shop.nothing", pa.table({"moment": pa.array([], pa.timestamp("us"))}))
    engine = live.open()
    day = {"table": "shop.days", "time": "day", "time_is_date": True, "fresh_seconds": 24 * HOUR}
    sources = [
        Source(name="late", table="shop.orders", time="moment", fresh_seconds=HOUR),
        Source(name="fresh", table="shop.orders", time="moment", fresh_seconds=3 * HOUR),
        Source(name="silent", table="shop.orders", time="moment"),
        Source(name="nothing", table="shop.nothing", time="moment", fresh_seconds=HOUR),
        Source(name="gone", table="shop.gone", time="moment", fresh_seconds=HOUR),
        Source(name="days", **day),
        Source(name="local_days", **day, time_zone="America/New_York"),
    ]
    project = Project(
        root=".", settings=Settings(dialect=engine.dialect), sources={source.name: source for source in sources}
    )
    found = late_sources(lambda _: engine, project, project.sources, NOW, UNLIMITED)
    assert found == {
        "late": LATEST.replace(tzinfo=UTC),
        "days": datetime(2026, 3, 2, tzinfo=UTC),
        "local_days": datetime(2026, 3, 2, 5, tzinfo=UTC),
    }
    again = late_sources(lambda _: engine, project, ["days"], NOW - timedelta(days=1), UNLIMITED)
    assert again == {}  # yesterday was there when it had just ended
