"""What a definition uses, by name, as its parsed SQL says: sources with their columns and filters, events, metrics.

Words in texts, comments, aliases and functions are no references. SQL that cannot be read here (it may be in a dialect
of its own, or hold macros) counts by its words instead, so that nothing that is used is ever thought unused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from tallystick.definitions.drafts import Noun
from tallystick.definitions.entity import Entity
from tallystick.definitions.fragment import is_name, parse_fragment, parse_query
from tallystick.definitions.metric import Aggregate, Formula, Metric, SqlQuery
from tallystick.definitions.project import Warehouse
from tallystick.definitions.source import Conditions, Dimension, Segment, Source
from tallystick.errors import TallystickError
from tallystick.sql.macros import parse_template
from tallystick.store.kinds import Kind

_WORD = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/|\b[A-Za-z_]\w*\b", re.DOTALL)
_CANONICAL = "duckdb"

Used = dict[tuple[Kind, str], list[str]]


def references(noun: Noun | Warehouse, dialect: str = _CANONICAL) -> Used:
    """Return what a definition uses, each with the names of the parts of a source it speaks of.

    A name in a condition may be a column, a filter of the source or an event; which of them exist is known when
    somebody asks who uses one.
    """
    found = _Found(dialect)
    match noun:
        case Metric():
            _metric(noun, found)
        case Source():
            _source(noun, found)
        case Segment():
            found.source = noun.source
            found.conditions(noun.where, noun.structured)
            found.mean(Kind.EVENT)
        case Dimension():
            found.source = noun.source
            found.expression(noun.sql)
            found.mean()
        case Entity():
            _entity(noun, found)
        case _:
            pass
    return found.used(noun)


def parts(facts: Mapping[str, Any]) -> frozenset[str]:
    """Return the names a source offers beyond the columns of its table: columns, filters, dates and entities."""
    found = {*facts.get("filters", {}), *facts.get("columns", {}), *facts.get("entities", {}).values()}
    return frozenset(found | {facts[role] for role in ("time", "partition") if facts.get(role)})


@dataclass(slots=True)
class _Found:
    """References while they are gathered: `names` stand in SQL over the rows of `source`."""

    dialect: str
    source: str = ""
    names: set[str] = field(default_factory=set)
    uses: dict[tuple[Kind, str], set[str]] = field(default_factory=dict)

    def add(self, kind: Kind, name: str, parts: Iterable[str] = ()) -> None:
        if name:
            self.uses.setdefault((kind, name), set()).update(parts)

    def expression(self, text: str | None, dialect: str | None = None) -> None:
        """Gather the columns an expression or condition over one source speaks of."""
        if text and text.strip():
            self.names |= names_in(text, dialect or self.dialect, self.source)

    def conditions(self, text: str, structured: Conditions | None, dialect: str | None = None) -> None:
        self.expression(text, dialect)
        for each in structured[0] if structured else ():
            self.expression(each, dialect)
        self.names |= {condition.column.split(".")[0] for _, condition in (structured[1] if structured else ())}

    def mean(self, *kinds: Kind) -> None:
        """Say what the gathered names may mean beside parts of the source, which only the event knows if there is none."""
        for kind in kinds:
            for name in self.names:
                self.add(kind, name, () if self.source else self.names - {name})
        self.add(Kind.SOURCE, self.source, self.names)
        self.names = set()

    def used(self, noun: Noun | Warehouse) -> Used:
        """Return what was found, without the definition itself."""
        kind = _KINDS[type(noun)]
        return {key: sorted(parts) for key, parts in sorted(self.uses.items()) if key != (kind, noun.name)}


_KINDS = {
    Metric: Kind.METRIC,
    Source: Kind.SOURCE,
    Segment: Kind.EVENT,
    Dimension: Kind.DIMENSION,
    Entity: Kind.ENTITY,
    Warehouse: Kind.WAREHOUSE,
}


# -- nouns ------------------------------------------------------------------------------------------------------------


def _metric(metric: Metric, found: _Found) -> None:
    definition = metric.definition
    for entity in metric.views.entities:
        found.add(Kind.ENTITY, entity)
    if isinstance(definition, SqlQuery):
        for name in (*definition.sources, *tables_in(definition.sql, definition.dialect or found.dialect)):
            found.add(Kind.SOURCE, name)
        return
    if isinstance(definition, Formula):
        sides = {operand.name for operand in definition.operands}
        for name in names_in(definition.expr, found.dialect, "") - sides:
            found.add(Kind.METRIC, name)
        for operand in definition.operands:
            if isinstance(operand.definition, Aggregate):
                _aggregate(operand.definition, found, metric.views.by)
        return
    _aggregate(definition, found, metric.views.by)


def _aggregate(definition: Aggregate, found: _Found, by: Iterable[str]) -> None:
    found.source = definition.source
    found.expression(definition.expr, _CANONICAL if definition.is_canonical else definition.dialect)
    for text in definition.where:
        found.expression(text, definition.dialect)
    found.names |= {condition.column.split(".")[0] for _, condition in definition.structured}
    for dimension in by:
        found.add(Kind.DIMENSION, dimension)
        found.names.add(dimension)
    for entity in (definition.per_distinct, definition.per_unit.entity if definition.per_unit else None):
        found.add(Kind.ENTITY, entity or "")
    found.mean(Kind.EVENT)


def _source(source: Source, found: _Found) -> None:
    found.add(Kind.WAREHOUSE, source.warehouse or "")
    for entity in source.entities:
        found.add(Kind.ENTITY, entity)
    for name in tables_in(source.sql, found.dialect) if source.sql else ():
        found.add(Kind.SOURCE, name)


def _entity(entity: Entity, found: _Found) -> None:
    for edge in entity.rolls_up_to:
        found.add(Kind.ENTITY, edge.parent)
        keys = (edge.child_key, edge.parent_key, edge.valid_from, edge.valid_to)
        found.add(Kind.SOURCE, edge.through, filter(None, keys))


# -- SQL --------------------------------------------------------------------------------------------------------------


def names_in(text: str, dialect: str, source: str) -> set[str]:
    """Return the columns, filters, events or metrics an expression speaks of; its words where it does not parse.

    In `a.b` it is `b` where `a` is the source, else `a`; in subqueries it may be either.
    """
    if is_name(text):
        return {text.strip()}
    try:
        tree = parse_fragment(text, dialect)
    except (TallystickError, ValueError):
        return set(_words(text))
    bound = {argument.name for scope in tree.find_all(exp.Lambda) for argument in scope.expressions}
    has_queries = tree.find(exp.Query) is not None
    found: set[str] = set()
    for column in tree.find_all(exp.Column):
        names = [part.name for part in column.parts]
        found |= {*names} if has_queries else {names[1] if len(names) > 1 and names[0] == source else names[0]}
    return found - bound - {"*"}


def tables_in(text: str, dialect: str) -> set[str]:
    """Return the bare table names a query reads, which may be sources; its words where it does not parse."""
    try:
        tree: exp.Expr = parse_template(text, dialect) if "@" in text else parse_query(text, dialect)
    except (TallystickError, RecursionError, ValueError):
        return set(_words(text))
    within = {each.alias for each in tree.find_all(exp.CTE)}
    tables = (table for table in tree.find_all(exp.Table) if not table.db and isinstance(table.this, exp.Identifier))
    return {table.name for table in tables if table.name not in within}


def _words(text: str) -> Iterator[str]:
    return (word for word in _WORD.findall(text) if not word.startswith(("'", "--", "/*")))
