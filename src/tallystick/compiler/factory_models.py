"""Every model a registry compiles to, derived ones included, as pure data: no SQL is read or written (spec oso §2, §3.3, §8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tallystick.compiler.model import Model, TimeView
from tallystick.compiler.plan import metric_models
from tallystick.definitions.metric import Metric, SqlQuery
from tallystick.definitions.oso_options import OSO_ENTITIES, Audit, OsoOptions, TableOptions
from tallystick.definitions.project import Project
from tallystick.sql.grain import Grain

DERIVED_SCHEMA = "oso"
"""Where union and metadata models live, whatever schema the registry names (spec oso §3.1)."""
TIMESERIES, KEY_METRICS, METADATA = "timeseries_metrics", "key_metrics", "metrics_metadata"
DEFAULT_BATCH = 365
EPOCH = "1970-01-01"


@dataclass(frozen=True, slots=True)
class _Schedule:
    """When a model of a grain runs, and in what pieces (spec oso §3.3); periods are counted in `interval`."""

    cron: str
    interval: str
    lookback: int
    batch_size: int | None
    partition: str


_SCHEDULES = {
    Grain.DAY: _Schedule("@daily", "day", 3, None, "day"),
    Grain.WEEK: _Schedule("@weekly", "day", 3, 365, "day"),
    Grain.MONTH: _Schedule("@monthly", "month", 1, 12, "month"),
    Grain.QUARTER: _Schedule("@monthly", "month", 6, 12, "month"),
    Grain.HALF: _Schedule("@monthly", "month", 12, 12, "month"),
    Grain.YEAR: _Schedule("@yearly", "year", 1, 1, "year"),
}
_CRON_INTERVALS = {"@daily": "day", "@weekly": "day", "@monthly": "month", "@yearly": "year"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FactoryModel:
    """One model: what it is, and how OSO's factory would have it materialised."""

    schema: str
    table: str
    kind: str
    metric: str | None = None
    entity: str | None = None
    model: Model | None = None
    members: tuple[str, ...] = ()
    materialized: str = "incremental"
    cron: str | None = None
    interval: str | None = None
    lookback: int | None = None
    batch_size: int | None = None
    batch_concurrency: int | None = None
    partition: str | None = None
    start: str | None = None
    audits: tuple[Audit, ...] = ()
    kind_options: tuple[tuple[str, object], ...] = field(default=())
    tags: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the name with its schema."""
        return f"{self.schema}.{self.table}"

    def as_dict(self) -> dict[str, object]:
        """Return the model as plain data, for `--format json`."""
        time = self.model.time if self.model is not None else None
        window = time.window if time is not None else None
        return {
            "name": self.name,
            "kind": self.kind,
            "metric": self.metric,
            "entity": self.entity,
            "grain": time.grain.value if time is not None and time.grain is not None else None,
            "time_aggregation": time.suffix if time is not None and window is None else None,
            "window": window.count if window is not None else None,
            "unit": window.unit.value if window is not None else None,
            "cron": self.cron,
            "materialized": self.materialized,
            "interval": self.interval,
            "lookback": self.lookback,
            "batch_size": self.batch_size,
            "batch_concurrency": self.batch_concurrency,
            "partition": self.partition,
            "start": self.start,
            "audits": [{"name": name, "arguments": dict(arguments)} for name, arguments in self.audits],
            "tags": list(self.tags),
            "members": list(self.members),
        }


def factory_models(project: Project) -> tuple[FactoryModel, ...]:
    """Return all models of a project's registry in OSO's order: tables of metrics, unions, then metadata."""
    tables = [table for metric in project.metrics.values() for table in _tables(metric, project)]
    return (*tables, *_unions(tables, project), *_metadata(project))


def _options(metric: Metric) -> OsoOptions:
    definition = metric.definition
    return (definition.oso if isinstance(definition, SqlQuery) else None) or OsoOptions()


def _key(metric: Metric) -> str:
    definition = metric.definition
    return (definition.label if isinstance(definition, SqlQuery) else None) or metric.name


def _tables(metric: Metric, project: Project) -> Iterator[FactoryModel]:
    options = _options(metric)
    for model in metric_models(metric, project):
        extra = options.tables.get(model.name, TableOptions())
        if model.time.is_all_time:
            yield _all_time(model, metric, options, extra)
        elif model.time.window is not None:
            yield _rolling(model, metric, options, extra)
        else:
            yield _aggregation(model, metric, options, extra)


def _all_time(model: Model, metric: Metric, options: OsoOptions, extra: TableOptions) -> FactoryModel:
    return FactoryModel(
        schema=options.schema,
        table=model.name,
        kind="over_all_time",
        metric=_key(metric),
        entity=model.entity,
        model=model,
        materialized="full",
        cron="@daily",
        interval="day",
        start=options.start,
        audits=(*options.audits, *extra.audits),
        tags=("model_type=full", *_stage("point_in_time"), *extra.tags),
    )


def _rolling(model: Model, metric: Metric, options: OsoOptions, extra: TableOptions) -> FactoryModel:
    definition = metric.definition
    cron = definition.cron if isinstance(definition, SqlQuery) and definition.cron else "@daily"
    return FactoryModel(
        schema=options.schema,
        table=model.name,
        kind="rolling",
        metric=_key(metric),
        entity=model.entity,
        model=model,
        cron=cron,
        interval=_CRON_INTERVALS.get(cron, "day"),
        lookback=3,
        batch_size=options.batch_size or DEFAULT_BATCH,
        batch_concurrency=1,
        partition="day",
        start=options.start,
        audits=(*options.audits, *options.incremental_audits, *extra.audits),
        kind_options=tuple(extra.kind_options.items()),
        tags=("model_type=incremental", *_stage("rolling_window"), *options.additional_tags, *extra.tags),
    )


def _aggregation(model: Model, metric: Metric, options: OsoOptions, extra: TableOptions) -> FactoryModel:
    schedule = _SCHEDULES.get(model.time.grain or Grain.DAY, _SCHEDULES[Grain.DAY])
    definition = metric.definition
    incremental = not isinstance(definition, SqlQuery) or definition.incremental
    kind = "incremental" if incremental else "full"
    return FactoryModel(
        schema=options.schema,
        table=model.name,
        kind="time_aggregation",
        metric=_key(metric),
        entity=model.entity,
        model=model,
        materialized=kind,
        cron=schedule.cron,
        interval=schedule.interval,
        lookback=schedule.lookback if incremental else None,
        batch_size=schedule.batch_size if incremental else None,
        batch_concurrency=3 if incremental else None,
        partition=schedule.partition,
        start=options.start,
        audits=(*options.audits, *(options.incremental_audits if incremental else ()), *extra.audits),
        kind_options=tuple(extra.kind_options.items()),
        tags=(*_stage("time_aggregation"), *options.additional_tags, *extra.tags, f"model_type={kind}"),
    )


def _stage(metrics_type: str) -> tuple[str, ...]:
    return "model_category=metrics", "model_stage=intermediate", f"model_metrics_type={metrics_type}"


def _unions(tables: list[FactoryModel], project: Project) -> Iterator[FactoryModel]:
    hidden = {_key(metric) for metric in project.metrics.values() if metric.intermediate}
    shown = [table for table in tables if table.metric not in hidden]
    start = next((table.start for table in tables), None)
    for name, is_key in ((TIMESERIES, False), (KEY_METRICS, True)):
        for entity in project.entities or OSO_ENTITIES:
            stage = _stage("timeseries_union")
            members = tuple(t.name for t in shown if t.entity == entity and (t.kind == "over_all_time") == is_key)
            yield FactoryModel(
                schema=DERIVED_SCHEMA,
                table=f"{name}_to_{entity}",
                kind="union",
                entity=entity,
                members=members,
                materialized="view",
                start=EPOCH if is_key else start,
                tags=("model_type=view", *(stage[:2] if is_key else stage), f"entity_category={entity}"),
            )


def _metadata(project: Project) -> Iterator[FactoryModel]:
    described = [metric for metric in project.metrics.values() if _options(metric).has_metadata]
    tags = ("model_type=full", *_stage(METADATA))
    for metric in described:
        yield FactoryModel(
            schema=DERIVED_SCHEMA,
            table=f"{METADATA}_{_key(metric)}",
            kind="metadata",
            metric=_key(metric),
            materialized="full",
            audits=_options(metric).audits,
            tags=tags,
        )
    yield FactoryModel(
        schema=DERIVED_SCHEMA,
        table=METADATA,
        kind="metadata",
        members=tuple(f"{DERIVED_SCHEMA}.{METADATA}_{_key(metric)}" for metric in described),
        materialized="full",
        tags=tags,
    )


def factory_model(project: Project, name: str) -> FactoryModel | None:
    """Return the model of that name, with or without its schema."""
    return next((m for m in factory_models(project) if name in (m.name, m.table)), None)


def time_view_of(model: FactoryModel) -> TimeView | None:
    """Return the time view of a metric's table; derived models have none."""
    return model.model.time if model.model is not None else None
