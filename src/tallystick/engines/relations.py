"""Statements over Tallystick's own tables that engines spell alike."""

from __future__ import annotations

from collections.abc import Mapping

import sqlglot
from sqlglot import exp


def identifier(name: str, dialect: str) -> str:
    """Return a quoted name."""
    return exp.to_identifier(name, quoted=True).sql(dialect)


def qualified(schema: str, name: str, dialect: str) -> str:
    """Return the quoted name of a table in a schema."""
    return f"{identifier(schema, dialect)}.{identifier(name, dialect)}"


def text(value: str, dialect: str) -> str:
    """Return a string literal."""
    return exp.Literal.string(value).sql(dialect)


def column_list(columns: Mapping[str, str], dialect: str) -> str:
    """Return the columns of a table to be created; types are spelled as DuckDB does, `NOT NULL` may follow."""
    written = ", ".join(f"{identifier(name, 'duckdb')} {kind}" for name, kind in columns.items())
    tree = sqlglot.parse_one(f"CREATE TABLE t ({written})", read="duckdb")
    return str(tree.this.sql(dialect)).partition("(")[2].rpartition(")")[0]


def kind_query(schema: str, name: str, dialect: str) -> str:
    """Return the query whose `kind` tells whether a relation is a view."""
    return (
        "SELECT table_type AS kind FROM information_schema.tables "
        f"WHERE table_schema = {text(schema, dialect)} AND table_name = {text(name, dialect)}"
    )


def kind_of(rows: list[dict[str, object]]) -> str | None:
    """Return what a relation is from the answer to `kind_query`."""
    if not rows:
        return None
    return "VIEW" if rows[0]["kind"] == "VIEW" else "TABLE"
