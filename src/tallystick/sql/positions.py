"""Notes on the nodes of a tree: those of the parser about places, and ours, which copies share."""

from __future__ import annotations

from typing import Any, Self, TypeVar

from sqlglot import exp

Tree = TypeVar("Tree", bound=exp.Expr)

_PLACES = frozenset({"line", "col", "start", "end"})


class Notes(dict[str, Any]):
    """Notes on a node that never change, so that every copy of the node can have the same ones."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


_DEFINITION = "definition"


def mark_definition(tree: Tree) -> Tree:
    """Note on every node of a tree, in place, that it comes from a user's definition; return the tree."""
    for node in tree.walk():
        node._meta = Notes(node._meta or {}, definition=True)  # noqa: SLF001 - `meta` would be copied entry by entry
    return tree


def is_of_definition(node: exp.Expr) -> bool:
    """Tell whether a node comes from a user's definition."""
    return bool(node.meta_get(_DEFINITION))


def without_positions(tree: Tree) -> Tree:
    """Remove the notes of the parser about places, and empty lists of comments, from every node; return the tree.

    A copy of a tree copies the notes of every node one by one, which takes several times as long as the tree itself.
    """
    for node in tree.walk():
        if not node.comments:
            node.comments = None
        notes = node._meta  # noqa: SLF001 - emptying `meta` would leave a dict to copy
        if notes is not None and not isinstance(notes, Notes):
            node._meta = {key: value for key, value in notes.items() if key not in _PLACES} or None  # noqa: SLF001
    return tree
