from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tallystick.compiler.lower import lower, to_text
from tallystick.compiler.marked_text import MarkedText, _ranges, marked_text
from tallystick.compiler.model import Model, TimeView
from tallystick.compiler.plan import plan
from tallystick.compiler.span import Span
from tallystick.definitions.load import load
from tallystick.definitions.project import Project
from tallystick.errors import TallystickError
from tallystick.sql.grain import Grain, parse_window

SPAN = Span(datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))

PROJECT = """
[sources.sales]
sql = "select * from raw.sales where price > 10"
time = "sold_at"
entities = { shop = "shop_id" }
[sources.sales.columns]
net = { sql = "price - discount" }
[sources.shops_by_town]
table = "shops_by_town"
[entities.shop]
rolls_up_to = "town"
through = "shops_by_town"
[entities.town]
[metrics.orders]
source = "sales"
expr = "count(*)"
where = "country = 'events.sold_at'"
[metrics.revenue]
source = "sales"
expr = "sum(net)"
[metrics.basket]
expr = "revenue / orders * 100"
[metrics.visits]
sql = "select @metrics_sample_date(day) as metrics_sample_date, sum(hits) as amount from web where day between @metrics_start('DATE') and @metrics_end('DATE') group by 1"
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    path = tmp_path_factory.mktemp("shop") / "shop.toml"
    path.write_text(PROJECT, encoding="utf-8")
    found = load(path)
    assert not found.errors
    return found


def marked(project: Project, metric: str, entity: str = "all", time: TimeView | None = None) -> MarkedText:
    return marked_text(Model(metric, entity, time or TimeView(grain=Grain.WEEK)), project, SPAN, "duckdb")


def flat(found: MarkedText) -> list[str]:
    return [" ".join(part.split()) for part in found.parts]


def test_expression_filter_and_source_are_marked_and_nothing_else(project: Project) -> None:
    assert flat(marked(project, "orders")) == [
        "sales.sold_at",
        "COUNT(*)",
        "SELECT * FROM raw.sales WHERE price > 10",
        "sales.country = 'events.sold_at'",
        "sales.sold_at",
        "sales.sold_at",
    ]


def test_what_the_compiler_counts_itself_is_not_marked(project: Project) -> None:
    found = marked(project, "orders")
    assert found.text.count("COUNT(*)") == 2
    assert sum(part == "COUNT(*)" for part in found.parts) == 1


def test_computed_columns_are_marked_whole(project: Project) -> None:
    assert "SUM(( sales.price - sales.discount ))" in flat(marked(project, "revenue"))


def test_entity_joins_are_not_marked(project: Project) -> None:
    found = marked(project, "orders", "town")
    assert "sales.shop_id" in found.parts
    assert not any("membership" in part for part in found.parts)


def test_rolling_windows_mark_the_rows_only(project: Project) -> None:
    parts = flat(marked(project, "orders", time=TimeView(window=parse_window("30"))))
    assert "COUNT(*)" in parts
    assert not any("tick" in part for part in parts)


def test_formulas_are_marked(project: Project) -> None:
    parts = flat(marked(project, "basket"))
    assert any("* 100" in part for part in parts)
    assert not any("operands" in part for part in parts)


def test_queries_are_marked_around_what_their_macros_became(project: Project) -> None:
    found = marked(project, "visits", "shop")
    assert any("SUM(hits) AS amount" in part for part in flat(found))
    assert not any("2025" in part for part in found.parts)


@pytest.mark.parametrize("dialect", ["duckdb", "snowflake", "bigquery", "clickhouse", "postgres", "tsql"])
def test_marked_text_is_the_rendered_text(dialect: str) -> None:
    demo = load(Path(__file__).parents[2] / "src" / "tallystick" / "demo")
    checked = 0
    for model in plan(demo):
        if model.entity not in ("all", "collection"):
            continue
        for span in (Span(), SPAN):
            try:
                text = to_text(lower(model, demo, span, dialect), dialect, reads=demo.dialect)
            except TallystickError:
                continue
            found = marked_text(model, demo, span, dialect)
            checked += 1
            assert found.text == text
            assert found.ranges, model.name
            assert all(a < b for a, b in found.ranges)
            assert all(left[1] <= right[0] for left, right in zip(found.ranges, found.ranges[1:], strict=False))
    assert checked > 20


def test_a_text_that_holds_the_sign_itself_is_left_unmarked(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    path.write_text(PROJECT.replace("events.sold_at", "\ue000"), encoding="utf-8")
    odd = load(path)
    daily = next(model for model in plan(odd) if model.name == "orders_to_all_daily")
    found = marked_text(daily, odd, SPAN, "duckdb")
    assert found.ranges == ()
    assert "\ue000" in found.text
    del project


@pytest.mark.parametrize(
    ("text", "flipped", "parts"),
    [
        ("SELECT a + b", "SELECT \ue000a + b\ue000", ["a + b"]),
        ("SELECT\n  a", "SELECT \ue000a\ue000", ["a"]),
        ("f(a, b)", "\ue000f(\ue000a\ue000,\n b)\ue000", ["f(", ", b)"]),
        ("a b", "\ue000a\ue000 \ue000b\ue000", ["a b"]),
        ("a b", "\ue000a c\ue000", []),
    ],
)
def test_ranges_survive_other_line_breaks(text: str, flipped: str, parts: list[str]) -> None:
    assert [text[a:b] for a, b in _ranges(text, flipped)] == parts
