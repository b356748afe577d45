"""One definition file in memory: its text, its tables, and the place of every key, found when first asked for."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tallystick.definitions.diagnostics import Diagnostic, diagnose
from tallystick.definitions.origin import Origin
from tallystick.definitions.toml_positions import Scan, TomlPath, lines_of, scan
from tallystick.errors import Location

MAX_BYTES = 5_000_000
"""Larger files are refused unread: definitions are written by people, and parsing time grows with size."""

_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


class Document:
    """A TOML text with its parsed tables; `line` and `column` shift places for TOML embedded in another file."""

    __slots__ = ("_places", "_scan", "column", "data", "file", "line", "text")

    def __init__(self, file: str, text: str, data: Mapping[str, Any], *, line: int = 0, column: int = 0) -> None:
        self.file = file
        self.text = text
        self.data = data
        self.line = line
        self.column = column
        self._scan: Scan | None = None
        self._places: lines_of | None = None

    def at(self, path: TomlPath) -> Location:
        """Return where a key is written, or the nearest enclosing key that is."""
        keys = self.scanned.keys
        while path and path not in keys:
            path = path[:-1]
        return self.place(keys[path]) if path else Location(self.file, 1, 1)

    def inside(self, path: TomlPath, line: int, column: int) -> Location:
        """Return the place of a line and column (from 1) within the string written at a key."""
        if path and isinstance(path[-1], int) and path not in self.scanned.values:
            path = path[:-1]  # one text where a list of them may stand
        start = self.scanned.values.get(path)
        if start is None:
            return self.at(path)
        quotes = 3 if self.text.startswith(('"""', "'''"), start) else 1
        start += quotes
        if quotes == 3 and (skipped := re.compile(r"\r?\n").match(self.text, start)):
            start = skipped.end()
        for _ in range(line - 1):
            start = self.text.find("\n", start) + 1
            if not start:
                return self.at(path)
        return self.place(start + column - 1)

    @property
    def scanned(self) -> Scan:
        """Return the offsets of the text, scanned once."""
        if self._scan is None:
            self._scan = scan(self.text)
        return self._scan

    def place(self, offset: int) -> Location:
        """Return the line and column of an offset into the text."""
        if self._places is None:
            self._places = lines_of(self.text)
        line, column = self._places(offset)
        return Location(self.file, line + self.line, column + self.column)


class FileOrigin(Origin):
    """The origin of a definition in a document; places are worked out only when a finding needs them."""

    __slots__ = ("document", "path")
    document: Document
    path: TomlPath

    def __init__(self, document: Document, path: TomlPath) -> None:
        object.__setattr__(self, "document", document)
        object.__setattr__(self, "path", path)

    @property
    def location(self) -> Location:
        """Return where the definition's own key is written."""
        return self.document.at(self.path)

    @property
    def fields(self) -> Mapping[str, Location]:
        """Return the place of every field by dotted path."""
        return MappingProxyType(dict(self._fields()))

    def _fields(self) -> Iterator[tuple[str, Location]]:
        length = len(self.path)
        for path in self.document.scanned.keys:
            if len(path) > length and path[:length] == self.path:
                yield ".".join(map(str, path[length:])), self.document.at(path)

    def of(self, path: str) -> Location:
        """Return where a field was written, or the nearest enclosing place that is known."""
        steps = [int(step) if step.isdigit() else step for step in path.split(".")] if path else []
        return self.document.at((*self.path, *steps))

    def below(self, path: str) -> Origin:
        """Return the origin of something that is mentioned in a field and written nowhere else."""
        return FileOrigin(self.document, (*self.path, *path.split(".")))

    def inside(self, path: str, line: int, column: int) -> Location:
        """Return the place of a line and column within the text of a field."""
        steps = [int(step) if step.isdigit() else step for step in path.split(".")]
        return self.document.inside((*self.path, *steps), line, column)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.location})"

    def __reduce__(self) -> tuple[type[Origin], tuple[Location, Mapping[str, Location]]]:
        return Origin, (self.location, dict(self._fields()))


def read_text(path: Path, file: str) -> str | Diagnostic:
    """Return a file's text, or the finding that says why it cannot be one: unreadable, too large, not UTF-8."""
    at = Location(file)
    try:
        if not path.is_file():
            return diagnose("unreadable-file", "not a regular file", at)
        size = path.stat().st_size
        if size > MAX_BYTES:
            hint = f"split it: files up to {MAX_BYTES // 1_000_000} MB are read"
            return diagnose("file-too-large", f"the file has {size / 1_000_000:.1f} MB", at, hint=hint)
        content = path.read_bytes()
    except OSError as error:
        return diagnose("unreadable-file", f"cannot be read: {error.strerror or error}", at)
    if b"\0" in content:
        return diagnose("not-text", "a binary file, not text", at, hint="definition files are UTF-8 text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = content.count(b"\n", 0, error.start) + 1, error.start - content.rfind(b"\n", 0, error.start)
        message = f"not UTF-8: byte 0x{content[error.start]:02x}"
        return diagnose("not-text", message, Location(file, line, column), hint="save the file as UTF-8")


def parse_toml(text: str, file: str, *, line: int = 0, column: int = 0) -> Document | Diagnostic:
    """Return the document of a TOML text, or the finding that says where it stops being TOML."""
    try:
        return Document(file, text, tomllib.loads(text), line=line, column=column)
    except RecursionError:
        return diagnose("toml-syntax", "arrays or tables are nested too deeply", Location(file))
    except ValueError as error:
        return _syntax(Document(file, text, {}, line=line, column=column), str(error))


def _syntax(document: Document, message: str) -> Diagnostic:
    place = _PLACE.search(message)
    if not place:
        return diagnose("toml-syntax", message, Location(document.file))
    message = message[: place.start()]
    if message == r"Illegal character '\n'":
        message = "a text is not closed before the end of its line"
    line = int(place[1]) if place[1] else document.text.count("\n") + (not document.text.endswith("\n"))
    column = int(place[2]) if place[2] else 1
    places = lines_of(document.text)
    for path, first, second in document.scanned.repeats:
        if places(second)[0] == line:
            name = ".".join(map(str, path))
            hint = f"'{name}' is already written on line {places(first)[0] + document.line}"
            return diagnose("toml-syntax", f"'{name}' is written twice", document.place(second), hint=hint)
    at = Location(document.file, line + document.line, column + document.column)
    return diagnose("toml-syntax", message[:1].lower() + message[1:], at)
