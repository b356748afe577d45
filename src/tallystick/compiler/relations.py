"""Sources as relations: the FROM item a source stands for, and user expressions bound to its columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from tallystick.definitions.project import Project
from tallystick.definitions.source import Source
from tallystick.errors import CompileError, ExpressionError
from tallystick.sql.positions import mark_definition, without_positions


def relation(name: str, project: Project, alias: str) -> exp.Expr:
    """Return the FROM item of a source by name, or of a warehouse table where no source has that name."""
    if name in project.sources:
        return source_relation(project.sources[name], alias, project.dialect)
    return _table(name, alias)


def source_relation(source: Source, alias: str, reads: str, *, marked: bool = False) -> exp.Expr:
    """Return a source as table or subquery; rows from a file are read through a view named like the source."""
    if source.sql is not None:
        query = parse_sql(source.sql, reads)
        if not isinstance(query, exp.Query):
            raise CompileError(f"the sql of source '{source.name}' is not a query", hint="write one SELECT")
        return (mark_definition(query) if marked else query).subquery(alias, copy=False)
    return _table(source.table or source.name, alias)


def _table(name: str, alias: str) -> exp.Expr:
    parts = [exp.to_identifier(part) for part in name.split(".")]
    table = exp.Table(this=parts[-1], db=parts[-2] if len(parts) > 1 else None)
    if len(parts) > 2:
        table.set("catalog", parts[-3])
    return table if parts[-1].name == alias and len(parts) == 1 else exp.alias_(table, alias, table=True, copy=False)


@lru_cache(maxsize=8192)
def _parsed(text: str, dialect: str) -> exp.Expr:
    try:
        tree = sqlglot.parse_one(text, dialect=dialect)
    except SqlglotError as error:
        raise ExpressionError(f"'{text}' does not parse: {str(error).splitlines()[0]}") from error
    for node in tree.walk():
        node.comments = None
    return without_positions(tree)


def parse_sql(text: str, dialect: str) -> exp.Expr:
    """Parse a fragment or query once and return a copy to build with; raise ExpressionError."""
    return _parsed(text, dialect).copy()


@dataclass(frozen=True, slots=True)
class Scope:
    """The rows of one source under an alias; expressions are bound to it before they are placed in a query.

    `reads` is the dialect definitions are written in, `dialect` the one the query is for.
    """

    source: Source
    alias: str
    reads: str
    dialect: str
    dimensions: Mapping[str, str]
    marked: bool = False

    def relation(self) -> exp.Expr:
        """Return the FROM item."""
        return source_relation(self.source, self.alias, self.reads, marked=self.marked)

    def column(self, name: str) -> exp.Expr:
        """Return a stored or computed column of the source."""
        return self.bind(exp.column(name))

    def parse(self, text: str) -> exp.Expr:
        """Parse an SQL fragment and bind it."""
        return self.bind(_parsed(text, self.reads))

    def time(self) -> exp.Expr:
        """Return the time of a row; raise CompileError where the source has none."""
        if self.source.time is None:
            raise CompileError(
                f"source '{self.source.name}' has no time column", hint='add time = "column" to the source'
            )
        return self.parse(self.source.time)

    def dimension(self, name: str) -> exp.Expr:
        """Return the expression a breakdown groups by."""
        return self.parse(self.dimensions[name]) if name in self.dimensions else self.column(name)

    def bind(self, tree: exp.Expr, inside: frozenset[str] = frozenset()) -> exp.Expr:
        """Return the tree with columns qualified by the alias and computed columns written out."""

        def replace(node: exp.Expr) -> exp.Expr:
            if not isinstance(node, exp.Column) or isinstance(node.this, exp.Star):
                return node
            if node.table and node.table != self.source.name:
                return _nested_field(node, self.alias)
            computed = self.source.columns.get(node.name)
            if computed is None or computed.sql is None:
                return exp.Column(this=node.this.copy(), table=exp.to_identifier(self.alias))
            if node.name in inside:
                raise CompileError(f"column '{node.name}' of source '{self.source.name}' is computed from itself")
            value = self.bind(_parsed(computed.sql, self.reads), inside | {node.name})
            return exp.paren(value, copy=False) if isinstance(value, (exp.Binary, exp.Unary)) else value

        bound = tree.transform(replace)
        return mark_definition(bound) if self.marked else bound


def _nested_field(column: exp.Column, alias: str) -> exp.Column:
    """Read `a.b` as field b of column a, since a source has one relation only."""
    parts = [part.copy() for part in column.parts]
    field: exp.Expr = exp.Column(this=parts[0], table=exp.to_identifier(alias))
    for part in parts[1:]:
        field = exp.Dot(this=field, expression=part)
    return field  # type: ignore[return-value]


def scope(source: Source, project: Project, dialect: str, *, marked: bool = False) -> Scope:
    """Return the scope of a source with the project's dimensions on it; `marked` notes what users wrote."""
    named = {
        dimension.name: dimension.sql for dimension in project.dimensions.values() if dimension.source == source.name
    }
    return Scope(source, source.name, project.dialect, dialect, named, marked)
