"""What changed between two versions, field by field, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LABELS = "about"
"""The part of a definition that changes no number."""


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return `{"field", "old", "new"}` for every field that differs, in order of its dotted name; None is absent."""
    before, after = flat(old), flat(new)
    return [
        {"field": field, "old": before.get(field), "new": after.get(field)}
        for field in sorted(before.keys() | after.keys())
        if before.get(field) != after.get(field)
    ]


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested tables as one, keys joined by dots; lists are values."""
    found: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            found |= flat(item, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = item
    return found


def changes_meaning(changes: list[dict[str, Any]]) -> bool:
    """Tell whether any of the changes is about more than labels."""
    return any(change["field"].partition(".")[0] != LABELS for change in changes)
