"""Columns of sources: which are known, and which SQL speaks of one that is not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from sqlglot import exp

from tallystick.definitions.conditions import named_conditions
from tallystick.definitions.diagnostics import Diagnostic, diagnose, nearest, sort
from tallystick.definitions.fragment import is_name, parse_fragment, parse_query
from tallystick.definitions.metric import Aggregate, Metric
from tallystick.definitions.origin import place_of
from tallystick.definitions.project import Project
from tallystick.definitions.source import Segment, Source
from tallystick.errors import ExpressionError, Location


def projected(source: Source, dialect: str) -> frozenset[str] | None:
    """Return the columns a source's own query projects, or None where only the warehouse knows them."""
    if source.sql is None:
        return None
    try:
        query = parse_query(source.sql, dialect)
    except ExpressionError:
        return None
    if query.is_star:
        return None
    names = frozenset(name.lower() for name in query.named_selects if name)
    return names if len(names) == len(query.selects) else None


def check_columns(project: Project, columns: Mapping[str, Mapping[str, str]]) -> tuple[Diagnostic, ...]:
    """Return a finding for every column that definitions speak of and no source has.

    `columns` are the types of stored columns by source, as the warehouse describes them; sources that are missing
    from it are not checked.
    """
    findings: list[Diagnostic] = []
    for name, stored in columns.items():
        if source := project.sources.get(name):
            stored_names = frozenset(column.lower() for column in stored)
            findings += source_columns(source, stored_names, project.dialect)
            for segment in project.segments.values():
                if segment.source == name:
                    findings += segment_columns(segment, source, stored_names, project.segments, project.dialect)
            for metric in project.metrics.values():
                if isinstance(metric.definition, Aggregate) and metric.definition.source == name:
                    findings += metric_columns(metric, source, stored_names, project.segments, project.dialect)
    return sort(findings)


def source_columns(source: Source, stored: Collection[str], dialect: str) -> Iterator[Diagnostic]:
    """Yield findings about the columns a source's own keys speak of."""
    named = named_conditions(source, {})
    keys = [("time", source.time), ("partition", source.partition)]
    keys += [(f"entities.{name}", column) for name, column in source.entities.items()]
    keys += [(f"columns.{column.name}.sql", column.sql) for column in source.columns.values()]
    for key, text in keys:
        if text:
            yield from _unknown(text, dialect, source, stored, (), place_of(source.origin, key))
    for name, text in source.filters.items():
        yield from _unknown(text, dialect, source, stored, named, place_of(source.origin, f"filters.{name}"))
    for column in source.columns.values():
        if column.sql is None and column.name.lower() not in stored:
            at = place_of(source.origin, f"columns.{column.name}", f"dimensions.{column.name}", "dimensions")
            yield _finding(column.name, source, stored, (), at)


def segment_columns(
    segment: Segment, source: Source, stored: Collection[str], segments: Mapping[str, Segment], dialect: str
) -> Iterator[Diagnostic]:
    """Yield findings about the columns an event, segment or filter speaks of."""
    at = place_of(segment.origin, "where", "sql", "expr")
    yield from _unknown(segment.where, dialect, source, stored, named_conditions(source, segments), at)


def metric_columns(
    metric: Metric, source: Source, stored: Collection[str], segments: Mapping[str, Segment], dialect: str
) -> Iterator[Diagnostic]:
    """Yield findings about the columns an aggregate metric speaks of."""
    definition = metric.definition
    if not isinstance(definition, Aggregate):
        return
    dialect = definition.dialect or dialect
    at = place_of(metric.origin, "expr", "expression", "select_expression", "column")
    yield from _unknown(definition.expr, dialect, source, stored, (), at)
    named = named_conditions(source, segments)
    for text in definition.where:
        yield from _unknown(text, dialect, source, stored, named, place_of(metric.origin, "where"))


def _unknown(
    text: str, dialect: str, source: Source, stored: Collection[str], named: Collection[str], at: Location
) -> Iterator[Diagnostic]:
    if is_name(text):
        names: list[str] = [text.strip()]
    else:
        try:
            names = columns_of(text, dialect, source.name)
        except ExpressionError:
            return
    for name in dict.fromkeys(names):
        known = name in named or name in source.columns or name.lower() in stored
        if not known:
            yield _finding(name, source, stored, named, at)


def columns_of(text: str, dialect: str, source: str) -> list[str]:
    """Return the columns of a source that a fragment speaks of; in `a.b` where `a` is no source, the column is `a`."""
    tree = parse_fragment(text, dialect)
    bound = {name for scope in tree.find_all(exp.Lambda) for name in (arg.name for arg in scope.expressions)}
    inner = {id(column) for query in tree.find_all(exp.Query) for column in query.find_all(exp.Column)}
    names = []
    for column in tree.find_all(exp.Column):
        if id(column) in inner or isinstance(column.this, exp.Star) or column.name in bound:
            continue
        parts = [part.name for part in column.parts]
        names.append(parts[1] if len(parts) > 1 and parts[0] == source else parts[0])
    return names


def _finding(name: str, source: Source, stored: Collection[str], named: Collection[str], at: Location) -> Diagnostic:
    hint = nearest(name, {*stored, *source.columns, *named})
    return diagnose("unknown-column", f"source '{source.name}' has no column '{name}'", at, hint=hint)
