"""Measuring what was gathered, so that nothing is packed, subtracted or dropped that was not proved to allow it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tallystick.compiler.one_pass.gather import DAY, KEY, Stream
from tallystick.compiler.one_pass.layout import (
    KEY_BITS,
    MAX_EXACT_DOUBLE,
    MAX_INTEGER,
    MAX_SCALED,
    Facts,
    Layout,
    components,
)
from tallystick.compiler.one_pass.names import quoted, work
from tallystick.sql.expression import Merge

_INTEGERS = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"})
_FLOATS = frozenset({"DOUBLE", "FLOAT"})


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known about a gathered stream.

    Rows, days (None if it is empty), facts by cell, the range of its keys, and the types of its columns.
    """

    rows: int
    first: int | None
    last: int | None
    facts: Mapping[str, Facts]
    keys: tuple[int, int] | None = None
    types: Mapping[str, str] = field(default_factory=dict)


def measuring(stream: Stream, types: Mapping[str, str]) -> str:
    """Return the query that measures a gathered stream."""
    columns = ["count(*) AS rows", f"min({DAY}) AS first", f"max({DAY}) AS last"]
    if stream.measure is not None:
        columns.append(f"count(*) FILTER (WHERE {quoted(KEY)} IS NULL) > 0 AS missing")
        if types[KEY] in _INTEGERS:
            columns.append(f"min({quoted(KEY)}) AS low, max({quoted(KEY)}) AS high")
    for part in _sums(stream):
        columns.append(f"count(*) > count({part}) AS {part}_null")
        columns.append(f"coalesce(sum(abs({part}::DOUBLE)), 0) AS {part}_size")
        columns.append(f"coalesce(bool_and({part} > 0), true) AS {part}_positive")
        whole = f"coalesce(bool_and({part} = trunc({part})), true)" if types[part] in _FLOATS else "true"
        columns.append(f"{whole} AS {part}_whole")
    return f"SELECT {', '.join(columns)} FROM {work(stream.table)}"


def measured(stream: Stream, row: Mapping[str, Any], types: Mapping[str, str]) -> Measured:
    """Read the result of `measuring`."""
    if stream.measure is not None:
        keys = (row["low"], row["high"]) if row.get("low") is not None else None
        counted = {stream.measure.name: Facts(has_null=bool(row["missing"]))}
        return Measured(row["rows"], row["first"], row["last"], counted, keys, types)
    facts = {
        part: Facts(
            bool(row[f"{part}_null"]),
            float(row[f"{part}_size"]),
            bool(row[f"{part}_whole"]),
            bool(row[f"{part}_positive"]),
        )
        for part in _sums(stream)
    }
    return Measured(row["rows"], row["first"], row["last"], facts, types=types)


def is_raw(keys: tuple[int, int] | None) -> bool:
    """Tell whether keys of a range are such numbers as keys are given, so that they need none."""
    return keys is not None and keys[0] >= 0 and keys[1] < 2**KEY_BITS


def fits(
    layout: Layout, stream: Stream, found: Measured, magnitudes: Mapping[str, float], raw_keys: Sequence[str]
) -> bool:
    """Tell whether newly gathered rows keep everything a layout was built on."""
    if stream.measure is not None:
        name = stream.measure.name
        if found.facts[name].has_null and layout.exists == name:
            return False
        return name not in raw_keys or found.first is None or found.keys is None or is_raw(found.keys)
    return all(_sum_fits(layout, name, facts, magnitudes.get(name, 0.0)) for name, facts in found.facts.items())


def _sum_fits(layout: Layout, name: str, facts: Facts, before: float) -> bool:
    cell = next(cell for cell in layout.additive if cell.name == name)
    if layout.exists == name and not facts.is_positive:
        return False
    if facts.has_null and name not in layout.nullable and cell.exact:
        return False
    if cell.shown in _FLOATS and cell.stored == "BIGINT":
        return facts.is_whole and before + facts.magnitude < MAX_EXACT_DOUBLE
    if cell.scale:
        return before + facts.magnitude < MAX_SCALED / 10.0**cell.scale
    return cell.stored != "BIGINT" or before + facts.magnitude < MAX_INTEGER


def _sums(stream: Stream) -> list[str]:
    if stream.measure is not None:
        return []
    return [part.name for part in components(stream.member) if part.merge is Merge.SUM and not part.is_count]
