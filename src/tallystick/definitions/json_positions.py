"""Where the keys of a JSON object are written, repeated ones included: a parser keeps the last without a word."""

from __future__ import annotations

from collections.abc import Iterator
from json import JSONDecoder
from typing import NamedTuple


class Key(NamedTuple):
    """A key of an object: its line, and where its value begins in the text."""

    name: str
    line: int
    value: int


def keys_of(text: str, start: int = 0) -> Iterator[Key]:
    """Yield the keys of the object that begins at `start` in valid JSON text; none where there is no object."""
    decode = JSONDecoder().raw_decode
    at = _skip(text, start)
    if text[at : at + 1] != "{":
        return
    line, counted = text.count("\n", 0, at) + 1, at
    at = _skip(text, at + 1)
    while text[at : at + 1] == '"':
        line, counted = line + text.count("\n", counted, at), at
        name, end = decode(text, at)
        value = _skip(text, _skip(text, end) + 1)
        yield Key(name, line, value)
        _, at = decode(text, value)
        at = _skip(text, at)
        if text[at : at + 1] != ",":
            return
        at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    """Return where white space ends."""
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at
