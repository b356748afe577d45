"""What reading costs on an engine, in CPU seconds per ten million rows on the machine of docs/benchmarks.md.

Only the proportions matter, and they differ: a column store reads what a filter lets through very quickly, so that many
small queries beat one large one for long; where every query reads all rows as rows, the second one already pays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Costs of one query for one series, of one with many conditional aggregates, of atoms, and of masks.

    `*_distinct` are added per distinct count, `whole_distinct` where no filter keeps rows out; `clause` per conditional
    aggregate, `plain` per one that has no condition of its own, `partial` per column of atoms. `crossed` is a grouping
    by small dimensions of rows with one filter, `wide` what grouping by a large one adds.
    """

    single: float
    single_distinct: float
    whole_distinct: float
    scan: float
    plain: float
    clause: float
    clause_distinct: float
    atoms: float
    crossed: float
    partial: float
    masks: float
    wide: float
    # Beyond about this many series one query with conditional aggregates is slower than several (spec performance §4).
    chunk: int = 25
    # With more filters than this, telling rows that pass none of them costs one query more than reading those rows.
    most_filters: int = 1_000

    def wider(self) -> Costs:
        """Return the costs where rows are grouped by a dimension of many values: every grouping pays for its table."""
        return replace(
            self,
            single=self.single + self.wide,
            scan=self.scan + self.wide,
            atoms=self.atoms + 2 * self.wide,
            masks=self.masks + 2 * self.wide,
        )


_DUCKDB = Costs(
    single=0.17,
    single_distinct=0.25,
    whole_distinct=1.4,
    scan=0.25,
    clause=0.1,
    clause_distinct=0.6,
    atoms=0.75,
    crossed=0.22,
    partial=0.06,
    masks=2.9,
    wide=0.8,
    plain=0.03,
)
_POSTGRES = Costs(
    single=1.3, single_distinct=0.1, whole_distinct=4.0, scan=1.0, plain=0.3, clause=0.45, clause_distinct=0.5,
    atoms=12.0, crossed=3.0, partial=2.8, masks=20.0, wide=6.0, chunk=50,
)  # fmt: skip
_CLICKHOUSE = Costs(
    single=0.3,
    single_distinct=0.2,
    whole_distinct=0.8,
    scan=0.3,
    clause=0.08,
    clause_distinct=0.24,
    atoms=2.2,
    crossed=0.6,
    partial=0.3,
    masks=4.0,
    wide=1.5,
    plain=0.04,
    most_filters=4,
)
# What few filters let through may be all that an engine has to fetch: only where it was measured is more read.
_UNMEASURED = replace(_CLICKHOUSE, most_filters=1_000)
_COSTS: Mapping[str, Costs] = MappingProxyType({"duckdb": _DUCKDB, "postgres": _POSTGRES, "clickhouse": _CLICKHOUSE})


def costs_of(dialect: str) -> Costs:
    """Return the costs of an engine; one that was not measured is taken for a column store."""
    return _COSTS.get(dialect, _UNMEASURED)
