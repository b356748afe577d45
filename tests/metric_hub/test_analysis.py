"""Resolving experiments, outcomes and monitoring projects."""

from __future__ import annotations

import datetime as dt

import pytest

from hub import BASE, expected
from tallystick import metric_hub
from tallystick.definitions.metric_hub.analysis import resolve_experiment, resolve_outcome
from tallystick.definitions.metric_hub.mode import Mode
from tallystick.definitions.metric_hub.monitoring import resolve_project
from tallystick.definitions.metric_hub.nouns import Period
from tallystick.definitions.metric_hub.resolved import ExperimentRecord

QUIRKS = expected("quirk_cases")
DESKTOP = "definitions/firefox_desktop.toml"
OUTCOME = "outcomes/firefox_desktop/o.toml"


def keys(configuration, period=Period.WEEK):
    return [(s.metric.name, s.metric.select_expression, s.statistic.name) for s in configuration.metrics[period]]


def resolved(collection, slug="e", **record):
    record.setdefault("app_name", "firefox_desktop")
    return resolve_experiment(collection, ExperimentRecord(slug=slug, **record))


def sql(expression: str, statistic: str) -> str:
    return (
        f"[metrics.m1]\nselect_expression = '{expression}'\ndata_source = 'd1'\n[metrics.m1.statistics.{statistic}]\n"
    )


LAYERS = {
    **BASE,
    DESKTOP: BASE[DESKTOP] + "[metrics.m1.statistics.sum]\n",
    "defaults/firefox_desktop.toml": "[metrics]\nweekly = ['m1']\n" + sql("DEFAULT", "bootstrap_mean"),
    OUTCOME: "friendly_name = 'o'\ndescription = 'o'\n" + sql("OUTCOME", "deciles"),
    "e.toml": "[experiment]\noutcomes = ['o']\n" + sql("EXP", "binomial"),
    "f.toml": "[experiment]\noutcomes = ['o']\n",
}


@pytest.mark.parametrize(
    ("slug", "first"),
    [("e", ["EXP", "binomial"]), ("f", ["DEFAULT", "bootstrap_mean"]), ("g", ["DEFAULT", "bootstrap_mean"])],
)
def test_the_precedence_of_definitions(build, slug, first):
    assert QUIRKS["precedence_matrix"]["result"][slug]["week"] == [first]
    assert [[sql, name] for _, sql, name in keys(resolved(build(LAYERS), slug))] == [first]


def test_summaries_come_in_reverse_and_the_last_of_a_key_counts(build):
    files = {
        **BASE,
        "e.toml": "[metrics]\nweekly = ['m2', 'm1']\n[metrics.m1.statistics.bootstrap_mean]\n"
        "[metrics.m1.statistics.deciles]\n[metrics.m2.statistics.binomial]\n",
    }
    found = [[metric, statistic] for metric, _, statistic in keys(resolved(build(files)))]
    assert found == QUIRKS["summary_order_reversed"]["result"]


def test_no_resolution_changes_another(build):
    collection = build(
        {
            **BASE,
            "a.toml": "[metrics]\nweekly = ['m1']\n[metrics.m1.statistics.bootstrap_mean]\n",
            "b.toml": "[metrics]\nweekly = ['m1']\n",
        }
    )
    before = resolved(collection, "b")
    assert not resolved(collection, "a").errors
    after = resolved(collection, "b")
    assert (
        [d.message for d in before.errors]
        == [d.message for d in after.errors]
        == ["No statistical treatment defined for metric 'm1'"]
    )


PARAMETERS = {
    **BASE,
    OUTCOME: "friendly_name = 'o'\ndescription = 'o'\n[metrics.om]\n"
    "select_expression = \"COUNTIF(x = '{{parameters.p}}')\"\ndata_source = 'd1'\n[metrics.om.statistics.binomial]\n"
    "[parameters.p]\ndefault = 'default'\n",
    "e.toml": "[experiment]\noutcomes = ['o']\n[parameters.p]\nvalue = 'own'\n",
}


@pytest.mark.parametrize(("mode", "value"), [(Mode.COMPAT, "default"), (Mode.STRICT, "own")])
def test_an_experiments_parameters_are_lost_only_in_compat(build, mode, value):
    found = resolved(build(PARAMETERS, mode=mode))
    assert [expression for _, expression, _ in keys(found)] == [f"COUNTIF(x = '{value}')"]
    assert ("mh-parameters-lost" in {d.code for d in found.diagnostics}) is mode.is_compat


def test_a_parameter_by_branch_is_a_case(build):
    files = dict(PARAMETERS)
    files[OUTCOME] = files[OUTCOME].replace(
        "default = 'default'", "distinct_by_branch = true\ndefault.a = '1'\ndefault.b = '2'"
    )
    (_, expression, _), *_ = keys(resolve_outcome(build(files), "firefox_desktop", "o"))
    assert expression == 'COUNTIF(x = \'CASE e.branch WHEN "a" THEN "1" WHEN "b" THEN "2" END\')'


UPSTREAM = {
    **BASE,
    "e.toml": "[metrics]\nweekly = ['r']\n[metrics.m1.statistics.sum]\n[metrics.r]\ndepends_on = ['m1']\n"
    "[metrics.r.statistics.population_ratio]\nnumerator = 'm1'\ndenominator = 'm1'\n",
}


def test_upstream_metrics_follow_one_order_in_strict(build):
    assert [d.message for d in resolved(build(UPSTREAM)).errors] == ["No statistical treatment defined for metric 'm1'"]
    strict = resolved(build(UPSTREAM, mode=Mode.STRICT))
    assert not strict.errors
    assert keys(strict) == [("r", None, "population_ratio")]


ENTRY = {
    **BASE,
    "e.toml": "[metrics]\nweekly = ['m1']\n[metrics.m1]\nselect_expression = 'X'\n[metrics.m1.statistics.sum]\n",
}


@pytest.mark.parametrize(("mode", "expression"), [(Mode.COMPAT, "COALESCE(SUM(x), 0)"), (Mode.STRICT, "X")])
def test_what_an_incomplete_entry_says_counts_in_strict(build, mode, expression):
    found = resolved(build(ENTRY, mode=mode))
    assert keys(found) == [("m1", expression, "sum")]
    assert ("mh-incomplete-entry-ignored" in {d.code for d in found.diagnostics}) is mode.is_compat


def test_circles_and_dangling_entries_are_errors_not_recursion(build):
    circle = "[metrics]\nweekly = ['c']\n[metrics.c]\ndepends_on = ['c']\n[metrics.c.statistics.population_ratio]\n"
    dangling = "[metrics]\nweekly = ['q']\n[metrics.q.statistics.sum]\n"
    files = {**BASE, DESKTOP: BASE[DESKTOP] + "[metrics.q.statistics.mean]\n", "c.toml": circle, "d.toml": dangling}
    collection = build(files)
    assert resolved(collection, "c").errors[0].message == "metric c depends on itself: c → c"
    assert "only has statistics" in resolved(collection, "d").errors[0].message


def test_templates_read_the_experiment(build):
    files = {
        **BASE,
        "e.toml": "[experiment]\nenrollment_period = 7\nend_date = '2025-02-01'\nreference_branch = 't'\n"
        "enrollment_query = '{{experiment.normandy_slug}} {{experiment.last_enrollment_date_str}} {{experiment.status}}'\n",
        "guid.toml": "[metrics]\nweekly = ['m1']\n[metrics.m1]\nselect_expression = '1'\ndata_source = 'g'\n"
        "[metrics.m1.statistics.sum]\n[data_sources.g]\nfrom_expression = \"(SELECT '{{d10d0bf8-x}}')\"\n",
    }
    collection = build(files)
    experiment = resolved(collection, start_date=dt.date(2025, 1, 1)).experiment
    assert experiment.enrollment_query == "e 2025-01-08 Complete"
    assert (experiment.reference_branch, experiment.enrollment_period) == ("t", 7)
    (summary,) = resolved(collection, "guid").metrics[Period.WEEK]
    assert summary.metric.data_source.from_expression == "(SELECT '{{d10d0bf8-x}}')"


def test_every_outcome_of_the_part_resolves(repository):
    collection = repository.tools["jetstream"]
    assert len(collection.outcomes) == 7
    for platform, slug in collection.outcomes:
        assert not resolve_outcome(collection, platform, slug).errors


def test_every_project_of_the_part_resolves(repository):
    collection = repository.tools["opmon"]
    counts = {slug: len(resolve_project(collection, slug).metrics) for slug in collection.configs}
    assert counts == {
        "all-browsers-dau": 5,
        "android-add-ons-extension-process": 11,
        "android-add-ons-extension-process-beta": 8,
        "android-add-ons-extension-process-release-rollout": 8,
        "mozilla_vpn": 10,
        "performance-fenix-build-by-build-beta": 12,
        "performance-review-kenya": 26,
        "performance-review-kenya-2": 13,
    }
    assert not [d for slug in collection.configs for d in resolve_project(collection, slug).errors]


def test_most_experiments_of_the_part_resolve_somewhere(part):
    """Those that do not are about platforms whose definitions are not in the part."""
    hub = metric_hub.load([part, part / "jetstream"])
    apps, failed = {}, []
    for slug in hub.definitions.configs:
        try:
            apps[slug] = hub.get_spec_for_experiment(slug).resolve().experiment.record.app_name
        except metric_hub.RepositoryError:
            failed.append(slug)
    assert len(apps) == 39
    assert apps["all-users-day-5-reengagement-push-2-ai-controls"] == "fenix"


def test_the_facade_asks_as_the_peer_does(part):
    hub = metric_hub.load(part)
    assert hub.get_metric_definition("uri_count", "fenix").data_source == "baseline"
    assert hub.get_metric_definition("nope", "fenix") is None
    assert hub.get_data_source_definition("baseline", "fenix").client_id_column == "client_info.client_id"
    assert {segment.name for segment in hub.get_segments_for_app("fenix")} >= {"au"}
    assert hub.get_spec_for_experiment("nope") is None
    assert "WITH baseline AS" in hub.get_metrics_sql(metrics=["uri_count"], platform="fenix")
    assert "org_mozilla_firefox" in metric_hub.load(part, mode="strict", on_error="collect").get_metrics_sql(
        ["uri_count"], "fenix"
    )
    assert hub.get_data_source_sql("baseline", "fenix").startswith("(\n    SELECT")
