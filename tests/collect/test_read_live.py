"""Series read together through the adapters have the points their own queries give."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from random import Random

import pyarrow as pa
import pytest

from series_world import BEGIN, EXPRESSIONS, PLACES, SCHEMA, SPAN, difference, project
from tallystick.collect.read import read_one, read_series
from tallystick.compiler.passes import planner
from tallystick.compiler.passes.costs import costs_of
from tallystick.compiler.series import Wanted
from tallystick.definitions.metric import Aggregate, Metric
from tallystick.sql.grain import Grain

DEAR = 1e9
WAYS = {"conditional": {"atoms": DEAR, "single": DEAR}, "atoms": {"single": DEAR, "scan": DEAR, "masks": 0.0}}
FILTERS = ["x > 0", "country in ('DE', 'SE')", "country <> 'SE'", "x between 0 and 3", "is_paid", "x is null"]


def rows() -> pa.Table:
    choice = Random(7)
    values = {
        "time": lambda: (BEGIN + timedelta(minutes=choice.randint(0, 8000))).replace(tzinfo=None),
        "artifact_id": lambda: choice.choice([None, "a", "b"]),
        "user_id": lambda: choice.choice([None, 1, 2, 3]),
        "x": lambda: choice.choice([None, -7, 0, 1, 3, 7]),
        "big": lambda: choice.choice([None, 5, 2**40]),
        "price": lambda: choice.choice([None, Decimal("-1.25"), Decimal("19.99")]),
        "ratio": lambda: choice.choice([None, -0.5, 0.1]),
        "country": lambda: choice.choice([None, "DE", "SE", "Ä"]),
        "is_paid": lambda: choice.choice([None, True, False]),
    }
    return pa.Table.from_pylist([{name: make() for name, make in values.items()} for _ in range(80)], SCHEMA)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["duckdb", "postgres", "clickhouse"])
def test_passes_equal_one_query_each(live_engines, monkeypatch, name, way):
    live = live_engines(name)
    live.load("shop.events", rows())
    live.load("shop.places", pa.table({"artifact_id": [a for a, _ in PLACES], "place_id": [p for _, p in PLACES]}))
    engine = live.open(read_only=True)
    found = {
        f"m{index}": Metric(
            name=f"m{index}", definition=Aggregate(source="events", expr=expr, where=(FILTERS[index % len(FILTERS)],))
        )
        for index, expr in enumerate(EXPRESSIONS)
    }
    shop = project(found, schema="shop")
    wanted = [Wanted(metric=name, grain=Grain.DAY, by="country", values_limit=3) for name in list(found)[:6]]
    wanted += [Wanted(metric=name, grain=Grain.HOUR) for name in found]
    monkeypatch.setattr(planner, "costs_of", lambda _: replace(costs_of("duckdb"), **WAYS[way]))
    for read in read_series(engine, shop, wanted, SPAN):
        alone = read_one(engine, shop, read.wanted, SPAN)
        assert (read.error, alone.error) == (None, None)
        found_difference = difference(read.points, alone.points, types=False)
        assert found_difference is None, (read.wanted, found_difference, read.sql)


@pytest.mark.parametrize("name", ["duckdb", "postgres", "clickhouse"])
def test_sum_of_no_rows_is_nothing_where_another_series_counts_those_rows(live_engines, monkeypatch, name):
    live = live_engines(name)
    live.load(
        "shop.events",
        pa.Table.from_pylist([{"time": BEGIN.replace(tzinfo=None), "x": 2, "is_paid": False}], SCHEMA),
    )
    engine = live.open(read_only=True)
    # What cannot be NULL adds up to 0 over no rows on ClickHouse, if asked with FILTER.
    whole = Aggregate(source="events", expr="sum(coalesce(x, 0)) filter (where is_paid)")
    part = Aggregate(source="events", expr="sum(coalesce(x, 0))", where=("is_paid",))
    shop = project(
        {"whole": Metric(name="whole", definition=whole), "part": Metric(name="part", definition=part)}, schema="shop"
    )
    wanted = [Wanted(metric=name, grain=Grain.DAY) for name in shop.metrics]
    monkeypatch.setattr(planner, "costs_of", lambda _: replace(costs_of(engine.dialect), **WAYS["conditional"]))
    reads = list(read_series(engine, shop, wanted, SPAN))
    assert len({read.sql for read in reads}) == 1
    assert [[(point.value, point.n) for point in read.points] for read in reads] == [[(None, 1)], []]
    assert read_one(engine, shop, wanted[0], SPAN).points == reads[0].points


ON_SPARK = ["count(*)", "avg(x)", "sum(price)", "count(distinct user_id)", "sum(x) / count(*)", "stddev(x)"]


@pytest.mark.xdist_group("spark")
@pytest.mark.parametrize("way", WAYS)
def test_passes_equal_one_query_each_on_spark(live_engines, monkeypatch, way):
    live = live_engines("spark")
    live.load("shop.events", rows())
    engine = live.open(read_only=True)
    found = {
        f"m{index}": Metric(
            name=f"m{index}", definition=Aggregate(source="events", expr=expr, where=(FILTERS[index % 3],))
        )
        for index, expr in enumerate(ON_SPARK)
    }
    shop = project(found, schema="shop")
    wanted = [Wanted(metric=name, grain=Grain.DAY) for name in found]
    wanted += [Wanted(metric=name, grain=Grain.DAY, by="price", values_limit=2) for name in ("m0", "m2")]
    monkeypatch.setattr(planner, "costs_of", lambda _: replace(costs_of("duckdb"), **WAYS[way]))
    asked: list[str] = []
    run = engine.run
    monkeypatch.setattr(engine, "run", lambda sql, *rest: asked.append(sql) or run(sql, *rest))
    reads = list(read_series(engine, shop, wanted, SPAN))
    # How many prices there are, then three: one for all totals and two singly, or groups of rows, masks and the deviation.
    assert len(asked) == 4
    for read in reads:
        alone = read_one(engine, shop, read.wanted, SPAN)
        assert (read.error, alone.error) == (None, None)
        found_difference = difference(read.points, alone.points, types=False)
        assert found_difference is None, (read.wanted, found_difference, read.sql)


PRICES = ["19.90", "19.90", "19.90", "2.00", "2.00", "-1.25", "0.50", None]
RATIOS = [1e16, 1e16, 1e16, float("nan"), float("nan"), 1e-7, 0.1, None]
SPELLED = {
    ("price", None): {"19.9": 3, "2": 2, "-1.25": 1, "0.5": 1, None: 1},
    ("price", 3): {"19.9": 3, "2": 2, None: 3},
    ("price", 4): {"19.9": 3, "2": 2, "-1.25": 1, None: 2},
    ("ratio", None): {"1e+16": 3, "nan": 2, "1e-07": 1, "0.1": 1, None: 1},
    ("ratio", 3): {"1e+16": 3, "nan": 2, None: 3},
    ("ratio", 4): {"1e+16": 3, "nan": 2, "0.1": 1, None: 2},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["duckdb", "postgres", "clickhouse"])
def test_numbers_are_spelled_alike_whatever_reads_them(live_engines, monkeypatch, name, way):
    live = live_engines(name)
    empty = dict.fromkeys(SCHEMA.names)
    live.load(
        "shop.events",
        pa.Table.from_pylist(
            [
                empty | {"time": BEGIN.replace(tzinfo=None), "price": price and Decimal(price), "ratio": ratio}
                for price, ratio in zip(PRICES, RATIOS, strict=True)
            ],
            SCHEMA,
        ),
    )
    engine = live.open(read_only=True)
    shop = project(
        {name: Metric(name=name, definition=Aggregate(source="events", expr="count(*)")) for name in ("m0", "m1")},
        schema="shop",
    )
    wanted = {(by, limit): Wanted(metric="m0", grain=Grain.DAY, by=by, values_limit=limit) for by, limit in SPELLED}
    more = [replace(each, metric="m1") for each in wanted.values()]
    monkeypatch.setattr(planner, "costs_of", lambda _: replace(costs_of("duckdb"), **WAYS[way]))
    reads = {read.wanted: read for read in read_series(engine, shop, [*wanted.values(), *more], SPAN)}
    for shape, each in wanted.items():
        for read in (reads[each], read_one(engine, shop, each, SPAN)):
            assert read.error is None, (each, read.error)
            assert {point.dimension_value: point.n for point in read.points} == SPELLED[shape], (each, read.sql)


LATTICE = {"single": DEAR, "scan": DEAR, "atoms": DEAR, "crossed": 0.0, "masks": 0.0}
BROKEN_DOWN = ["count(*)", "sum(x)", "avg(x)", "max(price)", "sum(ratio)", "count(distinct user_id)"]
NAMES = ["duckdb", "postgres", "clickhouse", pytest.param("spark", marks=pytest.mark.xdist_group("spark"))]


@pytest.mark.parametrize("name", NAMES)
def test_breakdowns_equal_one_query_each(live_engines, monkeypatch, name):
    live = live_engines(name)
    live.load("shop.events", rows())
    engine = live.open(read_only=True)
    shop = project(
        {
            f"m{place}": Metric(
                name=f"m{place}", definition=Aggregate(source="events", expr=expr, where=("x > 0",) * (place % 2))
            )
            for place, expr in enumerate(BROKEN_DOWN)
        },
        schema="shop",
    )
    heads = (None, "country", "is_paid", "level")
    wanted = [Wanted(metric=name, grain=Grain.DAY, by=by) for by in heads for name in shop.metrics]
    monkeypatch.setattr(planner, "costs_of", lambda _: replace(costs_of("duckdb"), **LATTICE))
    reads = list(read_series(engine, shop, wanted, SPAN))
    # One lattice and its masks, not a query for each head.
    assert len({read.sql for read in reads}) == 1
    # Spark takes seconds for each query; its own queries are held to DuckDB's elsewhere.
    oracle = engine
    if name == "spark":
        other = live_engines("duckdb")
        other.load("shop.events", rows())
        oracle = other.open(read_only=True)
    for read in reads:
        alone = read_one(oracle, shop, read.wanted, SPAN)
        assert (read.error, alone.error) == (None, None)
        found_difference = difference(read.points, alone.points, types=False)
        assert found_difference is None, (read.wanted, found_difference, read.sql)
