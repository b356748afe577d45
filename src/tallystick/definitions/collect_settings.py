"""How series are collected: `[collect]` in `tally.toml`, and `collect` of a source or a metric where it differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tallystick.definitions.duration import parse_duration
from tallystick.definitions.fields import Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectSettings:
    """How many buckets are read again, the first time and by one query; what an answer may take and hold.

    `sweep` is how many are read again once a week, for rows that come later than `lookback` reaches; 0 for never.
    `values_limit` is how many values of a dimension are kept, the last of them for all others (spec tripl §7.4).
    """

    lookback: int = 2
    sweep: int = 0
    first: int = 30
    chunk: int = 1000
    values_limit: int | None = None
    timeout: int = 600
    max_rows: int = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectOverrides:
    """What one source or metric says otherwise; None where it leaves a setting alone (spec tripl §12, late data)."""

    lookback: int | None = None
    sweep: int | None = None
    first: int | None = None
    chunk: int | None = None
    values_limit: int | None = None


_LEAST = {"lookback": 0, "sweep": 0, "first": 1, "chunk": 1, "values_limit": 2}
_MOST = 10_000_000


def settings_of(
    general: CollectSettings, sources: Iterable[CollectOverrides], own: CollectOverrides
) -> CollectSettings:
    """Return what holds for a metric: its own word, else its sources' most careful one, else the project's."""
    asked = tuple(sources)
    found: dict[str, int] = {}
    for key, most_careful in (("lookback", max), ("sweep", max), ("first", max), ("chunk", min), ("values_limit", min)):
        said = [value for each in asked if (value := getattr(each, key)) is not None]
        mine = getattr(own, key)
        if mine is not None or said:
            found[key] = mine if mine is not None else most_careful(said)
    return replace(general, **found) if found else general


def read_collect(fields: Fields) -> CollectSettings:
    """Read `[collect]`; what is out of range is a finding."""
    found = dict(_numbers(fields, {**_LEAST, "max_rows": 1}))
    if timeout := fields.find("timeout"):
        seconds = fields.parsed("bad-value", parse_duration, timeout[1], "timeout")
        if seconds == 0:
            fields.report("bad-value", "a query that may take no time cannot end", "timeout", hint='write "10 minutes"')
        elif seconds is not None:
            found["timeout"] = seconds
    fields.refuse_unknown(within="[collect]")
    return CollectSettings(**found)


def read_overrides(fields: Fields) -> CollectOverrides:
    """Read `collect` of a source or a metric."""
    table = fields.named("collect", hint="write collect = { lookback = 7 }")
    if table is None:
        return CollectOverrides()
    found = _numbers(table, _LEAST)
    for key in ("timeout", "max_rows"):
        if table.has(key):
            table.known.add(key)
            table.report("misplaced-key", f"'{key}' holds for whole queries", key, hint="move it to [collect]")
    table.refuse_unknown(within="collect")
    return CollectOverrides(**found)


def _numbers(fields: Fields, bounds: Mapping[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, least in bounds.items():
        value = fields.whole(key)
        if value is not None and not least <= value <= _MOST:
            hint = f"write a number from {least} to {_MOST:,}"
            fields.report("bad-value", f"a {key} of {value} is out of range", key, hint=hint)
        elif value is not None:
            found[key] = value
    return found
