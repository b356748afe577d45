"""Membership: which keys of one entity belong to which keys of another, through any number of mappings.

A thing that is reachable by two paths, or listed twice, is a member once (spec oso §9.3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, reduce
from itertools import pairwise

from sqlglot import exp

from tallystick.definitions.diagnostics import nearest
from tallystick.definitions.entity import Entity, RollUp
from tallystick.errors import CompileError

MEMBER, GROUP, VALID_FROM, VALID_TO = "member_key", "group_key", "valid_from", "valid_to"
Path = tuple[RollUp, ...]


def paths(entities: Mapping[str, Entity], child: str, parent: str) -> tuple[Path, ...]:
    """Return every way up from `child` to `parent`; raise CompileError if there is none."""
    found: list[Path] = []

    def climb(at: str, path: Path, seen: frozenset[str]) -> None:
        for edge in entities[at].rolls_up_to if at in entities else ():
            if edge.parent == parent:
                found.append((*path, edge))
            elif edge.parent not in seen:
                climb(edge.parent, (*path, edge), seen | {edge.parent})

    climb(child, (), frozenset({child}))
    if not found:
        hint = nearest(parent, entities) if parent not in entities else f"give '{child}' a rolls_up_to"
        raise CompileError(f"'{child}' does not roll up to '{parent}'", hint=hint)
    return tuple(found)


def has_validity(ways: tuple[Path, ...]) -> bool:
    """Tell whether membership depends on the day."""
    return any(edge.valid_from or edge.valid_to for way in ways for edge in way)


@lru_cache(maxsize=256)
def membership(ways: tuple[Path, ...], tables: tuple[tuple[str, str], ...] = ()) -> exp.Query:
    """Return the query of distinct pairs (`member_key`, `group_key`), with validity merged where there is any.

    `tables` names the table of each mapping that is known by another name. Copy the result before using it.
    """
    dated, names = has_validity(ways), dict(tables)

    def table(through: str) -> exp.Table:
        return exp.to_table(names.get(through, through))

    arms = [_arm(way, table, dated=dated) for way in ways]
    pairs: exp.Query = reduce(lambda a, b: exp.union(a, b, distinct=True), arms[1:], arms[0])
    return _merged(pairs) if dated else pairs


def _arm(way: Path, table: Callable[[str], exp.Table], *, dated: bool) -> exp.Select:
    columns = [_column(way[0].child_key, 1).as_(MEMBER), _column(way[-1].parent_key, len(way)).as_(GROUP)]
    if dated:
        columns += [
            _bound("GREATEST", [_date(e.valid_from, i, "0001-01-01") for i, e in enumerate(way, 1)]).as_(VALID_FROM),
            _bound("LEAST", [_date(e.valid_to, i, "9999-12-31") for i, e in enumerate(way, 1)]).as_(VALID_TO),
        ]
    arm = exp.select(*columns).distinct().from_(exp.alias_(table(way[0].through), "m1", table=True))
    for number, (lower, upper) in enumerate(pairwise(way), 2):
        arm = arm.join(
            exp.alias_(table(upper.through), f"m{number}", table=True),
            on=_column(lower.parent_key, number - 1).eq(_column(upper.child_key, number)),
            join_type="inner",
        )
    return arm.where(_column(way[-1].parent_key, len(way)).is_(exp.null()).not_())


def _column(name: str, number: int) -> exp.Column:
    return exp.column(exp.to_identifier(name), table=f"m{number}")


def _date(name: str | None, number: int, open_end: str) -> exp.Expr:
    bound = exp.cast(exp.Literal.string(open_end), "DATE")
    return exp.func("COALESCE", exp.cast(_column(name, number), "DATE"), bound) if name else bound


def _bound(function: str, dates: list[exp.Expr]) -> exp.Expr:
    return exp.func(function, *dates) if len(dates) > 1 else dates[0]


def _merged(pairs: exp.Query) -> exp.Query:
    """Merge overlapping and adjoining periods of a pair, so that a day falls into at most one of them."""
    pair = [exp.column(MEMBER), exp.column(GROUP)]
    order = [exp.column(VALID_FROM), exp.column(VALID_TO)]

    def over(value: exp.Expr, *, before: bool) -> exp.Window:
        end = ("1", "PRECEDING") if before else ("CURRENT ROW", None)
        frame = exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end=end[0], end_side=end[1])
        return exp.Window(
            this=value, partition_by=[c.copy() for c in pair], order=exp.Order(expressions=[
                exp.Ordered(this=c.copy(), nulls_first=False) for c in order
            ]), spec=frame,
        )  # fmt: skip

    reached = over(exp.Max(this=exp.column(VALID_TO)), before=True)
    starts = exp.case().when(exp.LTE(this=exp.column(VALID_FROM), expression=reached), "0").else_("1").as_("starts")
    valid = exp.select(*pair, *order, starts).from_(pairs.subquery("pairs")).where(exp.LT(this=order[0], expression=order[1]))
    island = over(exp.Sum(this=exp.column("starts")), before=False).as_("island")
    numbered = exp.select(*pair, *order, island).from_(valid.subquery("periods"))
    return (
        exp.select(*pair, exp.Min(this=order[0]).as_(VALID_FROM), exp.Max(this=order[1]).as_(VALID_TO))
        .from_(numbered.subquery("islands"))
        .group_by(*pair, exp.column("island"))
    )
