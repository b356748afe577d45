"""Graphs of names: cycles, and what a source can be counted for through the roll-ups of its entities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tallystick.definitions.entity import ALL, Entity
from tallystick.definitions.source import Source

ARROW = " → "


def cycles(edges: Mapping[str, Iterable[str]]) -> list[tuple[str, ...]]:
    """Return one path for each group of names that lead back to themselves, first name repeated at the end."""
    found: list[tuple[str, ...]] = []
    done: set[str] = set()
    for start in edges:
        if start not in done:
            _walk(start, edges, done, found)
    return found


def _walk(start: str, edges: Mapping[str, Iterable[str]], done: set[str], found: list[tuple[str, ...]]) -> None:
    """Go depth first without recursion, since chains may be longer than Python's stack."""
    path: list[str] = [start]
    on_path = {start}
    pending = [iter(edges.get(start, ()))]
    while pending:
        step = next(pending[-1], None)
        if step is None:
            pending.pop()
            name = path.pop()
            on_path.discard(name)
            done.add(name)
        elif step in on_path:
            found.append((*path[path.index(step) :], step))
        elif step not in done and step in edges:
            path.append(step)
            on_path.add(step)
            pending.append(iter(edges[step]))


def in_order(edges: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the names so that each comes after everything it leads to; within a cycle the order is arbitrary."""
    order: list[str] = []
    entered: set[str] = set()
    for start in edges:
        pending = [] if start in entered else [(start, iter(edges[start]))]
        entered.add(start)
        while pending:
            name, steps = pending[-1]
            step = next((step for step in steps if step in edges and step not in entered), None)
            if step is None:
                order.append(name)
                pending.pop()
            else:
                entered.add(step)
                pending.append((step, iter(edges[step])))
    return order


def ancestors(entities: Mapping[str, Entity], start: str) -> frozenset[str]:
    """Return an entity and everything it rolls up into, directly or through others."""
    found = {start}
    pending = [start]
    while pending:
        entity = entities.get(pending.pop())
        for edge in entity.rolls_up_to if entity else ():
            if edge.parent not in found:
                found.add(edge.parent)
                pending.append(edge.parent)
    return frozenset(found)


def bases(source: Source, target: str, entities: Mapping[str, Entity]) -> tuple[str, ...]:
    """Return the entities of a source from which a target is reached: none, the one that is used, or several."""
    if target == ALL or target in source.entities:
        return (target,)
    return tuple(base for base in source.entities if target in ancestors(entities, base))


def describe_edges(entities: Mapping[str, Entity]) -> str:
    """Return the roll-ups that exist, in words."""
    edges = [f"{entity.name}{ARROW}{edge.parent}" for entity in entities.values() for edge in entity.rolls_up_to]
    return ", ".join(edges)
