"""Names of conditions are written out; everything else in a condition stays what it was."""

from __future__ import annotations

import pytest

from tallystick.definitions.conditions import conditions, expand
from tallystick.definitions.metric import Aggregate, Formula, Metric
from tallystick.definitions.project import Project, Settings
from tallystick.definitions.source import Segment, Source
from tallystick.errors import ExpressionError

NAMED = {
    "completed": "status = 'completed'",
    "paid": "completed and paid_at is not null",
    "either": "a or b",
    "active": "active and not deleted",
    "left": "right_side and x",
    "right_side": "left or y",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("completed", "status = 'completed'"),
        (" completed ", "status = 'completed'"),
        ("country = 'DE'", "country = 'DE'"),
        ("not completed", "NOT (status = 'completed')"),
        ("either and x", "(a OR b) AND x"),
        ("paid", "(status = 'completed') AND NOT paid_at IS NULL"),
        ("is_new", "is_new"),
        ("t.completed = 1", "t.completed = 1"),
        ("active", "active AND NOT deleted"),
        ("'completed' = status", "'completed' = status"),
    ],
)
def test_expand(text: str, expected: str) -> None:
    assert expand(text, NAMED, "duckdb") == expected


def test_names_that_lead_back_to_themselves() -> None:
    with pytest.raises(ExpressionError, match="left → right_side → left"):
        expand("left", NAMED, "duckdb")


def test_named_conditions_are_translated_to_the_dialect_of_the_metric() -> None:
    named = {"recent": "strptime(d, '%Y') > x"}
    assert expand("recent", named, "duckdb", "bigquery") == "PARSE_TIMESTAMP('%Y', d) > x"


def project(definition: Aggregate | Formula) -> tuple[Project, Metric]:
    metric = Metric(name="m", definition=definition)
    orders = Source(name="orders", table="orders", filters={"completed": "status = 'completed'"})
    segments = {
        "large": Segment(name="large", source="orders", where="amount > 100"),
        "mobile": Segment(name="mobile", source="visits", where="device = 'phone'"),
    }
    return Project(root=".", settings=Settings(), sources={"orders": orders}, segments=segments), metric


def test_filters_and_segments_of_the_source() -> None:
    definition = Aggregate(source="orders", expr="count(*)", where=("completed", "large or mobile"))
    assert conditions(*project(definition)) == ("status = 'completed'", "(amount > 100) OR mobile")


def test_a_formula_has_no_conditions_of_its_own() -> None:
    assert conditions(*project(Formula(expr="a / b"))) == ()
