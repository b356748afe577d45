"""A warehouse with rules: what else a query reads, and one that costs too much, is refused before it is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from tallystick.compiler.one_pass.names import WORK
from tallystick.engines.adapter import Engine, Rows, Whole, embedded
from tallystick.engines.capabilities import Capabilities
from tallystick.engines.costs import check_cost
from tallystick.engines.limits import UNLIMITED, Limits
from tallystick.errors import AccessRefusedError

if TYPE_CHECKING:
    import pyarrow as pa


class GovernedEngine:
    """An engine that reads only what `allow` names (`schema`, `schema.table` or a bare table) and its own schema.

    Without `allow` it reads everything. `max_cost` bounds what the planner may expect of one query that is read,
    but for those a build asks of its own tables.
    """

    def __init__(self, engine: Engine, allow: Sequence[str], name: str, *, max_cost: float | None = None) -> None:
        self._engine = engine
        self._is_limited = bool(allow)
        self._max_cost = max_cost
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
        """Run one read-only query and return its rows; raise AccessRefusedError or QueryTooCostlyError."""
        self._check(sql)
        if self._max_cost is not None and not self._is_of_build(sql):
            check_cost(self._engine, sql, self._max_cost, self._name)
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

    def insert(self, table: str, rows: Rows) -> None:
        """Add rows to a table of Tallystick's schema, where the engine is an embedded one."""
        embedded(self._engine).insert(table, rows)

    def arrays(self, sql: str) -> dict[str, Whole]:
        """Run one read-only query of whole numbers, where the engine is an embedded one; raise AccessRefusedError."""
        self._check(sql)
        return embedded(self._engine).arrays(sql)

    def lend(self, name: str, rows: Rows) -> AbstractContextManager[None]:
        """Let statements inside read rows under a name, where the engine is an embedded one."""
        return embedded(self._engine).lend(name, rows)

    def batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """Run one read-only query and yield its rows, where the engine is an embedded one; raise AccessRefusedError."""
        self._check(sql)
        return embedded(self._engine).batches(sql)

    def estimated_rows(self, table: str) -> int | None:
        """Return about how many rows a table has, where the engine is an embedded one."""
        return embedded(self._engine).estimated_rows(table)

    def checkpoint(self, *, leaves_gaps: bool = False) -> None:
        """Put what was committed in its place in the file, where the engine is an embedded one."""
        embedded(self._engine).checkpoint(leaves_gaps=leaves_gaps)

    def use_threads(self, count: int | None) -> None:
        """Work on so many threads from now on, where the engine is an embedded one."""
        embedded(self._engine).use_threads(count)

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

    def _is_of_build(self, sql: str) -> bool:
        """Tell whether a query reads nothing but tables that builds keep for themselves, which begin with `_`."""
        try:
            tables = tables_read(sqlglot.parse_one(sql, read=self.dialect), self.dialect)
        except SqlglotError:
            return False
        paths = [tuple(part.name.lower() for part in table.parts) for table in tables]
        own = (_is_work(path) or (path[:-1] == _path(self.schema) and path[-1].startswith("_")) for path in paths)
        return bool(paths) and all(own)

    def _check(self, sql: str) -> None:
        if not self._is_limited:
            return
        try:
            trees = sqlglot.parse(sql, read=self.dialect)
        except SqlglotError as error:
            raise AccessRefusedError(
                f"warehouse '{self._name}' is limited and this SQL cannot be read: {str(error).splitlines()[0]}"
            ) from error
        for tree in filter(None, trees):
            if isinstance(tree, exp.Command):
                raise AccessRefusedError(
                    f"warehouse '{self._name}' is limited and {tree.name.upper()} does not say what it reads"
                )
            if isinstance(tree, _WRITES):
                self._check_target(tree)
            beside = self._beside(tree)
            for table in tables_read(tree, self.dialect):
                if table.db or table.name not in beside:
                    self._check_table(table)

    def _beside(self, tree: exp.Expr) -> frozenset[str]:
        """Return the bare names that a statement finds in Tallystick's own schema, which is what a view may look in."""
        is_view = isinstance(tree, exp.Create) and tree.kind == "VIEW"
        return self._engine.tables() if is_view and self.capabilities.looks_beside else frozenset()

    def _check_table(self, table: exp.Table) -> None:
        if not table.parts or isinstance(table.this, exp.Func):
            self._check_function(table)
            return
        path = tuple(part.name.lower() for part in table.parts)
        if _is_work(path) or path in self._allow or path[:-1] in self._allow:
            return
        shown = ", ".join(sorted(".".join(entry) for entry in self._allow))
        raise AccessRefusedError(
            f"warehouse '{self._name}' does not let '{'.'.join(path)}' be read",
            hint=f"it is limited to {shown}; add to its allow = […]",
        )

    def _check_function(self, table: exp.Table) -> None:
        function = table.this
        name = function.name if isinstance(function, exp.Anonymous) else getattr(function, "sql_name", str)()
        if name.lower() not in _READS_NOTHING:
            raise AccessRefusedError(
                f"warehouse '{self._name}' is limited to named tables and does not read {table.sql(self.dialect)}"
            )

    def _check_target(self, tree: exp.Expr) -> None:
        """Refuse to write anywhere but into Tallystick's own schema, also where reading is allowed."""
        for target in _targets(tree):
            path = tuple(part.name.lower() for part in target.parts)
            if not _is_work(path) and _path(self.schema) not in (path, path[:-1]):
                raise AccessRefusedError(
                    f"warehouse '{self._name}' does not let '{'.'.join(path)}' be written",
                    hint=f"Tallystick writes into the schema {self.schema} only",
                )


_WRITES = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Alter, exp.TruncateTable)
_READS_NOTHING = frozenset(
    {"range", "generate_series", "exploding_generate_series", "unnest", "numbers", "duckdb_tables"}
)
"""Functions in FROM that make rows up; `duckdb_tables` knows names only, and tells which working tables are left."""


def tables_read(tree: exp.Expr, dialect: str) -> list[exp.Table]:
    """Return the tables a statement speaks of, without names that its own WITH clauses define where they are used."""
    found = [table for table in tree.find_all(exp.Table) if table.db or not _is_named_above(table)]
    # ClickHouse reads a table that stands behind IN, which the parser takes for a column.
    if dialect == "clickhouse":
        behind = (test.args.get("field") for test in tree.find_all(exp.In))
        columns = [field for field in behind if isinstance(field, exp.Column)]
        found += [
            exp.Table(this=column.this.copy(), db=column.args.get("table"))
            for column in columns
            if column.table or not _is_named_above(column)
        ]
    return found


def _is_named_above(bare: exp.Expr) -> bool:
    """Return whether a WITH clause in whose reach a bare name stands defines it; a CTE sees only those before it."""
    node = bare
    within: exp.Expr | None = None
    while node.parent is not None:
        node, child = node.parent, node
        if isinstance(node, exp.With):
            within = child
            continue
        clause = node.args.get("with_")
        if clause is None:
            continue
        names = list(clause.expressions)
        if child is clause and not clause.args.get("recursive"):
            names = names[: next(index for index, cte in enumerate(names) if cte is within)]
        if any(cte.alias_or_name.lower() == bare.name.lower() for cte in names):
            return True
    return False


def _targets(tree: exp.Expr) -> list[exp.Table]:
    """Return the tables a writing statement changes."""
    if isinstance(tree, exp.Drop):
        return list(tree.args.get("tables") or ())
    if isinstance(tree, exp.TruncateTable):
        return list(tree.expressions)
    found = tree.this.find(exp.Table)
    return [found] if found is not None else []


def _is_work(path: tuple[str, ...]) -> bool:
    """Return whether a name is one of the temporary tables of a build."""
    return path[-1:] != () and path[-1].startswith(WORK) and path[:-1] in ((), ("temp",))


def _path(entry: str) -> tuple[str, ...]:
    return tuple(part.strip().strip('"`').lower() for part in entry.split("."))
