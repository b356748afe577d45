"""Definitions as TOML text that reads back to the same tables."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from tallystick.errors import DefinitionError

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_text(definitions: Iterable[tuple[str, str, Mapping[str, Any]]]) -> str:
    """Return a file of definitions, given as table, name and body, one after the other."""
    return "\n".join(_definition(table, name, body) for table, name, body in definitions)


def _definition(table: str, name: str, body: Mapping[str, Any]) -> str:
    lines = [f"[{table}.{_key(name)}]"]
    lines += [f"{_key(key)} = {_value(value)}" for key, value in body.items() if value is not None]
    return "\n".join(lines) + "\n"


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(str(key))} = {_value(item)}" for key, item in value.items() if item is not None)
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    raise DefinitionError(f"{type(value).__name__} cannot be written into a definition", hint="use text or numbers")


def _text(text: str) -> str:
    """Return a basic string: JSON's escapes are TOML's, but for DEL."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise DefinitionError("a text holds half a character (a lone surrogate)", hint="write it anew")
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
