"""What a query would cost, asked of the engine's planner before it is run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tallystick.errors import QueryTooCostlyError

if TYPE_CHECKING:
    from tallystick.engines.adapter import Engine

UNITS: Mapping[str, str] = {
    "duckdb": "rows",
    "postgres": "units of its planner",
    "clickhouse": "rows",
    "snowflake": "bytes",
    "trino": "bytes",
}
"""What a cost counts, by engine; those that are not here tell none before a query has run."""


def check_cost(engine: Engine, sql: str, most: float, name: str) -> None:
    """Raise QueryTooCostlyError where the planner of warehouse `name` expects more of a query than it may cost."""
    cost = expected_cost(engine, sql)
    if cost > most:
        unit = UNITS[engine.dialect]
        raise QueryTooCostlyError(
            f"the query would cost about {cost:,.0f} {unit}, and warehouse '{name}' allows {most:,.0f}",
            hint="narrow its dates or filters, or raise max_cost of the warehouse",
        )


def expected_cost(engine: Engine, sql: str) -> float:
    """Return what the engine's planner expects of a query, in the unit that `UNITS` names; raise EngineError."""
    prefix, read = _WAYS[engine.dialect]
    return read(engine.rows(f"{prefix} {sql}"))


def _duckdb(rows: list[dict[str, Any]]) -> float:
    """Return the rows that pass through all operators: a join that explodes counts, not only what is read."""
    return sum(_put_out(node)[1] for row in rows for node in json.loads(row["explain_value"]))


def _put_out(node: dict[str, Any]) -> tuple[float, float]:
    """Return the rows that an operator puts out, and those of it and all below it."""
    below = [_put_out(child) for child in node["children"]]
    own = float(node.get("extra_info", {}).get("Estimated Cardinality", 0))
    if node["name"] == "CROSS_PRODUCT":
        # The plan does not tell its rows.
        own = math.prod(rows for rows, _ in below)
    return own, own + sum(total for _, total in below)


def _postgres(rows: list[dict[str, Any]]) -> float:
    plans = next(iter(rows[0].values()))
    return float((json.loads(plans) if isinstance(plans, str) else plans)[0]["Plan"]["Total Cost"])


def _clickhouse(rows: list[dict[str, Any]]) -> float:
    return float(sum(row["rows"] for row in rows))


def _snowflake(rows: list[dict[str, Any]]) -> float:
    return float(json.loads(next(iter(rows[0].values())))["GlobalStats"]["bytesAssigned"])


def _trino(rows: list[dict[str, Any]]) -> float:
    tables = json.loads(next(iter(rows[0].values())))["inputTableColumnInfos"]
    sizes = [table["estimate"]["outputSizeInBytes"] for table in tables]
    # Trino writes "NaN" for tables without statistics.
    return sum(float(size) for size in sizes if size != "NaN")


_WAYS: Mapping[str, tuple[str, Callable[[list[dict[str, Any]]], float]]] = {
    "duckdb": ("EXPLAIN (FORMAT JSON)", _duckdb),
    "postgres": ("EXPLAIN (FORMAT JSON)", _postgres),
    "clickhouse": ("EXPLAIN ESTIMATE", _clickhouse),
    "snowflake": ("EXPLAIN USING JSON", _snowflake),
    "trino": ("EXPLAIN (TYPE IO, FORMAT JSON)", _trino),
}
