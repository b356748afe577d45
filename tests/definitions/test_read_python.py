"""A registry module runs unmodified, leaves nothing behind, and its mistakes are findings with a place (spec oso §3)."""

from __future__ import annotations

import shutil
import sys
from types import ModuleType

import pytest

from oso_world import ROOT
from tallystick.definitions.load import load
from tallystick.definitions.read_python import read_registry
from tallystick.definitions.registry import MetricQueryDef, timeseries_metrics
from tallystick.sql.grain import Grain, Window

HEAD = """
from metrics_tools.definition import MetricMetadata
from metrics_tools.factory import MetricQueryDef, RollingConfig, timeseries_metrics
"""
CALL = """
timeseries_metrics(start="2020-01-01", schema="oso", model_prefix="x", timeseries_sources=["events"], {options}metric_queries={{
{metrics}
}})
"""


@pytest.fixture
def read(tmp_path):
    """Return a function that reads a registry from text, with `m.sql` beside it."""
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "m.sql").write_text("select 1 as amount")

    def reading(metrics, *, head=HEAD, options="", tail=""):
        path = tmp_path / "registry.py"
        path.write_text(head + CALL.format(metrics=metrics, options=options) + tail)
        return read_registry(path, tmp_path)

    return reading


def codes(findings):
    return [finding.code for finding in findings]


def test_the_fixture_runs_unmodified(capsys):
    metrics, findings = read_registry(ROOT / "metrics_factories.py", ROOT)
    assert findings == []
    stars = metrics[0]
    assert [m.name for m in metrics[:3]] == ["stars", "commits", "active_days"]
    assert (
        stars.views.rolling == (Window(3), Window(7)) and stars.views.grains[-1] is Grain.YEAR and stars.views.all_time
    )
    assert stars.views.entities == ("artifact", "project", "collection")
    assert stars.definition.sources == ("events_daily", "events_timed")
    assert (
        stars.definition.dialect,
        stars.definition.cron,
        stars.definition.oso.batch_size,
        stars.definition.oso.slots,
    ) == ("trino", "@daily", 90, 8)
    assert stars.about.friendly_name == "Stars" and stars.about.tags == ("data_category=code",)
    lines = (ROOT / "metrics_factories.py").read_text().splitlines()
    assert stars.origin.location.file == "metrics_factories.py"
    assert '"stars": MetricQueryDef(' in lines[stars.origin.location.line - 1]
    assert stars.origin.of("sql").file == "oso_metrics/code/stars.sql"
    by_name = {m.name: m for m in metrics}
    assert by_name["active_days"].intermediate and by_name["active_days"].definition.vars["activity"] == (
        "COMMIT_CODE",
        "ISSUE_OPENED",
    )
    assert not by_name["old_stars"].enabled and not by_name["fees"].definition.incremental
    assert by_name["commits_again"].definition.label == "renamed"
    no_gaps = dict(stars.definition.oso.tables["stars_to_artifact_daily"].audits)["no_gaps"]
    assert no_gaps["grain"] == "daily"
    assert capsys.readouterr().out == ""


def test_the_environment_is_read(monkeypatch):
    monkeypatch.setenv("SQLMESH_TIMESERIES_METRICS_START", "2021-05-06")
    metrics, _ = read_registry(ROOT / "metrics_factories.py", ROOT)
    assert metrics[0].definition.oso.start == "2021-05-06"


def test_nothing_is_left_behind_and_a_real_package_comes_back(read, monkeypatch):
    real = ModuleType("metrics_tools")
    monkeypatch.setitem(sys.modules, "metrics_tools", real)
    before, finders, paths = set(sys.modules), list(sys.meta_path), list(sys.path)
    metrics, findings = read('"m": MetricQueryDef(ref="m.sql", over_all_time=True)')
    assert (len(metrics), findings) == (1, [])
    assert sys.modules["metrics_tools"] is real
    left = {
        name for name in set(sys.modules) - before if name.partition(".")[0] in ("metrics_tools", "dotenv", "sqlmesh")
    }
    assert left == set() and sys.meta_path == finders and sys.path == paths


def test_modules_beside_the_registry_and_optional_packages_can_be_imported(read, tmp_path):
    (tmp_path / "tally_beside.py").write_text("GRAINS = ['daily']")
    head = (
        HEAD
        + "import sqlmesh\nfrom sqlmesh.core import macro\nfrom dotenv import load_dotenv, find_dotenv\nload_dotenv(find_dotenv())\nfrom tally_beside import GRAINS\n@macro()\ndef f(x):\n    return x\n"
    )
    metrics, findings = read('"m": MetricQueryDef(ref="m.sql", time_aggregations=f(GRAINS))', head=head)
    assert metrics[0].views.grains == (Grain.DAY,) and findings == []
    assert "tally_beside" not in sys.modules


def test_our_own_module_has_the_same_words(read):
    metrics, findings = read(
        '"m": MetricQueryDef(ref="m.sql", over_all_time=True)', head="from tallystick.registry import *\n"
    )
    assert [m.name for m in metrics] == ["m"] and findings == []


def test_calls_outside_of_loading_do_nothing():
    assert timeseries_metrics(schema="x", metric_queries={"m": MetricQueryDef(ref="m.sql")}) is None


def test_several_calls_add_up_and_a_name_used_twice_is_refused(read):
    again = CALL.format(
        options="",
        metrics='"m": MetricQueryDef(ref="m.sql", over_all_time=True), "n": MetricQueryDef(ref="m.sql", over_all_time=True)',
    )
    metrics, findings = read('"m": MetricQueryDef(ref="m.sql", over_all_time=True)', tail=again)
    assert [m.name for m in metrics] == ["m", "n"]
    assert codes(findings) == ["duplicate-name"]


def test_what_prints_does_not_reach_the_output(read, capsys):
    read('"m": MetricQueryDef(ref="m.sql", over_all_time=True)', head=HEAD + "print('hello')\n")
    assert capsys.readouterr().out == ""


M = '"m": MetricQueryDef(ref="m.sql", over_all_time=True{})'


@pytest.mark.parametrize(
    ("metric", "code", "message", "hint"),
    [
        (M.format(', time_agregations=["daily"]'), "unknown-option", "'time_agregations'", "time_aggregations"),
        (M.format(", use_python_model=False"), "option-without-effect", "use_python_model", None),
        (M.format(', time_aggregations=["dayly"]'), "unknown-grain", "'dayly' is not a grain", "daily"),
        (M.format(', rolling=RollingConfig(windows=[0], unit="day", cron="@daily")'), "bad-window", "is empty", None),
        (M.format(', rolling=RollingConfig(windows=[10000], unit="day", cron="@daily")'), "bad-window", "ten years", None),
        (M.format(', rolling=RollingConfig(windows=["x"], unit="day", cron="@daily")'), "bad-window", "", "whole numbers"),
        (M.format(', rolling=RollingConfig(windows=[3], unit="moon", cron="@daily")'), "bad-window", "'moon'", "day, week"),
        (M.format(', rolling=RollingConfig(windows=[3], unit="day", cron="@daily", slot=8)'), "unknown-option", "'slot'", "slots"),
        (M.format(', rolling=RollingConfig(windows=[3], unit="day")'), "missing-option", "when to run", "@daily"),
        (M.format(', rolling=RollingConfig(windows=[3], unit="day", cron="@dayly")'), "bad-option", "'@dayly'", "@daily"),
        (M.format(', rolling=RollingConfig(windows=[3, True], unit="day", cron="@daily")'), "bad-window", "True", "whole numbers"),
        (M.format(', rolling=RollingConfig(windows=[3, "30"], unit="day", cron="@daily")'), "bad-window", "'30'", "whole numbers"),
        (M.format(', rolling=RollingConfig(windows=30, unit="day", cron="@daily")'), "bad-window", "windows is 30", "windows=["),
        (M.format(', rolling=RollingConfig(windows=[], unit="day", cron="@daily")'), "bad-window", "empty", "windows=["),
        (M.format(', rolling=RollingConfig(unit="day", cron="@daily")'), "bad-window", "no windows", "windows=["),
        (M.format(', rolling=RollingConfig(windows=[3], unit="day", cron="@daily", slots="8")'), "bad-option", "slots is '8'", "whole number"),
        (M.format(', rolling="30 days"'), "bad-option", "rolling is '30 days'", "RollingConfig("),
        (M.format(', time_aggregations="daily"'), "bad-option", "time_aggregations is 'daily'", '["daily"'),
        (M.format(', entity_types="project"'), "bad-option", "entity_types is 'project'", '["artifact"'),
        (M.format(', enabled="false"'), "bad-option", "enabled is 'false'", "True or False"),
        (M.format(', additional_tags="code"'), "bad-option", "additional_tags is 'code'", "list of texts"),
        (M.format(', audits=["no_gaps"]'), "bad-option", "audits is ['no_gaps']", "(name, "),
        (M.format(', vars=["x"]'), "bad-option", "vars is ['x']", "a dict"),
        (M.format(', dialect="nosuch"'), "bad-option", "dialect is 'nosuch'", "SQL dialect"),
        (M.format(", metadata={}"), "bad-option", "metadata is {}", "MetricMetadata("),
        (M.format(', metadata=MetricMetadata(display_name="M")'), "missing-option", "no description", "description="),
        (M.format(', metadata=MetricMetadata(display_name="M", description=3)'), "bad-option", "description is 3", "description="),
        (M.format(', metadata=MetricMetadata(display_name="M", description="m", label="x")'), "unknown-option", "'label'", None),
        ('"m": MetricQueryDef(over_all_time=True)', "missing-option", "no ref", "ref="),
        ('"m": MetricQueryDef(ref=3, over_all_time=True)', "bad-option", "ref is 3", "ref="),
        (M.format(", entity_types=[]"), "no-views", "no entity", "entity_types"),
        (M.format(', vars={"x": object()}'), "bad-option", "neither text nor a number", None),
        ('"m": MetricQueryDef(ref="m.sql")', "no-views", "has no tables", None),
        ('"m": MetricQueryDef(ref="n.sql", over_all_time=True)', "missing-file", "no file 'n.sql'", "looked in metrics, oso_metrics"),
        ('"m": "m.sql"', "bad-option", "not a MetricQueryDef", None),
        ('"a b": MetricQueryDef(ref="m.sql", over_all_time=True)', "bad-name", "'a b'", None),
        (f'{M.format("")}, "n": MetricQueryDef(ref="m.sql", name="m", over_all_time=True)', "duplicate-name", "'m' and 'n'", None),
        (f"{M.format('')}, {M.format('')}", "duplicate-name", "registered twice", "line 6"),
    ],
)  # fmt: skip
def test_a_mistake_is_a_finding_on_its_line(read, metric, code, message, hint):
    other = ', "other": MetricQueryDef(ref="m.sql", over_all_time=True)'
    metrics, findings = read(metric + other)
    assert "other" in [m.name for m in metrics]
    assert codes(findings) == [code]
    assert message in findings[0].message and (hint is None or hint in findings[0].hint)
    assert (findings[0].file, findings[0].line) == ("registry.py", 6)


def test_options_of_the_call_are_checked_too(read):
    _, findings = read(M.format(""), options="sources=[1], ")
    assert codes(findings) == ["unknown-option"] and findings[0].line == 5
    path_free = HEAD + "timeseries_metrics(metric_queries=[])\n"
    _, findings = read(M.format(""), head=path_free)
    assert sorted(codes(findings)) == ["bad-option", "missing-option", "missing-option"]
    options = 'default_dialect="nosuch", enabled="no", audits="a", metadata_modifiers=[3], '
    metrics, findings = read(M.format(""), options=options)
    assert [m.name for m in metrics] == ["m"] and codes(findings) == ["bad-option"] * 4
    assert {finding.line for finding in findings} == {5}
    assert "default_dialect' is 'nosuch'" in findings[0].message


@pytest.mark.parametrize(
    ("start", "day"),
    [('"2015-01-01"', "2015-01-01"), ("datetime(2015, 1, 2, 3)", "2015-01-02"), ('"last week"', None), ("5", None)],
)
def test_the_start_is_a_day(read, start, day):
    head = HEAD + "from datetime import datetime\n"
    metrics, findings = read(M.format("").replace("@", ""), head=head, options="", tail="")
    assert metrics[0].definition.oso.start == "2020-01-01" and findings == []
    call = f'timeseries_metrics(start={start}, schema="oso", metric_queries={{"s": MetricQueryDef(ref="m.sql", over_all_time=True)}})\n'
    metrics, findings = read("", head=head + call)
    assert metrics[0].definition.oso.start == day
    assert codes(findings) == ([] if day else ["bad-option"])


def test_a_modifier_that_fails_costs_its_settings_only(read):
    head = HEAD + "def odd(config):\n    raise ValueError('no')\ndef none(config):\n    return None\n"
    metrics, findings = read(
        M.format(', entity_types=["artifact"]'), head=head, options="metadata_modifiers=[odd, none], "
    )
    assert len(metrics) == 1 and codes(findings) == ["modifier-failed"]
    assert "odd failed for m_to_artifact_over_all_time: ValueError: no" in findings[0].message


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ('{"nonsense": 1}', "it returned 'nonsense', which is none of kind_options, audits, tags"),
        ('["a"]', "it returned list, not a dict"),
        ('{"tags": "text"}', "it returned tags that are not a list of texts"),
        ('{"audits": ["no_gaps"]}', "it returned audits that are not a list of (name, {argument: value})"),
        ('{"kind_options": 3}', "it returned kind_options that are not a dict"),
    ],
)
def test_a_modifier_that_says_something_else_than_it_may_is_told(read, answer, message):
    head = f"{HEAD}def odd(config):\n    return {answer}\n"
    metrics, findings = read(M.format(', entity_types=["artifact"]'), head=head, options="metadata_modifiers=[odd], ")
    assert len(metrics) == 1 and codes(findings) == ["modifier-failed"]
    assert message in findings[0].message


def test_definitions_are_dataclasses_as_osos_are(read):
    head = (
        HEAD
        + """
from dataclasses import asdict, replace
base = MetricQueryDef(ref="m.sql", over_all_time=True, metadata=MetricMetadata(display_name="A", description="B"))
assert base == replace(base) and base != replace(base, ref="n.sql")
assert asdict(base)["metadata"] == {"display_name": "A", "description": "B"}
"""
    )
    metrics, findings = read('"a": base, "b": replace(base, entity_types=["project"]),', head=head)
    assert [(metric.name, len(metric.views.entities)) for metric in metrics] == [("a", 3), ("b", 1)] and findings == []


@pytest.mark.parametrize(
    ("head", "message", "line"),
    [
        ("import tally_no_such_module\n", "No module named", 1),
        ("x = 1 / 0\n", "ZeroDivisionError", 1),
        ("def f():\n    raise SystemExit(3)\nf()\n", "SystemExit", 2),
        ("import os\nos.environ['TALLY_NOT_SET']\n", "KeyError", 2),
        ("def f(:\n", "not Python", 1),
    ],
)
def test_an_error_in_the_module_is_a_finding_with_its_line(read, head, message, line):
    metrics, findings = read(M.format(""), head=head)
    assert metrics == [] and codes(findings) == ["registry-error"]
    assert message in findings[0].message and findings[0].line == line


def test_a_module_that_registers_nothing_is_told_and_so_is_one_that_cannot_be_read(tmp_path):
    path = tmp_path / "r.py"
    path.write_text("from metrics_tools.factory import timeseries_metrics\n")
    assert codes(read_registry(path, tmp_path)[1]) == ["empty-registry"]
    path.write_bytes(b"\xff\xfe\x00")
    assert codes(read_registry(path, tmp_path)[1]) == ["registry-error"]


def test_names_oso_has_and_we_do_not_are_told(read):
    head = (
        HEAD
        + "from metrics_tools.utils.dates import nice\nfrom metrics_tools.models import constants\nconstants.unheard_of\n"
    )
    _, findings = read(M.format(""), head=head)
    assert codes(findings) == ["unknown-import", "unknown-import"]
    assert "metrics_tools.models.constants.unheard_of" in findings[1].message


def test_queries_are_found_where_the_call_says(read, tmp_path):
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "q.sql").write_text("select 2 as amount")
    metrics, findings = read('"q": MetricQueryDef(ref="q.sql", over_all_time=True)', options='queries_dir="sql", ')
    assert metrics[0].definition.sql == "select 2 as amount" and findings == []
    (tmp_path / "sql" / "q.sql").write_bytes(b"\xff")
    _, findings = read('"q": MetricQueryDef(ref="q.sql", over_all_time=True)', options='queries_dir="sql", ')
    assert codes(findings) == ["missing-file"] and "cannot be read as text" in findings[0].message


def test_a_folder_laid_out_like_osos_is_a_project(tmp_path):
    shutil.copytree(ROOT / "oso_metrics", tmp_path / "oso_metrics")
    (tmp_path / "models").mkdir()
    shutil.copy(ROOT / "metrics_factories.py", tmp_path / "models")
    project = load(tmp_path)
    assert len(project.metrics) == 17 and project.errors == ()
    assert list(project.entities) == ["artifact", "project", "collection"]
    assert project.metrics["stars"].origin.location.file == "models/metrics_factories.py"


def test_entities_that_are_declared_are_the_ones_that_count(tmp_path):
    (tmp_path / "definitions").mkdir()
    (tmp_path / "definitions" / "e.toml").write_text(
        '[entities.repo]\n[sources.events]\ntable = "events"\nentities = { repo = "repo_id" }\n'
    )
    (tmp_path / "m.sql").write_text("select 1 as amount")
    (tmp_path / "registry.py").write_text(
        HEAD
        + CALL.format(options="", metrics='"m": MetricQueryDef(ref="m.sql", entity_types=["repo"], over_all_time=True)')
    )
    project = load(tmp_path)
    assert list(project.entities) == ["repo"] and list(project.metrics) == ["m"]


def test_a_module_may_hold_dataclasses_and_leaves_none_of_its_names(read):
    head = (
        "from __future__ import annotations\nimport typing as t\nfrom dataclasses import dataclass\n"
        + HEAD
        + "@dataclass\nclass Grains:\n    few: t.ClassVar[list[str]] = ['daily']\n"
    )
    metrics, findings = read('"m": MetricQueryDef(ref="m.sql", time_aggregations=Grains().few)', head=head)
    assert findings == [] and metrics[0].views.grains == (Grain.DAY,)
    assert not [name for name in sys.modules if "registry" in name and name.startswith("tally_")]


def test_a_metric_of_two_calls_has_the_lines_of_both(read):
    call = CALL.format(options="", metrics=M.format(""))
    _, findings = read(M.format(""), tail=call)
    assert [(f.code, f.line) for f in findings] == [("duplicate-name", 10)]
    assert "registry.py:6" in findings[0].hint


def test_what_registries_import_is_no_registry_and_their_queries_are_no_metrics(tmp_path):
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "m.sql").write_text("select 1 as amount")
    (tmp_path / "parts.py").write_text(
        "from metrics_tools.factory import MetricQueryDef\nM = MetricQueryDef(ref='m.sql', over_all_time=True)\n"
    )
    (tmp_path / "registry.py").write_text(HEAD + "from parts import M\n" + CALL.format(options="", metrics='"m": M'))
    found = load(tmp_path)
    assert list(found.metrics) == ["m"] and "empty-registry" not in codes(found.diagnostics)
    (tmp_path / "registry.py").write_text(
        HEAD + CALL.format(options="", metrics='"n": MetricQueryDef(ref="m.sql")') + "1 / 0\n"
    )
    assert list(load(tmp_path).metrics) == ["n"]
    (tmp_path / "registry.py").write_text(
        HEAD + "1 / 0\n" + CALL.format(options="", metrics='"n": MetricQueryDef(ref="m.sql")')
    )
    assert load(tmp_path).metrics == {}
