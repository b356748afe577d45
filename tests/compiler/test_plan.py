"""Plans are data: names and order follow the rules without any SQL."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tallystick.compiler.plan import find_metric, metric_models, plan
from tallystick.definitions.metric import Aggregate, Metric, SqlQuery, Views
from tallystick.definitions.oso_options import OsoOptions
from tallystick.definitions.project import Project, Settings
from tallystick.errors import DefinitionError, UnknownNameError
from tallystick.sql.grain import Grain, Window, WindowUnit, parse_grain, parse_window


def project(*metrics: Metric, defaults: Views | None = None) -> Project:
    return Project(
        root=".", settings=Settings(views=defaults or Views()), metrics={metric.name: metric for metric in metrics}
    )


def metric(name: str = "stars", **views) -> Metric:
    return Metric(name=name, definition=Aggregate(source="events", expr="count(*)"), views=Views(**views))


def test_windows_then_grains_then_all_time_for_each_entity():
    views = {"entities": ("artifact", "project"), "grains": (Grain.DAY, Grain.HALF), "rolling": (Window(30), Window(3, WindowUnit.MONTH)), "all_time": True}  # fmt: skip
    assert [model.name for model in plan(project(metric(**views)))] == [
        f"stars_to_{entity}_{suffix}"
        for entity in ("artifact", "project")
        for suffix in ("over_30_day_window", "over_3_month_window", "daily", "biannually", "over_all_time")
    ]


def test_breakdowns_are_models_of_their_own():
    names = [model.name for model in plan(project(metric(grains=(Grain.DAY,), by=("country",))))]
    assert names == ["stars_to_all_daily", "stars_by_country_to_all_daily"]


def test_a_metric_without_views_takes_the_defaults_or_days():
    assert [model.name for model in plan(project(metric()))] == ["stars_to_all_daily"]
    defaults = Views(entities=("project",), grains=(Grain.MONTH,), all_time=True)
    names = [model.name for model in plan(project(metric(), defaults=defaults))]
    assert names == ["stars_to_project_monthly", "stars_to_project_over_all_time"]


@pytest.mark.parametrize("views", [{"entities": ("project",)}, {"grains": (Grain.DAY,)}])
def test_a_metric_of_a_registry_has_the_tables_it_names_and_no_others(views):
    registered = replace(metric(**views), definition=SqlQuery(sql="select 1", oso=OsoOptions()))
    defaults = Views(entities=("project",), grains=(Grain.MONTH,), all_time=True)
    assert plan(project(registered, defaults=defaults)) == ()


def test_a_disabled_metric_has_no_models():
    disabled = Metric(name="x", definition=Aggregate(source="s", expr="count(*)"), enabled=False)
    assert list(metric_models(disabled, project(disabled))) == []


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'stars'"):
        find_metric(project(metric()), "starz")


@pytest.mark.parametrize(
    ("text", "grain"), [("day", Grain.DAY), ("Daily", Grain.DAY), ("1h", Grain.HOUR), ("biannually", Grain.HALF)]
)
def test_grains_have_synonyms(text, grain):
    assert parse_grain(text) is grain


@pytest.mark.parametrize(("text", "window"), [(30, Window(30)), ("30", Window(30)), ("12 weeks", Window(12, WindowUnit.WEEK)), ("2m", Window(2, WindowUnit.MONTH))])  # fmt: skip
def test_windows_are_days_unless_they_say_otherwise(text, window):
    assert parse_window(text) == window


@pytest.mark.parametrize("value", [0, -1, 10_000, "soon", "3 fortnights", True])
def test_windows_that_make_no_sense_are_refused(value):
    with pytest.raises(DefinitionError):
        parse_window(value)
