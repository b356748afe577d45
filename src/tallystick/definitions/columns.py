"""Columns of sources: which are known, and which SQL speaks of one that is not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp

from tallystick.definitions.column_kind import bucketed
from tallystick.definitions.condition import Condition, Kind
from tallystick.definitions.condition_sql import check as check_condition_type
from tallystick.definitions.condition_sql import kind_of, speaks_of_days
from tallystick.definitions.conditions import named_conditions
from tallystick.definitions.diagnostics import Diagnostic, Severity, diagnose, nearest, sort
from tallystick.definitions.fragment import is_name, parse_fragment, parse_query
from tallystick.definitions.metric import Aggregate, Metric
from tallystick.definitions.origin import Origin, place_in, place_of
from tallystick.definitions.project import Project
from tallystick.definitions.source import Segment, Source
from tallystick.errors import DefinitionError, ExpressionError, Location

EXPR = ("expr", "expression", "select_expression", "column", "aggregation", "numerator")
"""The keys an expression may be written under."""


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
            findings += _named_condition_types(_Stored(project, source, stored))
            stored_names = frozenset(column.lower() for column in stored)
            findings += source_columns(source, stored_names, project.dialect)
            for segment in project.segments.values():
                if segment.source == name:
                    findings += segment_columns(segment, source, stored_names, project.segments, project.dialect)
            for metric in (*project.metrics.values(), *project.flawed):
                if isinstance(metric.definition, Aggregate) and metric.definition.source == name:
                    findings += metric_columns(metric, source, stored_names, project.segments, project.dialect)
                    findings += _condition_types(metric, metric.definition, _Stored(project, source, stored))
    return sort(findings)


def source_columns(source: Source, stored: Collection[str], dialect: str) -> Iterator[Diagnostic]:
    """Yield findings about the columns a source's own keys speak of."""
    known = _known(source, stored, ())
    keys = [("time", source.time), ("partition", source.partition)]
    keys += [(f"entities.{name}", column) for name, column in source.entities.items()]
    keys += [(f"columns.{column.name}.sql", column.sql) for column in source.columns.values()]
    for key, text in keys:
        if text:
            yield from _unknown(text, dialect, source, known, source.origin, key)
    with_filters = _known(source, stored, source.filters)
    for name, text in source.filters.items():
        yield from _unknown(text, dialect, source, with_filters, source.origin, f"filters.{name}")
    for column in source.columns.values():
        if column.sql is None and column.name.lower() not in stored:
            at = place_of(source.origin, f"columns.{column.name}", f"dimensions.{column.name}", "dimensions")
            yield _finding(column.name, source, known - {column.name}, at)


def segment_columns(
    segment: Segment, source: Source, stored: Collection[str], segments: Mapping[str, Segment], dialect: str
) -> Iterator[Diagnostic]:
    """Yield findings about the columns an event, segment or filter speaks of."""
    known = _known(source, stored, named_conditions(source, segments))
    yield from _unknown(segment.where, dialect, source, known, segment.origin, "where", "sql", "expr")


def metric_columns(
    metric: Metric, source: Source, stored: Collection[str], segments: Mapping[str, Segment], dialect: str
) -> Iterator[Diagnostic]:
    """Yield findings about the columns an aggregate metric speaks of."""
    definition = metric.definition
    if not isinstance(definition, Aggregate):
        return
    dialect = definition.dialect or dialect
    known = _known(source, stored, ())
    yield from _unknown(definition.expr, dialect, source, known, metric.origin, *EXPR)
    with_conditions = _known(source, stored, named_conditions(source, segments))
    for index, text in enumerate(definition.where):
        path = condition_path(metric, index)
        yield from _unknown(text, dialect, source, with_conditions, metric.origin, path, "where")


@dataclass(frozen=True, slots=True)
class _Stored:
    """A source and the types the warehouse has for its columns."""

    project: Project
    source: Source
    types: Mapping[str, str]

    def kind(self, column: str) -> Kind | None:
        """Return what a column holds, as the warehouse says."""
        native = next((native for name, native in self.types.items() if name.lower() == column.lower()), None)
        return None if native is None else bucketed(native)

    @property
    def zone(self) -> str:
        """Return the zone its days are counted in."""
        return self.source.time_zone or self.project.settings.time_zone


def _condition_types(metric: Metric, definition: Aggregate, stored: _Stored) -> Iterator[Diagnostic]:
    """Yield findings about structured conditions that do not fit the types the warehouse has for their columns."""
    for index, condition in definition.structured:
        at = place_of(metric.origin, condition_path(metric, index), "where")
        yield from _condition_type(condition, stored, at)


def _named_condition_types(stored: _Stored) -> Iterator[Diagnostic]:
    """Yield the same findings about filters of a source and events on it."""
    source = stored.source
    for name, (_, structured) in source.structured.items():
        for index, condition in structured:
            at = place_of(source.origin, f"filters.{name}.{index}", f"filters.{name}")
            yield from _condition_type(condition, stored, at)
    for segment in stored.project.segments.values():
        if segment.source == source.name and segment.structured is not None:
            for index, condition in segment.structured[1]:
                yield from _condition_type(condition, stored, place_of(segment.origin, f"where.{index}", "where"))


def _condition_type(condition: Condition, stored: _Stored, at: Location) -> Iterator[Diagnostic]:
    kind, column = stored.kind(condition.column), condition.column
    try:
        check_condition_type(condition, kind)
    except DefinitionError as error:
        yield diagnose("condition-type", error.message, at, hint=error.hint)
        return
    is_described = kind_of(stored.source, column) is not None
    if kind is Kind.TIMESTAMP and not is_described and speaks_of_days(condition, stored.zone):
        message = (
            f"column '{column}' holds instants, which the source does not say: a date is no day of {stored.zone} there"
        )
        hint = f"add {column} = {{ type = \"timestamp\" }} to the columns of source '{stored.source.name}'"
        yield diagnose("untyped-day", message, at, severity=Severity.WARNING, hint=hint)


def condition_path(metric: Metric, index: int) -> str:
    """Return the key a condition is written at; an event is a metric's first condition."""
    if metric.origin.of("event") == metric.origin.location:
        return f"where.{index}"
    return f"where.{index - 1}" if index else "event"


def _known(source: Source, stored: Collection[str], named: Collection[str]) -> frozenset[str]:
    """Return the names that may stand in SQL on a source, in lower case: SQL does not tell cases apart."""
    return frozenset(name.lower() for name in (*stored, *source.columns, *named))


def _unknown(
    text: str, dialect: str, source: Source, known: frozenset[str], origin: Origin, *paths: str
) -> Iterator[Diagnostic]:
    if is_name(text):
        if text.strip().lower() not in known:
            yield _finding(text.strip(), source, known, place_of(origin, *paths))
        return
    try:
        columns = columns_of(text, dialect, source.name)
    except ExpressionError:
        return
    for name, place in columns.items():
        if name.lower() not in known:
            yield _finding(name, source, known, place_in(origin, place, *paths))


def columns_of(text: str, dialect: str, source: str) -> dict[str, Location]:
    """Return the columns of a source that a fragment speaks of, each with the place of its first mention in the text.

    In `a.b` where `a` is not the source, the column is `a`. Subqueries have columns of their own.
    """
    tree = parse_fragment(text, dialect)
    bound = {argument.name for scope in tree.find_all(exp.Lambda) for argument in scope.expressions}
    inner = {id(column) for query in tree.find_all(exp.Query) for column in query.find_all(exp.Column)}
    found: dict[str, Location] = {}
    for column in tree.find_all(exp.Column, bfs=False):
        if id(column) in inner or isinstance(column.this, exp.Star) or column.name in bound:
            continue
        parts = column.parts
        part = parts[1] if len(parts) > 1 and parts[0].name == source else parts[0]
        found.setdefault(part.name, _place(part))
    return found


def _place(part: exp.Expr) -> Location:
    """Return where an identifier begins; sqlglot notes where it ends."""
    line, end = part.meta.get("line"), part.meta.get("col")
    if line is None or end is None:
        return Location()
    return Location(None, line, end - (part.meta["end"] - part.meta["start"]))


def _finding(name: str, source: Source, known: Collection[str], at: Location) -> Diagnostic:
    return diagnose("unknown-column", f"source '{source.name}' has no column '{name}'", at, hint=nearest(name, known))
