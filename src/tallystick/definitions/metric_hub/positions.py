"""Find the line and column of every key of a TOML text; `tomllib` reads values but forgets where they stood.

The text is known to be valid TOML when it gets here, so this walks tokens and never judges them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Position(NamedTuple):
    """A line and a column, both counted from 1."""

    line: int
    column: int


_TOKEN = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|[\[\]{}=,.\n]"
    r"|[^\s\[\]{}=,.\"'\#]+",
    re.DOTALL,
)
_ENDS_KEY = frozenset("=]\n[{},")
_ENDS_VALUE = frozenset(("\n", ",", "]", "}", ""))


@dataclass(slots=True)
class _Walk:
    """The state of one pass over a text."""

    text: str
    tokens: list[tuple[str, int]]
    starts: list[int]
    found: dict[tuple[str, ...], Position] = field(default_factory=dict)
    counts: dict[tuple[str, ...], int] = field(default_factory=dict)
    at: int = 0
    line: int = 0

    def position(self, offset: int) -> Position:
        """Return the position of an offset; offsets are asked for in rising order."""
        while self.line + 1 < len(self.starts) and self.starts[self.line + 1] <= offset:
            self.line += 1
        return Position(self.line + 1, offset - self.starts[self.line] + 1)

    def peek(self) -> str:
        """Return the next token, or nothing at the end."""
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def record(self, path: tuple[str, ...], offset: int) -> None:
        """Keep the first place of a path and of the tables it implies."""
        position = self.position(offset)
        for depth in range(len(path), 0, -1):
            if path[:depth] in self.found:
                break
            self.found[path[:depth]] = position


def locate(text: str) -> Mapping[tuple[str, ...], Position]:
    """Return the position of every key, table and array element; array elements are named by their index."""
    walk = _Walk(text, list(_tokens(text)), [0, *(m.end() for m in re.finditer("\n", text))])
    table: tuple[str, ...] = ()
    while walk.at < len(walk.tokens):
        token, _ = walk.tokens[walk.at]
        if token == "\n":
            walk.at += 1
        elif token == "[":
            table = _header(walk)
        else:
            _pair(walk, table)
    return walk.found


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    for match in _TOKEN.finditer(text):
        if not match[0].startswith("#"):
            yield match[0], match.start()


def _header(walk: _Walk) -> tuple[str, ...]:
    walk.at += 1
    is_array = walk.peek() == "["
    walk.at += is_array
    keys, offset = _key(walk)
    while walk.peek() not in ("\n", ""):
        walk.at += 1
    keys = _inside_arrays(walk, keys)
    walk.record(keys, offset)
    if is_array:
        number = walk.counts.get(keys, 0)
        walk.counts[keys] = number + 1
        keys = (*keys, str(number))
        walk.record(keys, offset)
    return keys


def _inside_arrays(walk: _Walk, keys: tuple[str, ...]) -> tuple[str, ...]:
    """Name the current element of every array of tables that a header passes through."""
    path: tuple[str, ...] = ()
    for key in keys[:-1]:
        path = (*path, key)
        if path in walk.counts:
            path = (*path, str(walk.counts[path] - 1))
    return (*path, keys[-1])


def _pair(walk: _Walk, table: tuple[str, ...]) -> None:
    keys, offset = _key(walk)
    if not keys or walk.peek() != "=":
        walk.at += 1
        return
    walk.at += 1
    path = table + keys
    walk.record(path, offset)
    _value(walk, path)


def _key(walk: _Walk) -> tuple[tuple[str, ...], int]:
    keys: list[str] = []
    offset = walk.tokens[walk.at][1] if walk.at < len(walk.tokens) else len(walk.text)
    while walk.at < len(walk.tokens):
        token = walk.tokens[walk.at][0]
        if token in _ENDS_KEY:
            break
        walk.at += 1
        if token != ".":
            keys.append(_plain(token))
    return tuple(keys), offset


def _value(walk: _Walk, path: tuple[str, ...]) -> None:
    token = walk.peek()
    if token == "[":
        _array(walk, path)
    elif token == "{":
        _inline_table(walk, path)
    else:
        while walk.peek() not in _ENDS_VALUE:
            walk.at += 1


def _array(walk: _Walk, path: tuple[str, ...]) -> None:
    walk.at += 1
    number = 0
    while walk.at < len(walk.tokens):
        token, offset = walk.tokens[walk.at]
        if token == "]":
            walk.at += 1
            return
        if token in (",", "\n"):
            walk.at += 1
            continue
        element = (*path, str(number))
        walk.record(element, offset)
        _value(walk, element)
        number += 1


def _inline_table(walk: _Walk, path: tuple[str, ...]) -> None:
    walk.at += 1
    while walk.at < len(walk.tokens):
        token = walk.peek()
        if token == "}":
            walk.at += 1
            return
        if token in (",", "\n"):
            walk.at += 1
            continue
        _pair(walk, path)


def _plain(token: str) -> str:
    if token[0] == "'":
        return token[1:-1]
    if token[0] == '"':
        return token[1:-1] if "\\" not in token else str(tomllib.loads(f"k = {token}")["k"])
    return token
