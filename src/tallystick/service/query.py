"""Answering a question about a metric: which model, over which time, run where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from sqlglot import exp

from tallystick.compiler.aggregate_model import BUCKET
from tallystick.compiler.lower import lower, source_names, to_text
from tallystick.compiler.metric_calendar import calendar_of
from tallystick.compiler.model import Model, TimeView
from tallystick.compiler.plan import find_metric, metric_models, plan, time_views, unknown_metric
from tallystick.compiler.span import Span
from tallystick.definitions.diagnostics import nearest
from tallystick.definitions.entity import ALL
from tallystick.definitions.metric import Metric, SqlQuery
from tallystick.definitions.project import Project
from tallystick.definitions.source import Source
from tallystick.errors import UnknownNameError, UsageError
from tallystick.service.instants import parse_instant
from tallystick.sql.calendar import floor, shift, start_of_day, state
from tallystick.sql.grain import Grain, parse_grain, parse_window

if TYPE_CHECKING:
    import pyarrow as pa

    from tallystick.engines.adapter import Engine

STATE = "state"


def choose(
    project: Project,
    metric: str,
    *,
    model: str | None = None,
    entity: str | None = None,
    grain: str | None = None,
    window: int | str | None = None,
    all_time: bool = False,
    by: Sequence[str] = (),
) -> Model:
    """Return the model a call asks for: by name, or any entity and view, listed or not. Raise UsageError."""
    if model is not None or metric not in project.metrics:
        return _named(project, metric, model)
    definition = find_metric(project, metric)
    if sum((grain is not None, window is not None, all_time)) > 1:
        raise UsageError("grain, window and all time exclude each other", hint="give one of them")
    if entity is not None and entity != ALL and entity not in project.entities:
        raise UnknownNameError(f"there is no entity '{entity}'", hint=nearest(entity, project.entities))
    if grain is not None:
        time = TimeView(grain=parse_grain(grain))
    elif window is not None:
        time = TimeView(window=parse_window(window))
    elif all_time:
        time = TimeView()
    else:
        views = time_views(definition.views, project.settings.views)
        time = next((view for view in views if view.grain is not None), views[0])
    return Model(metric, entity or _default_entity(definition), time, tuple(by))


def _default_entity(metric: Metric) -> str:
    """Return everything, or for a whole query, which is written for things, the first it has models for."""
    if isinstance(metric.definition, SqlQuery) and metric.views.entities:
        return metric.views.entities[0]
    return ALL


def _named(project: Project, metric: str, model: str | None) -> Model:
    name = model or metric
    models = {found.name: found for found in plan(project)}
    if name in models:
        return models[name]
    if model is not None:
        known = [found.name for found in metric_models(find_metric(project, metric), project)]
        raise UnknownNameError(f"metric '{metric}' has no model '{model}'", hint=nearest(model, known))
    raise unknown_metric(project, metric, [*project.metrics, *models])


def select_models(project: Project, select: Sequence[str]) -> tuple[Model, ...]:
    """Return the models of the named metrics and models, in plan order; all where nothing is named."""
    if not select:
        return plan(project)
    wanted: set[str] = set()
    for name in select:
        if name in project.metrics:
            wanted |= {model.name for model in metric_models(project.metrics[name], project)}
        else:
            wanted.add(_named(project, name, None).name)
    return tuple(model for model in plan(project) if model.name in wanted)


def warehouse_of(project: Project, metric: str) -> str | None:
    """Return the other warehouse a metric's rows are in, None for the project's; raise UsageError where in several."""
    sources = [project.sources[name] for name in source_names(project, find_metric(project, metric))]
    names = {elsewhere(project, source) for source in sources}
    if len(names) > 1:
        hint = f"collect it, then look at its series: tally collect {metric}, tally show {metric}"
        raise UsageError(f"metric '{metric}' is computed from several warehouses", hint=hint)
    return next(iter(names), None)


def elsewhere(project: Project, source: Source) -> str | None:
    """Return the warehouse of a source where it is not the project's."""
    return None if source.warehouse in (None, project.warehouse.name) else source.warehouse


def starting_at(project: Project, start: str | date | datetime | None) -> Project:
    """Return the project with its history beginning at `start`, where one is given."""
    if start is None:
        return project
    return replace(project, settings=replace(project.settings, start=parse_instant(start, project)))


def span(
    project: Project,
    model: Model,
    start: str | date | datetime | None,
    end: str | date | datetime | None,
    as_of: datetime,
) -> Span:
    """Return the time a question covers: whole buckets from `start` on, and never beyond the project's clock."""
    days = calendar_of(project, project.metrics[model.metric])
    stop = min(parse_instant(end, project, days), as_of) if end is not None else as_of
    begin = parse_instant(start, project, days) if start is not None else project.settings.start
    if begin is not None:
        begin = floor(begin, model.time.grain or Grain.DAY, days)
        if begin >= stop:
            raise UsageError(f"nothing lies between {begin:%Y-%m-%d} and {stop:%Y-%m-%d}", hint="check start and end")
    return Span(begin, stop, days)


def run(
    engine: Engine,
    project: Project,
    model: Model,
    where: Sequence[str],
    start: str | date | datetime | None,
    end: str | date | datetime | None,
    as_of: datetime,
    limit: int | None,
) -> pa.Table:
    """Compute a model from the rows of its sources and mark each bucket's state."""
    from tallystick.build.extent import first_instant

    covered = span(project, model, start, end, as_of)
    if model.time.window is not None and covered.start is None:
        covered = replace(covered, start=first_instant(engine.run, project, model, engine.dialect) or covered.end)
    tree = lower(model, project, covered, engine.dialect, where)
    columns = _answer_columns(tree.named_selects, project, model)
    keys = [exp.column(name) for name in columns.values() if name not in _NUMBERS]
    answer = (exp.column(name).as_(alias) for name, alias in columns.items())
    ordered = exp.select(*answer).from_(tree.subquery("answer")).order_by(*keys)
    if limit is not None:
        ordered = ordered.limit(limit)
    table = engine.run(to_text(ordered, engine.dialect, reads=project.dialect, pretty=False))
    return with_state(table, project, model, as_of)


_NUMBERS = ("value", "numerator", "denominator", "n")


def _answer_columns(names: Sequence[str], project: Project, model: Model) -> dict[str, str]:
    """Return what each column of a model is called in an answer: SQL definitions bring OSO's names (spec oso §1)."""
    if not isinstance(project.metrics[model.metric].definition, SqlQuery):
        return {name: name for name in names}
    known = {"metrics_sample_date": BUCKET, "amount": "value"}
    if model.has_entity:
        known[f"to_{model.entity}_id"] = project.entities[model.entity].key
    return {name: known.get(name, name) for name in names}


def with_state(table: pa.Table, project: Project, model: Model, as_of: datetime) -> pa.Table:
    """Return the table with a column that says which buckets may still change."""
    import pyarrow as pa

    buckets = table.column(BUCKET)
    settle = timedelta(seconds=settle_seconds(project, model))
    states = {
        bucket: state(bucket_end(bucket, project, model), as_of, settle).value
        for bucket in buckets.unique().to_pylist()
    }
    return table.append_column(STATE, pa.array([states[bucket] for bucket in buckets.to_pylist()], pa.string()))


def settle_seconds(project: Project, model: Model) -> int:
    """Return how long after its end a bucket of this model may still receive rows: the longest of its sources."""
    return max(
        (project.sources[name].settle_seconds for name in source_names(project, project.metrics[model.metric])),
        default=0,
    )


def bucket_end(bucket: date | datetime, project: Project, model: Model) -> datetime:
    """Return the instant at which a bucket ends; a rolling or all-time value ends with its day."""
    calendar = calendar_of(project, project.metrics[model.metric])
    if isinstance(bucket, datetime):
        start = bucket.replace(tzinfo=UTC) if bucket.tzinfo is None else bucket
    else:
        start = start_of_day(bucket, calendar)
    return shift(start, model.time.grain or Grain.DAY, 1, calendar)


def restated_from(
    project: Project, restate: tuple[str | date | datetime, str | date | datetime] | None
) -> datetime | None:
    """Return the instant from which rows are read again; raise UsageError where a range ends before it starts."""
    if restate is None:
        return None
    start, end = (parse_instant(bound, project) for bound in restate)
    if end < start:
        raise UsageError(f"a range cannot end before it starts: {restate[0]} … {restate[1]}", hint="swap the two")
    return start
