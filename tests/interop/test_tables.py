from __future__ import annotations

import pytest
import sqlglot
from sqlglot import exp

from tallystick.definitions.project import Project
from tallystick.definitions.source import Source
from tallystick.interop.tables import Reference, resolve

PROJECT = Project(
    root=".",
    sources={"events": Source(name="events", file="e.csv"), "orders": Source(name="orders", table="shop.orders")},
)


def written(reference: Reference) -> exp.Table:
    return exp.table_(f"{reference.origin}_{reference.name}")


@pytest.mark.parametrize(
    ("sql", "after"),
    [
        ("SELECT * FROM events", "SELECT * FROM file_stg_events AS events"),
        ("SELECT e.x FROM events AS e", "SELECT e.x FROM file_stg_events AS e"),
        ("SELECT * FROM shop.orders", "SELECT * FROM external_orders AS orders"),
        ("SELECT * FROM metrics.made", "SELECT * FROM model_made AS made"),
        ("SELECT * FROM metrics.other", "SELECT * FROM external_other AS other"),
        ("WITH events AS (SELECT 1) SELECT * FROM events", "WITH events AS (SELECT 1) SELECT * FROM events"),
        (
            "WITH events AS (SELECT * FROM events) SELECT * FROM events",
            "WITH events AS (SELECT * FROM file_stg_events AS events) SELECT * FROM events",
        ),
        (
            "WITH a AS (SELECT * FROM events), events AS (SELECT 1) SELECT * FROM a, events",
            "WITH a AS (SELECT * FROM file_stg_events AS events), events AS (SELECT 1) SELECT * FROM a, events",
        ),
        (
            "SELECT * FROM (WITH events AS (SELECT 1) SELECT * FROM events) AS x, events",
            "SELECT * FROM (WITH events AS (SELECT 1) SELECT * FROM events) AS x, file_stg_events AS events",
        ),
        (
            "WITH RECURSIVE events AS (SELECT 1 UNION ALL SELECT * FROM events) SELECT * FROM events",
            "WITH RECURSIVE events AS (SELECT 1 UNION ALL SELECT * FROM events) SELECT * FROM events",
        ),
    ],
)
def test_each_table_is_written_as_what_it_is(sql: str, after: str) -> None:
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    assert isinstance(tree, exp.Query)
    resolve(tree, PROJECT, "metrics", {"made"}, written)
    assert tree.sql("duckdb") == after


def test_each_table_is_reported_once() -> None:
    tree = sqlglot.parse_one("SELECT * FROM events JOIN db.shop.orders ON 1 = 1 JOIN events AS again ON 1 = 1")
    assert isinstance(tree, exp.Query)
    assert [reference.dotted for reference in resolve(tree, PROJECT, "metrics", (), written)] == [
        "metrics.stg_events",
        "db.shop.orders",
    ]
