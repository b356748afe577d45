"""Write a metrics query as a tree that is right in every dialect (the corrections of spec metric_hub §7.3).

Placeholders are filled, joined sources keep their alias, the condition goes to the source it was written for,
several sources meet on a spine of all their keys with NULL-safe equality, and every odd name is quoted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import reduce

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, UnsupportedError

from tallystick.compiler.metric_hub.query import JoinedSource, MetricsQuery, SourceQuery
from tallystick.definitions.metric_hub.templates import fill, placeholders
from tallystick.errors import CompileError, ExpressionError, MacroError

DIALECT = "bigquery"
SPINE = "keys"
_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\Z")
_PLAIN = re.compile(r"[A-Za-z_]\w*\Z")
_JOINS: Mapping[str | None, tuple[str, str]] = {
    None: ("", ""),
    "one_to_one": ("", "INNER"),
    "many_to_one": ("RIGHT", ""),
    "one_to_many": ("LEFT", ""),
    "many_to_many": ("", ""),
}


def metrics_tree(query: MetricsQuery, *, dataset: str | None = None) -> exp.Select:
    """Return one SELECT for all metrics; raises `CompileError` or `ExpressionError`."""
    if not query.parts:
        raise CompileError("no metrics were asked for", hint="name at least one metric")
    _check_aliases(query)
    parts = [(source.name, _part(source, query, dataset)) for source, _ in query.parts]
    if len(parts) == 1:
        return parts[0][1]
    keys = _keys(query)
    if keys:
        spine = [exp.select(*(exp.column(key) for key in keys)).from_(exp.to_identifier(name)) for name, _ in parts]
        body = _on_spine(query, keys)
        ctes = [*parts, (SPINE, reduce(lambda a, b: exp.union(a, b, distinct=True), spine))]  # type: ignore[arg-type, return-value]
    else:
        body, ctes = _side_by_side(query), parts
    for name, select in ctes:
        body = body.with_(exp.to_identifier(name, quoted=not _PLAIN.match(name)), as_=select)
    return body


def source_tree(
    source: SourceQuery, where: str | None = None, *, ignore_joins: bool = False, dataset: str | None = None
) -> exp.Select:
    """Return `SELECT *` over a data source and what it joins."""
    return _from(exp.select("*"), source, where, dataset, ignore_joins=ignore_joins)


def to_sql(tree: exp.Expr, dialect: str = DIALECT, *, pretty: bool = True) -> str:
    """Write a tree in a dialect; raises `CompileError` for what the dialect cannot say."""
    if dialect != DIALECT:
        tree = tree.transform(_portable)
    try:
        return tree.sql(dialect, pretty=pretty, unsupported_level=sqlglot.ErrorLevel.RAISE)
    except UnsupportedError as problem:
        raise CompileError(f"cannot be written for {dialect}: {problem}") from None


def _portable(node: exp.Expr) -> exp.Expr:
    """Replace what means something else elsewhere: BigQuery's COUNTIF is 0 without rows, others' are NULL."""
    if isinstance(node, exp.CountIf):
        return exp.Count(this=exp.case().when(node.this, exp.Literal.number(1)))
    return node


def _check_aliases(query: MetricsQuery) -> None:
    aliases = [*_keys(query), *(column.name for _, columns in query.parts for column in columns)]
    twice = next((alias for alias in aliases if aliases.count(alias) > 1), None)
    if twice is not None:
        raise CompileError(f"two columns of this query are called '{twice}'", hint="rename a group_by alias")


def _keys(query: MetricsQuery) -> list[str]:
    fixed = [*(["client_id"] if query.by_client else []), *(["submission_date"] if query.by_date else [])]
    return [*fixed, *query.group_by]


def _part(source: SourceQuery, query: MetricsQuery, dataset: str | None) -> exp.Select:
    """Aggregate one source."""
    columns = next(columns for candidate, columns in query.parts if candidate is source)
    keys: dict[str, exp.Expr] = {}
    if query.by_client:
        keys["client_id"] = _key(source, source.client_id)
    if query.by_date:
        keys["submission_date"] = _key(source, source.submission_date)
    keys |= {alias: _key(source, expression) for alias, expression in query.group_by.items()}
    select = exp.select(*(exp.alias_(value, key, quoted=_quoted(key)) for key, value in keys.items()))
    for column in columns:
        aggregate = parse_expression(_filled(column.sql, source, None), f"metric {column.name}")
        select = select.select(exp.alias_(aggregate, column.name, quoted=_quoted(column.name)))
    select = _from(select, source, query.where, dataset)
    grouped = [value.copy() for value in keys.values() if not isinstance(value, exp.Null)]
    return select.group_by(*grouped) if grouped else select


def _quoted(name: str) -> bool:
    return not _PLAIN.match(name)


def _key(source: SourceQuery, text: str) -> exp.Expr:
    """Return a key column; where sources are joined, a plain path belongs to the outer one."""
    others = {join.source.name for join in source.joins}
    is_path = (
        others and _PATH.match(text) and text != "NULL" and text.split(".", maxsplit=1)[0] not in others | {source.name}
    )
    return parse_expression(f"{source.name}.{text}" if is_path else text, f"column of data source {source.name}")


def _from(
    select: exp.Select, source: SourceQuery, where: str | None, dataset: str | None, *, ignore_joins: bool = False
) -> exp.Select:
    select = select.from_(_rows(source, where, dataset))
    for join in () if ignore_joins else source.joins:
        select = _join(select, source, join, dataset)
    return select


def _rows(source: SourceQuery, where: str | None, dataset: str | None) -> exp.Expr:
    table = from_expression(source, dataset)
    if where:
        inner = exp.select("*").from_(_aliased(table, source.name))
        table = exp.Subquery(this=inner.where(parse_expression(where, "where")))
    return _aliased(table, source.name)


def _aliased(table: exp.Expr, name: str) -> exp.Expr:
    return exp.alias_(table, name, table=True, quoted=_quoted(name))


def _join(select: exp.Select, outer: SourceQuery, join: JoinedSource, dataset: str | None) -> exp.Select:
    inner = join.source
    rows = _rows(inner, None, dataset)
    if inner.joins:
        rows = _aliased(exp.Subquery(this=source_tree(inner, dataset=dataset)), inner.name)
    on = join.on_expression or " AND ".join(
        f"{_column_of(outer, mine)} = {_column_of(inner, theirs)}"
        for mine, theirs in ((outer.client_id, inner.client_id), (outer.submission_date, inner.submission_date))
        if "NULL" not in (mine, theirs)
    )
    if join.relationship not in _JOINS:
        raise CompileError(
            f"data source {outer.name}: '{join.relationship}' is not a relationship of a join",
            hint=f"one of {', '.join(name for name in _JOINS if name)}",
        )
    side, kind = _JOINS[join.relationship]
    condition = parse_expression(on, f"join of {outer.name} with {inner.name}") if on else None
    joined = exp.Join(this=rows, on=condition, side=side or None, kind=kind or (None if condition else "CROSS"))
    return select.join(joined, copy=False)


def _column_of(source: SourceQuery, text: str) -> str:
    return f"{source.name}.{text}" if _PATH.match(text) else text


def from_expression(source: SourceQuery, dataset: str | None) -> exp.Expr:
    """Return the FROM item of a source, its placeholders filled."""
    text = _filled(source.from_expression, source, dataset)
    try:
        tree = sqlglot.parse_one(f"SELECT * FROM {text}", read=DIALECT)
    except ParseError as problem:
        raise ExpressionError(f"data source {source.name}: {first_line(problem)}") from None
    from_ = tree.args.get("from_") or tree.args.get("from")
    if not isinstance(from_, exp.From) or tree.args.get("where") or tree.args.get("joins"):
        raise ExpressionError(f"from_expression of data source {source.name} is not one table or subquery")
    quote_odd_names(tree)
    table: exp.Expr = from_.this
    return table


def _filled(text: str, source: SourceQuery, dataset: str | None) -> str:
    if "{" not in text:
        return text
    names = placeholders(text)
    unknown = [name for name in names if name != "dataset"]
    if "experiment_slug" in unknown:
        raise CompileError(
            f"{source.name}: {{experiment_slug}} has a value only inside an experiment",
            hint="render it with `tally metric-hub experiment SLUG`",
        )
    if unknown:
        message = f"{source.name}: from_expression contains unsupported placeholder(s) {unknown}."
        raise CompileError(message, hint="only {dataset} is filled; double a brace that is meant literally")
    value = dataset or source.default_dataset
    if "dataset" in names and value is None:
        raise CompileError(
            f"{source.name}: from_expression contains a `{{dataset}}` template but no value was provided "
            "and `default_dataset` is not set.",
            hint="set default_dataset, or give a dataset",
        )
    try:
        return fill(text, dataset=value or "")
    except MacroError:
        return text


def _on_spine(query: MetricsQuery, keys: list[str]) -> exp.Select:
    select = exp.select(*(exp.column(key, table=SPINE) for key in keys), *_metric_columns(query)).from_(SPINE)
    for source, _ in query.parts:
        same = [
            exp.NullSafeEQ(this=exp.column(key, table=source.name), expression=exp.column(key, table=SPINE))
            for key in keys
        ]
        select = select.join(exp.to_identifier(source.name), on=exp.and_(*same), join_type="left")
    return select


def _side_by_side(query: MetricsQuery) -> exp.Select:
    first, *others = (source.name for source, _ in query.parts)
    select = exp.select(*_metric_columns(query)).from_(exp.to_identifier(first))
    return reduce(lambda tree, name: tree.join(exp.to_identifier(name), join_type="cross"), others, select)


def _metric_columns(query: MetricsQuery) -> Iterable[exp.Expr]:
    for source, columns in query.parts:
        for column in columns:
            yield exp.column(exp.to_identifier(column.name, quoted=_quoted(column.name)), table=source.name)


def parse_expression(text: str, what: str) -> exp.Expr:
    """Parse one expression of a repository's SQL; raises `ExpressionError` naming what it was."""
    try:
        tree = sqlglot.parse_one(text, read=DIALECT, into=exp.Condition)
    except ParseError as problem:
        raise ExpressionError(f"{what}: {first_line(problem)}") from None
    quote_odd_names(tree)
    return tree


def quote_odd_names(tree: exp.Expr) -> None:
    """Quote every name that a dialect might read as something else, such as a project with hyphens."""
    for name in tree.find_all(exp.Identifier):
        if _quoted(name.name):
            name.set("quoted", True)


def first_line(problem: ParseError) -> str:
    """Return what a parse error says, without the excerpt of the text."""
    error = problem.errors[0] if problem.errors else {}
    near = error.get("highlight")
    message = error.get("description") or str(problem).splitlines()[0]
    return f"{message} near '{near}'" if near else str(message)
