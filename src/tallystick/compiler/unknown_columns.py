"""Columns that an SQL definition mentions and the tables it reads do not have."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.scope import Scope, traverse_scope, walk_in_scope
from sqlglot.tokenizer_core import TokenType

from tallystick.compiler.binding import bound_template
from tallystick.compiler.definition_context import DefinitionContext
from tallystick.compiler.sql_definition import definition_of
from tallystick.definitions.diagnostics import Diagnostic, diagnose, nearest
from tallystick.definitions.metric import Metric
from tallystick.definitions.query_file import place_in_query
from tallystick.errors import Location

Known = Mapping[str, Collection[str]]
"""The columns of tables, in lower case, by the name of the table as `table_name` writes it."""
_MARK = "@"
"""What begins the part of a name that depends on the entity: `to_@{entity_type}_id`."""
_PSEUDO = frozenset({"rowid", "ctid", "xmin", "xmax", "cmin", "cmax", "oid", "tableoid"})
"""Columns that every table of some engine has; those of others begin with `_` or have a `$`."""


def table_name(table: exp.Table) -> str:
    """Return the name of a table with its schema, as it is written, in lower case."""
    return ".".join(part.name for part in table.parts).lower()


def unaliased(table: exp.Table) -> exp.Table:
    """Return a table by its name alone."""
    found = table.copy()
    for part in table.args.keys() - {"this", "db", "catalog"}:
        found.set(part, None)
    return found


def unknown_columns(metric: Metric, context: DefinitionContext, known: Known) -> tuple[Diagnostic, ...]:
    """Return a finding for each column that a definition takes from a table whose columns are known to be others.

    Nothing is said where a name may come from something whose columns are not known: a peer, a function, a star.
    """
    definition = definition_of(metric)
    dialect = context.dialect_of(definition)
    tree = bound_template(definition.sql, dialect)
    if not all(isinstance(cte.this, exp.Query) for cte in tree.find_all(exp.CTE)):
        return ()  # ClickHouse names expressions so, which sqlglot does not follow
    try:
        scopes = traverse_scope(tree)
    except SqlglotError:
        return ()
    found = [fault for scope in scopes for fault in _unknown(scope, known)]
    return tuple(_finding(metric, *fault, dialect=dialect) for fault in dict.fromkeys(found))


_Fault = tuple[str, str, str, str | None]
"""A column's name, what it was looked for in, the qualifier it is written with, and a hint."""


def _unknown(scope: Scope, known: Known) -> Iterator[_Fault]:
    if not isinstance(scope.expression, exp.Select):
        return
    bound = set(_bound(scope.expression))
    for column in walk_in_scope(scope.expression):
        if isinstance(column, exp.Column) and not isinstance(column.this, exp.Star) and column.name not in bound:
            fault = _qualified(column, scope, known) if column.table else _bare(column, scope, known)
            if fault is not None and not (_is_made(fault[0]) or fault[0] in _PSEUDO):
                yield fault


def _is_made(name: str) -> bool:
    """Tell whether a name is made by an engine or, with an entity's name in it, by a macro."""
    return name.startswith("_") or "$" in name or _MARK in name


def _bound(select: exp.Select) -> Iterator[str]:
    """Yield the names of elements of lists, which functions over them give out."""
    for each in select.find_all(exp.Lambda, exp.Comprehension):
        named = each.expressions if isinstance(each, exp.Lambda) else [each.expression]
        yield from (argument.name for argument in named)


def _qualified(column: exp.Column, scope: Scope, known: Known) -> _Fault | None:
    """Look a column up in the relation that its first part names; other names before a dot are those of structs."""
    first, second, *_ = column.parts
    for above in _around(scope):
        for alias, (node, source) in above.selected_sources.items():
            if alias.lower() == first.name.lower():
                columns, name = _columns(node, source, known), second.name.lower()
                is_known = columns is None or name in columns
                return None if is_known else (name, _what(alias, source), first.name, nearest(name, columns or ()))
    return None


def _bare(column: exp.Column, scope: Scope, known: Known) -> _Fault | None:
    """Look a column without a qualifier up in all that its query and those around it read, and put out."""
    name, seen = column.name.lower(), set[str]()
    for above in _around(scope):
        seen.update(alias.lower() for alias in above.selected_sources)
        seen.update(_given(above.expression))
        for node, source in above.selected_sources.values():
            columns = _columns(node, source, known)
            if columns is None:
                return None
            seen.update(columns)
    read = dict.fromkeys(_what(alias, source) for alias, (_, source) in scope.selected_sources.items())
    if name in seen or not (name and read):
        return None
    return name, " or ".join(read), "", nearest(name, seen)


def _given(query: exp.Expr) -> Iterator[str]:
    """Yield the names that a query gives to what it puts out, and in ClickHouse to any expression."""
    for node in walk_in_scope(query):
        if isinstance(node, (exp.Alias, exp.CTE)):
            yield node.alias.lower()


def _around(scope: Scope) -> Iterator[Scope]:
    """Yield a query and those around it whose rows it may read: a common table reads its own only."""
    above: Scope | None = scope
    while above is not None:
        yield above
        above = None if above.is_cte else above.parent


def _columns(node: exp.Expr, source: exp.Expr | Scope, known: Known) -> Collection[str] | None:
    """Return the columns of something that is read, in lower case, None where they are not known."""
    alias = node.args.get("alias")
    if node.args.get("pivots") or (isinstance(alias, exp.TableAlias) and alias.columns):
        return None
    if isinstance(source, exp.Table):
        return known.get(table_name(source))
    query = source.expression if isinstance(source, Scope) else None
    if not isinstance(query, exp.Query):
        return None
    named = query.parent.args.get("alias") if query.parent is not None else None
    if isinstance(named, exp.TableAlias) and named.columns:
        return [column.name.lower() for column in named.columns]
    if query.args.get("kind") or any(select.is_star for select in query.selects):
        return None  # SELECT AS STRUCT and AS VALUE put fields out, a star what is not written
    names = [name.lower() for name in query.named_selects]
    return None if any(_MARK in name for name in names) else names


def _what(alias: str, source: exp.Expr | Scope) -> str:
    return f"table '{table_name(source)}'" if isinstance(source, exp.Table) else f"'{alias}'"


def _finding(metric: Metric, name: str, what: str, qualifier: str, hint: str | None, *, dialect: str) -> Diagnostic:
    place = _place(definition_of(metric).sql, name, qualifier, dialect)
    return diagnose("unknown-column", f"{what} has no column '{name}'", place_in_query(metric, place), hint=hint)


def _place(text: str, name: str, qualifier: str, dialect: str) -> Location | None:
    """Return where a column is first mentioned in a text."""
    tokens = Dialect.get_or_raise(dialect).tokenize(text)
    for index, token in enumerate(tokens):
        before = tokens[index - 2].text if index > 1 and tokens[index - 1].text == "." else ""
        is_text = token.token_type is TokenType.STRING
        if not is_text and token.text.lower() == name and before.lower() == qualifier.lower():
            begin = text[: token.start]
            return Location(None, begin.count("\n") + 1, len(begin) - begin.rfind("\n"))
    return None
