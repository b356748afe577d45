"""Reading `per_unit` and what goes with it: cap, winsorize, threshold, participation, across."""

from __future__ import annotations

import math

from tallystick.definitions.fields import Fields
from tallystick.definitions.per_unit import Across, PerUnit

OPTIONS = ("cap", "winsorize", "threshold", "participation")
KEYS = ("per_unit", *OPTIONS, "across")


def read_per_unit(fields: Fields) -> PerUnit | None:
    """Read how values are formed per unit, or None where they are not."""
    entity = fields.text("per_unit")
    written = [key for key in OPTIONS if fields.find(key)]
    cap, threshold = _number(fields, "cap"), _number(fields, "threshold")
    winsorize = _shares(fields)
    participation = fields.flag("participation") or False
    across = fields.choice(Across, "across")
    if "per_unit" not in fields.table:
        for key in (*written, *(["across"] if fields.has("across") else [])):
            hint = 'write per_unit = "…", the entity whose things have values'
            fields.report("misplaced-key", f"'{key}' needs a unit", key, hint=hint)
        return None
    if len(written) > 1:
        message = f"'{written[0]}' and '{written[1]}' both say what becomes of a unit's value"
        fields.report("conflicting-keys", message, written[1], hint="keep one of them")
    if fields.has("per_distinct"):
        message = "'per_unit' and 'per_distinct' both divide by units"
        fields.report("conflicting-keys", message, "per_distinct", hint='for a mean per unit write across = "avg"')
    if entity is None:
        return None
    return PerUnit(
        entity=entity,
        cap=cap,
        winsorize=winsorize,
        threshold=threshold,
        participation=participation,
        across=across or Across.SUM,
    )


def _number(fields: Fields, key: str) -> float | None:
    if not (written := fields.find(key)):
        return None
    value = written[1]
    if isinstance(value, bool) or not isinstance(value, int | float):
        fields.wrong_type("a number", value, key)
        return None
    if not math.isfinite(value):
        fields.report("bad-value", f"{value} is no bound", key, hint="write a finite number")
        return None
    return float(value)


def _shares(fields: Fields) -> tuple[float, float] | None:
    if not (written := fields.find("winsorize")):
        return None
    value = written[1]
    is_pair = isinstance(value, list) and len(value) == 2
    if not is_pair or any(isinstance(one, bool) or not isinstance(one, int | float) for one in value):
        fields.wrong_type("a pair of shares", value, "winsorize", hint="write winsorize = [0.01, 0.99]")
        return None
    low, high = map(float, value)
    if not 0 <= low < high <= 1:
        hint = "write the lower share first, both from 0 to 1"
        fields.report("bad-value", f"{value} is not a pair of shares", "winsorize", hint=hint)
        return None
    return low, high
