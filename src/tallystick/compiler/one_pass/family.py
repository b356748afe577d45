"""Families: models that are computed together because they read the same rows by the same key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from tallystick.compiler.aggregate_model import Input, read_input
from tallystick.compiler.definition_hash import definition_hash
from tallystick.compiler.entity_paths import Anchor, anchor
from tallystick.compiler.model import Model, TimeView
from tallystick.compiler.one_pass.grouped_query import GroupedQuery
from tallystick.compiler.one_pass.names import FORMAT
from tallystick.compiler.one_pass.readable import Readable, readable
from tallystick.compiler.plan import plan
from tallystick.definitions.entity import ALL
from tallystick.definitions.metric import Aggregate
from tallystick.definitions.project import Project
from tallystick.errors import TallystickError
from tallystick.sql.calendar import Calendar, local_date, start_of_day
from tallystick.sql.expression import MeasureClass, MetricExpression, parse
from tallystick.sql.grain import Grain, Window


@dataclass(frozen=True, slots=True)
class Family:
    """Models over one source, anchored on one of its entities (or none) and broken down by the same dimensions.

    `prefix` names its dictionaries: it changes with everything they depend on, so that old ones are never misread.
    """

    prefix: str
    source: str
    anchor: Anchor | None
    by: tuple[str, ...]
    entities: tuple[str, ...]
    members: tuple[Member, ...]

    @property
    def keeps_missing(self) -> bool:
        """Tell whether rows without an id make up an entity of their own, as they do in a query."""
        return any(member.query is not None for member in self.members)

    @property
    def reads_missing(self) -> bool:
        """Tell whether rows without an id are counted too."""
        return ALL in self.entities or self.keeps_missing


@dataclass(frozen=True, slots=True)
class Member:
    """One metric of a family, the models asked of it, and the prefix its tables are stored under.

    `definition` is the aggregate it is, or that its `query` stands for.
    """

    metric: str
    prefix: str
    definition: Aggregate
    expression: MetricExpression
    models: tuple[Model, ...]
    query: GroupedQuery | None = None

    @property
    def entities(self) -> tuple[str, ...]:
        """Return the entities its models are for."""
        return tuple(dict.fromkeys(model.entity for model in self.models))

    @property
    def grains(self) -> tuple[Grain, ...]:
        """Return the calendar grains coarser than a day that its models have."""
        found = {model.time.grain for model in self.models} - {None, Grain.DAY}
        return tuple(grain for grain in Grain if grain in found)

    @property
    def windows(self) -> tuple[Window, ...]:
        """Return its rolling windows."""
        return tuple(dict.fromkeys(model.time.window for model in self.models if model.time.window is not None))

    @property
    def has_all_time(self) -> bool:
        """Tell whether a value over the whole history is asked for."""
        return any(model.time.is_all_time for model in self.models)

    @property
    def distinct(self) -> tuple[str, ...]:
        """Return the names of its distinct counts."""
        return tuple(m.name for m in self.expression.measures if m.kind is MeasureClass.DISTINCT)


_Key = tuple[str, str | None, tuple[str, ...]]
"""Source, column of the anchor, and dimensions: what models have in common that are computed together."""


def families(project: Project, models: Iterable[Model]) -> tuple[tuple[Family, ...], tuple[Model, ...]]:
    """Group models into families; return those and the models that only their direct query can compute.

    A family holds every model of its metrics, also those not asked for: their tables are the same.
    """
    grouped: dict[_Key, dict[str, list[Model]]] = {}
    anchors: dict[_Key, Anchor | None] = {}
    rest: list[Model] = []
    everything: list[tuple[Model, str]] = []
    asked = dict.fromkeys(models)
    reads = readable(project, {model.metric: None for model in asked})
    together = {(model.metric, model.by) for model in asked}
    siblings = (model for model in plan(reads.project) if (model.metric, model.by) in together)
    for model in dict.fromkeys([*asked, *siblings]):
        reach = _reach(reads, model)
        if reach is None:
            if model in asked:
                rest.append(model)
            continue
        source, found = reach
        if found is None:
            everything.append((model, source))
            continue
        key: _Key = (source, found.column, reads.by(model))
        anchors.setdefault(key, found)
        grouped.setdefault(key, {}).setdefault(model.metric, []).append(model)
    for model, source in everything:
        key = _home(grouped, model, source)
        anchors.setdefault(key, None)
        grouped.setdefault(key, {}).setdefault(model.metric, []).append(model)
    found_families = tuple(_family(reads, key, anchors[key], metrics) for key, metrics in grouped.items())
    return found_families, tuple(rest)


def representative(member: Member, project: Project, dialect: str) -> Input:
    """Return what the models of a member read, resolved for the first of them, in a project as it is read."""
    model = next((model for model in member.models if model.has_entity), member.models[0])
    metric = replace(project.metrics[member.metric], definition=member.definition)
    return read_input(model, metric, project, dialect)


def _home(grouped: dict[_Key, dict[str, list[Model]]], model: Model, source: str) -> _Key:
    """Return the family that computes a metric anyway, so that its models of everything need no pass of their own."""
    for key, metrics in grouped.items():
        if key[0] == source and key[2] == model.by and model.metric in metrics and key[1] is not None:
            return key
    return (source, None, model.by)


def _reach(reads: Readable, model: Model) -> tuple[str, Anchor | None] | None:
    """Return source and anchor of a model that can be derived from daily counters, None for any other."""
    project, definition = reads.project, reads.definition(model.metric)
    if definition is None or (model.time.grain is not None and model.time.grain.is_sub_day):
        return None
    if definition.per_unit is not None:
        return None
    source = project.sources[definition.source]
    zone = source.time_zone or project.settings.time_zone
    if source.time is None or zone != project.settings.time_zone or not _starts_with_a_day(project):
        return None
    try:
        found = anchor(source, model.entity, project.entities) if model.has_entity else None
        expression = parse(definition.expr, project.dialect)
    except TallystickError:
        return None
    if not expression.is_gathered_by_day or (found is not None and found.has_validity):
        return None
    return source.name, found


def _starts_with_a_day(project: Project) -> bool:
    start = project.settings.start
    if start is None:
        return True
    calendar = Calendar(project.settings.time_zone, project.settings.week_start)
    return start_of_day(local_date(start, calendar), calendar) == start


def _family(reads: Readable, key: _Key, reach: Anchor | None, metrics: dict[str, list[Model]]) -> Family:
    source, _, by = key
    project = reads.project
    base = reach.base if reach is not None else ALL
    members = tuple(_member(reads, name, base, tuple(models)) for name, models in metrics.items())
    asked = {entity for member in members for entity in member.entities}
    entities = (*sorted(asked - {ALL}), *([ALL] if ALL in asked else []))
    shared = _digest(FORMAT, source, str(key[1]), *by, *entities, _source_facts(project, source), _edges(project))
    stem = "_".join(["", source, *([reach.base] if reach is not None else []), *(["by", *by] if by else [])])
    return Family(f"{stem}_{shared}", source, reach, by, entities, members)


def _member(reads: Readable, name: str, base: str, models: tuple[Model, ...]) -> Member:
    definition = reads.definition(name)
    assert definition is not None  # noqa: S101 - only such models are grouped
    by = models[0].by
    digest = definition_hash(Model(name, base, TimeView(), by), reads.project)[:8]
    stem = f"_{name}_by_{'_'.join(by)}" if by else f"_{name}"
    expression = parse(definition.expr, reads.project.dialect, guarded=name not in reads.queries)
    return Member(name, f"{stem}_{digest}", definition, expression, models, reads.queries.get(name))


def _source_facts(project: Project, name: str) -> str:
    source = project.sources[name]
    computed = sorted((column.name, column.sql) for column in source.columns.values() if column.sql)
    named = sorted((d.name, d.sql) for d in project.dimensions.values() if d.source == name)
    return repr((source.table, source.sql, source.file, sorted(source.entities.items()), computed, named))


def _edges(project: Project) -> str:
    return repr(sorted((name, entity.key, entity.rolls_up_to) for name, entity in project.entities.items()))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:8]
