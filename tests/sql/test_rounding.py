"""ROUND where digits are no fixed number is refused; values are compared on real engines in `test_conformance`."""

from __future__ import annotations

import pytest
import sqlglot

from tallystick.errors import CompileError
from tallystick.sql import portable


@pytest.mark.parametrize("text", ["ROUND(x, n)", "ROUND(x, 16)", "ROUND(x, 1.5)", "ROUND(x, -n)"])
@pytest.mark.parametrize("dialect", ["postgres", "clickhouse"])
def test_digits_must_be_a_small_number(text: str, dialect: str) -> None:
    with pytest.raises(CompileError, match=f"digits cannot be written for {dialect}"):
        portable.rewrite(sqlglot.parse_one(text, read="duckdb"), dialect)


def test_digits_may_be_anything_where_the_engine_rounds_itself() -> None:
    assert portable.rewrite(sqlglot.parse_one("ROUND(x, n)", read="duckdb"), "spark").sql("spark") == "ROUND(x, n)"
