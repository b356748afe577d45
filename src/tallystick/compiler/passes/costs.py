"""What reading costs on an engine, in CPU seconds per ten million rows on the machine of docs/benchmarks.md.

Only the proportions matter, and they differ: a column store reads what a filter lets through very quickly, so that many
small queries beat one large one for long; where every query reads all rows as rows, the second one already pays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Costs of one query for one series, of one with many conditional aggregates, of atoms, and of masks.

    `*_distinct` are added per distinct count; `clause` per conditional aggregate, `partial` per column of atoms.
    """

    single: float
    single_distinct: float
    scan: float
    clause: float
    clause_distinct: float
    atoms: float
    partial: float
    masks: float


_DUCKDB = Costs(
    single=0.17, single_distinct=0.25, scan=0.25, clause=0.1, clause_distinct=0.6, atoms=0.75, partial=0.06, masks=2.9
)
_POSTGRES = Costs(
    single=1.5, single_distinct=4.0, scan=2.5, clause=0.3, clause_distinct=5.0, atoms=4.0, partial=0.4, masks=14.0
)
_CLICKHOUSE = Costs(
    single=0.15, single_distinct=0.4, scan=0.25, clause=0.06, clause_distinct=0.5, atoms=0.8, partial=0.08, masks=3.0
)
_COSTS: Mapping[str, Costs] = MappingProxyType({"duckdb": _DUCKDB, "postgres": _POSTGRES, "clickhouse": _CLICKHOUSE})


def costs_of(dialect: str) -> Costs:
    """Return the costs of an engine; one that was not measured is taken for a column store."""
    return _COSTS.get(dialect, _CLICKHOUSE)
