"""Every kind of metric against plain Python over the same rows: queried, and built into the warehouse."""

import csv
import random
from collections import defaultdict
from datetime import date, datetime, timedelta

import pytest

from tallystick import load

PROJECT = """
[project]
name = "kinds"
as_of = 2025-03-01T00:00:00Z
[warehouse]
engine = "duckdb"
path = "kinds.duckdb"
[defaults]
grains = ["day", "month"]
rolling = [7]
all_time = true
entities = ["all", "user"]
"""
SOURCES = """
[sources.orders]
file = "orders.csv"
time = "at"
entities = { user = "user_id" }
filters = { completed = "status = 'completed'" }
[sources.visits]
file = "visits.csv"
time = "at"
entities = { user = "user_id" }
[events.purchase]
source = "visits"
where = "event = 'purchase'"
[events.view]
source = "visits"
where = "event = 'view'"
"""
METRICS = {
    "order_value": """
numerator = { source = "orders", aggregation = "sum", column = "amount", where = "completed" }
denominator = { source = "orders", aggregation = "count", where = "completed" }""",
    "completion": """
numerator = { source = "orders", aggregation = "count", where = "completed" }
denominator = { source = "orders", aggregation = "count" }""",
    "conversion": """
numerator = { event = "purchase" }
denominator = { event = "view" }""",
    "revenue_per_view": """
numerator = { source = "orders", aggregation = "sum", column = "amount" }
denominator = { event = "view" }""",
    "purchases_per_user": """
event = "purchase"
per_distinct = "user"
""",
    "spend_per_user": """
source = "orders"
aggregation = "sum"
column = "amount"
where = "completed"
per_distinct = "user"
""",
    "p90": """
source = "orders"
aggregation = "quantile"
column = "amount"
quantile = 0.9
""",
    "about_users": """
source = "orders"
aggregation = "approx_count_distinct"
column = "user_id"
""",
}


def make_rows():
    chance = random.Random(5)
    start = datetime(2025, 1, 25)
    orders, visits = [], []
    for _ in range(160):
        at = start + timedelta(minutes=chance.randrange(20 * 1440))
        status = chance.choice(["completed", "completed", "cancelled"])
        orders.append(
            {"at": at, "user_id": f"u{chance.randrange(6)}", "status": status, "amount": chance.randrange(90)}
        )
    for _ in range(200):
        at = start + timedelta(minutes=chance.randrange(16 * 1440))
        visits.append({"at": at, "user_id": f"u{chance.randrange(8)}", "event": chance.choice(["view", "purchase"])})
    return orders, visits


ORDERS, VISITS = make_rows()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    definitions = folder / "definitions"
    definitions.mkdir()
    (folder / "tally.toml").write_text(PROJECT)
    text = "".join(f"[metrics.{name}]{body}\n" for name, body in METRICS.items())
    (definitions / "kinds.toml").write_text(SOURCES + text)
    for name, rows in (("orders", ORDERS), ("visits", VISITS)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    with load(folder) as opened:
        assert not opened.project.errors
        yield opened


def quantile(values, share):
    values = sorted(values)
    place = share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def done(rows):
    return [row for row in rows if row["status"] == "completed"]


def events(rows, name):
    return sum(row["event"] == name for row in rows)


def users(rows):
    return len({row["user_id"] for row in rows})


def amount(rows):
    return sum(row["amount"] for row in rows)


def over(top, bottom):
    return top / bottom if bottom else None


# orders and visits of a bucket → the value, and whether there are rows at all
NAIVE = {
    "order_value": lambda o, v: (over(amount(done(o)), len(done(o))), done(o)),
    "completion": lambda o, v: (over(len(done(o)), len(o)), o),
    "conversion": lambda o, v: (over(events(v, "purchase"), events(v, "view")), v),
    "revenue_per_view": lambda o, v: (over(amount(o), events(v, "view")), o or events(v, "view")),
    "purchases_per_user": lambda o, v: (over(events(v, "purchase"), users(v)), v),
    "spend_per_user": lambda o, v: (over(amount(done(o)), users(done(o))), done(o)),
    "p90": lambda o, v: (quantile([row["amount"] for row in o], 0.9) if o else None, o),
    "about_users": lambda o, v: (users(o), o),
}


def expected(metric, grain, entity):
    """Return {(bucket[, user]): value} for every bucket in which rows count."""
    found = {}
    grouped = defaultdict(lambda: ([], []))
    for side, rows in enumerate((ORDERS, VISITS)):
        for row in rows:
            for bucket in buckets(row["at"].date(), grain):
                grouped[(bucket, row["user_id"]) if entity == "user" else (bucket,)][side].append(row)
    for key, (orders, visits) in grouped.items():
        value, present = NAIVE[metric](orders, visits)
        if present:
            found[key] = value
    return found


def buckets(day, grain):
    if grain == 7:
        ends = (day + timedelta(days=n) for n in range(7))
        return [end for end in ends if end <= date(2025, 2, 28)]
    return [{"day": day, "month": day.replace(day=1), "all": date(2025, 2, 28)}[grain]]


@pytest.mark.parametrize("entity", ["all", "user"])
@pytest.mark.parametrize("grain", ["day", "month", 7, "all"])
@pytest.mark.parametrize("metric", METRICS)
def test_values_are_those_of_plain_python(workspace, metric, grain, entity):
    view = {"all": {"all_time": True}, 7: {"window": 7}}.get(grain, {"grain": grain})
    # A window that is asked for on its own needs to know from when on.
    rows = workspace.query(metric, entity=entity, **view, start="2025-01-25", end="2025-03-01").to_pylist()
    names = ["bucket", "user_id"] if entity == "user" else ["bucket"]
    actual = {tuple(row[name] for name in names): row["value"] for row in rows}
    assert close(actual) == close(expected(metric, grain, entity))


def close(values):
    return {key: None if value is None else round(float(value), 6) for key, value in values.items()}


def test_built_tables_hold_what_queries_say(workspace):
    models = {model.name: model for model in workspace.models()}
    report = workspace.build()
    assert not report.failed
    for name, model in models.items():
        if model.time.window is not None or model.metric == "about_users":
            continue
        keys = ["bucket", "user_id"] if model.entity == "user" else ["bucket"]
        built = workspace._write().rows(f"SELECT * FROM tally.{name}")
        actual = {tuple(row[key] for key in keys): row["value"] for row in built}
        grain = "all" if model.time.is_all_time else model.time.grain.value
        assert close(actual) == close(expected(model.metric, grain, model.entity)), name


def test_operands_have_no_models_and_are_not_listed(workspace):
    assert {model.metric for model in workspace.models()} == set(METRICS)
    assert workspace.metrics["conversion"].kind == "ratio"
    assert workspace.metrics["order_value"].kind == "aggregate"


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ("duckdb", "quantile_cont(amount, 0.9)"),
        ("postgres", "PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY amount)"),
        ("clickhouse", "quantileExactInclusiveOrNull(0.9)(toFloat64(amount))"),
    ],
)
def test_quantiles_are_written_in_the_projects_dialect(tmp_path, dialect, text):
    (tmp_path / "definitions").mkdir()
    (tmp_path / "tally.toml").write_text(f'[project]\ndialect = "{dialect}"\n')
    source = '[sources.orders]\ntable = "orders"\ntime = "at"\n'
    (tmp_path / "definitions" / "m.toml").write_text(f"{source}[metrics.p90]{METRICS['p90']}")
    project = load(tmp_path).project
    assert not project.errors
    assert project.metrics["p90"].definition.expr == text
