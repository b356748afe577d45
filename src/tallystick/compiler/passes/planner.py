"""Which queries read a set of series: chosen by number and shape of the series, from their definitions alone.

The number of atoms is bounded by what the filters mention, the number of buckets by the span, so that the plan is the
same every time and can be shown without a connection. Only which dimensions are small is asked of the data, of a few
rows of them, and only by those who have a connection: without, every dimension counts as large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from tallystick.compiler.lower import to_text
from tallystick.compiler.passes.costs import Costs, costs_of
from tallystick.compiler.passes.lattice import (
    MOST_BITS,
    MOST_LATTICE_ROWS,
    SMALL,
    LatticePass,
    Probe,
    bits,
    crossed_frame,
    crossing,
    probe,
    small,
)
from tallystick.compiler.passes.predicates import Atoms, bins, operand_of
from tallystick.compiler.passes.recipe import Cell, CellKind, Recipe, recipe
from tallystick.compiler.passes.scans import (
    Frame,
    Partial,
    atoms_scan,
    conditional_scan,
    frame,
    masks_scan,
    ordered,
    partials,
)
from tallystick.compiler.passes.single import single_text
from tallystick.compiler.series import Wanted
from tallystick.compiler.span import Span
from tallystick.definitions.project import Project
from tallystick.errors import TallystickError
from tallystick.sql.calendar import Calendar
from tallystick.sql.grain import Grain

MOST_ATOMS = 4096
MOST_ATOM_ROWS = 4_000_000
_UNBOUNDED_BUCKETS = 20_000
_SECONDS = {
    Grain.FIVE_MINUTES: 300,
    Grain.FIFTEEN_MINUTES: 900,
    Grain.HOUR: 3600,
    Grain.SIX_HOURS: 21_600,
    Grain.DAY: 86_400,
    Grain.WEEK: 604_800,
}


@dataclass(frozen=True, slots=True)
class SinglePass:
    """A series read by a query of its own."""

    wanted: tuple[Wanted, ...]
    sql: str

    @property
    def queries(self) -> tuple[str, ...]:
        """Return the statements of the pass."""
        return (self.sql,)


@dataclass(frozen=True, slots=True)
class ConditionalPass:
    """Series read by one query with an aggregate per cell, in the order of `cells`."""

    recipes: tuple[Recipe, ...]
    frame: Frame
    cells: tuple[Cell, ...]
    sql: str

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """Return the series of the pass."""
        return tuple(each.wanted for each in self.recipes)

    @property
    def queries(self) -> tuple[str, ...]:
        """Return the statements of the pass."""
        return (self.sql,)


@dataclass(frozen=True, slots=True)
class MaskQuery:
    """The query that counts one distinct key by filter: bit i of a mask is `cells[i]`."""

    key: str
    cells: tuple[Cell, ...]
    sql: str


@dataclass(frozen=True, slots=True)
class AtomsPass:
    """Series read by grouping rows once by which filters are true, and distinct keys by masks."""

    recipes: tuple[Recipe, ...]
    frame: Frame
    atoms: Atoms
    columns: tuple[Partial, ...]
    sql: str
    masks: tuple[MaskQuery, ...]

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """Return the series of the pass."""
        return tuple(each.wanted for each in self.recipes)

    @property
    def queries(self) -> tuple[str, ...]:
        """Return the statements of the pass."""
        return (self.sql, *(mask.sql for mask in self.masks))


Pass = SinglePass | ConditionalPass | AtomsPass | LatticePass
Sizes = Mapping[str, int]
# Answers how many values dimensions have; those it says nothing about count as large.
Measure = Callable[[Probe], Sizes]


@dataclass(frozen=True, slots=True)
class Family:
    """What series have in common that differ in their breakdown only."""

    source: str
    grain: Grain
    entity: str
    calendar: Calendar


Heads = dict[str | None, list[Recipe]]


@dataclass(slots=True)
class Plan:
    """The passes that read a set of series, and what kept others from being planned."""

    passes: list[Pass] = field(default_factory=list)
    errors: dict[Wanted, TallystickError] = field(default_factory=dict)

    @property
    def queries(self) -> tuple[str, ...]:
        """Return every statement of the plan."""
        return tuple(sql for each in self.passes for sql in each.queries)


@dataclass(frozen=True, slots=True)
class Target:
    """What a plan is made for."""

    project: Project
    span: Span
    dialect: str


def _unknown(_: Probe) -> Sizes:
    return {}


def plan_series(wanted: Iterable[Wanted], target: Target, measure: Measure = _unknown) -> Plan:
    """Return the passes for series, each asked for once; what cannot be compiled is an error of its series."""
    plan = Plan()
    families: dict[Family, Heads] = {}
    singles: list[Wanted] = []
    for each in dict.fromkeys(wanted):
        try:
            made = recipe(each, target.project, target.dialect)
        except TallystickError as error:
            plan.errors[each] = error
            continue
        if made is None:
            singles.append(each)
        else:
            family = Family(made.read.scope.source.name, each.grain, each.entity, made.read.calendar)
            families.setdefault(family, {}).setdefault(each.by, []).append(made)
    for heads in families.values():
        singles += _plan_family(heads, target, plan, measure)
    _plan_singles(singles, target, plan)
    return plan


def _plan_family(heads: Heads, target: Target, plan: Plan, measure: Measure) -> list[Wanted]:
    """Add the passes of series with the same rows; return those that are better read singly."""
    sizes = _sizes(heads, target, measure)
    heads = _cross(heads, sizes, target, plan)
    singles: list[Wanted] = []
    # Breakdowns first: totals may follow from what is read for one of them.
    for by, recipes in sorted(heads.items(), key=lambda item: (item[0] is None, item[0] or "")):
        rest = recipes if by is not None or sizes else _ride(recipes, target, plan)
        is_wide = by is not None and sizes.get(by, 0) > SMALL
        singles += _plan_group(rest, target, plan, is_wide=is_wide) if rest else []
    return singles


def _sizes(heads: Heads, target: Target, measure: Measure) -> Sizes:
    """Return how many values the dimensions have, where that makes a difference."""
    reads = {by: recipes[0] for by, recipes in heads.items() if by is not None and recipes[0].read.key is None}
    if not reads or sum(map(len, heads.values())) < 2:
        return {}
    return measure(probe(reads, target.project, target.span))


def _cross(heads: Heads, sizes: Sizes, target: Target, plan: Plan) -> Heads:
    """Add a pass for the series of small dimensions and their total where one costs least; return the others."""
    together = small(sizes, _buckets(next(iter(heads.values()))[0].wanted.grain, target.span))
    candidates: Heads = {by: heads[by] for by in (None, *together) if by in heads}
    best: tuple[float, list[Recipe]] = (0.0, [])
    for with_distinct in (True, False):
        chosen = [
            each
            for recipes in candidates.values()
            for each in recipes
            if each.is_mergeable and (with_distinct or not each.has_distinct)
        ]
        if len({each.wanted.by for each in chosen}) > 1 and bits(chosen, sizes) <= MOST_BITS:
            saved = _saved(candidates, chosen, costs_of(target.dialect))
            best = max(best, (saved, chosen), key=lambda each: each[0])
    made = _lattice_pass(best[1], sizes, target) if best[1] else None
    if made is None:
        return heads
    plan.passes.append(made)
    taken = set(made.wanted)
    rest = {by: [each for each in recipes if each.wanted not in taken] for by, recipes in heads.items()}
    return {by: recipes for by, recipes in rest.items() if recipes}


def _saved(heads: Heads, chosen: Sequence[Recipe], costs: Costs) -> float:
    """Return what it saves to read series together rather than head by head."""
    taken = {each.wanted for each in chosen}
    apart = sum(_group_cost(recipes, costs) for recipes in heads.values())
    rest = [[each for each in recipes if each.wanted not in taken] for recipes in heads.values()]
    cells = {cell for each in chosen for cell in each.cells}
    keys = {cell.argument for cell in cells if cell.kind is CellKind.DISTINCT}
    filters = len({cell.where for cell in cells})
    together = (costs.atoms if filters > 1 else costs.crossed) + costs.partial * len(partials(list(cells)))
    return apart - together - costs.masks * len(keys) - sum(_group_cost(recipes, costs) for recipes in rest if recipes)


def _lattice_pass(recipes: list[Recipe], sizes: Sizes, target: Target) -> LatticePass | None:
    """Return the pass that reads series by all their dimensions at once, or None where that has too many groups."""
    batches, misfits = _batches(recipes, target)
    dimensions = tuple(sorted({each.wanted.by for each in recipes if each.wanted.by is not None}))
    if len(batches) != 1 or misfits:
        return None
    atoms = batches[0][1]
    groups = crossing(sizes, dimensions) * atoms.size * _buckets(recipes[0].wanted.grain, target.span)
    if groups > MOST_LATTICE_ROWS * 4:
        return None
    shared = crossed_frame(frame(recipes, target.project, target.span), dimensions)
    columns = partials(ordered({cell for each in recipes for cell in each.cells}))
    text = _text(atoms_scan(shared, atoms, columns), target)
    return LatticePass(tuple(recipes), shared, dimensions, atoms, tuple(columns), text)


def _plan_singles(wanted: Sequence[Wanted], target: Target, plan: Plan) -> None:
    """Add a query per series; those of the same text share it."""
    by_text: dict[str, list[Wanted]] = {}
    for each in wanted:
        try:
            text = single_text(each, target.project, target.span, target.dialect)
        except TallystickError as error:
            plan.errors[each] = error
        else:
            by_text.setdefault(text, []).append(each)
    plan.passes += [SinglePass(tuple(members), text) for text, members in by_text.items()]


def _plan_group(recipes: list[Recipe], target: Target, plan: Plan, *, is_wide: bool = False) -> list[Wanted]:
    """Add the passes of series with the same rows and head; return those that are better read singly.

    It is wide where a dimension has so many values that grouping costs more than reading.
    """
    costs = costs_of(target.dialect)
    costs = costs.wider() if is_wide else costs
    by_atoms, alone = _divide(recipes, costs)
    if by_atoms:
        batches, misfits = _batches(by_atoms, target)
        plan.passes += [_atoms_pass(batch, atoms, target) for batch, atoms in batches]
        alone += misfits
    limited = [each for each in alone if each.wanted.values_limit is not None]
    alone = [each for each in alone if each.wanted.values_limit is None]
    if len(alone) > 1 and _conditional_cost(alone, costs) < sum(_single_cost(each, costs) for each in alone):
        plan.passes += _conditional_passes(alone, target)
        alone = []
    return [each.wanted for each in (*limited, *alone)]


def _ride(recipes: list[Recipe], target: Target, plan: Plan) -> list[Recipe]:
    """Add totals to a pass that reads the same rows by a dimension, where there is one; return the others."""
    riders = [each for each in recipes if each.is_mergeable and not each.has_distinct]
    for index, work in enumerate(plan.passes):
        if not riders or not isinstance(work, AtomsPass) or not _has_rows_of(work.recipes[0], riders[0]):
            continue
        batches, misfits = _batches([*work.recipes, *riders], target)
        if len(batches) == 1 and not misfits:
            plan.passes[index] = _atoms_pass(*batches[0], target)
            taken = {each.wanted for each in riders}
            return [each for each in recipes if each.wanted not in taken]
    return recipes


def _has_rows_of(one: Recipe, other: Recipe) -> bool:
    left, right = (
        (each.read.scope.source.name, each.wanted.grain, each.wanted.entity, each.read.calendar)
        for each in (one, other)
    )
    return left == right


def _divide(recipes: list[Recipe], costs: Costs) -> tuple[list[Recipe], list[Recipe]]:
    """Return which series are read by atoms (and masks), and which without, whichever costs least."""
    plain = [each for each in recipes if each.is_mergeable and not each.has_distinct]
    by_key: dict[frozenset[str], list[Recipe]] = {}
    for each in recipes:
        if each.is_mergeable and each.has_distinct:
            keys = frozenset(cell.argument for cell in each.cells if cell.kind is CellKind.DISTINCT)
            by_key.setdefault(keys, []).append(each)
    chosen, cost = list(plain), 0.0
    for keys, members in by_key.items():
        masks, without = costs.masks * len(keys), _best_without(members, costs)
        if masks < without:
            chosen += members
        cost += min(masks, without)
    cells = {cell for each in chosen for cell in each.cells}
    cost += costs.atoms + costs.partial * len(partials(list(cells)))
    direct = [each for each in recipes if not each.is_mergeable]
    if not chosen or cost + _best_without(direct, costs) >= _best_without(recipes, costs):
        return [], list(recipes)
    taken = {each.wanted for each in chosen}
    return chosen, [each for each in recipes if each.wanted not in taken]


def _group_cost(recipes: Sequence[Recipe], costs: Costs) -> float:
    """Return about what it costs to read series with the same rows and head."""
    by_atoms, alone = _divide(list(recipes), costs)
    cells = {cell for each in by_atoms for cell in each.cells}
    cost = costs.atoms + costs.partial * len(partials(list(cells))) if by_atoms else 0.0
    keys = {cell.argument for cell in cells if cell.kind is CellKind.DISTINCT}
    return cost + costs.masks * len(keys) + (_best_without(alone, costs) if alone else 0.0)


def _best_without(recipes: Sequence[Recipe], costs: Costs) -> float:
    return min(sum(_single_cost(each, costs) for each in recipes), _conditional_cost(recipes, costs))


def _single_cost(each: Recipe, costs: Costs) -> float:
    return costs.single + sum(
        costs.single_distinct if cell.where else costs.whole_distinct
        for cell in each.cells
        if cell.kind is CellKind.DISTINCT
    )


def _conditional_cost(recipes: Sequence[Recipe], costs: Costs) -> float:
    cells = {cell for each in recipes for cell in each.cells}
    distinct = [cell for cell in cells if cell.kind is CellKind.DISTINCT]
    common = frozenset.intersection(*(each.n.where for each in recipes)) if recipes else frozenset()
    clauses = sum(
        costs.clause if cell.where - common else costs.plain for cell in cells if cell.kind is not CellKind.DISTINCT
    )
    clauses += sum(costs.clause_distinct if cell.where else costs.whole_distinct for cell in distinct)
    return costs.scan * ceil(len(recipes) / costs.chunk) + clauses


def _conditional_passes(recipes: Sequence[Recipe], target: Target) -> list[ConditionalPass]:
    found: list[ConditionalPass] = []
    costs = costs_of(target.dialect)
    size = costs.chunk
    for start in range(0, len(recipes), size):
        chunk = tuple(recipes[start : start + size])
        shared = frame(chunk, target.project, target.span)
        cells = tuple(ordered({cell for each in chunk for cell in each.cells}))
        scan = conditional_scan(shared, cells, costs.most_filters)
        found.append(ConditionalPass(chunk, shared, cells, _text(scan, target)))
    return found


def _batches(
    recipes: list[Recipe], target: Target, operands: dict[str, str] | None = None
) -> tuple[list[tuple[list[Recipe], Atoms]], list[Recipe]]:
    """Split series until each batch has few enough atoms; return batches, and series that have too many alone.

    `operands` remembers what conjuncts are about between the calls.
    """
    operands = {} if operands is None else operands
    shared = frame(recipes, target.project, target.span)
    wanted = {key for each in recipes for cell in each.cells for key in shared.own(cell)}
    operands |= {key: operand_of(key, shared.trees[key]) for key in wanted - operands.keys()}
    buckets = _buckets(recipes[0].wanted.grain, target.span)
    most = min(MOST_ATOMS, max(MOST_ATOM_ROWS // buckets, 64))
    # Each operand has two bins or more: often that is enough to know.
    if 2 ** len({operands[key] for key in wanted}) <= most:
        atoms = Atoms(tuple(bins({key: shared.trees[key] for key in wanted}, target.dialect)))
        if atoms.size <= most:
            return [(recipes, atoms)], []
    if len(recipes) == 1:
        return [], recipes
    alike = sorted(recipes, key=lambda each: (sorted(each.n.where), each.wanted.metric))
    half = len(alike) // 2
    left, lost = _batches(alike[:half], target, operands)
    right, more = _batches(alike[half:], target, operands)
    return [*left, *right], [*lost, *more]


def _buckets(grain: Grain, span: Span) -> int:
    """Return about how many buckets a span has."""
    if span.start is None or span.end is None:
        return _UNBOUNDED_BUCKETS
    return 1 + int((span.end - span.start).total_seconds() / _SECONDS.get(grain, 2_592_000))


def _atoms_pass(recipes: list[Recipe], atoms: Atoms, target: Target) -> AtomsPass:
    shared = frame(recipes, target.project, target.span)
    cells = ordered({cell for each in recipes for cell in each.cells})
    columns = partials(cells)
    by_key: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.kind is CellKind.DISTINCT:
            by_key.setdefault(cell.argument, []).append(cell)
    masks = tuple(
        MaskQuery(
            key, tuple(members), _text(masks_scan(shared, atoms, key, [shared.own(cell) for cell in members]), target)
        )
        for key, members in by_key.items()
    )
    text = _text(atoms_scan(shared, atoms, columns), target)
    return AtomsPass(tuple(recipes), shared, atoms, tuple(columns), text, masks)


def _text(tree: object, target: Target) -> str:
    return to_text(tree, target.dialect, reads=target.project.dialect, copy=False)  # type: ignore[arg-type]
