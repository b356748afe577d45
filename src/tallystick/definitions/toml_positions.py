"""Lines and columns of the keys of a TOML text, found by a tolerant scan beside the real parser.

`tomllib` gives values without places. The scan never fails: what it cannot follow it skips up to the next line,
because it also runs over files that do not parse, to say where the two halves of a contradiction are.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

TomlPath = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n\ufeff]++|#[^\n]*+)*+")
_SPACE = re.compile(r"[ \t]*+")
_DOT = re.compile(r"[ \t]*+\.[ \t]*+")
_PART = re.compile(r"""[A-Za-z0-9_-]++|"(?:[^"\\\n]++|\\.)*+"|'[^'\n]*+'""")
_STRING = re.compile(
    r'''"""(?:[^"\\]++|\\[\s\S]|"(?!""))*+"""(?:"{0,2})'''
    r"""|'{3}(?:[^']++|'(?!''))*+'{3}(?:'{0,2})"""
    r'''|"(?:[^"\\\n]++|\\.)*+"'''
    r"""|'[^'\n]*+'"""
)
_SCALAR = re.compile(r"[^\s,\]}#][^,\]}#\n]*+")
_MAX_DEPTH = 64


@dataclass(slots=True)
class Scan:
    """Offsets into a TOML text: of keys and list elements, of their values, and of keys written twice."""

    text: str
    keys: dict[TomlPath, int] = field(default_factory=dict)
    values: dict[TomlPath, int] = field(default_factory=dict)
    repeats: list[tuple[TomlPath, int, int]] = field(default_factory=list)
    explicit: set[TomlPath] = field(default_factory=set)
    arrays: dict[TomlPath, int] = field(default_factory=dict)

    def note(self, path: TomlPath, offset: int) -> None:
        """Record a key that is written out; one that was only implied by a longer key gives way."""
        if path in self.explicit:
            self.repeats.append((path, self.keys[path], offset))
            return
        self.explicit.add(path)
        self.keys[path] = offset

    def imply(self, path: TomlPath, offset: int) -> None:
        """Record a key that a longer key passes through."""
        self.keys.setdefault(path, offset)


def locate(text: str) -> Mapping[TomlPath, tuple[int, int]]:
    """Return line and column (from 1) of every key and list element of a TOML text."""
    place = lines_of(text)
    return {path: place(offset) for path, offset in scan(text).keys.items()}


class lines_of:  # noqa: N801 - reads as the function it is
    """Turn offsets of a text into lines and columns, both from 1."""

    __slots__ = ("starts",)

    def __init__(self, text: str) -> None:
        self.starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def __call__(self, offset: int) -> tuple[int, int]:
        """Return the line and column of an offset."""
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1


def scan(text: str) -> Scan:
    """Find every key of a TOML text, skipping lines that cannot be followed."""
    found = Scan(text)
    base: TomlPath = ()
    at, size = _end(_BLANK, text, 0), len(text)
    while at < size:
        if text[at] == "[":
            base = _header(found, at, base)
            stop = -1
        else:
            stop = _pair(found, base, at, 0)
        at = _next_line(text, at if stop < 0 else stop)
    return found


def _header(found: Scan, at: int, base: TomlPath) -> TomlPath:
    is_array = found.text.startswith("[[", at)
    parts, _ = _key(found.text, _end(_SPACE, found.text, at + 1 + is_array))
    if not parts:
        return base
    path: TomlPath = ()
    for part, offset in parts[:-1]:
        path = (*path, part)
        found.imply(path, offset)
        if path in found.arrays:
            path = (*path, found.arrays[path])
    name, offset = parts[-1]
    path = (*path, name)
    if not is_array:
        found.note(path, offset)
        return path
    found.imply(path, offset)
    found.arrays[path] = found.arrays.get(path, -1) + 1
    path = (*path, found.arrays[path])
    found.note(path, offset)
    return path


def _pair(found: Scan, base: TomlPath, at: int, depth: int) -> int:
    parts, at = _key(found.text, at)
    at = _end(_SPACE, found.text, at)
    if not parts or not found.text.startswith("=", at):
        return -1
    path = base
    for part, offset in parts[:-1]:
        path = (*path, part)
        found.imply(path, offset)
    name, offset = parts[-1]
    path = (*path, name)
    found.note(path, offset)
    return _value(found, path, _end(_SPACE, found.text, at + 1), depth)


def _value(found: Scan, path: TomlPath, at: int, depth: int) -> int:
    text = found.text
    found.values.setdefault(path, at)
    first = text[at : at + 1]
    if first in ("[", "{"):
        if depth >= _MAX_DEPTH:
            return -1
        return _items(found, path, at + 1, depth + 1, "]" if first == "[" else "}")
    match = (_STRING if first in ('"', "'") else _SCALAR).match(text, at)
    return match.end() if match else -1


def _items(found: Scan, path: TomlPath, at: int, depth: int, close: str) -> int:
    text, index = found.text, 0
    while (at := _end(_BLANK, text, at)) < len(text):
        if text[at] == close:
            return at + 1
        if close == "]":
            found.note((*path, index), at)
            at = _value(found, (*path, index), at, depth)
        else:
            at = _pair(found, path, at, depth)
        if at < 0:
            return -1
        at = _end(_BLANK, text, at)
        if text.startswith(",", at):
            at += 1
        elif not text.startswith(close, at):
            return -1
        index += 1
    return -1


def _key(text: str, at: int) -> tuple[list[tuple[str, int]], int]:
    parts: list[tuple[str, int]] = []
    while match := _PART.match(text, at):
        parts.append((_plain(match[0]), at))
        at = match.end()
        dot = _DOT.match(text, at)
        if not dot:
            break
        at = dot.end()
    return parts, at


def _plain(part: str) -> str:
    if part[0] == "'":
        return part[1:-1]
    if part[0] != '"':
        return part
    if "\\" not in part:
        return part[1:-1]
    try:
        return str(tomllib.loads(f"key = {part}")["key"])
    except tomllib.TOMLDecodeError:
        return part[1:-1]


def _next_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else _end(_BLANK, text, end)


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
