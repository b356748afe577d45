"""Profiles of columns: types, and values, NULLs and different values among the first rows of a relation."""

from __future__ import annotations

from sqlglot import exp

from tallystick.engines.adapter import Engine
from tallystick.service.guess import Profile

SAMPLED_ROWS = 200_000
"""Guessing looks at no more rows than this, so that a large table is read as quickly as a small one."""


def profile(engine: Engine, relation: str) -> tuple[Profile, ...]:
    """Read the columns of a FROM item; raise EngineError."""
    types = engine.columns(relation)
    names = [exp.to_identifier(name, quoted=True).sql(engine.dialect) for name in types]
    counts = "count(*) AS total" + "".join(
        f", count({name}) AS values_{index}, count(DISTINCT {name}) AS distinct_{index}"
        for index, name in enumerate(names)
    )
    row = engine.rows(f"SELECT {counts} FROM (SELECT * FROM {relation} LIMIT {SAMPLED_ROWS}) AS sampled")[0]
    return tuple(
        Profile(name, type_, row[f"values_{index}"], row["total"] - row[f"values_{index}"], row[f"distinct_{index}"])
        for index, (name, type_) in enumerate(types.items())
    )


def table_relation(table: str, dialect: str) -> str:
    """Return a table's dotted name as a FROM item."""
    return ".".join(str(exp.to_identifier(part).sql(dialect)) for part in table.split("."))
