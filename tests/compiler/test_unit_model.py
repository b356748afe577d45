"""Values per unit against plain Python: every option, grain, window and entity, queried and built."""

import csv
import random
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from statistics import median

import pyarrow as pa
import pytest

from tallystick import load
from tallystick.collect.read import read_series
from tallystick.compiler.series import Wanted
from tallystick.compiler.span import Span
from tallystick.sql.grain import Grain

PROJECT = """
[project]
name = "units"
as_of = 2025-03-01T00:00:00Z
[warehouse]
engine = "duckdb"
path = "w.duckdb"
[defaults]
grains = ["hour", "day", "month"]
rolling = [7]
all_time = true
entities = ["all", "store", "region"]
"""
SOURCES = """
[sources.orders]
file = "orders.csv"
time = "at"
entities = { user = "user_id", store = "store_id" }
filters = { done = "status = 'done'" }
dimensions = ["country"]
[sources.stores]
file = "stores.csv"
[entities.store]
rolls_up_to = "region"
through = "stores"
"""
SPEND = (
    '\nsource = "orders"\naggregation = "sum"\ncolumn = "amount"\nwhere = "done"\nper_unit = "user"\nby = ["country"]\n'
)
METRICS = {
    "plain": "",
    "mean": 'across = "avg"',
    "middle": 'across = "median"',
    "most": 'across = "max"',
    "capped": "cap = 60",
    "capped_mean": 'cap = 60.5\nacross = "avg"',
    "wins": "winsorize = [0.1, 0.8]",
    "big": "threshold = 60",
    "big_share": 'threshold = 60\nacross = "avg"',
    "active": "participation = true",
}
RATIO = """
[metrics.over]
numerator = { source = "orders", aggregation = "sum", column = "amount", per_unit = "user", cap = 60 }
denominator = { source = "orders", aggregation = "count" }
"""


def make_rows():
    chance = random.Random(9)
    start = datetime(2025, 1, 26)
    return [
        {
            "at": start + timedelta(minutes=chance.randrange(12 * 1440)),
            "user_id": chance.choice(["a", "b", "c", "d", "e", ""]),
            "store_id": chance.choice(["s0", "s1", "s2"]),
            "country": chance.choice(["DE", "FR", ""]),
            "status": chance.choice(["done", "done", "no"]),
            "amount": chance.choice(["", *range(5, 60, 7)]),
        }
        for _ in range(150)
    ]


ROWS = make_rows()
REGIONS = {"s0": ["north"], "s1": ["south"], "s2": ["north", "south"]}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("units")
    (folder / "definitions").mkdir()
    (folder / "tally.toml").write_text(PROJECT)
    text = "".join(f"[metrics.{name}]{SPEND}{options}\n" for name, options in METRICS.items())
    (folder / "definitions" / "units.toml").write_text(SOURCES + text + RATIO)
    with (folder / "orders.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ROWS[0])
        writer.writeheader()
        writer.writerows(ROWS)
    pairs = "".join(f"{store},{region}\n" for store, regions in REGIONS.items() for region in regions)
    (folder / "stores.csv").write_text(f"store_id,region_id\n{pairs}")
    with load(folder) as opened:
        assert [str(one) for one in opened.project.errors] == []
        yield opened


def quantile(values, share):
    values = sorted(values)
    place = share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def mean(values):
    return sum(values) / len(values) if values else None


def some(statistic):
    return lambda values: statistic(there) if (there := [one for one in values if one is not None]) else None


def reached(values):
    return [int(one is not None and one >= 60) for one in values]


def winsorized(values):
    there = [one for one in values if one is not None]
    low, high = quantile(there, 0.1), quantile(there, 0.8)
    return sum(min(max(one, low), high) for one in there)


NAIVE = {
    "plain": some(sum),
    "mean": some(mean),
    "middle": some(median),
    "most": some(max),
    "capped": some(lambda values: sum(min(one, 60) for one in values)),
    "capped_mean": some(lambda values: mean([min(one, 60.5) for one in values])),
    "wins": some(winsorized),
    "big": lambda values: sum(reached(values)),
    "big_share": lambda values: mean(reached(values)),
    "active": len,
}


def buckets(at, grain):
    day = at.date()
    if grain == 7:
        return [day + timedelta(days=n) for n in range(7)]
    hour = at.replace(minute=0, second=0)
    return [{"hour": hour, "day": day, "month": day.replace(day=1), "all": date(2025, 2, 28)}[grain]]


def keys(row, entity):
    return {"all": [()], "store": [(row["store_id"],)], "region": [(one,) for one in REGIONS[row["store_id"]]]}[entity]


def expected(metric, grain, entity, *, by=False):
    """Return {(bucket, key…): (value, n)}: a sum per user first, NULL where all its amounts are, then the statistic."""
    units = defaultdict(lambda: defaultdict(list))
    for row in ROWS:
        if row["status"] != "done" or not row["user_id"]:
            continue
        for bucket in buckets(row["at"], grain):
            for key in keys(row, entity):
                place = (bucket, *key, *((row["country"] or None,) if by else ()))
                units[place][row["user_id"]].append(row["amount"])
    found = {}
    for place, users in units.items():
        sums = [sum(there) if (there := [one for one in amounts if one != ""]) else None for amounts in users.values()]
        found[place] = (rounded(NAIVE[metric](sums)), sum(map(len, users.values())))
    return found


def rounded(value):
    return None if value is None else round(float(value), 6)


@pytest.mark.parametrize("entity", ["all", "store", "region"])
@pytest.mark.parametrize("grain", ["hour", "day", "month", 7, "all"])
@pytest.mark.parametrize("metric", METRICS)
def test_values_are_those_of_plain_python(workspace, metric, grain, entity):
    view = {"all": {"all_time": True}, 7: {"window": 7}}.get(grain, {"grain": grain})
    rows = workspace.query(metric, entity=entity, **view, start="2025-01-25", end="2025-03-01").to_pylist()
    names = ["bucket"] if entity == "all" else ["bucket", f"{entity}_id"]
    actual = {tuple(row[name] for name in names): (rounded(row["value"]), row["n"]) for row in rows}
    assert actual == expected(metric, grain, entity)


SIDES = {
    "mean": lambda values: values,
    "capped_mean": lambda values: [min(one, 60.5) for one in values],
    "big_share": reached,
}


@pytest.mark.parametrize("metric", METRICS)
def test_averages_are_read_with_both_their_sides(workspace, metric):
    wanted = Wanted(metric=metric, grain=Grain.DAY, by="country")
    span = Span(datetime(2025, 1, 25, tzinfo=UTC), datetime(2025, 3, 1, tzinfo=UTC))
    (read,) = read_series(workspace._read(), workspace.project, [wanted], span)
    assert read.error is None and len(read.points) == len(expected(metric, "day", "all", by=True))
    values = defaultdict(lambda: defaultdict(list))
    for row in ROWS:
        if row["status"] == "done" and row["user_id"]:
            values[row["at"].date(), row["country"] or None][row["user_id"]].append(row["amount"])
    for point in read.points:
        users = values[point.bucket.date(), point.dimension_value].values()
        sums = [sum(there) if (there := [one for one in each if one != ""]) else None for each in users]
        if metric not in SIDES:
            assert (point.numerator, point.denominator) == (None, None)
            continue
        counted = SIDES[metric](sums if metric == "big_share" else [one for one in sums if one is not None])
        assert point.denominator == len(counted)
        assert rounded(point.numerator) == (rounded(sum(counted)) if counted else None)
        assert rounded(point.value) == (rounded(sum(counted) / len(counted)) if counted else None)


@pytest.mark.parametrize("metric", METRICS)
def test_breakdowns_keep_the_values_without_a_name(workspace, metric):
    rows = workspace.query(metric, grain="day", entity="all", by=["country"], start="2025-01-25").to_pylist()
    actual = {(row["bucket"], row["country"]): (rounded(row["value"]), row["n"]) for row in rows}
    assert actual == expected(metric, "day", "all", by=True)


def test_built_tables_hold_what_queries_say(workspace):
    models = {model.name: model for model in workspace.models() if model.metric in METRICS}
    report = workspace.build()
    assert not report.failed
    engine = workspace._write()
    for name, model in models.items():
        if model.time.window is not None:
            continue
        names = ["bucket"] if model.entity == "all" else ["bucket", f"{model.entity}_id"]
        grain = "all" if model.time.is_all_time else model.time.grain.value
        built = engine.rows(f"SELECT * FROM tally.{name}")
        actual = {tuple(row[key] for key in (*names, *model.by)): rounded(row["value"]) for row in built}
        wanted = expected(model.metric, grain, model.entity, by=bool(model.by))
        assert actual == {key: value for key, (value, _) in wanted.items()}, name


def test_a_side_of_a_ratio_may_be_capped(workspace):
    (row,) = workspace.query("over", all_time=True, entity="all").to_pylist()
    users = defaultdict(int)
    for one in ROWS:
        if one["user_id"] and one["amount"] != "":
            users[one["user_id"]] += one["amount"]
    assert row["value"] == pytest.approx(sum(min(one, 60) for one in users.values()) / len(ROWS))


@pytest.mark.parametrize("name", ["postgres", "clickhouse"])
def test_servers_say_the_same(name, live_engines, tmp_path):
    live = live_engines(name)
    columns = {key: [row[key] if row[key] != "" else None for row in ROWS] for key in ROWS[0]}
    live.load("shop.orders", pa.table(columns))
    (tmp_path / "definitions").mkdir()
    (tmp_path / "tally.toml").write_text(f"[project]\nas_of = 2025-03-01T00:00:00Z\n{live.warehouse()}\n")
    sources = SOURCES.partition("[sources.stores]")[0].replace('file = "orders.csv"', 'table = "shop.orders"')
    text = "".join(f"[metrics.{name}]{SPEND}{options}\n" for name, options in METRICS.items())
    (tmp_path / "definitions" / "units.toml").write_text(sources + text)
    with load(tmp_path) as opened:
        for metric in METRICS:
            rows = opened.query(metric, grain="day", entity="all", start="2025-01-25").to_pylist()
            actual = {(row["bucket"],): (rounded(row["value"]), row["n"]) for row in rows}
            assert actual == expected(metric, "day", "all"), metric
            rows = opened.query(metric, grain="day", entity="all", by=["country"], start="2025-01-25").to_pylist()
            actual = {(row["bucket"], row["country"]): (rounded(row["value"]), row["n"]) for row in rows}
            assert actual == expected(metric, "day", "all", by=True), metric


@pytest.mark.parametrize("dialect", ["postgres", "clickhouse", "bigquery", "snowflake", "spark"])
def test_every_dialect_can_say_it(workspace, dialect):
    for metric in ("capped_mean", "big", "active", "most"):
        assert "units" in workspace.render(metric, entity="all", grain="day", dialect=dialect)
