"""Typed reading of one TOML table: every key asked for is known, every other key is a finding."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, TypeVar

from tallystick.definitions.diagnostics import Diagnostic, Severity, diagnose, from_error, nearest
from tallystick.definitions.document import Document, FileOrigin
from tallystick.definitions.toml_positions import TomlPath
from tallystick.errors import DefinitionError

IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a table",
    datetime: "a date and time",
    date: "a date",
    time: "a time",
}

E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")


def identifier_hint(name: str) -> str:
    """Return what to write instead of a name that is not an identifier."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    letters = unicodedata.normalize("NFKD", words.casefold()).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^a-z0-9]+", "_", letters).strip("_")
    if plain[:1].isdigit():
        plain = f"_{plain}"
    rule = "lower-case letters, digits and _, not starting with a digit"
    return f"write '{plain}'" if plain else f"use {rule}"


def describe(value: object) -> str:
    """Return what kind of TOML value something is, in words."""
    return _WORDS.get(type(value), type(value).__name__)


class Fields:
    """One table of a document, read key by key; `known` collects the keys its reader asked for."""

    __slots__ = ("document", "findings", "known", "path", "table")

    def __init__(
        self, document: Document, path: TomlPath, table: Mapping[str, Any], findings: list[Diagnostic]
    ) -> None:
        self.document = document
        self.path = path
        self.table = table
        self.findings = findings
        self.known: set[str] = set()

    @property
    def origin(self) -> FileOrigin:
        """Return the origin of the definition this table is."""
        return FileOrigin(self.document, self.path)

    @property
    def name(self) -> str:
        """Return the last key of the path; the file where the table is the whole document."""
        return str(self.path[-1]) if self.path else self.document.file

    def has(self, *names: str) -> bool:
        """Tell whether any of these keys is written."""
        return any(name in self.table for name in names)

    # -- findings -----------------------------------------------------------------------------------------------------

    def report(
        self, code: str, message: str, *path: str | int, severity: Severity = Severity.ERROR, hint: str | None = None
    ) -> None:
        """Add a finding about a key below this table."""
        at = self.document.at((*self.path, *path))
        self.findings.append(diagnose(code, message, at, severity=severity, hint=hint))

    def report_missing(self, message: str, *names: str, hint: str) -> None:
        """Report that none of these keys is written, unless one is misspelled, which is reported anyway."""
        unknown = [key for key in self.table if key not in self.known]
        if not any(get_close_matches(key, names, n=1) for key in unknown):
            self.report("missing-key", message, hint=hint)

    def wrong_type(self, wanted: str, value: object, *path: str | int, hint: str | None = None) -> None:
        """Report a value of the wrong kind."""
        key = next((str(part) for part in reversed(path) if isinstance(part, str)), self.name)
        self.report("wrong-type", f"'{key}' must be {wanted}, not {describe(value)}", *path, hint=hint)

    def refuse_unknown(self, *, within: str) -> None:
        """Report every key that was never asked for."""
        for key in self.table:
            if key not in self.known:
                hint = nearest(key, self.known)
                self.report("unknown-key", f"'{key}' is not a key of {within}", key, hint=hint)

    # -- values -------------------------------------------------------------------------------------------------------

    def find(self, *names: str) -> tuple[str, Any] | None:
        """Return the key and value written under one of several synonymous names; two at once are a finding."""
        self.known.update(names)
        written = [name for name in names if name in self.table]
        if not written:
            return None
        if len(written) > 1:
            first, second = written[:2]
            hint = "keep one of them"
            self.report("conflicting-keys", f"'{first}' and '{second}' say the same thing", second, hint=hint)
        return written[0], self.table[written[0]]

    def text(self, *names: str) -> str | None:
        """Read text that is not blank."""
        if not (found := self.find(*names)):
            return None
        key, value = found
        if not isinstance(value, str):
            self.wrong_type("text", value, key)
        elif not value.strip():
            self.report("empty-value", f"'{key}' is empty", key, hint="write a value or leave the key out")
        else:
            return value
        return None

    def flag(self, *names: str) -> bool | None:
        """Read true or false."""
        if not (found := self.find(*names)):
            return None
        key, value = found
        if isinstance(value, bool):
            return value
        self.wrong_type("true or false", value, key)
        return None

    def whole(self, *names: str) -> int | None:
        """Read a whole number."""
        if not (found := self.find(*names)):
            return None
        key, value = found
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        self.wrong_type("a whole number", value, key)
        return None

    def texts(self, *names: str) -> tuple[str, ...] | None:
        """Read text or a list of texts; repeats are dropped."""
        if not (found := self.find(*names)):
            return None
        key, value = found
        if isinstance(value, str):
            return (value,) if self.text(key) else None
        if not isinstance(value, list):
            self.wrong_type("text or a list of texts", value, key)
            return None
        good: list[str] = []
        for index, item in enumerate(value):
            if isinstance(item, str) and item.strip():
                good.append(item)
            elif isinstance(item, str):
                self.report("empty-value", f"an item of '{key}' is empty", key, index)
            else:
                self.wrong_type("a list of texts", item, key, index)
        return tuple(dict.fromkeys(good))

    def choice(self, kind: type[E], *names: str) -> E | None:
        """Read one word of an enumeration."""
        if not (found := self.find(*names)) or not self.text(*names):
            return None
        key, value = found
        known = [member.value for member in kind]
        if value in known:
            return kind(value)
        self.report("bad-value", f"'{value}' is not a value of '{key}'", key, hint=f"known: {', '.join(known)}")
        return None

    def parsed(self, code: str, parse: Callable[[Any], T], value: object, *path: str | int) -> T | None:
        """Return what a parser makes of a value, or report its DefinitionError at the key."""
        try:
            return parse(value)
        except DefinitionError as error:
            self.findings.append(from_error(code, error, self.document.at((*self.path, *path))))
            return None

    def items(self, kinds: tuple[type, ...], wanted: str, *names: str) -> Iterator[tuple[TomlPath, Any]]:
        """Yield one value or the elements of a list with their paths; values of other kinds are findings."""
        if not (found := self.find(*names)):
            return
        key, value = found
        elements = enumerate(value) if isinstance(value, list) else [(None, value)]
        for index, item in elements:
            path: TomlPath = (key,) if index is None else (key, index)
            if isinstance(item, kinds) and not isinstance(item, bool):
                yield path, item
            else:
                self.wrong_type(wanted, item, *path)

    # -- tables -------------------------------------------------------------------------------------------------------

    def sub(self, key: str, *more: str | int) -> Fields:
        """Return the reader of a table below this one; the caller has checked that it is a table."""
        value: Any = self.table[key]
        for step in more:
            value = value[step]
        return Fields(self.document, (*self.path, key, *more), value, self.findings)

    def named(self, *names: str, hint: str | None = None) -> Fields | None:
        """Read a table of named things."""
        if not (found := self.find(*names)):
            return None
        key, value = found
        if isinstance(value, dict):
            return self.sub(key)
        self.wrong_type("a table", value, key, hint=hint)
        return None

    def check_name(self, what: str, *path: str | int) -> bool:
        """Report the last key of a path unless it is an identifier."""
        name = str(path[-1]) if path else self.name
        if IDENTIFIER.fullmatch(name):
            return True
        hint = identifier_hint(name)
        self.report("bad-name", f"'{name}' cannot name {what}: it is not an identifier", *path, hint=hint)
        return False
