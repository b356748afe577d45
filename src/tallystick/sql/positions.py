"""Places in the text a tree was parsed from: what the parser notes on nodes, and every copy of them pays for."""

from __future__ import annotations

from typing import TypeVar

from sqlglot import exp

Tree = TypeVar("Tree", bound=exp.Expr)

_PLACES = frozenset({"line", "col", "start", "end"})


def without_positions(tree: Tree) -> Tree:
    """Remove the notes of the parser about places from every node, in place; return the tree.

    A copy of a tree copies the notes of every node one by one, which takes several times as long as the tree itself.
    """
    for node in tree.walk():
        notes = node._meta  # noqa: SLF001 - emptying `meta` would leave a dict to copy
        if notes is not None:
            node._meta = {key: value for key, value in notes.items() if key not in _PLACES} or None  # noqa: SLF001
    return tree
