"""A registry lists exactly OSO's models, in OSO's order, as data (spec oso §2, §3.3, §8)."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from effort import growth
from oso_world import ROOT, project, sql_metric
from tallystick.compiler.factory_models import factory_model, factory_models
from tallystick.definitions.metric import Views
from tallystick.definitions.read_registry_json import read_json_registry, registry_project

REGISTRY = ROOT / "registry_2025_03.json"


@pytest.fixture(scope="module")
def expected():
    return json.loads(REGISTRY.read_text())["expected"]


@pytest.fixture(scope="module")
def models():
    return factory_models(registry_project(read_json_registry(REGISTRY)))


def test_the_names_are_exactly_those_oso_gives(models):
    assert sorted(model.name for model in models) == (ROOT / "models_2025_03.txt").read_text().split()


def test_tables_and_descriptions_come_in_the_registrys_order(models, expected):
    assert [m.table for m in models if m.model is not None] == expected["metric_tables"]
    assert [m.table for m in models if m.kind == "metadata"] == expected["metadata_models"]
    assert {m.table for m in models if m.kind == "union"} == set(expected["union_models"])


def test_unions_list_their_members_in_order(models, expected):
    for prefix, key in (
        ("timeseries_metrics", "timeseries_union_members_in_order"),
        ("key_metrics", "key_metrics_union_members_in_order"),
    ):
        for entity, members in expected[key].items():
            union = next(m for m in models if m.table == f"{prefix}_to_{entity}")
            assert list(union.members) == [f"oso.{member}" for member in members]


def test_listing_takes_little_more_than_reading_and_no_sql_parser():
    project = registry_project(read_json_registry(REGISTRY))
    assert growth(lambda: registry_project(read_json_registry(REGISTRY)), lambda: factory_models(project)) < 10
    code = (
        "import sys; from tallystick.compiler.factory_models import factory_models;"
        "from tallystick.definitions.read_registry_json import read_json_registry, registry_project;"
        f"assert len(factory_models(registry_project(read_json_registry({str(REGISTRY)!r})))) == 408;"
        "assert 'sqlglot' not in sys.modules and 'duckdb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


SETTINGS = {
    "stars_to_project_daily": ("incremental", "@daily", "day", 3, None, 3, "day"),
    "stars_to_project_weekly": ("incremental", "@weekly", "day", 3, 365, 3, "day"),
    "stars_to_project_monthly": ("incremental", "@monthly", "month", 1, 12, 3, "month"),
    "stars_to_project_quarterly": ("incremental", "@monthly", "month", 6, 12, 3, "month"),
    "stars_to_project_biannually": ("incremental", "@monthly", "month", 12, 12, 3, "month"),
    "stars_to_project_yearly": ("incremental", "@yearly", "year", 1, 1, 3, "year"),
    "stars_to_project_over_7_day_window": ("incremental", "@daily", "day", 3, 90, 1, "day"),
    "active_days_to_project_over_7_day_window": ("incremental", "@daily", "day", 3, 365, 1, "day"),
    "stars_to_project_over_all_time": ("full", "@daily", "day", None, None, None, None),
    "fees_to_project_monthly": ("full", "@monthly", "month", None, None, None, "month"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_each_variant_has_the_settings_of_its_kind(name):
    row = factory_model(project(), name).as_dict()
    keys = ("materialized", "cron", "interval", "lookback", "batch_size", "batch_concurrency", "partition")
    assert tuple(row[key] for key in keys) == SETTINGS[name]
    assert row["start"] == "2024-01-01"


def test_modifiers_and_options_reach_the_tables_they_are_for():
    rows = {m.table: m for m in factory_models(project())}
    artifact, grouped = rows["stars_to_artifact_monthly"], rows["stars_to_project_monthly"]
    assert [name for name, _ in artifact.audits] == ["has_at_least_n_rows", "no_gaps"]
    assert "entity_category=project" in grouped.tags and "data_category=code" in grouped.tags
    assert grouped.tags[-1] == "model_type=incremental"
    assert dict(grouped.kind_options) == {"auto_restatement_cron": "0 0 1,15 * *"}
    assert "data_category=code" not in rows["stars_to_project_over_all_time"].tags
    assert [name for name, _ in rows["stars_to_artifact_weekly"].audits] == ["has_at_least_n_rows"]


def test_disabled_metrics_keep_their_description_and_intermediate_ones_stay_out_of_unions():
    rows = {m.table: m for m in factory_models(project())}
    assert "metrics_metadata_old_stars" in rows and not any(name.startswith("old_stars_to") for name in rows)
    union = rows["timeseries_metrics_to_project"].members
    assert "oso.active_days_to_project_weekly" not in union and "oso.stars_to_project_weekly" in union
    assert "oso.commits_again_to_project_daily" in union


def test_rows_say_what_a_model_is():
    rows = {row["name"]: row for row in (m.as_dict() for m in factory_models(project()))}
    window = rows["oso.stars_to_artifact_over_7_day_window"]
    assert (window["kind"], window["metric"], window["entity"], window["window"], window["unit"]) == (
        "rolling",
        "stars",
        "artifact",
        7,
        "day",
    )
    grain = rows["oso.commits_again_to_artifact_daily"]
    assert (grain["kind"], grain["metric"], grain["grain"], grain["time_aggregation"]) == (
        "time_aggregation",
        "renamed",
        "day",
        "daily",
    )
    assert rows["oso.stars_to_artifact_over_all_time"]["kind"] == "over_all_time"
    assert rows["oso.timeseries_metrics_to_artifact"]["kind"] == "union"
    assert rows["oso.metrics_metadata"]["kind"] == "metadata"
    json.dumps(list(rows.values()), default=str)


def test_a_project_without_a_registry_has_models_too():
    metric = sql_metric("select 1", views=Views(entities=("artifact",), all_time=True))
    names = [m.name for m in factory_models(project(m=metric))]
    assert names[0] == "oso.m_to_artifact_over_all_time" and len(names) == 1 + 6 + 1
    assert factory_model(project(m=metric), "nothing") is None
