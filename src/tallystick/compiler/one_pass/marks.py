"""Marks of days: prints of the rows that were counted on them, which tell where rows came late or changed.

They are made by one aggregate over the rows, without entities and keys, and nothing is counted again where they agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from tallystick.compiler.one_pass.days import number
from tallystick.compiler.one_pass.family import Family, Member
from tallystick.compiler.one_pass.gather import DAY, Stream, columns_of, flag, head_names, place
from tallystick.compiler.one_pass.names import WORK, quoted
from tallystick.compiler.sweep.counters import Whole
from tallystick.definitions.project import Project
from tallystick.sql.calendar import Calendar, floor_date, local_date, shift_date
from tallystick.sql.grain import Grain


@dataclass(frozen=True, slots=True)
class Marks:
    """The mark of each day from number `first` on; 0 where there are no rows."""

    first: int
    values: npt.NDArray[np.uint64]

    def since(self, day: int) -> Marks:
        """Return the marks of days from one of them on."""
        return Marks(day, self.values[day - self.first :])


def marks_of(days: Whole, values: Whole, first: int, last: int) -> Marks:
    """Return the marks of days from `first` to `last`, of which some are given; others have no rows."""
    marks = np.zeros(max(0, last + 1 - first), np.uint64)
    marks[days - first] = values
    return Marks(first, marks)


def first_change(before: Marks | None, now: Marks, first: int, until: int) -> int | None:
    """Return the first day of `[first, until)` that has other rows by now, None if none has.

    Days of which no mark was kept count as changed.
    """
    if first >= until:
        return None
    if before is None or before.first > first or before.first + len(before.values) < until:
        return first
    differs = (
        before.values[first - before.first : until - before.first] != now.values[first - now.first : until - now.first]
    )
    return first + int(np.argmax(differs)) if differs.any() else None


def looked_at_from(member: Member, covered_end: datetime, calendar: Calendar, lookback: int) -> int:
    """Return the first day a build looks at: so many whole buckets of each grain before the end of the last build.

    No build looks at days before 1970.
    """
    end = local_date(covered_end, calendar)
    try:
        firsts = [
            shift_date(floor_date(end, grain, calendar), grain, -lookback) for grain in (Grain.DAY, *member.grains)
        ]
    except (ValueError, OverflowError):
        return 0
    return max(0, number(min(firsts)))


def mark(family: Family, metric: str) -> str:
    """Return the column of the marks of a metric."""
    return f"{WORK}m{place(family, metric)}"


def marking(family: Family, project: Project, found: Sequence[Stream], rows: str) -> str:
    """Return the query of the marks of days, one `mark` per metric; `rows` is a relation of copied rows.

    What the XOR of prints does not tell, since rows that are there twice cancel out, their number and sum do.
    """
    marks: list[str] = []
    for metric, columns in columns_of(project, found).items():
        # Of one metric alone no rows are copied that it does not count, and to ask costs a fifth.
        passes = f" FILTER (WHERE {flag(family, metric)})" if len(family.members) > 1 else ""
        print_of_row = f"hash({', '.join([*map(quoted, [*head_names(family), *columns]), '0'])})"
        parts = ("count(*)", f"bit_xor({print_of_row})", f"sum(({print_of_row} >> 33)::INTEGER)")
        print_of_day = f"hash({', '.join(f'{part}{passes}' for part in parts)})"
        marks.append(
            f"CASE WHEN count(*){passes} > 0 THEN {print_of_day} ELSE 0::UBIGINT END AS {mark(family, metric)}"
        )
    return f"SELECT {DAY}, {', '.join(marks)} FROM {rows} AS r GROUP BY {DAY}"
