"""SQL text in which the parts that come from a user's definition are told apart from what was built around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.generator import Generator

from tallystick.compiler.lower import lower, to_text, written_tree
from tallystick.compiler.model import Model
from tallystick.compiler.span import Span
from tallystick.definitions.project import Project
from tallystick.sql.positions import is_of_definition

Range = tuple[int, int]
_Writer = Callable[[Generator, exp.Expr], str]

_FLIP = "\ue000"
"""A character for private use: it stands in the text wherever the user's part begins or ends, and is taken out again."""


@dataclass(frozen=True, slots=True)
class MarkedText:
    """SQL and the ranges `[start, end)` of it that come from the definition, in order, without overlaps."""

    text: str
    ranges: tuple[Range, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the text of each range."""
        return tuple(self.text[start:end] for start, end in self.ranges)


def marked_text(model: Model, project: Project, span: Span, dialect: str) -> MarkedText:
    """Return a model's SQL, exactly as `to_text` writes it, with the ranges the user wrote."""
    tree = lower(model, project, span, dialect, marked=True)
    text = to_text(tree, dialect, reads=project.dialect)
    if _FLIP in text:
        return MarkedText(text, ())
    written = written_tree(tree, dialect, reads=project.dialect)
    return MarkedText(text, _ranges(text, _flipped(written, dialect)))


def _flipped(tree: exp.Expr, dialect: str) -> str:
    """Write a tree with a flip wherever nodes of the definition begin or end."""
    generator = Dialect.get_or_raise(dialect).generator(pretty=True, normalize_functions=False)
    # Generators are compiled and cannot be derived from; their table of writers by class of node is theirs to change.
    plain: Mapping[type[exp.Expr], _Writer] = generator._dispatch  # noqa: SLF001
    inside = False

    def flipping(write: _Writer) -> _Writer:
        def written(self: Generator, node: exp.Expr) -> str:
            nonlocal inside
            if is_of_definition(node) is inside:
                return write(self, node)
            inside = not inside
            try:
                text = write(self, node)
            finally:
                inside = not inside
            return f"{_FLIP}{text}{_FLIP}" if text else text

        return written

    writers = {kind: plain.get(kind) or _fallback(kind) for kind in {type(node) for node in tree.walk()}}
    flips = {kind: flipping(write) for kind, write in writers.items() if write is not None}
    generator._dispatch = {**plain, **flips}  # noqa: SLF001
    return str(generator.generate(tree))


def _fallback(kind: type[exp.Expr]) -> _Writer | None:
    return _function if issubclass(kind, exp.Func) else None


def _function(generator: Generator, node: exp.Expr) -> str:
    assert isinstance(node, exp.Func)  # noqa: S101 - chosen by class
    return str(generator.function_fallback_sql(node))


def _ranges(text: str, flipped: str) -> tuple[Range, ...]:
    """Return the flipped ranges of a text, found by walking both: they may differ in white space, and in nothing else.

    The flips count as characters where lines are broken, so that a long line may be laid out differently.
    """
    found: list[Range] = []
    place, start, inside = 0, 0, False
    for character in flipped:
        if character == _FLIP:
            if inside and place > start:
                found.append((start, place))
            inside, start = not inside, place
            continue
        if character.isspace():
            continue
        while place < len(text) and text[place].isspace():
            place += 1
        if place == len(text) or text[place] != character:
            return ()
        if inside and start < place and text[start].isspace():
            start = min(place, start + len(text[start:place]) - len(text[start:place].lstrip()))
        place += 1
    return _joined(text, found)


def _joined(text: str, ranges: list[Range]) -> tuple[Range, ...]:
    """Return ranges with those that only white space separates made one."""
    joined: list[Range] = []
    for start, end in ranges:
        if joined and not text[joined[-1][1] : start].strip():
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return tuple(joined)
