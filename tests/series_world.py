"""Rows, metrics and series for tests that read the same thing in several ways."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from tallystick.compiler.series import Point, Wanted
from tallystick.compiler.span import Span
from tallystick.definitions.entity import Entity, RollUp
from tallystick.definitions.metric import Aggregate, Formula, Metric
from tallystick.definitions.project import Project, Settings
from tallystick.definitions.source import Column, Source
from tallystick.sql.calendar import UTC_CALENDAR, Calendar
from tallystick.sql.grain import Grain

BEGIN = datetime(2024, 3, 28, tzinfo=UTC)
END = datetime(2024, 4, 3, tzinfo=UTC)
SPAN = Span(BEGIN, END)

ROWS = st.lists(
    st.fixed_dictionaries({
        "time": st.none() | st.integers(-300, 7 * 24 * 60).map(lambda m: (BEGIN + timedelta(minutes=m)).replace(tzinfo=None)),
        "artifact_id": st.sampled_from([None, "a", "b", "c"]),
        "user_id": st.sampled_from([None, 1, 2, 3]),
        "x": st.sampled_from([None, -7, -2, 0, 1, 3, 7]),
        "big": st.sampled_from([None, 2**62, -(2**62), 5]),
        "price": st.sampled_from([None, *map(Decimal, ("-1.25", "0.00", "0.10", "19.99"))]),
        "ratio": st.sampled_from([None, -0.5, 0.1, 0.2, 1e16]),
        "country": st.sampled_from([None, "DE", "SE", "de", "Ä"]),
        "is_paid": st.sampled_from([None, True, False]),
    }),
    max_size=40,
)  # fmt: skip
SCHEMA = pa.schema([
    ("time", pa.timestamp("us")), ("artifact_id", pa.string()), ("user_id", pa.int64()), ("x", pa.int64()),
    ("big", pa.int64()), ("price", pa.decimal128(10, 2)), ("ratio", pa.float64()), ("country", pa.string()),
    ("is_paid", pa.bool_()),
])  # fmt: skip
PLACES = [("a", "p"), ("a", "q"), ("b", "p")]

CONDITIONS = [
    "x > 0", "x >= 1", "x < 3", "x = 3", "x <> 3", "x in (1, 7)", "x not in (1, 3)", "x between 0 and 3", "-2 < x",
    "country = 'DE'", "country <> 'SE'", "country in ('DE', 'SE')", "country not in ('DE', 'Ä')", "country is null",
    "country is not null", "country like 'D%'", "country = 'de'", "is_paid", "not is_paid", "user_id = 1",
    "x > 0 or country = 'DE'", "x > 0 and user_id in (1, 2)", "price > 0.05", "x > price", "not (x > 0)", "level = 'high'",
    "x > 100", "coalesce(x, 0) >= 0",
]  # fmt: skip
EXPRESSIONS = [
    "count(*)", "count(x)", "sum(x)", "avg(x)", "min(x)", "max(x)", "sum(price)", "avg(price)", "min(price)",
    "max(price)", "sum(ratio)", "min(ratio)", "sum(big)", "max(big)", "count(distinct user_id)", "count(distinct x)",
    "count(distinct country)", "sum(x) / count(*)", "100.0 * sum(x) / count(distinct user_id)", "sum(x) - count(*)",
    "sum(x) filter (where is_paid)", "count(*) filter (where x > 1) / count(*)", "-sum(x)", "stddev(x)",
    "sum(x) * 2 + 1", "count(distinct user_id) filter (where is_paid)", "sum(doubled)",
]  # fmt: skip
RARE = ["median(x)", "countif(x > 1)", "last(x)", "sum(x) * 0.5", "coalesce(sum(x), 0)"]
FORMULAS = ["m0 / m1", "m0 + m1", "m0 - m1 * 2", "greatest(m0, m1)"]


def metrics(expressions: list[str]) -> st.SearchStrategy[dict[str, Metric]]:
    """Return some metrics `m0`, `m1`, … with random filters, and formulas `f0`, … over the first two."""
    one = st.tuples(st.sampled_from(expressions), st.lists(st.sampled_from(CONDITIONS), max_size=3, unique=True))

    def build(chosen: list[tuple[str, list[str]]]) -> dict[str, Metric]:
        found = {
            f"m{index}": Metric(name=f"m{index}", definition=Aggregate(source="events", expr=expr, where=tuple(where)))
            for index, (expr, where) in enumerate(chosen)
        }
        formulas = [Metric(name=f"f{index}", definition=Formula(expr=text)) for index, text in enumerate(FORMULAS)]
        return found | {each.name: each for each in formulas}

    return st.lists(one, min_size=2, max_size=6).map(build)


def project(found: dict[str, Metric], calendar: Calendar = UTC_CALENDAR, *, schema: str = "main") -> Project:
    """Return the project that reads the table `events`."""
    level = Column(name="level", sql="case when x > 2 then 'high' when x <= 2 then 'low' end")
    doubled = Column(name="doubled", sql="x + x")
    events = Source(
        name="events", table=f"{schema}.events", time="time", entities={"artifact": "artifact_id"},
        columns={"level": level, "doubled": doubled},
    )  # fmt: skip
    up = RollUp(parent="place", through=f"{schema}.places", child_key="artifact_id", parent_key="place_id")
    return Project(
        root=".",
        settings=Settings(time_zone=calendar.zone, week_start=calendar.week_start, dialect="duckdb"),
        sources={"events": events},
        entities={
            "artifact": Entity(name="artifact", key="artifact_id", rolls_up_to=(up,)),
            "place": Entity(name="place", key="place_id"),
        },
        metrics=found,
    )


GRAINS = st.sampled_from([Grain.HOUR, Grain.DAY, Grain.WEEK, Grain.FIFTEEN_MINUTES, Grain.MONTH])


@st.composite
def series(draw: st.DrawFn, names: list[str]) -> list[Wanted]:
    """Return series of all metrics in a few shapes."""
    grain = draw(GRAINS)
    shapes = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["all", "all", "artifact", "place"]),
                st.sampled_from([None, "country", "user_id", "level", "price", "ratio"]),
                st.sampled_from([None, None, 1, 2, 3]),
            ),
            min_size=1,
            max_size=2,
        )
    )
    return [
        Wanted(metric=name, grain=grain, entity=entity, by=by, values_limit=limit if by else None)
        for entity, by, limit in shapes
        for name in names
    ]


DIMENSIONS = ["country", "user_id", "level", "is_paid", "x", "price", "ratio"]


@st.composite
def breakdowns(draw: st.DrawFn, names: list[str]) -> list[Wanted]:
    """Return the total of all metrics and their breakdowns by several dimensions."""
    grain = draw(GRAINS)
    heads = [None, *draw(st.lists(st.sampled_from(DIMENSIONS), min_size=1, max_size=3, unique=True))]
    limit = draw(st.sampled_from([None, None, 1, 2, 3]))
    found = [
        Wanted(metric=name, grain=grain, by=by, values_limit=limit if by else None) for by in heads for name in names
    ]
    return draw(st.permutations(found)) if draw(st.booleans()) else found


def values(points: Iterable[Point]) -> list[tuple[Any, ...]]:
    """Return points as tuples."""
    return [
        (p.bucket, p.entity_id, p.dimension_value, p.is_other, p.n, p.value, p.numerator, p.denominator) for p in points
    ]


def difference(left: Iterable[Point], right: Iterable[Point], *, types: bool = True) -> str | None:
    """Return where two series differ: keys, integers and decimals exactly, floats by what another order of adding makes."""
    one, other = values(left), values(right)
    if len(one) != len(other):
        return f"{len(one)} points against {len(other)}: {one} {other}"
    for a, b in zip(one, other, strict=True):
        if a[:5] != b[:5]:
            return f"{a} against {b}"
        if not all(_alike(x, y, types=types) for x, y in zip(a[5:], b[5:], strict=True)):
            return f"{a} against {b}"
    return None


def _alike(left: Any, right: Any, *, types: bool) -> bool:
    if left is None or right is None:
        return left is right
    if isinstance(left, float) or isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-12, abs_tol=1e-12) and (not types or type(left) is type(right))
    return left == right and (not types or type(left) is type(right))
