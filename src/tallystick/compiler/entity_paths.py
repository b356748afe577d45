"""Ways through the entity graph: how rows that carry one entity come to be counted for another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from tallystick.compiler.relations import relation
from tallystick.definitions.entity import Entity, RollUp
from tallystick.definitions.project import Project
from tallystick.definitions.source import Source
from tallystick.errors import CompileError

MEMBER = "member_id"
GROUP = "entity_id"
VALID_FROM = "valid_from"
VALID_TO = "valid_to"

Path = tuple[RollUp, ...]


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where a source meets an entity: a column of the source, and the paths from its entity (none: it is the entity)."""

    base: str
    column: str
    paths: tuple[Path, ...]

    @property
    def has_validity(self) -> bool:
        """Tell whether membership depends on the day of the row."""
        return any(edge.valid_from or edge.valid_to for path in self.paths for edge in path)


def paths(
    entities: Mapping[str, Entity], start: str, target: str, seen: frozenset[str] = frozenset()
) -> tuple[Path, ...]:
    """Return every path of roll-ups from one entity to another that visits no entity twice."""
    if start == target:
        return ((),)
    entity = entities.get(start)
    if entity is None or start in seen:
        return ()
    return tuple(
        (edge, *rest) for edge in entity.rolls_up_to for rest in paths(entities, edge.parent, target, seen | {start})
    )


def anchor(source: Source, target: str, entities: Mapping[str, Entity]) -> Anchor:
    """Return how a source reaches an entity; raise CompileError where it can't or could in two unlike ways."""
    if target in source.entities:
        return Anchor(target, source.entities[target], ())
    found = {base: ways for base in source.entities if (ways := paths(entities, base, target))}
    if len(found) == 1:
        base, ways = next(iter(found.items()))
        return Anchor(base, source.entities[base], ways)
    if found:
        raise CompileError(
            f"source '{source.name}' reaches entity '{target}' from {' and from '.join(sorted(found))}",
            hint=f"name the column for {target} in the source's entities",
        )
    edges = [f"{entity.name} → {edge.parent}" for entity in entities.values() for edge in entity.rolls_up_to]
    carried = ", ".join(source.entities) or "no entity"
    raise CompileError(
        f"source '{source.name}' carries {carried} and cannot reach entity '{target}'",
        hint=f"roll-ups are {', '.join(edges)}" if edges else f"add {target} to the source's entities",
    )


def membership(anchor: Anchor, project: Project, among: exp.Query | None = None) -> exp.Query:
    """Return (member_id, entity_id) pairs without repeats, however many paths lead from one to the other.

    Counting a pair once is what keeps a thing reachable twice from being counted twice (spec oso §9.3). `among` is a
    query of the only members asked for.
    """
    ways = [_path_query(path, project, validity=False).distinct(copy=False) for path in anchor.paths]
    if among is not None:
        for way in ways:
            way.where(way.selects[0].this.copy().isin(query=among.copy()), copy=False)
    return _stacked(ways, distinct=True)


def membership_intervals(anchor: Anchor, project: Project) -> exp.Query:
    """Return (member_id, entity_id, valid_from, valid_to), half-open, one row per path and interval."""
    return _stacked([_path_query(path, project, validity=True) for path in anchor.paths], distinct=False)


def _stacked(queries: Sequence[exp.Query], *, distinct: bool) -> exp.Query:
    found, *others = queries
    for query in others:
        found = exp.union(found, query, distinct=distinct, copy=False)
    return found


def _path_query(path: Path, project: Project, *, validity: bool) -> exp.Select:
    aliases = [f"step_{index}" for index in range(1, len(path) + 1)]
    first, last = path[0], path[-1]
    query = exp.select(
        exp.column(first.child_key, aliases[0]).as_(MEMBER, copy=False),
        exp.column(last.parent_key, aliases[-1]).as_(GROUP, copy=False),
        copy=False,
    ).from_(relation(first.through, project, aliases[0]), copy=False)
    for index, edge in enumerate(path[1:], start=1):
        on = exp.column(path[index - 1].parent_key, aliases[index - 1]).eq(exp.column(edge.child_key, aliases[index]))
        query = query.join(relation(edge.through, project, aliases[index]), on=on, copy=False)
    if validity:
        bounds = _bounds(path, aliases)
        query = query.select(bounds[0].as_(VALID_FROM), bounds[1].as_(VALID_TO), copy=False)
    ids = (exp.column(first.child_key, aliases[0]), exp.column(last.parent_key, aliases[-1]))
    return query.where(*map(is_not_null, ids), copy=False)


def is_not_null(value: exp.Expr) -> exp.Expr:
    """Return the predicate that a value is there."""
    return exp.Is(this=value, expression=exp.Not(this=exp.null()))


def _bounds(path: Path, aliases: list[str]) -> tuple[exp.Expr, exp.Expr]:
    """Return the latest start and earliest end of a path; an open end counts as the beginning or end of time."""
    starts = [_date(edge.valid_from, alias, "0001-01-01") for edge, alias in zip(path, aliases, strict=True)]
    ends = [_date(edge.valid_to, alias, "9999-12-31") for edge, alias in zip(path, aliases, strict=True)]
    if len(path) == 1:
        return starts[0], ends[0]
    return exp.Greatest(this=starts[0], expressions=starts[1:]), exp.Least(this=ends[0], expressions=ends[1:])


def _date(column: str | None, alias: str, default: str) -> exp.Expr:
    fallback = exp.cast(exp.Literal.string(default), "date")
    if column is None:
        return fallback
    return exp.Coalesce(this=exp.cast(exp.column(column, alias), "date"), expressions=[fallback])
