"""What a series is put together from: cells, which are aggregates over the rows that pass a filter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sqlglot import exp

from tallystick.compiler.aggregate_model import Input, read_input
from tallystick.compiler.passes.combine import can_combine
from tallystick.compiler.passes.predicates import conjuncts
from tallystick.compiler.passes.single import model_of
from tallystick.compiler.plan import find_metric
from tallystick.compiler.series import Wanted
from tallystick.definitions.metric import Aggregate
from tallystick.definitions.project import Project
from tallystick.sql.expression import Measure, MeasureClass, substitute


class CellKind(StrEnum):
    """The aggregate of a cell. All but `distinct` and `direct` can be merged from parts."""

    ROWS = "rows"
    COUNT = "count"
    SUM = "sum"
    MIN = "min"
    MAX = "max"
    DISTINCT = "distinct"
    DIRECT = "direct"


_CALLS: Mapping[type[exp.Expr], CellKind] = {exp.Sum: CellKind.SUM, exp.Min: CellKind.MIN, exp.Max: CellKind.MAX}


@dataclass(frozen=True, slots=True)
class Cell:
    """One aggregate of the rows where all of `where` is true; `argument` and `where` are texts of trees in a recipe."""

    kind: CellKind
    argument: str
    where: frozenset[str]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a series follows from cells: `combine` and both sides of `ratio` are scalars over the names of parts."""

    wanted: Wanted
    read: Input
    n: Cell
    parts: Mapping[str, Cell]
    combine: exp.Expr
    ratio: tuple[exp.Expr, exp.Expr] | None
    trees: Mapping[str, exp.Expr] = field(repr=False)

    @property
    def cells(self) -> set[Cell]:
        """Return all cells, the count of rows among them."""
        return {self.n, *self.parts.values()}

    @property
    def is_fractional(self) -> bool:
        """Tell whether values are measured rather than counted or added up."""
        return not self.is_mergeable or self.combine.find(exp.Div) is not None

    @property
    def has_distinct(self) -> bool:
        """Tell whether distinct keys are counted."""
        return any(cell.kind is CellKind.DISTINCT for cell in self.cells)

    @property
    def is_mergeable(self) -> bool:
        """Tell whether every cell can be merged from groups of rows, or counted by masks."""
        return all(cell.kind is not CellKind.DIRECT for cell in self.cells)


def recipe(wanted: Wanted, project: Project, dialect: str) -> Recipe | None:
    """Return how a series follows from cells, or None where only its own query gives it.

    Raise UnknownNameError, CompileError or ExpressionError where the series cannot be read at all.
    """
    metric = find_metric(project, wanted.metric)
    if not isinstance(metric.definition, Aggregate) or wanted.window is not None:
        return None
    if metric.definition.per_unit is not None:
        return None
    read = read_input(model_of(wanted), metric, project, dialect)
    if wanted.values_limit is not None and (wanted.by is None or wanted.values_limit < 1):
        return None
    trees = conjuncts(read.where)
    n = Cell(CellKind.ROWS, "", frozenset(trees))
    parts: dict[str, Cell] = {}
    values: dict[str, exp.Expr] = {}
    for measure in read.expression.measures:
        made = _cells(measure, read, n.where, trees)
        if made is None:
            return None
        parts |= made
        inner = measure.combine if measure.name not in made else None
        values[measure.name] = exp.column(measure.name) if inner is None else inner
    combine = substitute(read.expression.combine, values)
    sides = read.expression.ratio()
    ratio = None if sides is None else (substitute(sides[0], values), substitute(sides[1], values))
    if wanted.values_limit is not None and any(cell.kind is CellKind.DISTINCT for cell in parts.values()):
        # Who is among the others may be counted there once for several values.
        return None
    if not all(can_combine(tree) for tree in (combine, *(ratio or ()))):
        return None
    return Recipe(wanted, read, n, parts, combine, ratio, trees)


def _cells(measure: Measure, read: Input, where: frozenset[str], trees: dict[str, exp.Expr]) -> dict[str, Cell] | None:
    """Return the cells of a measure by name, noting trees; None where it has to be read by its own query."""
    if measure.kind is MeasureClass.DISTINCT:
        call, found = _unfiltered(measure.aggregate, read, where, trees)
        keys = call.this.expressions
        if len(keys) != 1:
            return None
        return {measure.name: _noted(CellKind.DISTINCT, read.scope.bind(keys[0]), found, trees)}
    if not measure.components:
        return None
    if len(measure.components) > 2:
        # A variance from sums of squares may have no digit right where values are large: let the engine do it.
        return {measure.name: _noted(CellKind.DIRECT, read.scope.bind(measure.aggregate), where, trees)}
    cells: dict[str, Cell] = {}
    for part in measure.components:
        call, found = _unfiltered(part.accumulate, read, where, trees)
        if (condition := _counted_condition(call)) is not None:
            more = conjuncts([read.scope.bind(condition)])
            trees |= more
            cells[part.name] = Cell(CellKind.ROWS, "", found | frozenset(more))
        elif isinstance(call, exp.Count):
            is_rows = isinstance(call.this, (exp.Star, exp.Literal))
            cells[part.name] = (
                Cell(CellKind.ROWS, "", found)
                if is_rows
                else _noted(CellKind.COUNT, read.scope.bind(call.this), found, trees)
            )
        elif type(call) in _CALLS:
            cells[part.name] = _noted(_CALLS[type(call)], read.scope.bind(call.this), found, trees)
        else:
            return None
    return cells


def _counted_condition(call: exp.Expr) -> exp.Expr | None:
    """Return the condition whose rows are counted, where `parse` has written COUNT_IF as a count of a CASE."""
    case = call.this if isinstance(call, exp.Count) else None
    if not isinstance(case, exp.Case) or case.this or case.args.get("default") or len(case.args["ifs"]) != 1:
        return None
    (branch,) = case.args["ifs"]
    return branch.this if isinstance(branch.args["true"], exp.Literal) else None


def _unfiltered(
    call: exp.Expr, read: Input, where: frozenset[str], trees: dict[str, exp.Expr]
) -> tuple[exp.Expr, frozenset[str]]:
    """Return an aggregate without its FILTER, and the filter of the rows it takes."""
    if not isinstance(call, exp.Filter):
        return call, where
    more = conjuncts([read.scope.bind(call.expression.this)])
    trees |= more
    return call.this, where | frozenset(more)


def _noted(kind: CellKind, tree: exp.Expr, where: frozenset[str], trees: dict[str, exp.Expr]) -> Cell:
    text = tree.sql()
    trees[text] = tree
    return Cell(kind, text, where)
