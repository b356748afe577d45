"""The shop: its rows are the same every time, and every collected value is what a query written by hand says."""

import json
import shutil
from collections import defaultdict
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pytest

from tallystick import load
from tallystick.cli.main import run
from tallystick.definitions.diagnostics import Severity
from tallystick.errors import ProjectError
from tallystick.service import demo, demo_shop

DONE = "status = 'completed'"
DAILY = {
    "revenue": f"SELECT created_at::DATE, sum(amount) FROM orders WHERE {DONE} GROUP BY 1",
    "largest_order": f"SELECT created_at::DATE, max(amount) FROM orders WHERE {DONE} GROUP BY 1",
    "buyers": f"SELECT created_at::DATE, count(DISTINCT user_id) FROM orders WHERE {DONE} GROUP BY 1",
    "visitors": "SELECT happened_at::DATE, approx_count_distinct(user_id) FROM app_events GROUP BY 1",
    "slow_views": "SELECT happened_at::DATE, quantile_cont(load_ms::DOUBLE, 0.95) FROM app_events "
    "WHERE event = 'view' GROUP BY 1",
    "signups": "SELECT signed_up_at::DATE, count(*) FROM users WHERE signed_up_at >= '2026-05-26' GROUP BY 1",
    "large_orders": f"SELECT created_at::DATE, count(*) FROM orders WHERE amount >= 80 AND {DONE} GROUP BY 1",
    "average_order_value": f"SELECT created_at::DATE, sum(amount) / count(*) FROM orders WHERE {DONE} GROUP BY 1",
    "completion": f"SELECT created_at::DATE, count(*) FILTER ({DONE}) / count(*) FROM orders GROUP BY 1",
    "capped_revenue_per_buyer": "SELECT day, avg(least(spent, 150)) FROM (SELECT created_at::DATE AS day, user_id, "
    f"sum(amount) AS spent FROM orders WHERE {DONE} GROUP BY 1, 2) GROUP BY 1",
    "revenue_per_visitor": "SELECT day, revenue / visitors FROM "
    f"(SELECT created_at::DATE AS day, sum(amount) AS revenue FROM orders WHERE {DONE} GROUP BY 1) JOIN "
    "(SELECT happened_at::DATE AS day, count(DISTINCT user_id) AS visitors FROM app_events GROUP BY 1) USING (day)",
    "purchases": "SELECT happened_at::DATE, count(*) FROM app_events WHERE event = 'purchase' GROUP BY 1",
    "carts_per_user": "SELECT happened_at::DATE, count(*) FILTER (event = 'cart') / count(DISTINCT user_id) "
    "FROM app_events GROUP BY 1",
    "cost_of_cancellation": f"SELECT created_at::DATE, (sum(amount) FILTER ({DONE}) / count(*) FILTER ({DONE})) "
    f"* (1 - count(*) FILTER ({DONE}) / count(*)) FROM orders GROUP BY 1",
}
HOURLY = """SELECT date_trunc('hour', happened_at), count(*) FILTER (event = 'purchase') / count(*) FILTER (event = 'view')
FROM app_events GROUP BY 1"""
SESSIONS = "SELECT happened_at::DATE, platform, count(DISTINCT session_id) FROM app_events GROUP BY 1, 2"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop") / "shop"
    demo.copy_project(folder, demo_shop.BUNDLED)
    assert demo_shop.make_rows(folder) == demo_shop.make_rows(folder)
    _, latest, _ = demo_shop.collect(folder)
    with load(folder) as workspace:
        yield workspace, {one.metric.name: one for one in latest}


@pytest.fixture(scope="module")
def rows(shop):
    # A copy: one process may not have a file open in two ways.
    file = Path(shop[0].project.root) / "warehouse.duckdb"
    shutil.copyfile(file, file.with_name("naive.duckdb"))
    with duckdb.connect(str(file.with_name("naive.duckdb")), read_only=True) as connection:
        yield connection


def test_nothing_is_wrong_with_it(shop):
    assert [str(one) for one in shop[0].check() if one.severity is not Severity.INFO] == []
    assert {metric.kind for metric in shop[0].metrics.values()} == {"aggregate", "ratio", "derived", "sql"}
    assert [one.failed for one in shop[1].values() if one.failed] == []


def test_every_metric_has_a_naive_query(shop):
    assert {*DAILY, "purchase_conversion", "active_sessions"} == set(shop[1])


@pytest.mark.parametrize("metric", DAILY)
def test_collected_values_are_those_of_a_query_by_hand(shop, rows, metric):
    collected = shop[0].series(metric, grain="day").to_pylist()
    expected = {day: float(value) for day, value in rows.execute(DAILY[metric]).fetchall()}
    assert {row["bucket"].date(): float(row["value"]) for row in collected} == pytest.approx(expected)
    assert min(expected) == date(2026, 5, 26)
    assert max(expected) == date(2026, 6, 29)


def test_conversion_climbs_with_a_daily_ripple(shop, rows):
    collected = shop[0].series("purchase_conversion", grain="hour").to_pylist()
    expected = {hour.replace(tzinfo=UTC): value for hour, value in rows.execute(HOURLY).fetchall()}
    assert {row["bucket"]: row["value"] for row in collected} == pytest.approx(expected)
    assert all(row["value"] == row["numerator"] / row["denominator"] for row in collected)
    days = defaultdict(list)
    for hour, value in sorted(expected.items())[-7 * 24 :]:
        days[hour.date()].append(value)
    assert all(0.04 < value < 0.11 for values in days.values() for value in values)
    means = [sum(values) / len(values) for values in days.values()]
    assert means == sorted(means)
    assert all(max(values) - min(values) > 0.008 for values in days.values())


def test_sessions_are_counted_for_each_platform(shop, rows):
    collected = shop[0].series("active_sessions", entity="platform").to_pylist()
    expected = {(day, platform): count for day, platform, count in rows.execute(SESSIONS).fetchall()}
    assert {(row["bucket"].date(), row["platform"]): row["value"] for row in collected} == expected


def test_the_average_order_carries_its_filter_on_both_sides(shop, rows):
    latest = shop[0].series("average_order_value", grain="day").to_pylist()[-1]
    query = f"SELECT sum(amount), count(*) FROM orders WHERE {DONE} AND created_at::DATE = '2026-06-29'"
    assert (float(latest["numerator"]), latest["denominator"]) == tuple(map(float, rows.execute(query).fetchone()))
    assert latest["bucket"] == datetime(2026, 6, 29, tzinfo=UTC)


def test_the_command_shows_it(shop, capsys):
    folder = shop[0].project.root
    shop[0].close()
    assert run(["demo", "shop", "--dir", folder, "--once", "-f", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [one["metric"] for one in shown] == list(shop[1])
    assert run(["demo", "shop", "--dir", folder]) == 0
    text = capsys.readouterr()
    assert "shop, 2026-06-29: the latest day that is complete" in text.out
    assert "▁" in text.out
    assert "tally source preview orders" in text.err


def test_another_name_is_no_demo(capsys):
    assert run(["demo", "shoe"]) == 2
    assert "there is no demo 'shoe'" in capsys.readouterr().err


def test_rows_need_their_sql(tmp_path):
    with pytest.raises(ProjectError, match=r"rows\.sql"):
        demo_shop.make_rows(tmp_path)
