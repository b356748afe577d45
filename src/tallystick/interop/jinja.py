"""SQL in files that a template engine reads before any database does: user text must pass through it unchanged."""

from __future__ import annotations

from functools import reduce

from sqlglot import exp

_MARKS = ("{{", "{%", "{#")


def has_marks(text: str) -> bool:
    """Tell whether Jinja would read something in a text."""
    return any(mark in text for mark in _MARKS)


def raw(text: str) -> str:
    """Write text so that Jinja reads none of it."""
    for mark in _MARKS:
        text = text.replace(mark, f"\0{mark}\1")
    return text.replace("\0", "{% raw %}").replace("\1", "{% endraw %}")


def protect(tree: exp.Expr) -> None:
    """Wrap marks in literals and names of a tree, in place, for a tool that renders the whole file."""
    for node in list(tree.find_all(exp.Literal, exp.Identifier)):
        if has_marks(node.name):
            node.set("this", raw(node.name))


def take_apart(tree: exp.Expr) -> None:
    """Write literals with marks as concatenations, in place, for a tool that only looks for marks in the text."""
    for node in list(tree.find_all(exp.Literal)):
        if node.is_string and has_marks(node.name):
            pieces: list[exp.Expr] = [exp.Literal.string(piece) for piece in _pieces(node.name)]
            joined = reduce(lambda left, right: exp.DPipe(this=left, expression=right, safe=True), pieces)
            node.replace(exp.paren(joined, copy=False))


def _pieces(text: str) -> list[str]:
    for mark in _MARKS:
        text = text.replace(mark, f"{mark[0]}\0{mark[1]}")
    return text.split("\0")
