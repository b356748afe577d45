"""The plan: every model a project compiles to, as pure data, without any SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tallystick.compiler.model import Model, TimeView
from tallystick.definitions.diagnostics import nearest
from tallystick.definitions.entity import ALL
from tallystick.definitions.metric import Metric, SqlQuery, Views
from tallystick.definitions.project import Project
from tallystick.errors import UnknownNameError
from tallystick.sql.grain import Grain

DEFAULT_GRAIN = Grain.DAY


def plan(project: Project) -> tuple[Model, ...]:
    """Return all models of all enabled metrics, in the order of the definitions."""
    return tuple(model for metric in project.metrics.values() for model in metric_models(metric, project))


def metric_models(metric: Metric, project: Project) -> Iterator[Model]:
    """Yield a metric's models: for each entity rolling windows, then grains, then all time (spec oso §2)."""
    if not metric.enabled:
        return
    views = metric.views
    if is_registered(metric) and not (views.entities and (views.rolling or views.grains or views.all_time)):
        return
    breakdowns: list[tuple[str, ...]] = [(), *((dimension,) for dimension in views.by)]
    for entity in views.entities or project.settings.views.entities or (ALL,):
        for by in breakdowns:
            for time in time_views(views, project.settings.views):
                yield Model(metric.name, entity, time, by)


def is_registered(metric: Metric) -> bool:
    """Tell whether a registry lists a metric: its models are those it names and no others (spec oso §2)."""
    return isinstance(metric.definition, SqlQuery) and metric.definition.oso is not None


def time_views(views: Views, defaults: Views) -> tuple[TimeView, ...]:
    """Return the views of a metric, or the project's where it names none at all, or one by day."""
    if not (views.rolling or views.grains or views.all_time):
        views = defaults
    rolling = [TimeView(window=window) for window in views.rolling]
    grains = [TimeView(grain=grain) for grain in views.grains]
    return (*rolling, *grains, *([TimeView()] if views.all_time else [])) or (TimeView(grain=DEFAULT_GRAIN),)


def find_metric(project: Project, name: str) -> Metric:
    """Return the metric of that name; raise UnknownNameError naming the nearest one."""
    if name not in project.metrics:
        raise unknown_metric(project, name, project.metrics)
    return project.metrics[name]


def unknown_metric(project: Project, name: str, known: Iterable[str]) -> UnknownNameError:
    """Return the error for a name that is none of the known ones; it says so where a metric of that name is left out."""
    if name in project.left_out:
        message = f"metric '{name}' is left out: it has an error, or needs something that has one"
        return UnknownNameError(message, hint="tally check tells it")
    return UnknownNameError(f"there is no metric '{name}'", hint=nearest(name, known))
