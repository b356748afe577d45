"""Reading series: the points of wanted metrics over a span, one bad metric never in the way of the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter

from tallystick.collect.read_answer import columns_of
from tallystick.collect.read_columns import SeriesColumns
from tallystick.compiler.passes.single import single_text
from tallystick.compiler.series import Point, Wanted
from tallystick.compiler.span import Span
from tallystick.definitions.project import Project
from tallystick.engines.adapter import Engine
from tallystick.engines.limits import UNLIMITED, Limits
from tallystick.errors import TallystickError


@dataclass(frozen=True, eq=False, kw_only=True)
class SeriesRead:
    """What came back for one series: its columns or the error that kept it from being read.

    `sql` are the statements it was read by, some of them for others too; `seconds` is its share of their time.
    """

    wanted: Wanted
    columns: SeriesColumns | None = None
    error: TallystickError | None = None
    sql: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def rows(self) -> int:
        """Return the number of points."""
        return 0 if self.columns is None else len(self.columns)

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """Return the points, oldest first, made when they are first asked for."""
        return () if self.columns is None else self.columns.points()


def read_series(
    engine: Engine, project: Project, wanted: Sequence[Wanted], span: Span, limits: Limits = UNLIMITED
) -> Iterator[SeriesRead]:
    """Read series over a span, one result per wanted one and in their order; errors are in the results."""
    for each in wanted:
        yield read_one(engine, project, each, span, limits)


def read_one(engine: Engine, project: Project, wanted: Wanted, span: Span, limits: Limits = UNLIMITED) -> SeriesRead:
    """Read one series by one query of its own: what every other way of reading it must agree with."""
    began = perf_counter()
    sql: tuple[str, ...] = ()
    try:
        sql = (single_text(wanted, project, span, engine.dialect),)
        columns = columns_of(engine.run(sql[0], limits), project, wanted)
    except TallystickError as error:
        return SeriesRead(wanted=wanted, error=error, sql=sql, seconds=perf_counter() - began)
    return SeriesRead(wanted=wanted, columns=columns, sql=sql, seconds=perf_counter() - began)
