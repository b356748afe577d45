"""Reading series: the points of wanted metrics over a span, one bad metric never in the way of the others.

`read_series` plans all of them together and reads each source as few times as pays; `read_one` reads one series by one
query of its own, and what it gives is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter
from types import MappingProxyType

from tallystick.collect.read_answer import columns_of
from tallystick.collect.read_columns import SeriesColumns
from tallystick.collect.read_derived import derived_columns
from tallystick.collect.read_lattice import run_lattice, sizes_of
from tallystick.collect.read_passes import run_pass
from tallystick.compiler.lower import source_names
from tallystick.compiler.passes.combine import InexactError
from tallystick.compiler.passes.derived import Derivation, derivation
from tallystick.compiler.passes.lattice import LatticePass
from tallystick.compiler.passes.planner import Pass, SinglePass, Target, plan_series
from tallystick.compiler.passes.single import single_text
from tallystick.compiler.series import Point, Wanted
from tallystick.compiler.span import Span
from tallystick.definitions.project import Project
from tallystick.engines.adapter import Engine
from tallystick.engines.limits import UNLIMITED, Limits
from tallystick.errors import (
    CompileError,
    ConnectionFailedError,
    EngineBrokenError,
    ResultTooLargeError,
    StorageFullError,
    TallystickError,
)

_NO_OTHERS: Mapping[str, Engine] = MappingProxyType({})
# Asking again for half of the series would not help against these.
_HOPELESS = (ConnectionFailedError, EngineBrokenError, StorageFullError)


@dataclass(frozen=True, eq=False, kw_only=True)
class SeriesRead:
    """What came back for one series: its columns, or the error that kept it from being read.

    `sql` are the statements it was read by, some of them for others too; `seconds` is its share of their time,
    `bytes` what all of them answered together as Arrow, None where they did not.
    """

    wanted: Wanted
    columns: SeriesColumns | None = None
    error: TallystickError | None = None
    sql: tuple[str, ...] = ()
    seconds: float = 0.0
    bytes: int | None = None

    @property
    def rows(self) -> int:
        """Return the number of points."""
        return 0 if self.columns is None else len(self.columns)

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """Return the points, oldest first, made when they are first asked for."""
        return () if self.columns is None else self.columns.points()


def read_series(
    engine: Engine,
    project: Project,
    wanted: Sequence[Wanted],
    span: Span,
    limits: Limits = UNLIMITED,
    *,
    others: Mapping[str, Engine] = _NO_OTHERS,
) -> Iterator[SeriesRead]:
    """Read series over a span, one result per wanted one and in their order; errors are in the results.

    Sources of a warehouse named in `others` are read there; a formula may have operands in several.
    """
    work = _Reading(engine, project, span, limits, others)
    work.read(wanted)
    for each in wanted:
        yield work.found[each]


def read_one(engine: Engine, project: Project, wanted: Wanted, span: Span, limits: Limits = UNLIMITED) -> SeriesRead:
    """Read one series by one query of its own: what every other way of reading it must agree with."""
    began = perf_counter()
    sql: tuple[str, ...] = ()
    size: int | None = None
    try:
        sql = (single_text(wanted, project, span, engine.dialect),)
        table = engine.run(sql[0], limits)
        size = table.nbytes
        columns = columns_of(table, project, wanted)
    except TallystickError as error:
        return SeriesRead(wanted=wanted, error=error, sql=sql, seconds=perf_counter() - began, bytes=size)
    return SeriesRead(wanted=wanted, columns=columns, sql=sql, seconds=perf_counter() - began, bytes=size)


def explain(project: Project, wanted: Sequence[Wanted], span: Span, dialect: str) -> tuple[str, ...]:
    """Return the SQL that `read_series` sends for series, without a connection (tripl §7.7).

    Nobody can tell without one which dimensions are small, so that each has queries of its own here.
    Raise the error of the first series that cannot be compiled.
    """
    leaves: list[Wanted] = []
    for each in wanted:
        derived = derivation(each, project)
        leaves += [each] if derived is None else derived.operands.values()
    plan = plan_series(leaves, Target(project, span, dialect))
    for error in plan.errors.values():
        raise error
    return plan.queries


@dataclass(slots=True)
class _Reading:
    """The series read so far; derived ones follow from the others."""

    engine: Engine
    project: Project
    span: Span
    limits: Limits
    others: Mapping[str, Engine]
    found: dict[Wanted, SeriesRead] = field(default_factory=dict)

    def read(self, wanted: Sequence[Wanted]) -> None:
        """Read every series into `found`."""
        leaves: dict[str | None, dict[Wanted, None]] = {}
        derived: dict[Wanted, Derivation] = {}
        for each in dict.fromkeys(wanted):
            try:
                made = derivation(each, self.project, must=self._is_spread(each))
            except TallystickError as error:
                self._fail([each], error)
                continue
            if made is not None:
                derived[each] = made
            elif self._is_spread(each):
                self._fail([each], _spread_error(each))
                continue
            for leaf in [each] if made is None else made.operands.values():
                leaves.setdefault(self._warehouse(leaf), {})[leaf] = None
        for warehouse, members in leaves.items():
            self._read_there(self._engine(warehouse), list(members))
        for each, made in derived.items():
            self._derive(each, made)

    def _read_there(self, engine: Engine, wanted: list[Wanted]) -> None:
        target = Target(self.project, self.span, engine.dialect)
        plan = plan_series(wanted, target, lambda asked: sizes_of(engine, asked, self.limits))
        for each, error in plan.errors.items():
            self._fail([each], error)
        for work in plan.passes:
            self._run(engine, work)

    def _run(self, engine: Engine, work: Pass) -> None:
        began = perf_counter()
        try:
            if isinstance(work, LatticePass):
                answer = run_lattice(engine, work, self.limits)
            else:
                answer = run_pass(engine, work, self.project, self.limits)
        except TallystickError as error:
            self._again(engine, work, error, perf_counter() - began)
            return
        seconds = (perf_counter() - began) / len(work.wanted)
        for each, series in answer.columns.items():
            self.found[each] = self._bounded(
                SeriesRead(wanted=each, columns=series, sql=answer.queries, seconds=seconds, bytes=answer.bytes)
            )
        for each in answer.missing:
            self.found[each] = read_one(engine, self.project, each, self.span, self.limits)

    def _again(self, engine: Engine, work: Pass, error: TallystickError, seconds: float) -> None:
        """Read the series of a failed pass by halves, so that the one at fault fails alone."""
        if isinstance(error, _HOPELESS) or isinstance(work, SinglePass):
            self._fail(work.wanted, error, work.queries, seconds / len(work.wanted))
            return
        if len(work.wanted) <= 2:
            for each in work.wanted:
                self.found[each] = read_one(engine, self.project, each, self.span, self.limits)
            return
        half = len(work.wanted) // 2
        self._read_there(engine, list(work.wanted[:half]))
        self._read_there(engine, list(work.wanted[half:]))

    def _derive(self, wanted: Wanted, made: Derivation) -> None:
        began = perf_counter()
        reads = {name: self.found[leaf] for name, leaf in made.operands.items()}
        sql = tuple(dict.fromkeys(text for read in reads.values() for text in read.sql))
        for read in reads.values():
            if read.error is not None:
                self._fail([wanted], read.error, sql)
                return
        try:
            columns = derived_columns(
                made, {name: read.columns for name, read in reads.items() if read.columns is not None}
            )
        except InexactError:
            if self._is_spread(wanted):
                self._fail([wanted], _spread_error(wanted), sql)
            else:
                self.found[wanted] = read_one(self.engine, self.project, wanted, self.span, self.limits)
            return
        self.found[wanted] = self._bounded(
            SeriesRead(wanted=wanted, columns=columns, sql=sql, seconds=perf_counter() - began, bytes=_together(reads))
        )

    def _bounded(self, read: SeriesRead) -> SeriesRead:
        """Hold a series to the rows an answer of its own may have."""
        if self.limits.rows is None or read.rows <= self.limits.rows:
            return read
        error = ResultTooLargeError(
            f"the answer holds more than {self.limits.rows:,} rows", hint="ask for less at once"
        )
        return SeriesRead(wanted=read.wanted, error=error, sql=read.sql, seconds=read.seconds, bytes=read.bytes)

    def _fail(
        self, wanted: Sequence[Wanted], error: TallystickError, sql: tuple[str, ...] = (), seconds: float = 0.0
    ) -> None:
        for each in wanted:
            self.found[each] = SeriesRead(wanted=each, error=error, sql=sql, seconds=seconds)

    def _warehouse(self, wanted: Wanted) -> str | None:
        """Return the name in `others` of the warehouse a series is read from, if it is one of those."""
        names = self._warehouses(wanted)
        return next(iter(names), None)

    def _warehouses(self, wanted: Wanted) -> frozenset[str | None]:
        metric = self.project.metrics.get(wanted.metric)
        if metric is None:
            return frozenset()
        named = (self.project.sources[name].warehouse for name in source_names(self.project, metric))
        return frozenset(name if name in self.others else None for name in named)

    def _is_spread(self, wanted: Wanted) -> bool:
        return len(self._warehouses(wanted)) > 1

    def _engine(self, warehouse: str | None) -> Engine:
        return self.engine if warehouse is None else self.others[warehouse]


def _together(reads: Mapping[str, SeriesRead]) -> int:
    """Return the bytes of the queries operands were read by, of one they share only once."""
    return sum({read.sql: read.bytes or 0 for read in reads.values()}.values())


def _spread_error(wanted: Wanted) -> CompileError:
    return CompileError(
        f"metric '{wanted.metric}' has operands in several warehouses and a formula that only one could compute",
        hint="use + - * and / between the operands, without a limit of values",
    )
