"""Sources, events, segments and dimensions: rows of a warehouse and the names given to parts of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tallystick.definitions.about import About
from tallystick.definitions.collect_settings import CollectOverrides
from tallystick.definitions.condition import Condition
from tallystick.definitions.origin import Origin

Conditions = tuple[tuple[str, ...], tuple[tuple[int, Condition], ...]]
"""Conditions that must all hold, as SQL, and those of them that are structured by their places; their SQL is empty."""


def _empty() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a source: as it is stored, or computed by `sql` from stored ones."""

    name: str
    sql: str | None = None
    type: str | None = None
    unit: str | None = None
    description: str | None = None
    is_dimension: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Rows with roles. Exactly one of `table` (a name), `sql` (a query) and `file` (rows on disk) is set.

    `structured` are the filters that were written as tables, or lists with tables in them: their SQL is written into
    `filters` when names are resolved.
    """

    name: str
    table: str | None = None
    sql: str | None = None
    file: str | None = None
    time: str | None = None
    time_is_date: bool = False
    partition: str | None = None
    settle_seconds: int = 0
    fresh_seconds: int = 0
    time_zone: str | None = None
    warehouse: str | None = None
    entities: Mapping[str, str] = field(default_factory=_empty)
    filters: Mapping[str, str] = field(default_factory=_empty)
    columns: Mapping[str, Column] = field(default_factory=lambda: MappingProxyType({}))
    structured: Mapping[str, Conditions] = field(default_factory=lambda: MappingProxyType({}))
    collect: CollectOverrides = field(default_factory=CollectOverrides)
    about: About = field(default_factory=About)
    origin: Origin = field(default_factory=Origin, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A named filter on a source; `kind` is `event`, `segment` or `filter` as it was written.

    `structured` is a condition that was written as a table, or a list: it becomes `where` when names are resolved.
    """

    name: str
    source: str
    where: str
    kind: str = "segment"
    structured: Conditions | None = None
    about: About = field(default_factory=About)
    origin: Origin = field(default_factory=Origin, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """A named expression over the rows of a source by which values can be broken down."""

    name: str
    source: str
    sql: str
    about: About = field(default_factory=About)
    origin: Origin = field(default_factory=Origin, compare=False)
