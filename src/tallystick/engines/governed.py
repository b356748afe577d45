"""A warehouse limited to named schemas and tables: what else a query reads is refused before it is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from tallystick.engines.adapter import Engine
from tallystick.engines.capabilities import Capabilities
from tallystick.engines.limits import UNLIMITED, Limits
from tallystick.errors import AccessRefusedError

if TYPE_CHECKING:
    import pyarrow as pa


class GovernedEngine:
    """An engine that reads only what `allow` names (`schema`, `schema.table` or a bare table) and its own schema."""

    def __init__(self, engine: Engine, allow: Sequence[str], name: str) -> None:
        self._engine = engine
        self._allow = frozenset(_path(entry) for entry in (*allow, engine.schema))
        self._name = name
        self.dialect = engine.dialect
        self.schema = engine.schema

    @property
    def capabilities(self) -> Capabilities:
        """Return what the engine can promise beyond running SQL."""
        return self._engine.capabilities

    def columns(self, relation_sql: str) -> Mapping[str, str]:
        """Return the columns of a FROM item and their types; raise AccessRefusedError."""
        self._check(f"SELECT * FROM {relation_sql}")
        return self._engine.columns(relation_sql)

    def run(self, sql: str, limits: Limits = UNLIMITED) -> pa.Table:
        """Run one read-only query and return its rows; raise AccessRefusedError."""
        self._check(sql)
        return self._engine.run(sql, limits)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Run one read-only query with a small answer; raise AccessRefusedError."""
        self._check(sql)
        return self._engine.rows(sql)

    def execute(self, sql: str) -> None:
        """Run one statement that writes into Tallystick's own schema; raise AccessRefusedError."""
        self._check(sql)
        self._engine.execute(sql)

    def transaction(self) -> AbstractContextManager[None]:
        """Open a transaction."""
        return self._engine.transaction()

    def write(self, table: str, rows: pa.Table) -> None:
        """Create or replace a table of Tallystick's schema from Arrow rows."""
        self._engine.write(table, rows)

    def create(self, table: str, columns: Mapping[str, str]) -> None:
        """Create an empty table of Tallystick's schema unless it is there."""
        self._engine.create(table, columns)

    def create_as(self, table: str, query: str) -> None:
        """Create or replace a table of Tallystick's schema from a query; raise AccessRefusedError."""
        self._check(query)
        self._engine.create_as(table, query)

    def rename(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Give relations of Tallystick's schema new names, in order and all at once."""
        self._engine.rename(pairs)

    def kind(self, name: str) -> str | None:
        """Return TABLE or VIEW for a relation of Tallystick's schema, None where there is none."""
        return self._engine.kind(name)

    def drop(self, name: str) -> None:
        """Drop a table or view of Tallystick's schema if it is there."""
        self._engine.drop(name)

    def tables(self) -> frozenset[str]:
        """Return the names of tables and views in Tallystick's schema."""
        return self._engine.tables()

    def qualified(self, name: str) -> str:
        """Return the quoted name of a table in Tallystick's schema."""
        return self._engine.qualified(name)

    def close(self) -> None:
        """Close the connection."""
        self._engine.close()

    def _check(self, sql: str) -> None:
        try:
            trees = sqlglot.parse(sql, read=self.dialect)
        except SqlglotError as error:
            raise AccessRefusedError(
                f"warehouse '{self._name}' is limited and this SQL cannot be read: {str(error).splitlines()[0]}"
            ) from error
        for tree in trees:
            for table in tables_read(tree) if tree is not None else ():
                self._check_table(table)

    def _check_table(self, table: exp.Table) -> None:
        path = tuple(part.name.lower() for part in table.parts)
        if isinstance(table.this, exp.Func):
            raise AccessRefusedError(
                f"warehouse '{self._name}' is limited to named tables and does not read {table.this.sql(self.dialect)}"
            )
        tails = {path[start:] for start in range(len(path))}
        if not any(tail in self._allow or tail[:-1] in self._allow for tail in tails if tail):
            shown = ", ".join(sorted(".".join(entry) for entry in self._allow))
            raise AccessRefusedError(
                f"warehouse '{self._name}' does not let '{'.'.join(path)}' be read",
                hint=f"it is limited to {shown}; add to its allow = […]",
            )


def tables_read(tree: exp.Expr) -> list[exp.Table]:
    """Return the tables a statement speaks of, without names that its own WITH clauses define."""
    named = {cte.alias_or_name.lower() for cte in tree.find_all(exp.CTE)}
    found = tree.find_all(exp.Table)
    return [table for table in found if table.db or table.name.lower() not in named]


def _path(entry: str) -> tuple[str, ...]:
    return tuple(part.strip().strip('"`').lower() for part in entry.split("."))
