"""How far back the rows of a source reach."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from tallystick.compiler.binding import bound_template
from tallystick.compiler.local_days import source_of_instant
from tallystick.compiler.relations import scope
from tallystick.definitions.metric import SqlQuery
from tallystick.definitions.project import Project
from tallystick.definitions.source import Source
from tallystick.sql.macro_calls import macro_of


def first_row(source: Source, project: Project, dialect: str) -> exp.Select:
    """Return the query for the earliest time in a source."""
    rows = scope(source, project, dialect)
    return exp.select(exp.Min(this=rows.time()).as_("first")).from_(rows.relation())


def first_rows_read(definition: SqlQuery, project: Project) -> Iterator[exp.Select]:
    """Yield the queries for the earliest time in each table that a definition filters by `@metrics_start`."""
    template = bound_template(definition.sql, definition.dialect or project.dialect)
    derived = {cte.alias.lower() for cte in template.find_all(exp.CTE)}
    found: dict[str, exp.Select] = {}
    for node in template.find_all(exp.Between, exp.GTE, exp.GT):
        bound = node.args["low"] if isinstance(node, exp.Between) else node.expression
        macro = macro_of(bound)
        select = node.find_ancestor(exp.Select)
        if macro is None or macro.name != "metrics_start" or select is None:
            continue
        table = _table_of(node.this, select)
        if table is not None and (table.db or table.name.lower() not in derived):
            time = _instant(node.this, project) or node.this
            query = exp.select(exp.Min(this=time.copy()).as_("first")).from_(table.copy())
            found.setdefault(query.sql(), query)
    yield from found.values()


def _instant(value: exp.Expr, project: Project) -> exp.Column | None:
    """Return the time of a source that a value is made of: as a date it would be that of UTC, where local ones are meant."""
    columns = value.find_all(exp.Column)
    return next((column for column in columns if source_of_instant(column, project.sources) is not None), None)


def _table_of(value: exp.Expr, select: exp.Select) -> exp.Table | None:
    """Return the table that all columns of an expression belong to, if it is one and no macro."""
    first = select.args.get("from_")
    relations = [*([first.this] if first else []), *(join.this for join in select.args.get("joins") or ())]
    columns = list(value.find_all(exp.Column))
    if not columns or any(macro_of(call) is not None for call in value.find_all(exp.Anonymous)):
        return None
    for relation in relations:
        named = all(column.table == relation.alias_or_name for column in columns)
        alone = len(relations) == 1 and not any(column.table for column in columns)
        if (named or alone) and isinstance(relation, exp.Table) and isinstance(relation.this, exp.Identifier):
            return relation
    return None
