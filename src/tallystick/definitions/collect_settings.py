"""`[collect]` in `tally.toml`: how much a collector reads, and what one query may cost."""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.definitions.duration import parse_duration
from tallystick.definitions.fields import Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectSettings:
    """How many buckets are read again, the first time and by one query; what an answer may take and hold."""

    lookback: int = 2
    first: int = 30
    chunk: int = 1000
    timeout: int = 600
    max_rows: int = 100_000


_LEAST = {"lookback": 0, "first": 1, "chunk": 1, "max_rows": 1}
_MOST = 10_000_000


def read_collect(fields: Fields) -> CollectSettings:
    """Read `[collect]`; what is out of range is a finding."""
    found: dict[str, int] = {}
    for key, least in _LEAST.items():
        value = fields.whole(key)
        if value is not None and not least <= value <= _MOST:
            hint = f"write a number from {least} to {_MOST:,}"
            fields.report("bad-value", f"a {key} of {value} is out of range", key, hint=hint)
        elif value is not None:
            found[key] = value
    if timeout := fields.find("timeout"):
        seconds = fields.parsed("bad-value", parse_duration, timeout[1], "timeout")
        if seconds == 0:
            fields.report("bad-value", "a query that may take no time cannot end", "timeout", hint='write "10 minutes"')
        elif seconds is not None:
            found["timeout"] = seconds
    fields.refuse_unknown(within="[collect]")
    return CollectSettings(**found)
