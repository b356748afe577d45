"""What columns hold: the types of all engines in five kinds (spec tripl §6)."""

from __future__ import annotations

import re

from tallystick.definitions.condition import Kind

_WRAPPER = re.compile(r"(?:nullable|lowcardinality)\s*\((.*)\)", re.IGNORECASE | re.DOTALL)
_WORD = re.compile(r"[a-z_]+")
_NUMBERS = re.compile(
    r"u?int(?:eger)?|u?(?:tiny|small|medium|big|huge|byte)int|float|double|real|decimal|bigdecimal|numeric|bignumeric"
    r"|number|money|long|short|byte|serial|bigserial"
)
_BOOLS = frozenset({"bool", "boolean"})


def bucketed(native: str) -> Kind:
    """Return the kind of a type as its warehouse spells it; whatever is nothing else is a string."""
    text = native.strip()
    while wrapped := _WRAPPER.fullmatch(text):
        text = wrapped[1].strip()
    if text.endswith("]"):
        return Kind.STRING  # a list
    found = _WORD.match(text.lower())
    word = found[0] if found else ""
    if word in _BOOLS:
        return Kind.BOOL
    if word == "date":
        return Kind.DATE
    if word.startswith(("timestamp", "datetime", "date", "time")):
        return Kind.TIMESTAMP
    return Kind.NUMBER if _NUMBERS.fullmatch(word) else Kind.STRING
