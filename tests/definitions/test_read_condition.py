"""Structured conditions in files: bounds, and types that only the warehouse knows."""

import pytest

from tallystick import load
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
