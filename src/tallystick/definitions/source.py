"""Sources, events, segments and dimensions: rows of a warehouse and the names given to parts of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tallystick.definitions.about import About
from tallystick.definitions.collect_settings import CollectOverrides
from tallystick.definitions.origin import Origin


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
    """Rows with roles. Exactly one of `table` (a name), `sql` (a query) and `file` (rows on disk) is set."""

    name: str
    table: str | None = None
    sql: str | None = None
    file: str | None = None
    time: str | None = None
    time_is_date: bool = False
    partition: str | None = None
    settle_seconds: int = 0
    time_zone: str | None = None
    warehouse: str | None = None
    entities: Mapping[str, str] = field(default_factory=_empty)
    filters: Mapping[str, str] = field(default_factory=_empty)
    columns: Mapping[str, Column] = field(default_factory=lambda: MappingProxyType({}))
    collect: CollectOverrides = field(default_factory=CollectOverrides)
    about: About = field(default_factory=About)
    origin: Origin = field(default_factory=Origin, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A named filter on a source; `kind` is `event`, `segment` or `filter` as it was written."""

    name: str
    source: str
    where: str
    kind: str = "segment"
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
