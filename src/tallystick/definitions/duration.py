"""Lengths of time as people write them."""

from __future__ import annotations

import re

from tallystick.errors import DefinitionError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_TEXT = re.compile(r"(\d+)\s*(s|m|h|d|w|secs?|seconds?|mins?|minutes?|hours?|days?|weeks?)")
_LONGEST = 3660 * 86_400


def parse_duration(text: object) -> int:
    """Read a length such as `2 days` or `6h` into seconds; raise DefinitionError on anything else."""
    match = _TEXT.fullmatch(text.strip().lower()) if isinstance(text, str) else None
    if not match:
        if text == 0 or (isinstance(text, str) and text.strip() == "0"):
            return 0
        raise DefinitionError(f"'{text}' is not a length of time", hint='write a number and a unit, such as "2 days"')
    seconds = int(match[1]) * _UNITS[match[2][0]]
    if seconds > _LONGEST:
        raise DefinitionError(f"'{text}' is longer than ten years", hint='write a number and a unit, such as "2 days"')
    return seconds
