"""Union views and descriptions of metrics (spec oso §8, §13.8, §13.12)."""

from __future__ import annotations

import pytest

from oso_world import build, connect, context, events, project, sql_metric
from tallystick.compiler.derived_models import derived_model, published_names
from tallystick.compiler.factory_models import factory_model, factory_models
from tallystick.compiler.sql_definition import render_definition
from tallystick.definitions.metric import Views
from tallystick.errors import CompileError
from tallystick.sql.grain import Grain


@pytest.fixture(scope="module")
def con():
    connection = connect(events(count=60))
    build(connection, project())
    return connection


def sql(world, name):
    around = context(world)
    return render_definition(derived_model(factory_model(world, name), around), "duckdb")


@pytest.mark.parametrize("entity", ["artifact", "project", "collection"])
@pytest.mark.parametrize("kind", ["timeseries_metrics", "key_metrics"])
def test_a_union_holds_every_row_under_its_published_name(con, kind, entity):
    world = project()
    name = f"{kind}_to_{entity}"
    members = factory_model(world, name).members
    count = sum(con.execute(f"SELECT count(*) FROM {member}").fetchone()[0] for member in members)
    rows = con.execute(f"SELECT * FROM ({sql(world, name)})").fetchall()
    assert len(rows) == count > 0
    columns = [c[0] for c in con.description]
    assert columns == [
        "metrics_sample_date",
        f"to_{entity}_id",
        "from_artifact_id",
        "metric",
        "amount",
        "metric_key",
        "time_view",
    ]
    assert all(row[3].startswith(("GITHUB_", "FORGE_")) and row[3].endswith(f"_{row[6]}") for row in rows)


def test_the_oso_profile_has_osos_columns(con):
    con.execute(f"SELECT * FROM ({sql(project('oso'), 'key_metrics_to_project')})")
    assert [c[0] for c in con.description] == [
        "metrics_sample_date",
        "to_project_id",
        "from_artifact_id",
        "metric",
        "amount",
    ]


def test_a_union_of_nothing_is_empty(con):
    metric = sql_metric("select 1 as amount", views=Views(entities=("artifact",), grains=(Grain.DAY,)))
    query = sql(project(m=metric), "key_metrics_to_artifact")
    assert con.execute(query).fetchall() == []
    assert [c[0] for c in con.description][:2] == ["metrics_sample_date", "to_artifact_id"]


def test_a_description_has_a_row_per_published_name_with_the_sql_of_its_models(con):
    rows = con.execute(sql(project(), "metrics_metadata_classes")).fetchall()
    assert [(row[0], row[2], row[3], row[5]) for row in rows] == [
        ("Classes", "full_timers", "people/classes.sql", "classes"),
        ("Classes", "part_timers", "people/classes.sql", "classes"),
    ]
    assert len(rows[0][4]) == 6 and all("active_days_to_" in text for text in rows[0][4])


def test_osos_description_holds_whatever_starts_alike(con):
    right = con.execute(sql(project(), "metrics_metadata_stars")).fetchall()
    assert len(right[0][4]) == 27 and all("'stars_" in text for text in right[0][4])
    classes = con.execute(sql(project("oso"), "metrics_metadata_classes")).fetchall()
    assert [row[2] for row in classes] == ["classes"]


def test_all_descriptions_together(con):
    world = project()
    for model in factory_models(world):
        if model.kind == "metadata" and model.metric is not None:
            con.execute(f"CREATE OR REPLACE TABLE {model.name} AS {sql(world, model.table)}")
    found = con.execute(f"SELECT metric, metric_key FROM ({sql(world, 'metrics_metadata')}) ORDER BY ALL").fetchall()
    assert found == [
        ("full_timers", "classes"),
        ("old_stars", "old_stars"),
        ("part_timers", "classes"),
        ("stars", "stars"),
    ]
    assert con.execute(sql(project(m=sql_metric("select 1")), "metrics_metadata")).fetchall() == []


def test_names_that_come_from_data_are_known_by_their_key():
    world = project()
    assert published_names(world.metrics["labels"], context(world)) == ["labels"]
    assert published_names(
        world.metrics["renamed" if "renamed" in world.metrics else "commits_again"], context(world)
    ) == ["renamed"]


def test_a_table_of_a_metric_is_not_derived():
    world = project()
    with pytest.raises(CompileError, match="is a model of a metric"):
        derived_model(factory_model(world, "stars_to_artifact_daily"), context(world))
