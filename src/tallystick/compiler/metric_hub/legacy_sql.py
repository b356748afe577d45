"""Write a metrics query exactly as metric-hub's consumers receive it today, byte for byte (spec metric_hub §7).

This is text on purpose: it exists so that existing pipelines can compare. Use `tree` for SQL that is right.
"""

from __future__ import annotations

from collections.abc import Iterable

from tallystick.compiler.metric_hub.query import JoinedSource, MetricColumn, MetricsQuery, SourceQuery

_JOINS = {
    None: "JOIN",
    "one_to_one": "INNER JOIN",
    "many_to_one": "RIGHT JOIN",
    "one_to_many": "LEFT JOIN",
    "many_to_many": "JOIN",
}


def metrics_sql(query: MetricsQuery) -> str:
    """Return the whole query in parentheses."""
    ctes = ",\n ".join(_cte(source, columns, query) for source, columns in query.parts)
    first = query.parts[0][0].name if query.parts else ""
    outer = [
        *([f"{first}.client_id"] if query.by_client else []),
        *([f"{first}.submission_date"] if query.by_date else []),
        *(f"{first}.{alias} AS {alias}" for alias in query.group_by),
        *(column.name for _, columns in query.parts for column in columns),
    ]
    others = [_outer_join(source, first, query) for source, _ in query.parts[1:]]
    joined = f"\n{''.join(others)}" if others else "\n"
    return f"(\nWITH {ctes}\nSELECT\n{_lines(outer, 4)}    \nFROM\n    {first}{joined})"


def _cte(source: SourceQuery, columns: tuple[MetricColumn, ...], query: MetricsQuery) -> str:
    selected = [
        *([f"{source.client_id} AS client_id"] if query.by_client else []),
        *([f"{source.submission_date} AS submission_date"] if query.by_date else []),
        *(f"{expression} AS {alias}" for alias, expression in query.group_by.items()),
        *(f"{column.sql} AS {column.name}" for column in columns),
    ]
    grouped = [
        *query.group_by,
        *(["client_id"] if query.by_client else []),
        *(["submission_date"] if query.by_date else []),
    ]
    group = "GROUP BY\n        " + ",\n        ".join(grouped) + "\n        " if grouped else ""
    rows = source_sql(source, query.where)
    return f"{source.name} AS (\n    SELECT\n{_lines(selected, 8)}        \n    FROM {rows}\n    {group})"


def _lines(items: Iterable[str], indent: int) -> str:
    return "".join(f"{' ' * indent}{item},\n" for item in items)


def _outer_join(source: SourceQuery, first: str, query: MetricsQuery) -> str:
    name = source.name
    lines = f"FULL OUTER JOIN {name}\n    ON\n        "
    if query.by_date:
        lines += f"{name}.submission_date = {first}.submission_date AND\n        "
    if query.by_client:
        lines += f"{name}.client_id = {first}.client_id \n        "
    for alias in query.group_by:
        lines += f"AND {name}.{alias} = {first}.{alias} \n        "
    return lines


def source_sql(
    source: SourceQuery, where: str | None = None, *, select_fields: bool = True, ignore_joins: bool = False
) -> str:
    """Return the query of a data source with its joins (spec §7.2)."""
    condition = f"            WHERE\n                {where}\n" if where else ""
    rows = (
        "(\n            SELECT\n                *\n            FROM\n"
        f"                {source.from_expression}\n{condition}            ) AS {source.name}\n        "
    )
    joins = "" if ignore_joins else "".join(_join(source, join, where, select_fields) for join in source.joins)
    if not select_fields:
        return f"{rows}{joins}"
    return f"(\n    SELECT\n        *\n    FROM\n{rows}{joins})\n"


def _join(outer: SourceQuery, join: JoinedSource, where: str | None, select_fields: bool) -> str:
    inner = source_sql(join.source, where, select_fields=select_fields)
    on = join.on_expression or (
        f"{outer.name}.{outer.client_id} =\n        {join.source.name}.{join.source.client_id} AND\n"
        f"        {outer.name}.{outer.submission_date} =\n        {join.source.name}.{join.source.submission_date}"
    )
    keyword = _JOINS.get(join.relationship, "")
    opening = f"{keyword}\n    " if keyword else ""
    return f"{opening}{inner}\n    ON \n    {on}\n    \n                "
