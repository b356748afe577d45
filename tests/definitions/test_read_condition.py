"""Structured conditions in files: bounds, and types that only the warehouse knows."""

import pytest

from tallystick import load
from tallystick.definitions.conditions import conditions
from tallystick.definitions.resolve import check_columns

SOURCE = '[sources.orders]\ntable = "orders"\ntime = "at"\n[metrics.m]\nsource = "orders"\nexpr = "count(*)"\n'


def project(folder, where):
    (folder / "definitions").mkdir()
    (folder / "definitions" / "m.toml").write_text(f"{SOURCE}where = {where}\n")
    return load(folder).project


def codes(project):
    return [finding.code for finding in project.errors]


def condition(value, column="status", op="eq"):
    return f'{{ column = "{column}", op = "{op}", value = {value} }}'


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (f"[{', '.join([condition(1)] * 100)}]", []),
        (f"[{', '.join([condition(1)] * 101)}]", ["too-many-conditions"]),
        (f"[{condition(list(range(100)), op='in')}]", []),
        (f"[{condition(list(range(101)), op='in')}]", ["too-many-values"]),
        (condition(f'"{"x" * 4096}"'), []),
        (condition(f'"{"x" * 4097}"'), ["value-too-long"]),
        (condition('"a\\u0000b"'), ["bad-condition"]),
    ],
)
def test_bounds(tmp_path, where, found):
    assert codes(project(tmp_path, where)) == found


def test_types_of_the_warehouse_are_checked_where_the_definition_does_not_know_them(tmp_path):
    amount, status = condition('"DE"', "amount"), condition('"x"', "status", "contains")
    opened = project(tmp_path, f"['at > now()', {amount}, {status}]")
    types = {"at": "TIMESTAMP", "amount": "DECIMAL(10,2)", "status": "BOOLEAN"}
    found = check_columns(opened, {"orders": types})
    assert [(one.code, one.line, one.column) for one in found] == [
        ("condition-type", 7, 24),
        ("condition-type", 7, 72),
    ]


def test_a_column_that_is_not_there_is_found_like_any_other(tmp_path):
    opened = project(tmp_path, condition(1, "stats"))
    assert [one.code for one in check_columns(opened, {"orders": {"at": "DATE", "status": "VARCHAR"}})] == [
        "unknown-column"
    ]


# -- filters of sources and events ------------------------------------------------------------------------------------

NAMED = """
[project]
time_zone = "Europe/Berlin"

[sources.orders]
table = "orders"
time = "moment"
filters = {{ paid = "status = 'paid'", {filters} }}

[sources.orders.columns]
amount = {{ type = "decimal" }}

[events.big]
source = "orders"
where = {where}

[metrics.big_orders]
event = "big"
where = "recent"

[metrics.recent_orders]
source = "orders"
expr = "count(*)"
where = ["recent", "not big"]
"""


def named(folder, where, filters):
    (folder / "tally.toml").write_text(NAMED.format(where=where, filters=filters), encoding="utf-8")
    return load(folder).project


def test_filters_and_events_are_tables_too(tmp_path):
    recent = 'recent = { column = "moment", op = "gte", value = 2025-02-01 }'
    where = '["paid", { column = "amount", op = "gt", value = 100 }]'
    project = named(tmp_path, where, recent)
    assert not project.errors
    start = "moment >= CAST('2025-01-31 23:00:00' AS TIMESTAMP)"  # midnight in Berlin
    assert project.sources["orders"].filters == {"paid": "status = 'paid'", "recent": start}
    assert project.segments["big"].where == "(paid) AND (amount > 100)"
    assert conditions(project, project.metrics["big_orders"]) == ("((status = 'paid')) AND (amount > 100)", start)
    (recent_sql, rest) = conditions(project, project.metrics["recent_orders"])
    assert recent_sql == start and "NOT" in rest and "amount > 100" in rest


@pytest.mark.parametrize(
    ("where", "filters", "code", "place"),
    [
        ('{ column = "amount", op = "contains", value = "1" }', 'recent = "true"', "condition-type", "15:"),
        ('["true", { column = "amount", op = "eq", value = "x" }]', 'recent = "true"', "condition-type", "15:"),
        ('"true"', 'recent = { column = "amount", op = "eq", value = "x" }', "condition-type", "8:"),
        ('"true"', 'recent = { column = "amount", op = "near", value = 1 }', "bad-condition", "8:"),
        ('{ column = "amount" }', 'recent = "true"', "missing-key", "15:"),
        ('"true"', "recent = 5", "wrong-type", "8:"),
    ],
)
def test_what_is_wrong_with_them_is_found_where_it_stands(tmp_path, where, filters, code, place):
    found = [finding for finding in named(tmp_path, where, filters).errors if finding.code != "left-out"]
    assert {finding.code for finding in found} == {code}
    assert all(str(finding).startswith(f"tally.toml:{place}") for finding in found) and found


def test_types_of_the_warehouse_are_held_against_them(tmp_path):
    recent = 'recent = { column = "status", op = "gt", value = 5 }'
    project = named(tmp_path, '{ column = "kind", op = "eq", value = "x" }', recent)
    assert not project.errors
    stored = {"moment": "TIMESTAMP", "status": "BOOLEAN", "amount": "DECIMAL(9,2)", "kind": "INTEGER"}
    found = check_columns(project, {"orders": stored})
    assert [(finding.code, finding.line) for finding in found] == [("condition-type", 8), ("condition-type", 15)]


@pytest.mark.parametrize(
    ("value", "zone", "native", "found"),
    [
        ("2025-02-01", "Europe/Berlin", "TIMESTAMP", ["untyped-day"]),
        ("2025-02-01", "UTC", "TIMESTAMP", []),  # a date is the whole day in UTC, whatever the column holds
        ('"2025-02-01"', "UTC", "TIMESTAMP", ["untyped-day"]),  # a text is compared as it is
        ('"2025-02-01"', "Europe/Berlin", "VARCHAR", []),
        ("2025-02-01", "Europe/Berlin", "DATE", []),
        ("2025-02-01T00:00:00Z", "Europe/Berlin", "TIMESTAMP", []),
    ],
)
def test_a_date_on_a_column_nobody_described(tmp_path, value, zone, native, found):
    where = f'{{ column = "paid_at", op = "eq", value = {value} }}'
    text = NAMED.format(where=where, filters='recent = "amount > 0"').replace("Europe/Berlin", zone)
    (tmp_path / "tally.toml").write_text(text, encoding="utf-8")
    stored = {"moment": "TIMESTAMP", "status": "VARCHAR", "amount": "DECIMAL(9,2)", "paid_at": native}
    findings = check_columns(load(tmp_path).project, {"orders": stored})
    assert [finding.code for finding in findings] == found
    described = text.replace("[sources.orders.columns]", '[sources.orders.columns]\npaid_at = { type = "timestamp" }')
    (tmp_path / "tally.toml").write_text(described, encoding="utf-8")
    again = check_columns(load(tmp_path).project, {"orders": stored})
    assert [finding.code for finding in again if finding.code == "untyped-day"] == []


def test_true_is_no_column(tmp_path):
    project = named(tmp_path, '"TRUE"', 'recent = "true"')
    stored = {"moment": "TIMESTAMP", "status": "VARCHAR", "amount": "DECIMAL(9,2)"}
    assert not project.errors and check_columns(project, {"orders": stored}) == ()
