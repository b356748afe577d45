"""Columns are checked where they are known: from a source's own query, or as the warehouse describes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.definitions.columns import check_columns, columns_of, projected
from tallystick.definitions.load import load
from tallystick.definitions.source import Source

SHOP = """\
[sources.orders]
table = "orders"
time = "ordered_at"
entities = { user = "user_id" }
filters = { completed = "status = 'done'" }
columns = { net = { sql = "amount - tax" } }
[segments.large]
source = "orders"
where = "amout > 100 and completed"
[metrics.revenue]
source = "orders"
expr = '''
  sum(net)
  + sum(Orders.Shipping)
'''
where = ["large", "contry = 'DE'"]
[metrics.visits]
source = "visits"
expr = "count(nothing)"
[sources.visits]
table = "visits"
time = "at"
"""
ORDERS = {"ORDERED_AT": "TIMESTAMP", "user_id": "BIGINT", "status": "VARCHAR", "amount": "DOUBLE", "country": "VARCHAR"}


def test_columns_of_the_warehouse(tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text(SHOP, encoding="utf-8")
    project = load(tmp_path / "shop.toml")
    assert not project.errors
    found = [(f.line, f.column, f.message, f.hint) for f in check_columns(project, {"orders": ORDERS})]
    assert found == [
        (6, 37, "source 'orders' has no column 'tax'", "known: amount, country, net, ordered_at, status, user_id"),
        (9, 10, "source 'orders' has no column 'amout'", "did you mean 'amount'?"),
        (14, 9, "source 'orders' has no column 'Orders'", "did you mean 'ordered_at'?"),
        (16, 20, "source 'orders' has no column 'contry'", "did you mean 'country'?"),
    ]


def test_nothing_is_found_where_every_column_is_there(tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text(SHOP, encoding="utf-8")
    project = load(tmp_path / "shop.toml")
    more = ORDERS | {"tax": "DOUBLE", "amout": "DOUBLE", "orders": "STRUCT", "contry": "VARCHAR"}
    assert check_columns(project, {"orders": more, "unknown": {}}) == ()


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("select a, b as C from t", {"a", "c"}),
        ("select *, 1 as x from t", None),
        ("select t.* from t", None),
        ("select a from t union all select b from u", {"a"}),
        ("with t as (select * from raw) select a from t", {"a"}),
        ("select count(*) from t", None),
        ("not sql at all (", None),
    ],
)
def test_projected(sql: str, columns: set[str] | None) -> None:
    assert projected(Source(name="s", sql=sql), "duckdb") == columns


def test_only_the_warehouse_knows_the_columns_of_a_table() -> None:
    assert projected(Source(name="s", table="t"), "duckdb") is None


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("sum(a) / count(distinct b)", {"a", "b"}),
        ("sum(s.a) + max(nested.field.deep)", {"a", "nested"}),
        ("count(*)", set()),
        ("list_transform(xs, x -> x + y)", {"xs", "y"}),
        ("a in (select id from other where z = 1)", {"a"}),
        ("sum(case when \"Odd Name\" = 'x' then 1 end)", {"Odd Name"}),
    ],
)
def test_columns_of(text: str, columns: set[str]) -> None:
    assert set(columns_of(text, "duckdb", "s")) == columns
