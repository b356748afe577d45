"""How a metric is stored: its cells, what is known about their values, and the names of its tables."""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.compiler.one_pass.family import Member
from tallystick.sql.expression import Component, Merge
from tallystick.sql.grain import OVER_ALL_TIME, Grain, Window

VIEW = "v"
"""The column of spans with the number of their time view."""
NONE_BEFORE = -10_000_000
NONE_AFTER = 10_000_000
OPEN = 9_999_999
"""The `nxt` of a span that still holds: later than any day."""
BEGINNING = 0
"""The `day` of spans over all time; nobody reads it."""
VOID = -100_000_000
"""Added to the `nxt` of a span that was copied to the small table: it then ends before it begins."""
MAX_INTEGER = 2**62
MAX_EXACT_DOUBLE = 2**53
KEY_BITS = 32
"""Numbers of keys are smaller, so that an entity and a key fit one integer."""
MAX_SCALED = 10**17
"""Decimals as whole numbers stay below it, so that they fit 18 digits whatever the rounding of their measured size."""

N = "n"


@dataclass(frozen=True, slots=True)
class Cell:
    """One stored number of a metric per entity and time.

    `stored` is the type it is kept in, `shown` the type its engine gives it; decimals are kept as whole numbers with
    `scale` digits behind the point where they fit (performance spec §2.5). What is `exact` may be taken away again
    without a trace, so rolling windows are running sums; everything else is merged anew for each window. `key` names
    the distinct count a cell belongs to.
    """

    name: str
    merge: Merge
    stored: str
    shown: str
    exact: bool = True
    key: str | None = None
    counts_missing: bool = False
    scale: int = 0

    def whole(self, column: str) -> str:
        """Return the SQL of a gathered value as the number that is stored."""
        return f"({column} * {10**self.scale})" if self.scale else column


@dataclass(frozen=True, slots=True)
class Layout:
    """The storage of one metric: additive cells, distinct cells, and the one that tells whether a row exists.

    `nullable` are sums that can be NULL although rows exist; each has a companion cell counting its values. `views` are
    the suffixes of the time views stored as spans, windows first; a span says which of them it belongs to by its place
    here.
    """

    prefix: str
    additive: tuple[Cell, ...]
    distinct: tuple[Cell, ...]
    exists: str
    nullable: tuple[str, ...] = ()
    views: tuple[str, ...] = ()

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Return every stored cell."""
        return (*self.additive, *self.distinct)

    @property
    def is_exact(self) -> bool:
        """Tell whether rolling windows can be running sums."""
        return all(cell.exact for cell in self.cells)

    @property
    def is_narrow(self) -> bool:
        """Tell whether every cell is a sum of whole numbers that fits 64 bits."""
        return all(c.exact and c.merge is Merge.SUM and c.stored in {"INTEGER", "BIGINT"} for c in self.cells)

    @property
    def days(self) -> str:
        """Return the table of daily counters."""
        return f"{self.prefix}_days"

    @property
    def spans(self) -> str:
        """Return the table of values that hold for several days: of windows, calendar grains and all time."""
        return f"{self.prefix}_spans"

    @property
    def leaving(self) -> str:
        """Return the table, by day, of what was counted on it and will leave the windows that still hold it."""
        return f"{self.prefix}_leaving"

    def number(self, view: Grain | Window | None) -> int:
        """Return the number by which spans name their time view, None: all time."""
        return self.views.index(OVER_ALL_TIME if view is None else view.suffix)

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the names of the distinct counts."""
        return tuple(dict.fromkeys(cell.key for cell in self.distinct if cell.key is not None))

    def of_key(self, key: str) -> tuple[Cell, ...]:
        """Return the cells of one distinct count."""
        return tuple(cell for cell in self.distinct if cell.key == key)

    def seen(self, key: str) -> str:
        """Return the table that says when each key was last seen with each entity, in order."""
        return f"{self.prefix}_seen_{key}"

    def later(self, table: str) -> str:
        """Return the table beside one in order that holds what days appended since then add to it."""
        return f"{table}_later"

    def kept(self, table: str) -> str:
        """Return the table beside one in order that holds settled presences which late rows may still change."""
        return f"{table}_kept"

    def recent(self, table: str) -> str:
        """Return the small table beside a large one that holds its rows until they can no longer change."""
        return f"{table}_recent"


@dataclass(frozen=True, slots=True)
class Facts:
    """What was measured about a gathered column.

    NULLs, the sum of magnitudes, and whether every value is whole, or above 0.
    """

    has_null: bool = False
    magnitude: float = 0.0
    is_whole: bool = True
    is_positive: bool = False


def components(member: Member) -> tuple[Component, ...]:
    """Return the stored components of a metric's additive and algebraic measures."""
    return tuple(part for measure in member.expression.measures for part in measure.components)


def counts_rows(part: Component) -> bool:
    """Tell whether a component counts every row, so that it says whether rows exist."""
    return part.is_count and part.accumulate.sql() == "COUNT(*)"


def companion(name: str) -> str:
    """Return the cell that counts the values behind a sum."""
    return f"{name}_k"


def layout(member: Member, types: dict[str, str], facts: dict[str, Facts]) -> Layout:
    """Decide how a metric is stored from the types and facts of its gathered columns (performance spec §2.5)."""
    additive: list[Cell] = []
    nullable: list[str] = []
    exists: str | None = None
    for part in components(member):
        additive.append(_cell(part, types[part.name], facts.get(part.name, Facts())))
        if counts_rows(part) or (exists is None and additive[-1].exact and _is_positive(part, facts)):
            exists = part.name
        if part.merge is Merge.SUM and not part.is_count and facts.get(part.name, Facts()).has_null:
            nullable.append(part.name)
            additive.append(Cell(companion(part.name), Merge.SUM, "BIGINT", "BIGINT"))
    if additive and exists is None:
        additive.append(Cell(N, Merge.SUM, "BIGINT", "BIGINT"))
        exists = N
    # Keys are numbered by integers of 32 bits, so their counts fit as well, and are written a fifth faster.
    distinct = [Cell(name, Merge.SUM, "INTEGER", "BIGINT", key=name) for name in member.distinct]
    if exists is None:
        full = [cell.name for cell in distinct if not facts[cell.name].has_null]
        exists = full[0] if full else presence(distinct[0].name)
    if distinct and exists == presence(distinct[0].name):
        distinct.append(Cell(exists, Merge.SUM, "INTEGER", "BIGINT", key=distinct[0].name, counts_missing=True))
    views = (*(window.suffix for window in member.windows), *(grain.suffix for grain in member.grains))
    views += (OVER_ALL_TIME,) if member.has_all_time else ()
    return Layout(member.prefix, tuple(additive), tuple(distinct), exists, tuple(nullable), views)


def presence(name: str) -> str:
    """Return the cell that counts keys including the missing one: above 0 wherever there are rows."""
    return f"{name}_p"


def _is_positive(part: Component, facts: dict[str, Facts]) -> bool:
    """Tell whether a sum is above 0 wherever there are rows, so that it tells whether there are any."""
    found = facts.get(part.name)
    return found is not None and found.is_positive and not found.has_null


def _cell(part: Component, kind: str, facts: Facts) -> Cell:
    if part.is_count:
        return Cell(part.name, part.merge, "BIGINT", "BIGINT")
    if part.merge is not Merge.SUM:
        return Cell(part.name, part.merge, kind, kind, exact=False)
    if kind in {"HUGEINT", "BIGINT", "UBIGINT", "INTEGER"}:
        small = facts.magnitude < MAX_INTEGER
        return Cell(part.name, part.merge, "BIGINT" if small else "HUGEINT", "BIGINT" if small else "HUGEINT")
    if kind.startswith("DECIMAL"):
        scale = int(kind.rstrip(")").partition(",")[2])
        if facts.magnitude < MAX_SCALED / 10.0**scale:
            return Cell(part.name, part.merge, "BIGINT", kind, scale=scale)
        return Cell(part.name, part.merge, kind, kind)
    if kind in {"DOUBLE", "FLOAT"} and facts.is_whole and facts.magnitude < MAX_EXACT_DOUBLE:
        return Cell(part.name, part.merge, "BIGINT", kind)
    return Cell(part.name, part.merge, kind, kind, exact=False)
