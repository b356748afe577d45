"""Who reads a source, and what of it: nothing others use is taken away unseen (spec tripl §5.6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tallystick.compiler.lower import source_names
from tallystick.compiler.relations import scope
from tallystick.definitions.columns import columns_of
from tallystick.definitions.conditions import conditions
from tallystick.definitions.diagnostics import nearest
from tallystick.definitions.entity import ALL
from tallystick.definitions.metric import Aggregate, Metric, SqlQuery
from tallystick.definitions.project import Project
from tallystick.definitions.source import Source
from tallystick.errors import ConflictError, ExpressionError, UnknownNameError
from tallystick.store.references import names_in, tables_in

NAMED = 10
"""A refusal names no more dependants than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependants:
    """What would lose something if a source went: metrics (with sides of ratios and formulas), sources and others."""

    metrics: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    dimensions: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Return all of them, each with what it is."""
        kinds = (
            ("metric", self.metrics),
            ("source", self.sources),
            ("entity", self.entities),
            ("event", self.events),
            ("dimension", self.dimensions),
        )
        return tuple(f"{kind} '{name}'" for kind, names in kinds for name in names)


def find_source(project: Project, name: str) -> Source:
    """Return the source of that name; raise UnknownNameError naming the nearest one."""
    if name not in project.sources:
        raise UnknownNameError(f"there is no source '{name}'", hint=nearest(name, project.sources))
    return project.sources[name]


def dependants(project: Project, name: str) -> Dependants:
    """Return everything that reads a source, directly or through formulas; raise UnknownNameError."""
    source = find_source(project, name)
    metrics = [
        metric.operand_of or metric.name for metric in project.metrics.values() if name in _read_by(project, metric)
    ]
    readers = [
        other.name
        for other in project.sources.values()
        if other is not source and other.sql and name in tables_in(other.sql, project.dialect)
    ]
    mapped = [
        entity.name for entity in project.entities.values() if any(edge.through == name for edge in entity.rolls_up_to)
    ]
    return Dependants(
        metrics=_sorted(metrics),
        sources=_sorted(readers),
        entities=_sorted(mapped),
        events=_sorted(each.name for each in project.segments.values() if each.source == name),
        dimensions=_sorted(each.name for each in project.dimensions.values() if each.source == name),
    )


def _read_by(project: Project, metric: Metric) -> frozenset[str]:
    """Return the sources a metric reads, those a whole query names as tables among them."""
    found = set(source_names(project, metric))
    if isinstance(metric.definition, SqlQuery):
        found |= tables_in(metric.definition.sql, metric.definition.dialect or project.dialect)
    return frozenset(found)


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


def refuse_removal(project: Project, name: str) -> None:
    """Raise ConflictError where anything reads a source that is to be deleted, naming up to ten readers."""
    if used := dependants(project, name).names:
        raise ConflictError(
            f"source '{name}' cannot be deleted: {_listed(used)} {'reads' if len(used) == 1 else 'read'} it",
            hint="delete or move them first",
        )


def refuse_narrowing(project: Project, changed: Source, columns: Iterable[str] | None = None) -> None:
    """Raise ConflictError where a changed source lacks a filter, entity, dimension or column that a metric uses.

    `columns` are the stored columns of the changed source, where they are known.
    """
    current = find_source(project, changed.name)
    stored = None if columns is None else frozenset(name.lower() for name in columns)
    lost: dict[str, list[str]] = {}
    for metric in project.metrics.values():
        definition = metric.definition
        if isinstance(definition, Aggregate) and definition.source == current.name:
            for part in _lost(project, metric, definition, current, changed, stored):
                lost.setdefault(part, []).append(f"metric '{metric.operand_of or metric.name}'")
    if lost:
        part, users = next(iter(lost.items()))
        others = f", and {len(lost) - 1} more" if len(lost) > 1 else ""
        names = tuple(dict.fromkeys(users))
        raise ConflictError(
            f"source '{current.name}' cannot lose {part}{others}: {_listed(names)} {_verb(names)} it",
            hint="change what uses it first",
        )


def _verb(names: tuple[str, ...]) -> str:
    return "uses" if len(names) == 1 else "use"


def _listed(names: tuple[str, ...]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _lost(
    project: Project,
    metric: Metric,
    definition: Aggregate,
    current: Source,
    changed: Source,
    stored: frozenset[str] | None,
) -> Iterator[str]:
    """Yield what a metric uses of the current source and the changed one does not have."""
    dialect = definition.dialect or project.dialect
    names = {name for text in definition.where for name in names_in(text, dialect, current.name)}
    for name in current.filters:
        if name in names and name not in changed.filters:
            yield f"filter '{name}'"
    for entity in metric.views.entities or project.settings.views.entities:
        if entity != ALL and entity in current.entities and entity not in changed.entities:
            yield f"entity '{entity}'"
    for name in sorted(set(_columns(project, metric, definition, current))):
        computed, was_computed = _is_computed(name, changed), _is_computed(name, current)
        is_stored = not was_computed if stored is None else name.lower() in stored
        if not computed and not is_stored:
            yield f"column '{name}'"


def _is_computed(name: str, source: Source) -> bool:
    column = source.columns.get(name)
    return column is not None and column.sql is not None


def _columns(project: Project, metric: Metric, definition: Aggregate, source: Source) -> Iterator[str]:
    """Yield the columns a metric speaks of: in its expression, its conditions and its breakdowns."""
    named = scope(source, project, project.dialect).dimensions
    for text in (definition.expr, *conditions(project, metric), *(named.get(name, name) for name in metric.views.by)):
        try:
            yield from columns_of(text, definition.dialect or project.dialect, source.name)
        except ExpressionError:
            continue


def usage(project: Project) -> Mapping[str, Dependants]:
    """Return the dependants of every source."""
    return {name: dependants(project, name) for name in project.sources}
