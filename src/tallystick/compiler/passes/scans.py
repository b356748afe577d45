"""The queries of passes over one source: conditional aggregates, atoms, and masks of distinct keys.

Every query groups by the same head: bucket, entity, dimension. What follows are the columns of cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import reduce

import numpy as np
from sqlglot import exp

from tallystick.compiler.aggregate_model import BUCKET, Input, group_by_head, matching_rows
from tallystick.compiler.passes.predicates import Atoms, flag
from tallystick.compiler.passes.recipe import Cell, CellKind, Recipe
from tallystick.compiler.span import Span
from tallystick.definitions.project import Project
from tallystick.sql.grain import Grain
from tallystick.sql.template import fill

ATOM = "atom"
ROWS = "atom_rows"
KEYS = "keys"
WORD_BITS = 62
# A table of masks per combination is joined where it is small enough to be written down.
_WRITTEN_MASKS = 1024
_VALUES = frozenset({"duckdb", "postgres", "snowflake", "trino", "spark", "databricks"})

# Where rows a FILTER keeps out cost less than a CASE that gives NULL for them.
_FILTERS = frozenset({"postgres"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS = {
    Grain.FIVE_MINUTES: 300_000_000,
    Grain.FIFTEEN_MINUTES: 900_000_000,
    Grain.HOUR: 3_600_000_000,
    Grain.SIX_HOURS: 21_600_000_000,
}
_MERGED = {
    CellKind.COUNT: exp.Count,
    CellKind.SUM: exp.Sum,
    CellKind.MIN: exp.Min,
    CellKind.MAX: exp.Max,
}


@dataclass(frozen=True, slots=True)
class Frame:
    """What the recipes of a pass share: the rows, the trees of texts, and the conditions all of them ask for."""

    read: Input
    project: Project
    span: Span
    trees: Mapping[str, exp.Expr]
    common: frozenset[str]

    @property
    def grain_bucket(self) -> exp.Expr:
        """Return the bucket of a row."""
        grain = self.read.model.time.grain
        assert grain is not None  # noqa: S101 - windows are read by queries of their own
        return self.read.bucket(grain)

    def head(self, *, is_numbered: bool = False) -> list[exp.Expr]:
        """Return bucket, entity and dimension columns; the bucket's number rather than its start if asked for."""
        bucket = self._number() if is_numbered else self.grain_bucket
        return [bucket.as_(BUCKET, copy=False), *self.read.columns()]

    @property
    def can_number(self) -> bool:
        """Tell whether buckets can be numbered, which DuckDB groups by more quickly than by instants.

        Its integer division rounds towards zero, so that nothing may lie before 1970.
        """
        read, start = self.read, self.span.start
        is_plain = read.calendar.is_utc and not read.scope.source.time_is_date and read.dialect == "duckdb"
        return is_plain and self._length > 0 and start is not None and start >= _EPOCH

    @property
    def _length(self) -> int:
        grain = self.read.model.time.grain
        return 0 if grain is None else _MICROSECONDS.get(grain, 0)

    def _number(self) -> exp.Expr:
        template = f"EPOCH_US(CAST(_t AS TIMESTAMP)) // {self._length}"
        return fill(template, "duckdb", t=self.read.scope.time())

    def numbered_start(self) -> exp.Expr:
        """Return the start of a numbered bucket."""
        return fill(f"MAKE_TIMESTAMP(_b * {self._length})", "duckdb", b=exp.column(BUCKET)).as_(BUCKET)

    def rows(self, more: Sequence[exp.Expr] = ()) -> exp.Select:
        """Return a select over the rows of the span that pass what is common."""
        where = (*(self.trees[key] for key in self.as_written(self.common)), *more)
        read = replace(self.read, where=where)
        return matching_rows(read, self.project, self.span.on(read.calendar))

    def as_written(self, where: frozenset[str]) -> list[str]:
        """Return conditions in the order they were written: people put first what most rows fail."""
        return [key for key in self.trees if key in where]

    def own(self, cell: Cell) -> frozenset[str]:
        """Return the conditions of a cell that are not common."""
        return cell.where - self.common


def frame(recipes: Sequence[Recipe], project: Project, span: Span) -> Frame:
    """Return what recipes of the same source, grain, entity and dimension share."""
    trees: dict[str, exp.Expr] = {}
    for each in recipes:
        trees |= each.trees
    common = frozenset.intersection(*(each.n.where for each in recipes))
    return Frame(recipes[0].read, project, span, trees, common)


def ordered(cells: set[Cell]) -> list[Cell]:
    """Return cells in an order that depends on what they are alone."""
    return sorted(cells, key=lambda cell: (cell.kind.value, cell.argument, sorted(cell.where)))


def conditional_scan(shared: Frame, cells: Sequence[Cell], most_filters: int) -> exp.Select:
    """Return one query with an aggregate per cell, each over the rows of its own filter; columns `c0`, `c1`, ….

    Rows that pass no filter are kept out unless there are more than `most_filters`, which would cost more than it saves.
    """
    tail = [_conditional(shared, cell).as_(f"c{index}", copy=False) for index, cell in enumerate(cells)]
    filters = {shared.own(cell) for cell in cells if cell.kind is CellKind.ROWS}
    head = shared.head()
    any_of = [] if frozenset() in filters or len(filters) > most_filters else [_any(shared, filters)]
    return group_by_head(shared.rows(any_of).select(*head, *tail, copy=False), len(head))


def _any(shared: Frame, filters: set[frozenset[str]]) -> exp.Expr:
    texts = sorted(sorted(each) for each in filters)
    return reduce(
        lambda left, right: exp.Or(this=left, expression=right), [_all(shared, frozenset(each)) for each in texts]
    )


def _all(shared: Frame, where: frozenset[str]) -> exp.Expr:
    trees = [_wrapped(shared.trees[key].copy()) for key in shared.as_written(where)]
    tree = reduce(lambda left, right: exp.And(this=left, expression=right), trees)
    return exp.paren(tree, copy=False) if len(trees) > 1 else tree


def _wrapped(tree: exp.Expr) -> exp.Expr:
    return exp.paren(tree, copy=False) if isinstance(tree, (exp.Connector, exp.Not)) else tree


def _conditional(shared: Frame, cell: Cell) -> exp.Expr:
    own = shared.own(cell)
    argument = exp.Literal.number(1) if cell.kind is CellKind.ROWS else shared.trees[cell.argument].copy()
    if cell.kind is CellKind.DIRECT:
        return _narrowed(argument, None if not own else _all(shared, own))
    if cell.kind is CellKind.ROWS and not own:
        return exp.Count(this=exp.Star(), big_int=True)
    if shared.read.dialect in _FILTERS and own:
        condition = exp.Where(this=_all(shared, own))
        return exp.Filter(this=_call(cell.kind, argument), expression=condition)
    return _call(cell.kind, _when(shared, own, argument))


def _call(kind: CellKind, value: exp.Expr) -> exp.Expr:
    if kind is CellKind.DISTINCT:
        return exp.Count(this=exp.Distinct(expressions=[value]), big_int=True)
    if kind in (CellKind.ROWS, CellKind.COUNT):
        return exp.Count(this=value, big_int=True)
    return _MERGED[kind](this=value)


def _when(shared: Frame, own: frozenset[str], value: exp.Expr) -> exp.Expr:
    if not own:
        return value
    return exp.Case(ifs=[exp.If(this=_all(shared, own), true=value)])


def _narrowed(call: exp.Expr, condition: exp.Expr | None) -> exp.Expr:
    """Return an aggregate over the rows of a condition: every one here passes over NULL."""
    if condition is None:
        return call
    if isinstance(call, exp.Filter):
        both = exp.And(this=condition, expression=_wrapped(call.expression.this))
        return _narrowed(call.this, both)
    narrowed = call.copy()
    narrowed.set("this", exp.Case(ifs=[exp.If(this=condition, true=narrowed.this)]))
    return narrowed


@dataclass(frozen=True, slots=True)
class Partial:
    """A column of an atoms query: an aggregate of the rows of one combination, whatever their filter."""

    kind: CellKind
    argument: str


def partials(cells: Sequence[Cell]) -> list[Partial]:
    """Return the columns from which cells are merged, besides the count of rows."""
    found = {Partial(cell.kind, cell.argument) for cell in cells if cell.kind in _MERGED}
    return sorted(found, key=lambda each: (each.kind.value, each.argument))


def atoms_scan(shared: Frame, atoms: Atoms, columns: Sequence[Partial]) -> exp.Select:
    """Return the query that groups rows once by the combination of filters that are true; columns `p0`, `p1`, …."""
    head = [*shared.head(is_numbered=shared.can_number), atoms.code().as_(ATOM, copy=False)]
    tail = [exp.Count(this=exp.Star(), big_int=True).as_(ROWS, copy=False)]
    for index, column in enumerate(columns):
        call = _MERGED[column.kind](this=shared.trees[column.argument].copy())
        tail.append(call.as_(f"p{index}", copy=False))
    # Constants are no keys: some engines refuse them.
    if atoms.size == 1:
        head.pop()
    query = group_by_head(shared.rows().select(*head, *tail, copy=False), len(head))
    if not shared.can_number:
        return query
    rest = [exp.column(each.alias) for each in (*head[1:], *tail)]
    return exp.select(shared.numbered_start(), *rest).from_(query.subquery("atoms"))


def masks_scan(shared: Frame, atoms: Atoms, key: str, filters: Sequence[frozenset[str]]) -> exp.Select:
    """Return the query that counts keys by the set of filters any of their rows passes; columns `w0`, … and `keys`.

    Each filter is one bit; the bits of a bucket's key are or-ed over its rows, so that a key is counted once.
    """
    names = [f"w{index}" for index in range(-(-len(filters) // WORD_BITS))]
    identity = shared.trees[key]
    head = shared.head(is_numbered=shared.can_number)
    rows = shared.rows([exp.Not(this=exp.Is(this=identity.copy(), expression=exp.null()))])
    written = atoms.size <= _WRITTEN_MASKS and shared.read.dialect in _VALUES and atoms.size > 1
    inner = [*head, identity.copy().as_("unit", copy=False)]
    if written:
        inner.append(atoms.code().as_(ATOM, copy=False))
    else:
        inner += [
            _word(shared, filters[at * WORD_BITS : (at + 1) * WORD_BITS]).as_(name) for at, name in enumerate(names)
        ]
    source: exp.Select = exp.select(*(exp.column(each.alias, "kept_rows") for each in [*head, inner[len(head)]]))
    source = source.from_(rows.select(*inner, copy=False).subquery("kept_rows"), copy=False)
    table = "masks" if written else "kept_rows"
    if written:
        source.join(
            _mask_table(atoms, filters, names),
            on=exp.EQ(this=exp.column(ATOM, "masks"), expression=exp.column(ATOM, "kept_rows")),
            copy=False,
        )
    source = source.select(
        *(exp.BitwiseOrAgg(this=exp.column(name, table)).as_(name, copy=False) for name in names), copy=False
    )
    units = group_by_head(source, len(head) + 1)
    columns: list[exp.Expr] = [exp.column(each.alias) for each in head]
    columns += [exp.column(name) for name in names]
    if shared.can_number:
        columns[0] = shared.numbered_start()
    outer = exp.select(*columns, exp.Count(this=exp.Star(), big_int=True).as_(KEYS)).from_(units.subquery("units"))
    return group_by_head(outer, len(columns))


def _word(shared: Frame, filters: Sequence[frozenset[str]]) -> exp.Expr:
    bits: list[exp.Expr] = []
    for at, where in enumerate(filters):
        if not where:
            bits.append(_big(1 << at))
            continue
        case = flag(_all(shared, where))
        case.args["ifs"][0].set("true", _big(1 << at))
        case.set("default", _big(0))
        bits.append(case)
    return reduce(lambda left, right: exp.Add(this=left, expression=right), bits)


def _big(number: int) -> exp.Expr:
    return exp.cast(exp.Literal.number(number), exp.DType.BIGINT)


def _mask_table(atoms: Atoms, filters: Sequence[frozenset[str]], names: Sequence[str]) -> exp.Expr:
    codes = np.arange(atoms.size)
    truths = np.array([atoms.truth(where, codes) for where in filters])
    rows: list[exp.Expr] = []
    for code in codes.tolist():
        words: list[exp.Expr] = []
        for at in range(len(names)):
            bits = truths[at * WORD_BITS : (at + 1) * WORD_BITS, code].tolist()
            words.append(_big(sum(1 << index for index, is_true in enumerate(bits) if is_true)))
        rows.append(exp.Tuple(expressions=[exp.Literal.number(code), *words]))
    columns = [exp.to_identifier(name) for name in (ATOM, *names)]
    return exp.Values(expressions=rows, alias=exp.TableAlias(this=exp.to_identifier("masks"), columns=columns))
