"""Gathering: the one reading of a source, as rows per base key and day, or per base key, day and distinct key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from tallystick.compiler.aggregate_model import Input
from tallystick.compiler.entity_paths import is_not_null
from tallystick.compiler.lower import to_text
from tallystick.compiler.one_pass.days import number
from tallystick.compiler.one_pass.family import Family, Member, representative
from tallystick.compiler.one_pass.layout import N, components, counts_rows
from tallystick.compiler.one_pass.names import DIALECT, WORK, create_work
from tallystick.compiler.partition import from_partition
from tallystick.compiler.span import Span
from tallystick.definitions.project import Project
from tallystick.sql import buckets
from tallystick.sql.expression import Measure, MeasureClass
from tallystick.sql.grain import Grain

ID = f"{WORK}id"
DAY = f"{WORK}day"
KEY = f"{WORK}key"
ROWS = "rows"


@dataclass(frozen=True, slots=True)
class Stream:
    """What is gathered for a metric in one go: all its additive cells, or the keys of one distinct count."""

    table: str
    member: Member
    measure: Measure | None = None


def streams(members: Sequence[Member]) -> tuple[Stream, ...]:
    """Return the streams of metrics; each fills one working table."""
    found: list[Stream] = []
    for member in members:
        if components(member):
            found.append(Stream(f"gathered_{len(found)}", member))
        for measure in member.expression.measures:
            if measure.kind is MeasureClass.DISTINCT:
                found.append(Stream(f"gathered_{len(found)}", member, measure))
    return tuple(found)


def dimension(index: int) -> str:
    """Return the working name of a breakdown column."""
    return f"{WORK}d{index}"


def head_names(family: Family) -> list[str]:
    """Return the columns that make up a base key."""
    return [*([ID] if family.anchor is not None else []), *(dimension(i) for i in range(len(family.by)))]


def flag(family: Family, metric: str) -> str:
    """Return the working column that tells which rows a metric counts."""
    return f"{WORK}f{place(family, metric)}"


def place(family: Family, metric: str) -> int:
    """Return the number of a metric in its family."""
    return next(index for index, member in enumerate(family.members) if member.metric == metric)


def copy_rows(family: Family, project: Project, found: Sequence[Stream], span: Span) -> str:
    """Return the query of the rows any stream needs: base key, day, one flag per metric, and columns."""
    inputs = _inputs(project, found)
    first = next(iter(inputs.values()))
    columns = {column.name: column for some in _columns(inputs, found).values() for column in some.values()}
    passes = {
        metric: exp.and_(*(c.copy() for c in source.where)) if source.where else exp.true()
        for metric, source in inputs.items()
    }
    query = exp.select(*_head(family, first))
    flags = (exp.paren(test.copy()).as_(flag(family, metric)) for metric, test in passes.items())
    query = query.select(*flags, copy=False)
    query = query.select(*(column.copy().as_(name) for name, column in columns.items()), copy=False)
    where = _bounds(family, first, span)
    if all(source.where for source in inputs.values()):
        where.append(exp.or_(*(test.copy() for test in passes.values())))
    query = query.from_(first.scope.relation(), copy=False).where(*_bracketed(where), copy=False)
    return to_text(query, DIALECT, pretty=False)


def columns_of(project: Project, found: Sequence[Stream]) -> dict[str, list[str]]:
    """Return by metric the columns of copied rows that its streams are gathered from."""
    return {metric: sorted(columns) for metric, columns in _columns(_inputs(project, found), found).items()}


def gather(
    family: Family, project: Project, found: Sequence[Stream], span: Span, *, is_copied: bool = False
) -> list[str]:
    """Return the statements that read the source once and fill the working table of every stream.

    A single stream is read straight from the source with its filter pushed down; several share a narrow copy, which
    is there already where rows of the whole span are copied.
    """
    inputs = _inputs(project, found)
    if len(found) == 1 and not is_copied:
        stream = found[0]
        source = inputs[stream.member.metric]
        head = _head(family, source)
        query = _stream_query(stream, source, head).from_(source.scope.relation(), copy=False)
        where = [*(c.copy() for c in source.where), *_bounds(family, source, span)]
        return [create_work(stream.table, to_text(query.where(*_bracketed(where)), DIALECT, pretty=False))]
    statements = [] if is_copied else [create_work(ROWS, copy_rows(family, project, found, span))]
    for stream in found:
        source = inputs[stream.member.metric]
        alias = source.scope.alias
        head = [exp.column(name, alias).as_(name) for name in (*head_names(family), DAY)]
        table = exp.alias_(exp.to_table(f'"{WORK}{ROWS}"', dialect=DIALECT), alias, table=True)
        query = _stream_query(stream, source, head).from_(table, copy=False)
        within = _within(alias, span) if is_copied else []
        query = query.where(exp.column(flag(family, stream.member.metric), alias), *within, copy=False)
        statements.append(create_work(stream.table, to_text(query, DIALECT, pretty=False)))
    return statements


def _inputs(project: Project, found: Sequence[Stream]) -> dict[str, Input]:
    return {stream.member.metric: representative(stream.member, project, DIALECT) for stream in found}


def _columns(inputs: dict[str, Input], found: Sequence[Stream]) -> dict[str, dict[str, exp.Column]]:
    """Return by metric the columns of the source that its streams need, by name."""
    columns: dict[str, dict[str, exp.Column]] = {metric: {} for metric in inputs}
    for stream in found:
        source = inputs[stream.member.metric]
        for tree in _inner(stream, source):
            for column in tree.find_all(exp.Column):
                if column.table == source.scope.alias:
                    columns[stream.member.metric].setdefault(column.name, column)
    return columns


def _within(alias: str, span: Span) -> list[exp.Expr]:
    """Return the conditions that copied rows are of the days of a span."""
    day = exp.column(DAY, alias)
    bounds = ((exp.GTE, span.first_day), (exp.LTE, span.last_day))
    return [test(this=day.copy(), expression=exp.convert(number(bound))) for test, bound in bounds if bound]


def _head(family: Family, source: Input) -> list[exp.Expr]:
    found: list[exp.Expr] = []
    if family.anchor is not None:
        found.append(source.scope.parse(family.anchor.column).as_(ID))
    found += [source.scope.dimension(name).as_(dimension(index)) for index, name in enumerate(family.by)]
    number = buckets.day_number(source.bucket(Grain.DAY), dialect=DIALECT)
    return [*found, exp.cast(exp.paren(number), "int").as_(DAY)]


def _bounds(family: Family, source: Input, span: Span) -> list[exp.Expr]:
    span = span.on(source.calendar)
    time, is_date = source.scope.time(), source.scope.source.time_is_date
    found = [span.before_end(time, is_date=is_date, dialect=DIALECT)]
    start = span.from_start(time, is_date=is_date, dialect=DIALECT)
    partition = from_partition(source.scope, span)
    found += [each for each in (partition, start) if each is not None]
    if family.anchor is not None and not family.reads_missing:
        found.append(is_not_null(source.scope.parse(family.anchor.column)))
    return found


def _bracketed(conditions: Sequence[exp.Expr]) -> list[exp.Expr]:
    return [exp.paren(c, copy=False) if isinstance(c, exp.Connector) else c for c in conditions]


def _inner(stream: Stream, source: Input) -> list[exp.Expr]:
    """Return the expressions over rows that a stream needs."""
    if stream.measure is not None and stream.measure.key is not None:
        return [_whole_key(stream.measure, source)]
    return [source.scope.bind(part.accumulate) for part in components(stream.member)]


def _stream_query(stream: Stream, source: Input, head: list[exp.Expr]) -> exp.Select:
    inner = _inner(stream, source)
    if stream.measure is not None:
        return exp.select(*head, inner[0].as_(KEY)).distinct(copy=False)
    parts = components(stream.member)
    tail = [tree.as_(part.name) for tree, part in zip(inner, parts, strict=True)]
    if not any(counts_rows(part) for part in parts):
        tail.append(exp.Count(this=exp.Star(), big_int=True).as_(N))
    query = exp.select(*head, *tail)
    return query.group_by(*(exp.Literal.number(index + 1) for index in range(len(head))), copy=False)


def _whole_key(measure: Measure, source: Input) -> exp.Expr:
    """Return a key of several columns as NULL where any of them is, as COUNT(DISTINCT a, b) counts."""
    assert measure.key is not None  # noqa: S101 - distinct measures have one
    key = source.scope.bind(measure.key)
    distinct = measure.aggregate.find(exp.Distinct)
    # Only structs with named fields can be stored.
    key = key.transform(lambda node: _named_struct(node) if isinstance(node, exp.Tuple) else node)
    if distinct is None or len(distinct.expressions) < 2:
        return key
    missing = [exp.Is(this=source.scope.bind(part), expression=exp.null()) for part in distinct.expressions]
    return exp.Case().when(exp.or_(*missing), exp.null()).else_(key)


def _named_struct(fields: exp.Tuple) -> exp.Expr:
    named = [
        exp.PropertyEQ(this=exp.to_identifier(f"k{i}"), expression=part) for i, part in enumerate(fields.expressions)
    ]
    return exp.Struct(expressions=named)
