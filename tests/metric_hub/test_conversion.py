"""metric-hub's metrics as ordinary ones: they compile through the factory; what cannot says why."""

from __future__ import annotations

import datetime as dt

import duckdb
import pytest

from hub import BASE
from tallystick.compiler.metric_hub.portability import portability
from tallystick.compiler.plan import plan
from tallystick.definitions.about import Direction, Status
from tallystick.definitions.metric_hub.conversion import reasons, to_project
from tallystick.service.metric_hub import entries, facts
from tallystick.service.metric_hub import render as render_metric
from tallystick.service.render import render


def test_every_metric_without_a_join_is_an_ordinary_one(repository):
    project = to_project(repository.shared, "x")
    assert len(project.metrics) == 114
    assert next(d.message.split(":")[0] for d in reasons(project)) == "data source 'ad_metrics_daily' joins countries"
    metric = project.metrics["fenix_uri_count"]
    assert metric.about.friendly_name == "URIs visited"
    assert metric.origin.of("select_expression").line == 5


@pytest.mark.parametrize("dialect", ["bigquery", "duckdb", "snowflake"])
def test_they_compile_through_the_factory(repository, dialect):
    project = to_project(repository.shared, "x")
    models = plan(project)
    assert len(models) == 114
    for model in models[::6]:
        assert "SELECT" in render(project, model, dialect, None, dt.datetime(2024, 1, 1, tzinfo=dt.UTC))


def test_reasons_name_the_obstacle(build):
    text = """
[metrics.r]
depends_on = ["a"]
[metrics.s]
select_expression = "COUNTIF(slug = '{experiment_slug}')"
data_source = "d"
[metrics.a]
select_expression = "SUM(1)"
data_source = "p"
[data_sources.d]
from_expression = "t"
[data_sources.p]
from_expression = "`{dataset}.t`"
"""
    project = to_project(build({"definitions/app.toml": text}), "x")
    assert not project.metrics
    assert [d.message for d in reasons(project)] == [
        "'p' holds {dataset} and sets no default_dataset",
        "metric 'r' depends on a and only has statistics",
        "'s' holds {experiment_slug}, which has a value only inside an experiment",
        "metric 'a' is on data source 'p', which is left out",
    ]


def test_labels_survive(build):
    about = to_project(build(BASE), "x").metrics["firefox_desktop_m1"].about
    assert (about.owners, about.status, about.direction) == (("a@b.c",), Status.DEPRECATED, Direction.UP)


def test_portability_says_exactly_why_not(repository, build):
    found = portability(repository.shared, "user_reload_count", "fenix", "duckdb")
    assert [reason.message for reason in found.reasons] == [
        "mozfun.map.get_key is a BigQuery function of Mozilla's; duckdb has none of that name"
    ]
    assert portability(repository.shared, "user_reload_count", "fenix", "bigquery").is_portable
    fine = portability(repository.shared, "uri_count", "fenix", "duckdb")
    assert duckdb.extract_statements(fine.sql)
    collection = build(
        {
            "definitions/a.toml": "[metrics.m]\nselect_expression='SUM(x)'\ndata_source='d'\n[data_sources.d]\nfrom_expression='{dataset}.t'\n"
        }
    )
    assert [r.code for r in portability(collection, "m", "a", "duckdb").reasons] == ["placeholder"]
    assert [r.code for r in portability(collection, "nope", "a", "duckdb").reasons] == ["does-not-compile"]


def test_what_a_door_shows(repository):
    listed = {entry.name: entry for entry in entries(repository, "jetstream")}
    assert listed["fenix.uri_count"].data_source == "baseline"
    (shown,) = facts(repository, "fenix.uri_count", "jetstream").values()
    where = {fact.field: str(fact.location) for fact in shown if fact.location}
    assert where["select_expression"] == "definitions/fenix.toml:5:1"
    assert render_metric(repository, "fenix.uri_count").startswith("(\nWITH baseline AS (")
    assert 'FROM "moz-fx-data-shared-prod"."org_mozilla_firefox"."baseline"' in render_metric(
        repository, "fenix.uri_count", dialect="duckdb"
    )
