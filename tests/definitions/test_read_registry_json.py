"""A registry given as data (spec oso §14)."""

from __future__ import annotations

import json

import pytest

from oso_world import ROOT
from tallystick.compiler.plan import plan
from tallystick.definitions.read_registry_json import read_json_registry, registry_project
from tallystick.errors import ProjectError
from tallystick.sql.grain import Window


def test_everything_a_metric_says_is_read():
    registry = read_json_registry(ROOT / "registry_2025_03.json")
    metrics = {metric.name: metric for metric in registry.metrics}
    assert registry.findings == () and (registry.schema, registry.start, registry.dialect) == (
        "oso",
        "2015-01-01",
        "clickhouse",
    )
    days = metrics["contributor_active_days"]
    assert days.intermediate and days.views.rolling == (Window(30), Window(90), Window(180))
    assert (days.definition.oso.batch_size, days.definition.oso.slots, days.definition.cron) == (90, 32, "@daily")
    assert not metrics["defillama_tvl"].definition.incremental
    assert metrics["stars"].about.friendly_name == "Stars"
    project = registry_project(registry, compat="oso")
    assert project.settings.compat == "oso" and list(project.entities) == ["artifact", "project", "collection"]


def test_the_sql_is_read_where_it_is(tmp_path):
    entry = {
        "ref": "code/stars.sql",
        "over_all_time": True,
        "name_override": "stars_again",
        "audits": [["a", {"x": 1}]],
    }
    data = {"factory_options": {"schema": "oso", "start": "2020-01-01"}, "metrics": {"stars": entry, "odd": 3}}
    path = tmp_path / "r.json"
    path.write_text(json.dumps(data))
    registry = read_json_registry(path, ROOT / "oso_metrics")
    assert [(m.name, m.definition.label, m.definition.oso.audits[0][0]) for m in registry.metrics] == [
        ("stars_again", "stars", "a")
    ]
    assert "select" in registry.metrics[0].definition.sql
    assert [finding.code for finding in registry.findings] == ["bad-option"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a registry"),
        ("{}", "is not a registry"),
        (None, "cannot be read"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_registry_is_refused(tmp_path, text, message):
    path = tmp_path / "r.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ProjectError, match=message):
        read_json_registry(path)


def test_no_key_of_a_metric_is_taken_for_something_else(tmp_path):
    path = tmp_path / "r.json"
    entry = {"ref": "a.sql", "over_all_time": True, "self": 1, "metadata": {"display_name": "A", "self": 1}}
    path.write_text(json.dumps({"factory_options": {"schema": "oso"}, "metrics": {"a": entry}}))
    registry = read_json_registry(path)
    assert [metric.name for metric in registry.metrics] == ["a"]
    assert {finding.code for finding in registry.findings} >= {"unknown-option"}


def test_mistakes_are_told_on_the_line_of_their_metric(tmp_path):
    path = tmp_path / "r.json"
    path.write_text("""{"factory_options": {"schema": "oso", "start": "x"}, "metrics": {
        "a": {"ref": "a.sql", "over_all_time": true, "entity_types": ["artifact", "projct"]},
        "b": {"over_all_time": true},
        "c": {"ref": "c.sql", "time_aggregations": ["daily"]},
        "c": {"ref": "c.sql", "over_all_time": true}
    }}""")
    registry = read_json_registry(path)
    assert [(f.code, f.line) for f in registry.findings] == [
        ("duplicate-name", 5),
        ("bad-option", None),
        ("missing-option", 3),
        ("unknown-entity", 2),
    ]
    assert "did you mean 'project'?" in registry.findings[-1].hint
    assert [m.name for m in plan(registry_project(registry))] == [
        "a_to_artifact_over_all_time",
        *(f"c_to_{entity}_over_all_time" for entity in ("artifact", "project", "collection")),
    ]
