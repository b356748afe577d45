"""Which series are collected: calendar grains of active metrics, for everything, by dimension and per entity.

For each metric and grain there is the series of everything, one by each of its dimensions, and one per entity where the
metric itself names entities (those of `[defaults]` are for models: a store of values is no warehouse). A whole query is
written for entities and is collected for these only. Rolling and all-time values are left to `tally build`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from tallystick.collect.windows import Ruler
from tallystick.compiler.definition_hash import definition_hash
from tallystick.compiler.formula_model import operands
from tallystick.compiler.lower import source_names
from tallystick.compiler.metric_calendar import calendar_of
from tallystick.compiler.model import Model, TimeView
from tallystick.compiler.plan import find_metric, time_views
from tallystick.compiler.series import Wanted
from tallystick.definitions.about import Status
from tallystick.definitions.collect_settings import CollectSettings, settings_of
from tallystick.definitions.entity import ALL
from tallystick.definitions.metric import Aggregate, Metric, SqlQuery
from tallystick.definitions.project import Project
from tallystick.errors import UsageError
from tallystick.store.identity import series_name

_COLLECTED = (Status.ACTIVE, Status.DEPRECATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One series with all that decides how it is read: buckets, definition, the sources behind it and its settings."""

    wanted: Wanted
    name: str
    ruler: Ruler
    definition_hash: str
    sources: frozenset[str]
    settings: CollectSettings = field(default_factory=CollectSettings)


def subjects(project: Project, select: Sequence[str] = ()) -> tuple[Subject, ...]:
    """Return the series of the named metrics, or of all that are active or deprecated.

    Raise UnknownNameError, or UsageError for one that is named and has no series.

    A metric that is named is collected whatever its status is, so that a draft can be tried.
    """
    if select:
        metrics = [_collectable(find_metric(project, name), project) for name in dict.fromkeys(select)]
    else:
        metrics = [metric for metric in project.metrics.values() if is_collected(metric)]
    return tuple(subject for metric in metrics for subject in _of_metric(metric, project))


def _collectable(metric: Metric, project: Project) -> Metric:
    if next(series_of(metric, project), None) is None:
        raise UsageError(
            f"metric '{metric.name}' has no calendar grain, so no series of it is collected",
            hint='give it grains = ["day"], or build it',
        )
    return metric


def is_collected(metric: Metric) -> bool:
    """Tell whether a metric is collected without being asked for: until it is archived, once it is no draft."""
    return metric.enabled and not metric.intermediate and metric.about.status in _COLLECTED


def series_of(metric: Metric, project: Project) -> Iterator[Wanted]:
    """Yield the series of a metric, grain by grain, the one of everything first."""
    views = metric.views
    entities = views.entities
    if isinstance(metric.definition, SqlQuery):
        entities = entities or project.settings.views.entities or (ALL,)
    else:
        entities = tuple(dict.fromkeys((ALL, *entities)))
    for time in time_views(views, project.settings.views):
        if time.grain is None:
            continue
        for entity in entities:
            yield Wanted(metric=metric.name, grain=time.grain, entity=entity)
        if ALL in entities:
            for dimension in views.by:
                yield Wanted(metric=metric.name, grain=time.grain, by=dimension)


def _of_metric(metric: Metric, project: Project) -> Iterator[Subject]:
    calendar = calendar_of(project, metric)
    sources = source_names(project, metric)
    settle = max((project.sources[name].settle_seconds for name in sources), default=0)
    settings = settings_of(
        project.settings.collect, (project.sources[name].collect for name in sources), metric.collect
    )
    limit = settings.values_limit if _can_fold(metric, project) else metric.collect.values_limit
    for wanted in series_of(metric, project):
        model = Model(metric.name, wanted.entity, TimeView(grain=wanted.grain), (wanted.by,) if wanted.by else ())
        hashed = definition_hash(model, project)
        is_limited = wanted.by is not None and limit is not None
        yield Subject(
            wanted=replace(wanted, values_limit=limit) if is_limited else wanted,
            name=series_name(wanted),
            ruler=Ruler(
                grain=wanted.grain,
                calendar=calendar,
                since=project.settings.start,
                settle=timedelta(seconds=settle),
            ),
            definition_hash=f"{hashed}-{limit}" if is_limited else hashed,
            sources=frozenset(sources),
            settings=settings,
        )


def _can_fold(metric: Metric, project: Project) -> bool:
    """Tell whether a limit of values that a source or the project sets can be kept.

    Values per unit cannot be folded, nor can one query rank values of several warehouses.
    """
    if isinstance(metric.definition, SqlQuery):
        return False
    found = [project.metrics[name].definition for name in operands(metric, project.metrics, project.dialect)]
    if not all(isinstance(each, Aggregate) and each.per_unit is None for each in found):
        return False
    return len({project.sources[name].warehouse for name in source_names(project, metric)}) == 1
