"""LookML: one view per data source, dimensions, and measures from statistics."""

from __future__ import annotations

import pytest

from tallystick.definitions.metric_hub import loading
from tallystick.definitions.metric_hub.repository import open_repository
from tallystick.errors import ExpressionError
from tallystick.interop.lookml import export, quoted, sql

FILES = {
    "definitions/app.toml": """
[metrics.clicks]
select_expression = "SUM(n)"
data_source = "events"
friendly_name = 'All "clicks"'
[metrics.clicks.statistics.sum]
[metrics.clicks.statistics.client_count]
[metrics.clicks.statistics.ratio]
numerator = "clicks.sum"
denominator = "views.sum"
[metrics.clicks.statistics.rolling_average]
aggregations = ["sum", "avg"]
window_sizes = [7]
[metrics.views]
select_expression = "COUNT(*)"
data_source = "events"
[metrics.views.statistics.sum]
period_over_period = { periods = [7], kinds = ["previous", "relative_change"] }
[metrics.views.statistics.ratio]
numerator = "views.sum"
denominator = "other.sum"
[metrics.spread]
select_expression = "hist(x)"
data_source = "events"
type = "histogram"
[data_sources.events]
from_expression = "`{dataset}.events`"
columns_as_dimensions = true
[data_sources.events.joins.countries]
relationship = "one_to_many"
on_expression = "events.country = countries.code"
[data_sources.countries]
from_expression = "countries"
columns_as_dimensions = true
[dimensions.os]
select_expression = "LOWER(os)"
data_source = "events"
"""
}


@pytest.fixture
def exported(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return export(loading.load(tmp_path), {"countries": ["region"], "events": ["os", "country"]})


def test_there_is_a_view_and_an_explore_per_data_source(exported):
    assert sorted(exported.files) == [
        "app/metric_definitions_events.explore.lkml",
        "app/metric_definitions_events.view.lkml",
    ]


def test_the_view_selects_every_metric_that_is_no_histogram(exported):
    view = exported.files["app/metric_definitions_events.view.lkml"]
    assert "SUM(n) AS clicks" in view
    assert "spread" not in view
    assert "`app.events` AS events" in view
    assert "countries.region AS region" in view
    assert "LOWER(os) AS os" in view
    assert view.count("{") == view.count("}")
    assert 'label: "All \\"clicks\\""' in view


@pytest.mark.parametrize(
    "measure",
    [
        "measure: clicks_sum {",
        "sql: ${TABLE}.clicks*{% parameter sampling %} ;;",
        "sql: IF(${TABLE}.clicks > 0, ${TABLE}.client_id, NULL) ;;",
        "sql: SAFE_DIVIDE(${clicks_sum}, ${views_sum}) ;;",
        "sql: AVG(${clicks_sum}) OVER (ORDER BY ${submission_date} ROWS BETWEEN 6 PRECEDING AND CURRENT ROW) ;;",
        "measure: views_sum_7_day_relative_change {",
    ],
)
def test_statistics_become_measures(exported, measure):
    assert measure in exported.files["app/metric_definitions_events.view.lkml"]


def test_what_has_no_measure_is_reported_with_its_line(exported):
    assert [(d.line, d.message.split(" ")[0]) for d in exported.diagnostics] == [
        (11, "rolling_average"),
        (19, "'other.sum'"),
    ]


def test_texts_cannot_break_out():
    assert quoted('a "b"\nc') == '"a \\"b\\" c"'
    with pytest.raises(ExpressionError, match="two semicolons"):
        sql("SELECT 1 ;; }")


def test_the_part_exports_without_findings(pytestconfig):
    part = pytestconfig.rootpath / "tests" / "fixtures" / "metric_hub" / "repo"
    found = export(open_repository(part).tools["looker"])
    assert len(found.files) == 84
    assert not found.diagnostics
