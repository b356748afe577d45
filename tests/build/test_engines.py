"""Builds on every engine give what DuckDB gives: every class, grain, window and entity, built, appended, changed, ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from live_engines import Live
from tallystick.build.build import build
from tallystick.build.report import Action
from tallystick.compiler.plan import plan
from tallystick.definitions.load import load
from tallystick.definitions.project import Project
from tallystick.engines.adapter import Engine

PROJECT = """
[project]
as_of = 2024-03-01T00:00:00Z
dialect = "duckdb"
time_zone = "Europe/Berlin"
lookback = 2
[defaults]
grains = ["hour", "week"]
rolling = [7]
all_time = true
entities = ["region"]
[sources.orders]
table = "shop.orders"
time = "ordered_at"
entities = { store = "store_id" }
filters = { large = "amount >= 50" }
dimensions = ["kind"]
[entities.store]
rolls_up_to = "region"
through = "shop.stores"
[entities.region]
[metrics.revenue]
source = "orders"
expr = "sum(amount)"
entities = ["all", "region"]
grains = ["hour", "week", "quarter"]
by = ["kind"]
[metrics.large_orders]
source = "orders"
expr = "count(*)"
where = "large"
[metrics.buyers]
source = "orders"
expr = "count(distinct buyer)"
[metrics.mean_amount]
source = "orders"
expr = "avg(amount)"
[metrics.largest]
source = "orders"
expr = "max(amount)"
[metrics.typical]
source = "orders"
expr = "median(score)"
grains = ["week"]
rolling = [7]
[metrics.spend]
expr = "revenue / buyers"
"""

SMALL = (
    PROJECT[: PROJECT.index("[defaults]")]
    + PROJECT[PROJECT.index("[sources.orders]") : PROJECT.index("[metrics.revenue]")]
    + """
[metrics.large_orders]
source = "orders"
expr = "count(*)"
where = "large"
grains = ["week"]
entities = ["region"]
[metrics.buyers]
source = "orders"
expr = "sum(amount) / count(distinct buyer)"
rolling = [7]
entities = ["region"]
"""
)


def orders(count: int) -> pa.Table:
    start = datetime(2024, 1, 1, 3, tzinfo=UTC)
    numbers = range(count)
    at = [start + timedelta(minutes=(i * 7919) % (60 * 24 * 58)) for i in numbers]
    return pa.table(
        {
            "ordered_at": pa.array(at, pa.timestamp("us", "UTC")),
            "store_id": [None if i % 17 == 0 else f"s{i * 31 % 5}" for i in numbers],
            "buyer": [None if i % 13 == 0 else i * 101 % 23 for i in numbers],
            "amount": pa.array(
                [None if i % 11 == 0 else Decimal(i * 37 % 10_000) / 100 for i in numbers], pa.decimal128(12, 2)
            ),
            "score": [float(i * 13 % 97) for i in numbers],
            "kind": [None if i % 19 == 0 else ("web", "shop", "phone")[i % 3] for i in numbers],
        }
    )


STORES = pa.table(
    {"store_id": ["s0", "s1", "s1", "s2", "s2", "s3"], "region_id": ["north", "north", "south", "south", "south", None]}
)


def project_of(folder: Path, text: str = PROJECT) -> Project:
    (folder / "tally.toml").write_text(text.partition("[sources.orders]")[0])
    (folder / "definitions").mkdir(exist_ok=True)
    (folder / "definitions" / "shop.toml").write_text("[sources.orders]" + text.partition("[sources.orders]")[2])
    project = load(folder)
    assert not project.errors, project.errors
    return project


def run(engine: Engine, project: Project, end: datetime) -> list[Action]:
    report = build(engine, project, plan(project), end=end, now=datetime(2024, 3, 2, tzinfo=UTC))
    assert not report.failed, [(model.name, model.error) for model in report.failed]
    return [model.action for model in report.models]


def rows(engine: Engine, name: str) -> list[tuple[object, ...]]:
    table = engine.run(f"SELECT * FROM {engine.qualified(name)}")
    columns = sorted(table.column_names)
    return sorted(
        (tuple(plain(row[column]) for column in columns) for row in table.to_pylist()),
        key=lambda row: list(map(repr, row)),
    )


def plain(value: object) -> object:
    """Return a value as engines agree on it: exact numbers as they are, quotients to twelve digits."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return f"{float(value):.10g}"
    return value


def test_every_model_is_what_duckdb_makes_of_it(live: Live, live_engines, tmp_path: Path) -> None:
    if live.name == "duckdb":
        pytest.skip("this is what the others are compared with")
    reference = live_engines("duckdb")
    end, early = datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 2, 10, tzinfo=UTC)
    for place in (live, reference):
        place.load("shop.stores", STORES)
        place.load("shop.orders", orders(600))
    text = SMALL if live.name == "spark" else PROJECT  # a statement takes a tenth of a second there
    project = project_of(tmp_path, text)
    expected, engine = reference.open(), live.open()
    run(expected, project, end)
    assert set(run(engine, project, early)) == {Action.CREATED}
    live.load("shop.orders", orders(600))
    assert Action.CREATED not in run(engine, project, end)
    for model in plan(project):
        assert rows(engine, model.name) == rows(expected, model.name), model.name

    changed = project_of(tmp_path, text.replace("amount >= 50", "amount >= 20"))
    run(expected, changed, end)
    assert Action.REBUILT in run(engine, changed, end)
    for model in plan(changed):
        assert rows(engine, model.name) == rows(expected, model.name), model.name
    assert any(name.startswith("_old_large_orders") for name in engine.tables())
    assert not [name for name in engine.tables() if name.startswith(("_next_", "_gone_"))]


ONE_METRIC = """
[project]
as_of = 2024-03-01T00:00:00Z
dialect = "duckdb"
lookback = 2
[defaults]
grains = ["day"]
[sources.orders]
table = "shop.orders"
time = "ordered_at"
[metrics.buyers]
source = "orders"
expr = "count(distinct buyer)"
where = "amount >= 50"
"""
EARLY, END = datetime(2024, 2, 10, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)


class Killed(BaseException):
    """Stands for the end of the process: nothing that handles errors may catch it."""


@contextmanager
def ended_before(engine: Engine, statement: int) -> Iterator[None]:
    """End the build before its n-th statement that writes; the connection's transaction is undone, as on a server."""
    execute, left = engine.execute, [statement]

    def counted(sql: str) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return execute(sql)

    engine.execute = counted  # type: ignore[method-assign]
    try:
        yield
    finally:
        engine.execute = execute  # type: ignore[method-assign]


def contents(engine: Engine, project: Project) -> dict[str, list[tuple[object, ...]]]:
    return {model.name: rows(engine, model.name) for model in plan(project)}


@pytest.mark.parametrize("name", ["postgres", "clickhouse"])
def test_a_build_ended_anywhere_is_finished_by_the_next(name: str, live_engines, tmp_path: Path) -> None:
    place: Live = live_engines(name)
    place.load("shop.orders", orders(300))
    project = project_of(tmp_path, ONE_METRIC)
    changed_text = ONE_METRIC.replace(">= 50", ">= 20")
    expected = place.open("expected")
    run(expected, project, END)
    before = contents(expected, project)
    changed = project_of(tmp_path, changed_text)
    run(expected, changed, END)
    after = contents(expected, changed)

    for statement in range(1, 60):
        engine = place.open(f"ended_{statement}")
        run(engine, project, EARLY)
        ended = False
        for version in (project, changed):
            try:
                with ended_before(engine, statement):
                    run(engine, version, END)
            except Killed:
                ended = True
            run(engine, version, END)
            assert contents(engine, version) == (before if version is project else after), statement
        assert not [table for table in engine.tables() if table.startswith(("_next_", "_gone_"))], statement
        old = [table for table in engine.tables() if table.startswith("_old_")]
        kept = {table: rows(engine, table) for table in old}
        assert all(found in before.values() for found in kept.values()), (statement, old)
        if not ended:
            break
    else:
        pytest.fail("the build did not come to an end")
