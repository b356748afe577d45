"""Metrics: a named number, and the views of it that are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tallystick.definitions.about import About
from tallystick.definitions.collect_settings import CollectOverrides
from tallystick.definitions.condition import Condition
from tallystick.definitions.origin import Origin
from tallystick.definitions.oso_options import OsoOptions
from tallystick.definitions.per_unit import PerUnit
from tallystick.sql.grain import Grain, Window

type_of_var = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """An SQL aggregate expression over the rows of one source that pass every condition of `where`.

    While definitions are read, `source` may be empty (the event says it), `expr` may be in our own spelling
    (`is_canonical`) and `per_distinct` may name the entity whose different things divide the value; resolving names
    writes all three out. `structured` are conditions by their places in `where`, kept beside the SQL they become.
    """

    source: str
    expr: str
    where: tuple[str, ...] = ()
    dialect: str | None = None
    is_canonical: bool = False
    per_distinct: str | None = None
    structured: tuple[tuple[int, Condition], ...] = ()
    per_unit: PerUnit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """A formula over the names of other metrics of the same bucket and entity.

    `operands` are metrics that exist for this formula only: the sides of a ratio written beside each other.
    """

    expr: str
    operands: tuple[Metric, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlQuery:
    """A whole query with macros, written for the base entity (spec oso §1, §5).

    `label` is the name `@metric_name()` puts into rows: the registry key even where the metric is renamed.
    `sources` are the bare table names that may be joined to entity mappings (OSO's `timeseries_sources`), `oso` what
    a registry says for schedulers and exports.
    """

    sql: str
    ref: str | None = None
    dialect: str | None = None
    label: str | None = None
    vars: Mapping[str, type_of_var | tuple[type_of_var, ...]] = field(default_factory=lambda: MappingProxyType({}))
    sources: tuple[str, ...] = ()
    incremental: bool = True
    cron: str | None = None
    oso: OsoOptions | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """What a metric is compiled to: every entity × (windows, then grains, then all time), plain and by dimension."""

    entities: tuple[str, ...] = ()
    grains: tuple[Grain, ...] = ()
    rolling: tuple[Window, ...] = ()
    all_time: bool = False
    by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A named number with exactly one definition."""

    name: str
    definition: Aggregate | Formula | SqlQuery
    views: Views = field(default_factory=Views)
    about: About = field(default_factory=About)
    intermediate: bool = False
    enabled: bool = True
    operand_of: str | None = None
    collect: CollectOverrides = field(default_factory=CollectOverrides)
    origin: Origin = field(default_factory=Origin, compare=False)

    @property
    def kind(self) -> str:
        """Return `aggregate`, `ratio`, `derived` or `sql`; it follows from the definition and is never written."""
        if isinstance(self.definition, Formula) and self.definition.operands:
            return "ratio"
        return {Aggregate: "aggregate", Formula: "derived", SqlQuery: "sql"}[type(self.definition)]


def model_name(metric: str, by: tuple[str, ...], entity: str, suffix: str) -> str:
    """Return the name of a metric's model, `{metric}[_by_{dimension}…]_to_{entity}_{suffix}` (spec oso §2)."""
    dimensions = "".join(f"_by_{dimension}" for dimension in by)
    return f"{metric}{dimensions}_to_{entity}_{suffix}"
