"""What a definition uses, by name: sources with the columns and filters it mentions, events, entities, metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tallystick.store.differences import LABELS
from tallystick.store.kinds import Kind

_WORD = re.compile(r"'(?:[^']|'')*'|\b[A-Za-z_]\w*\b")
_SOURCES = frozenset({"source", "data_source"})
_NAMED = {"warehouse": Kind.WAREHOUSE, "entity": Kind.ENTITY, "parent": Kind.ENTITY, "through": Kind.SOURCE}
_MEASURED = (Kind.METRIC, Kind.EVENT, Kind.DIMENSION)


def references(kind: Kind, name: str, facts: Mapping[str, Any]) -> dict[tuple[Kind, str], list[str]]:
    """Return what a definition uses, each with the names of parts it mentions.

    Words of its SQL count as names of metrics, events and dimensions too: which of them exist is known when somebody
    asks who uses one. So both sides of ratios, and every operand of a formula, are found.
    """
    said = {key: value for key, value in facts.items() if key != LABELS}
    sources = sorted(set(_sources(said)))
    words = sorted(set(_words(said)) - {name})
    found: dict[tuple[Kind, str], list[str]] = {(Kind.SOURCE, source): words for source in sources}
    for key, text in _texts(said):
        if key in _NAMED:
            found.setdefault((_NAMED[key], text), [])
    for entity in _entities(said):
        found.setdefault((Kind.ENTITY, entity), [])
    if kind is Kind.METRIC:
        found |= {(other, word): [] for other in _MEASURED for word in words}
    if kind is Kind.EVENT:
        found |= {(Kind.EVENT, word): [] for word in words}
    return found


def parts(facts: Mapping[str, Any]) -> frozenset[str]:
    """Return the names a source offers beyond the columns of its table: columns, filters, dates and entities."""
    found = {*facts.get("filters", {}), *facts.get("columns", {}), *facts.get("entities", {}).values()}
    return frozenset(found | {facts[role] for role in ("time", "partition") if facts.get(role)})


def _sources(value: Any) -> Iterator[str]:
    for key, text in _texts(value):
        if key in _SOURCES:
            yield text


def _words(value: Any) -> Iterator[str]:
    for key, text in _texts(value):
        if key not in _SOURCES:
            yield from (word for word in _WORD.findall(text) if not word.startswith("'"))


def _entities(facts: Mapping[str, Any]) -> Iterator[str]:
    views = facts.get("views", {})
    yield from views.get("entities", ())
    yield from facts.get("entities", {}) if isinstance(facts.get("entities"), Mapping) else ()


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text of nested data with the key it is written under."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(item, str(name))
    elif isinstance(value, Sequence):
        for item in value:
            yield from _texts(item, key)
