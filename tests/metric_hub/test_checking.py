"""Bad input: every recorded error is found, located, and explained; several in one run."""

from __future__ import annotations

import pytest

from effort import growth
from hub import BASE, expected
from tallystick import metric_hub
from tallystick.compiler.metric_hub.checks import check
from tallystick.definitions.metric_hub.mode import Mode
from tallystick.definitions.metric_hub.repository import is_repository, open_repository
from tallystick.errors import ProjectError, TallystickError

CASES = {case["name"]: case for case in expected("error_cases")}
REQUESTS = {"sql_unknown_metric": ("firefox_desktop", "zzz"), "sql_depends_on": ("fenix", "r")}
"""Cases that are wrong questions to a sound repository."""
LEAVES = {
    "duplicate_metric_table": "Cannot declare",
    "outcome_default_metric_undefined": "default metric 'nope' is not defined",
    "featmon_unknown_key": "unexpected key 'foo'",
    "ds_missing_from": "has no 'from_expression'",
    "param_unknown_key": "unexpected key 'foo'",
    "opmon_metric_group_unreferenced": "is part of metric group g but not referenced as project metric",
    "sql_join_missing_ds": "unknown data source 'y'",
    "sql_self_join_cycle": "in a circle: x → x",
    "metric_default_units_vs_ds_client_only": "does not support all analysis_units specified by metric z",
    "param_distinct_needs_map": "Parameter p configured to be distinct by branch, a mapping expected",
}
"""What is said where the peer prints internals."""


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.get("ok") and name not in REQUESTS])
def test_every_error_is_found_where_it_is(write, name):
    case = CASES[name]
    errors = [d for d in check(open_repository(write({**BASE, **case["files"]}))) if d.severity == "error"]
    leaf = LEAVES.get(name) or case["errors"][0].partition(": ")[2].partition("  [")[0]
    assert any(leaf in d.message for d in errors), [d.message for d in errors]
    assert all(d.file and d.line and d.column for d in errors)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.get("ok")])
def test_what_the_peer_takes_is_no_error(write, name):
    assert not [d for d in check(open_repository(write({**BASE, **CASES[name]["files"]}))) if d.severity == "error"]


@pytest.mark.parametrize("name", REQUESTS)
def test_wrong_questions_are_answered_with_an_error(write, name):
    hub = metric_hub.load(write({**BASE, **CASES[name]["files"]}))
    platform, metric = REQUESTS[name]
    with pytest.raises(TallystickError, match=CASES[name]["errors"][0].partition(": ")[2]):
        hub.get_metrics_sql([metric], platform)


def test_one_run_names_every_error_of_every_file(write):
    root = write(
        {
            **BASE,
            "a.toml": "[experiment]\nstart_date = 'x'\nanalysis_unit = 'clientid'\n[metrics]\nweekly = ['m3']\n",
            "b.toml": "[metrics.m\n",
        }
    )
    errors = [(d.file, d.line, d.hint) for d in check(open_repository(root)) if d.severity == "error"]
    assert [(file, line) for file, line, _ in errors] == [("a.toml", 2), ("a.toml", 3), ("a.toml", 5), ("b.toml", 1)]
    assert errors[1][2] == "did you mean 'client_id'?"


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        ("[metrics.m1]\ndescriptionn = 'x'\n", 2, "did you mean 'description'?"),
        ("[experiment]\nweekly = ['m1']\n", 2, "'weekly' belongs in [metrics]"),
        ("[metrics.m1]\nexposure_basis = ['exposures']\n", 2, "did you mean 'analysis_bases'?"),
        (
            "[segments.s]\nselect_expression = '1'\ndata_source = 'd'\nwindow_start = 1\n",
            4,
            "'window_start' belongs in [segments.data_sources.<name>]",
        ),
    ],
)
def test_unknown_keys_are_warnings_in_compat_and_errors_in_strict(build, text, line, hint):
    for mode, severity in ((Mode.COMPAT, "warning"), (Mode.STRICT, "error")):
        found = [d for d in build({"a.toml": text}, mode=mode).diagnostics if d.code == "mh-unknown-key"]
        assert [(d.line, d.severity, d.hint) for d in found] == [(line, severity, hint)]


def test_keys_of_extensions_are_nobodys_business(build):
    assert not build({"a.toml": "x_team = 1\n[metrics.m1]\nx_note = 'mine'\n"}, mode=Mode.STRICT).diagnostics


def test_the_part_has_its_unknown_keys(repository):
    found = [d for d in repository.diagnostics if d.code == "mh-unknown-key"]
    assert len(found) == 66
    assert ("definitions/ads.toml", 79) in {(d.file, d.line) for d in found}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("outcomes/o.toml", "friendly_name = 'x'\n"),
        ("definitions/mobile/fenix.toml", "[metrics]\n"),
        ("definitions/my-experiment.toml", "[experiment]\nstart_date = '2024-01-01'\n"),
        ("definition/firefox_desktop.toml", "[metrics.m1]\nselect_expression = '1'\n"),
    ],
)
def test_a_file_in_the_wrong_folder_is_an_error(write, name, text):
    found = [d for d in check(open_repository(write({**BASE, name: text}))) if d.code == "mh-wrong-folder"]
    assert found
    assert all(d.hint for d in found)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("definitions/fenix.toml", "[dimensions.d]\nselect_expression = '1'\n", "dimension 'd' needs 'data_source'"),
        (
            "nimbus/definitions/firefox_desktop.toml",
            "[metrics.m]\ndata_source = 'nope'\naggregation = 'count'\ncolumn = 'x'\n",
            "which firefox_desktop does not have",
        ),
        (
            "nimbus/definitions/firefox_desktop.toml",
            "[metrics.m]\ndata_source = 'd1'\n",
            "structured metric 'm' needs 'aggregation'",
        ),
        (
            "nimbus/definitions/firefox_desktop.toml",
            "[metrics.m]\ndata_source = 'd1'\naggregation = 'count'\ncolumn = 'x'\nselect_expression = '1'\n",
            "unexpected key 'select_expression'",
        ),
        (
            "a.toml",
            "[project]\n[alerts.x]\ntype = 'avg_diff'\nmetrics = ['m1']\nwindow_size = 3\n",
            "'max_relative_change'",
        ),
        ("a.toml", "[metrics.m1]\nowner = ['a']\nlevel = 'goldd'\n", "'goldd' is not a valid MetricLevel"),
    ],
)
def test_more_that_cannot_be_read(build, name, text, message):
    assert any(message in d.message for d in build({**BASE, name: text}).errors)


def test_a_short_date_is_a_date(build):
    collection = build({"a.toml": "[experiment]\nstart_date = '2024-1-5'\nend_date = 2024-02-01\n"})
    assert not collection.errors
    settings = collection.configs["a"].experiment
    assert (settings.start_date, settings.end_date) == ("2024-01-05", "2024-02-01")


def test_metrics_in_a_circle_are_an_error(write):
    text = "[metrics.a]\ndepends_on = ['b']\n[metrics.b]\ndepends_on = ['a']\n"
    messages = [d.message for d in check(open_repository(write({**BASE, "definitions/fenix.toml": text})))]
    assert "metrics depend on each other in a circle: a → b → a" in messages


def test_bytes_that_are_no_text_are_a_finding(write):
    root = write(BASE)
    (root / "definitions" / "fenix.toml").write_bytes(b"[metrics.\xff]\n")
    assert [d.file for d in open_repository(root).diagnostics if d.code == "mh-unreadable"] == [
        "definitions/fenix.toml"
    ]


def test_five_megabytes_are_read_and_judged(write):
    def judged(count):
        metrics = "".join(
            f"[metrics.m{i}]\nselect_expression = 'SUM({'x' * 200})'\ndata_source = 'd1'\n" for i in range(count)
        )
        text = metrics + "typo = 1\n[data_sources.d1]\nfrom_expression = 't'\n"
        root = write({**BASE, "definitions/fenix.toml": text})
        found = [d for d in open_repository(root).diagnostics if d.code == "mh-unknown-key"]
        assert [(d.line, d.hint) for d in found] == [(3 * count + 1, "did you mean 'type'?")]

    assert growth(lambda: judged(2_000), lambda: judged(20_000), times=1) < 20


def test_native_projects_and_other_folders_are_no_repository(write, tmp_path):
    assert not is_repository(tmp_path)
    assert is_repository(write(BASE))
    (tmp_path / "tally.toml").write_text("name = 'x'\n", encoding="utf-8")
    assert not is_repository(tmp_path)


def test_nothing_to_read_is_said_plainly(tmp_path):
    with pytest.raises(ProjectError, match="holds no metric-hub definitions"):
        open_repository(tmp_path)
    with pytest.raises(ProjectError, match="is not a folder"):
        metric_hub.load(tmp_path / "nowhere")


def test_unknown_statistics_and_parameters_are_warnings(write):
    text = "[metrics.m1.statistics.bootstrapmean]\n[metrics.m2.statistics.deciles]\nnum_sample = 5\n"
    found = {
        d.code: d.hint for d in check(open_repository(write({**BASE, "opmon/definitions/firefox_desktop.toml": text})))
    }
    assert found["mh-unknown-statistic"] == "did you mean 'bootstrap_mean'?"
    assert found["mh-statistic-parameter"] == "did you mean 'num_samples'?"


def test_loading_raises_with_every_finding(write):
    root = write({"a.toml": "[experiment]\nstart_date = 'x'\nend_date = 'y'\n"})
    with pytest.raises(metric_hub.RepositoryError) as raised:
        metric_hub.load(root)
    assert len(raised.value.diagnostics) == 2
    assert len(metric_hub.load(root, on_error="collect").diagnostics) == 2
