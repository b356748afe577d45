from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.service.guess import Profile, guess, identifier, quoted


def column(name: str, type_: str, *, values: int = 1000, nulls: int = 0, distinct: int = 500) -> Profile:
    return Profile(name, type_, values, nulls, distinct)


ORDERS = [
    column("order_id", "BIGINT", distinct=1000),
    column("created_at", "TIMESTAMP"),
    column("shipped_at", "TIMESTAMP", values=900, nulls=100),
    column("user_id", "BIGINT"),
    column("store_id", "VARCHAR", distinct=4),
    column("status", "VARCHAR", distinct=3),
    column("note", "VARCHAR", distinct=900),
    column("amount", "DECIMAL(18,2)"),
    column("items", "INTEGER", distinct=9),
]


def test_roles() -> None:
    found = guess("orders", ORDERS)
    assert found.time is not None
    assert found.time.name == "created_at"
    assert found.entities == (("user", "user_id"), ("store", "store_id"))
    assert found.numbers == ("amount", "items")
    assert found.dimensions == ("status",)


def test_metrics() -> None:
    metrics = guess("orders", ORDERS).metrics
    assert [(m.name, m.expr) for m in metrics] == [
        ("orders", "count(*)"),
        ("active_users", "count(distinct user_id)"),
        ("total_amount", "sum(amount)"),
    ]


@pytest.mark.parametrize(
    ("columns", "time"),
    [
        (["day", "time"], "time"),
        (["zoned", "ds"], "ds"),
        (["b", "a"], "b"),
        ([], None),
    ],
)
def test_time_goes_by_known_names_then_order(columns: list[str], time: str | None) -> None:
    found = guess("rows", [column("n", "INTEGER"), *(column(name, "DATE") for name in columns)])
    assert (found.time.name if found.time else None) == time


def test_a_complete_time_is_better_than_a_known_name() -> None:
    found = guess("rows", [column("time", "TIMESTAMP", values=1, nulls=999), column("seen", "TIMESTAMP")])
    assert found.time is not None
    assert found.time.name == "seen"


def test_a_key_of_rows_is_no_entity() -> None:
    assert guess("rows", [column("row_id", "BIGINT", distinct=1000)]).entities == ()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Orders 2024", "orders_2024"),
        ("2024-orders", "_2024_orders"),
        ("_0", "_0"),
        ("customerId", "customer_id"),
        ("straße", "stra_e"),
        ("日本", "rows"),
        ("", "rows"),
    ],
)
def test_identifier(text: str, name: str) -> None:
    assert identifier(text) == name


@pytest.mark.parametrize(("name", "sql"), [("amount", "amount"), ("order", '"order"'), ('a "b"', '"a ""b"""')])
def test_quoted(name: str, sql: str) -> None:
    assert quoted(name) == sql


@given(
    st.lists(
        st.builds(
            Profile,
            name=st.text(min_size=1, max_size=12),
            type=st.sampled_from(["BIGINT", "DOUBLE", "VARCHAR", "DATE", "TIMESTAMP", "BOOLEAN", "JSON", "INTEGER[]"]),
            values=st.integers(0, 100),
            nulls=st.integers(0, 100),
            distinct=st.integers(0, 100),
        ),
        min_size=1,
        max_size=8,
        unique_by=lambda c: c.name.lower(),
    )
)
def test_any_columns_give_three_metrics_with_names_of_their_own(columns: list[Profile]) -> None:
    found = guess("rows", columns)
    names = [metric.name for metric in found.metrics]
    assert len(names) == len(set(names)) == 3
    assert all(identifier(name) == name for name in names)
    assert all(identifier(thing) == thing for thing, _ in found.entities)
