"""What definitions use: references in parsed SQL, not words; every other mention of a name is none."""

from __future__ import annotations

from typing import Any

import pytest

from tallystick.store.kinds import Kind
from tallystick.store.reading import read_body
from tallystick.store.references import names_in, references, tables_in


def used(kind: Kind, body: dict[str, Any], dialect: str = "duckdb") -> dict[str, list[str]]:
    found = references(read_body(kind, "it", body), dialect)
    return {f"{other.value} {name}": parts for (other, name), parts in found.items()}


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("sum(net)", {"net"}),
        ("net", {"net"}),
        ("sum(net) -- not tax", {"net"}),
        ("sum(/* tax */ net)", {"net"}),
        ("count(*) filter (where status = 'net')", {"status"}),
        ("sum(orders.net)", {"net"}),
        ("sum(address.net)", {"address"}),
        ("list_sum(list_transform(prices, net -> net * 2))", {"prices"}),
        ("cast(amount as date)", {"amount"}),
        ("extract(year from moment)", {"moment"}),
        ("net in (select tax from other)", {"net", "tax"}),
        ("net +* tax", {"net", "tax"}),  # what does not parse counts by its words
    ],
)
def test_names_in_expressions(sql: str, names: set[str]) -> None:
    assert names_in(sql, "duckdb", "orders") == names


def test_quotes_mean_what_they_mean_in_the_dialect() -> None:
    assert names_in('status = "net"', "bigquery", "") == {"status"}
    assert names_in('status = "net"', "postgres", "") == {"status", "net"}


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("select visits from orders as o join clicks using (id)", {"orders", "clicks"}),
        ("with orders as (select 1 as x) select x from orders", set()),
        ("select * from shop.orders", set()),
        ("select 'from orders' as text -- orders\n from visits", {"visits"}),
        ("select 1 from orders where exists (select 1 from visits)", {"orders", "visits"}),
        ("select @metrics_start('DATE') as day from orders", {"orders"}),
    ],
)
def test_tables_in_queries(sql: str, tables: set[str]) -> None:
    assert tables_in(sql, "duckdb") == tables


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        (
            Kind.METRIC,
            {"source": "orders", "expr": "sum(net)", "where": ["completed", "country = 'DE'"], "by": ["shop"]},
            {
                "source orders": ["completed", "country", "net", "shop"],
                "event net": [],
                "event completed": [],
                "event country": [],
                "event shop": [],
                "dimension shop": [],
            },
        ),
        (Kind.METRIC, {"expr": "revenue / orders"}, {"metric revenue": [], "metric orders": []}),
        (
            Kind.METRIC,
            {"event": "checkout", "aggregation": "sum", "column": "net"},
            {"event checkout": ["net"], "event net": ["checkout"]},
        ),
        (
            Kind.METRIC,
            {
                "numerator": {"source": "a", "expr": "sum(x)"},
                "denominator": {"source": "b", "aggregation": "count", "where": {"column": "y", "op": "is_null"}},
            },
            {"source a": ["x"], "source b": ["y"], "event x": [], "event y": []},
        ),
        (
            Kind.METRIC,
            {"source": "orders", "aggregation": "count", "per_distinct": "customer", "entities": ["store"]},
            {"source orders": [], "entity customer": [], "entity store": []},
        ),
        (Kind.METRIC, {"sql": "select 1 from orders join shop.other using (x)"}, {"source orders": []}),
        (
            Kind.SOURCE,
            {"sql": "select * from raw_orders", "time": "at", "entities": {"store": "s"}, "warehouse": "lake"},
            {"source raw_orders": [], "entity store": [], "warehouse lake": []},
        ),
        (
            Kind.EVENT,
            {"source": "orders", "where": ["paid", {"column": "net", "op": "gt", "value": 1}]},
            {"source orders": ["net", "paid"], "event net": [], "event paid": []},
        ),
        (Kind.DIMENSION, {"source": "orders", "sql": "upper(country)"}, {"source orders": ["country"]}),
        (
            Kind.ENTITY,
            {"key": "k", "rolls_up_to": "region", "through": "stores"},
            {"entity region": [], "source stores": ["k"]},
        ),
        (Kind.WAREHOUSE, {"engine": "duckdb"}, {}),
    ],
)
def test_what_each_kind_uses(kind: Kind, body: dict[str, Any], expected: dict[str, list[str]]) -> None:
    assert used(kind, body) == expected
