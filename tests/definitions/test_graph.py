"""Laws of the graphs of names, on random graphs."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tallystick.definitions.entity import Entity, RollUp
from tallystick.definitions.graph import ancestors, bases, cycles, describe_edges, in_order
from tallystick.definitions.source import Source

names = st.sampled_from("abcdefg")
graphs = st.dictionaries(names, st.lists(names, max_size=4, unique=True), max_size=7)


def reaches(edges: dict[str, list[str]], start: str, target: str) -> bool:
    seen: set[str] = set()
    pending = list(edges.get(start, ()))
    while pending:
        name = pending.pop()
        if name == target:
            return True
        if name not in seen:
            seen.add(name)
            pending.extend(edges.get(name, ()))
    return False


@given(graphs)
def test_every_cycle_is_a_way_back_along_edges(edges: dict[str, list[str]]) -> None:
    for cycle in cycles(edges):
        assert cycle[0] == cycle[-1]
        assert all(end in edges[start] for start, end in pairwise(cycle))


@given(graphs)
def test_cycles_are_found_exactly_where_there_are_some(edges: dict[str, list[str]]) -> None:
    assert bool(cycles(edges)) == any(reaches(edges, name, name) for name in edges)


@given(graphs)
def test_taking_the_cycles_away_leaves_none_behind_for_long(edges: dict[str, list[str]]) -> None:
    while found := cycles(edges):
        gone = {name for cycle in found for name in cycle}
        edges = {name: steps for name, steps in edges.items() if name not in gone}
    assert not any(reaches(edges, name, name) for name in edges)


@given(graphs)
def test_the_order_has_every_name_once_and_operands_first(edges: dict[str, list[str]]) -> None:
    order = in_order(edges)
    assert sorted(order) == sorted(edges)
    if not cycles(edges):
        assert all(order.index(step) < order.index(name) for name in edges for step in edges[name] if step in edges)


def test_long_chains_do_not_exhaust_the_stack() -> None:
    edges = {str(n): [str(n + 1)] for n in range(5_000)} | {"5000": ["0"]}
    assert len(cycles(edges)[0]) == 5_002
    assert len(in_order(edges)) == 5_001


def entities(**parents: str) -> dict[str, Entity]:
    return {
        name: Entity(
            name=name,
            key=f"{name}_id",
            rolls_up_to=tuple(
                RollUp(parent=parent, through="t", child_key=f"{name}_id", parent_key=f"{parent}_id")
                for parent in text.split()
            ),
        )
        for name, text in parents.items()
    }


GRAPH = entities(store="region", region="country", seller="region company", country="", company="")


def test_ancestors_reach_any_depth() -> None:
    assert ancestors(GRAPH, "store") == {"store", "region", "country"}
    assert ancestors(GRAPH, "seller") == {"seller", "region", "country", "company"}
    assert ancestors(GRAPH, "unknown") == {"unknown"}


def test_bases() -> None:
    source = Source(name="s", table="t", entities={"store": "store_id", "seller": "seller_id"})
    assert bases(source, "all", GRAPH) == ("all",)
    assert bases(source, "store", GRAPH) == ("store",)
    assert bases(source, "company", GRAPH) == ("seller",)
    assert bases(source, "country", GRAPH) == ("store", "seller")
    assert bases(source, "planet", GRAPH) == ()


def test_edges_in_words() -> None:
    assert describe_edges(entities(a="b c", b="", c="")) == "a → b, a → c"
