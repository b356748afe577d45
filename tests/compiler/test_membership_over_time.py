"""Membership with validity dates holds as of each row's day, and paths that overlap still count a row once."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from tallystick.compiler.lower import lower, to_text
from tallystick.compiler.model import Model, TimeView
from tallystick.compiler.span import Span
from tallystick.definitions.entity import Entity, RollUp
from tallystick.definitions.metric import Aggregate, Metric
from tallystick.definitions.project import Project
from tallystick.definitions.source import Source
from tallystick.engines.duckdb import DuckDBEngine
from tallystick.errors import CompileError
from tallystick.sql.grain import Grain, Window

ROWS = """
CREATE TABLE main.sales AS SELECT * FROM (VALUES
    (TIMESTAMP '2024-01-10 12:00', 'a', 1), (TIMESTAMP '2024-01-20 12:00', 'a', 10), (TIMESTAMP '2024-02-05', 'a', 100),
    (TIMESTAMP '2024-01-10', 'b', 1000)) v(sold_at, store_id, amount);
CREATE TABLE main.teams AS SELECT * FROM (VALUES
    ('a', 'north', NULL, DATE '2024-01-20'), ('a', 'south', DATE '2024-01-20', NULL),
    ('b', 'north', DATE '2024-01-01', DATE '2024-02-01'), ('b', 'north', DATE '2024-01-05', DATE '2024-01-15'))
    v(store_id, team_id, joined, moved);
"""


def project(validity: bool) -> Project:
    dates = {"valid_from": "joined", "valid_to": "moved"} if validity else {}
    edge = RollUp(parent="team", through="main.teams", child_key="store_id", parent_key="team_id", **dates)
    return Project(
        root=".",
        sources={"sales": Source(name="sales", table="main.sales", time="sold_at", entities={"store": "store_id"})},
        entities={
            "store": Entity(name="store", key="store_id", rolls_up_to=(edge,)),
            "team": Entity(name="team", key="team_id"),
            "planet": Entity(name="planet", key="planet_id"),
        },
        metrics={"revenue": Metric(name="revenue", definition=Aggregate(source="sales", expr="sum(amount)"))},
    )


@pytest.fixture(scope="module")
def engine():
    engine = DuckDBEngine()
    engine.execute(ROWS)
    yield engine
    engine.close()


def values(engine: DuckDBEngine, time: TimeView, *, validity: bool = True, start: date | None = None) -> dict:
    begin = datetime(start.year, start.month, start.day, tzinfo=UTC) if start else None
    tree = lower(
        Model("revenue", "team", time), project(validity), Span(begin, datetime(2024, 2, 10, tzinfo=UTC)), "duckdb"
    )
    return {(row["bucket"], row["team_id"]): row["value"] for row in engine.run(to_text(tree, "duckdb")).to_pylist()}


def test_a_row_counts_for_the_team_of_its_day_and_once(engine):
    assert values(engine, TimeView(grain=Grain.MONTH)) == {
        (date(2024, 1, 1), "north"): 1001,
        (date(2024, 1, 1), "south"): 10,
        (date(2024, 2, 1), "south"): 100,
    }


def test_without_dates_every_membership_holds_always(engine):
    assert values(engine, TimeView(grain=Grain.MONTH), validity=False)[date(2024, 2, 1), "north"] == 100


def test_a_window_keeps_each_row_where_it_was_counted(engine):
    found = values(engine, TimeView(window=Window(30)), start=date(2024, 2, 5))
    assert found[date(2024, 2, 5), "north"] == 1001
    assert found[date(2024, 2, 5), "south"] == 110


def test_all_time(engine):
    assert values(engine, TimeView()) == {(date(2024, 2, 9), "north"): 1001, (date(2024, 2, 9), "south"): 110}


def test_an_entity_that_cannot_be_reached_is_an_error():
    with pytest.raises(CompileError, match="source 'sales' carries store and cannot reach entity 'planet'") as caught:
        lower(
            Model("revenue", "planet", TimeView()),
            project(validity=True),
            Span(None, datetime(2024, 2, 10, tzinfo=UTC)),
            "duckdb",
        )
    assert caught.value.hint == "roll-ups are store → team"
