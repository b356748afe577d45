"""The names a SQL definition puts into its `metric` column, read off its query (spec oso §9.8).

Definitions tell the rows of their peers apart by these names: `metric LIKE 'resurrected_%'`. When the peer is written
anew and no longer puts such a name out, the rows silently vanish.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import product

from sqlglot import exp

METRIC = "metric"
MOST = 1000
"""Combinations of parts of a name that are followed; beyond, a name counts as not known."""

Labels = frozenset[str] | None


def output_labels(query: exp.Query, column: str = METRIC) -> Labels:
    """Return every name a query can put into a column, or None where they depend on data."""
    return _of_query(query, column, {})


def _of_query(query: exp.Query, column: str, outer: dict[str, exp.Query]) -> Labels:
    known = outer | {cte.alias.lower(): cte.this for cte in query.ctes if isinstance(cte.this, exp.Query)}
    if isinstance(query, exp.SetOperation):
        return _union(_of_query(side, column, known) for side in (query.left, query.right))
    if isinstance(query, exp.Subquery):
        return _of_subquery(query, column, known)
    for select in query.selects:
        if select.alias_or_name.lower() == column:
            return _of_value(select.unalias(), query, known)
    return None


def _of_subquery(subquery: exp.Subquery, column: str, known: dict[str, exp.Query]) -> Labels:
    inner = subquery.unnest()
    return _of_query(inner, column, known) if isinstance(inner, exp.Query) else None


def _of_value(value: exp.Expr, query: exp.Query, known: dict[str, exp.Query]) -> Labels:
    """Return the texts an expression can be: literals, chosen from or put together."""
    if isinstance(value, exp.Literal) and value.is_string:
        return frozenset((value.name,))
    if isinstance(value, exp.Null):
        return frozenset()
    if isinstance(value, exp.Paren | exp.Cast):
        return _of_value(value.this, query, known)
    if isinstance(value, exp.Case):
        branches = [branch.args["true"] for branch in value.args["ifs"]]
        branches += [value.args["default"]] if value.args.get("default") is not None else []
        return _union(_of_value(branch, query, known) for branch in branches)
    if isinstance(value, exp.If):
        branches = [part for part in (value.args.get("true"), value.args.get("false")) if part is not None]
        return _union(_of_value(branch, query, known) for branch in branches)
    if isinstance(value, exp.Concat | exp.DPipe):
        parts = value.expressions if isinstance(value, exp.Concat) else [value.this, value.expression]
        return _joined([_of_value(part, query, known) for part in parts])
    return _of_column(value, query, known) if isinstance(value, exp.Column) else None


def _of_column(column: exp.Column, query: exp.Query, known: dict[str, exp.Query]) -> Labels:
    """Follow a column into the subquery or common table it comes from."""
    relations = _relations(query)
    if column.table:
        relations = [one for one in relations if one.alias_or_name.lower() == column.table.lower()]
    if len(relations) != 1:
        return None
    relation, name = relations[0], column.name.lower()
    if isinstance(relation, exp.Subquery):
        return _of_subquery(relation, name, known)
    if isinstance(relation, exp.Table) and not relation.db and relation.name.lower() in known:
        inner = known[relation.name.lower()]
        return _of_query(inner, name, {key: tree for key, tree in known.items() if tree is not inner})
    return None


def _union(found: Iterator[Labels]) -> Labels:
    labels: set[str] = set()
    for each in found:
        if each is None:
            return None
        labels |= each
    return frozenset(labels)


def _joined(parts: list[Labels]) -> Labels:
    known: list[frozenset[str]] = []
    size = 1
    for part in parts:
        if part is None:
            return None
        known.append(part)
        size *= max(len(part), 1)
    return frozenset("".join(pieces) for pieces in product(*known)) if size <= MOST else None


def wanted_labels(query: exp.Query, peers: Collection[str]) -> Iterator[tuple[str, re.Pattern[str]]]:
    """Yield each condition on the names of rows read from peers, as written, with the pattern of what it lets through.

    `peers` are names of tables. What is negated is left out: it is no mistake to leave out what is not there.
    """
    readable = {*peers, *(cte.alias for cte in query.find_all(exp.CTE))}
    for node in query.find_all(exp.EQ, exp.In, exp.Like, exp.ILike):
        select = node.parent_select
        if _is_negated(node) or select is None or not _reads_only(select, readable):
            continue
        subject, texts = node.this, _texts(node)
        if isinstance(node, exp.EQ) and not isinstance(subject, exp.Column):
            subject, texts = node.expression, [node.this]
        if not isinstance(subject, exp.Column) or subject.name.lower() != METRIC:
            continue
        for text in texts:
            if isinstance(text, exp.Literal) and text.is_string:
                yield text.name, _pattern(node, text.name)


def _reads_only(select: exp.Query, names: Collection[str]) -> bool:
    return all(relation.name in names for relation in _relations(select) if isinstance(relation, exp.Table))


def _relations(query: exp.Query) -> list[exp.Expr]:
    return [part.this for part in (query.args.get("from_"), *query.args.get("joins", [])) if part is not None]


def _texts(node: exp.Expr) -> list[exp.Expr]:
    return node.expressions if isinstance(node, exp.In) else [node.expression]


def _is_negated(node: exp.Expr) -> bool:
    if node.args.get("negate"):
        return True
    parent = node.parent
    while isinstance(parent, exp.Paren):
        parent = parent.parent
    return isinstance(parent, exp.Not)


def _pattern(node: exp.Expr, text: str) -> re.Pattern[str]:
    if not isinstance(node, exp.Like | exp.ILike):
        return re.compile(re.escape(text), re.DOTALL)
    wild = {"%": ".*", "_": "."}
    written = "".join(wild.get(character) or re.escape(character) for character in text)
    return re.compile(written, re.DOTALL | (re.IGNORECASE if isinstance(node, exp.ILike) else 0))
