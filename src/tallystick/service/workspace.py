"""A project folder opened for work: the library's front door, in the same words as the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from tallystick.compiler.model import Model
from tallystick.compiler.plan import find_metric, metric_models, plan
from tallystick.definitions.diagnostics import Diagnostic
from tallystick.definitions.load import load as load_project
from tallystick.definitions.metric import Metric
from tallystick.definitions.project import Project
from tallystick.errors import UsageError
from tallystick.service import derived, query, render
from tallystick.service.instants import parse_instant
from tallystick.service.stores import made_in

if TYPE_CHECKING:
    import pyarrow as pa

    from tallystick.build.report import BuildReport, Progress
    from tallystick.collect.report import CollectReport
    from tallystick.compiler.factory_models import FactoryModel
    from tallystick.engines.adapter import Engine
    from tallystick.service.guess import Profile
    from tallystick.service.source import Preview
    from tallystick.store.runs import Run, Total

Instant = str | date | datetime
Frame = Any
"""A pyarrow Table, a pandas DataFrame or a polars DataFrame, as `format` says."""
Clock = Callable[[], datetime]


def load(path: str | Path = ".", *, clock: Clock | None = None) -> Workspace:
    """Open a project folder (or one TOML file); raise ProjectError if there is none.

    Definitions made in the service stand beside those of files. Definitions with errors are left out and explained in
    `.diagnostics`; nothing is read from the warehouse yet.
    """
    return Workspace(
        load_project(Path(path), partial(made_in, _root(Path(path)))), clock or (lambda: datetime.now(UTC))
    )


def _root(path: Path) -> Path:
    return path if path.is_dir() else path.parent


class Workspace:
    """A loaded project and, once something asks for rows, a connection to its warehouse."""

    def __init__(self, project: Project, clock: Clock) -> None:
        self.project = project
        self._clock = clock
        self._engine: Engine | None = None
        self._writable = False

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Return every metric by name."""
        return self.project.metrics

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Return what was found while reading the definitions, without asking the warehouse."""
        return self.project.diagnostics

    @property
    def as_of(self) -> datetime:
        """Return the project's fixed clock, or now (UTC)."""
        return self.project.settings.as_of or self._clock()

    def check(self, *, offline: bool = False) -> tuple[Diagnostic, ...]:
        """Return all diagnostics; unless offline, columns and tables are looked up in the warehouse too."""
        from tallystick.service.check import check

        return check(self.project, None if offline else self._read)

    def models(self, metric: str | None = None) -> tuple[Model, ...]:
        """Return the models of a metric, or of all; raise UnknownNameError."""
        if metric is None:
            return plan(self.project)
        return tuple(metric_models(find_metric(self.project, metric), self.project))

    def derived(self) -> tuple[FactoryModel, ...]:
        """Return the unions and descriptions that are made of what a registry lists (spec oso §8)."""
        return derived.models(self.project)

    def render(  # noqa: PLR0913 - the words of the command line
        self,
        metric: str,
        *,
        model: str | None = None,
        entity: str | None = None,
        grain: str | None = None,
        window: int | str | None = None,
        all_time: bool = False,
        by: Sequence[str] = (),
        dialect: str | None = None,
        full: bool = False,
        start: Instant | None = None,
        end: Instant | None = None,
    ) -> str:
        """Return the SQL of one model of a metric; with `full`, dates are bound. No connection is made."""
        union = derived.find(self.project, model or metric)
        if union is not None:
            return derived.render(self.project, union, dialect or self.project.warehouse.engine)
        chosen = query.choose(
            self.project, metric, model=model, entity=entity, grain=grain, window=window, all_time=all_time, by=by
        )
        span = query.span(self.project, chosen, start, end, self.as_of) if full or start or end else None
        return render.render(self.project, chosen, dialect or self.project.warehouse.engine, span, self.as_of)

    def query(  # noqa: PLR0913 - the words of the command line
        self,
        metric: str,
        *,
        model: str | None = None,
        entity: str | None = None,
        grain: str | None = None,
        window: int | str | None = None,
        all_time: bool = False,
        by: Sequence[str] = (),
        where: str | Iterable[str] | None = None,
        start: Instant | None = None,
        end: Instant | None = None,
        limit: int | None = None,
        format: Literal["arrow", "pandas", "polars"] = "arrow",  # noqa: A002 - the word the command line uses
    ) -> Frame:
        """Compute a metric from its rows now and return one row per bucket, entity and breakdown, oldest first.

        Columns: bucket, the entity's key, breakdowns, value, numerator and denominator of a quotient, n (rows behind
        the value) and state (`settling` until no more rows can be expected, then `final`).
        """
        chosen = query.choose(
            self.project, metric, model=model, entity=entity, grain=grain, window=window, all_time=all_time, by=by
        )
        conditions = (where,) if isinstance(where, str) else tuple(where or ())
        with self._reading(query.warehouse_of(self.project, chosen.metric)) as engine:
            table = query.run(engine, self.project, chosen, conditions, start, end, self.as_of, limit)
        return _as_format(table, format)

    def read(  # noqa: PLR0913 - the words of the command line
        self,
        metric: str,
        *,
        model: str | None = None,
        entity: str | None = None,
        grain: str | None = None,
        window: int | str | None = None,
        all_time: bool = False,
        by: Sequence[str] = (),
        start: Instant | None = None,
        end: Instant | None = None,
        ids: Sequence[str | int] = (),
        totals: Sequence[str] = (),
        per: str | None = None,
        by_entity: bool = False,
        limit: int | None = None,
        format: Literal["arrow", "pandas", "polars"] = "arrow",  # noqa: A002 - the word the command line uses
    ) -> Frame:
        """Return rows of a built model, or totals of them, without computing it again; what was built last is read.

        `ids` are keys of the entities wanted. `totals` are functions of the values (count, sum, avg, min, max), over
        all rows, or for each bucket of the grain `per` and, with `by_entity`, each entity. Raise MissingTableError
        for a model that is not built.
        """
        from tallystick.service import built

        chosen = query.choose(
            self.project, metric, model=model, entity=entity, grain=grain, window=window, all_time=all_time, by=by
        )
        covered = query.span(self.project, chosen, start, end, self.as_of)
        ask = built.Ask(tuple(ids), tuple(totals), per, by_entity=by_entity, limit=limit)
        begin, stop = covered.first_day if start is not None else None, covered.last_day if end is not None else None
        return _as_format(built.read(self._read(), self.project, chosen, begin, stop, ask), format)

    def preview(self, source: str | None = None, *, sql: str | None = None, table: str | None = None) -> Preview:
        """Look at a source of the project, or at a query or table of its warehouse that is none yet.

        Raise UnknownNameError, DefinitionError where the query is refused, or EngineError.
        """
        from tallystick.service.dependants import find_source
        from tallystick.service.source import ad_hoc_source, preview

        found = (
            ad_hoc_source(self.project, sql=sql, table=table) if source is None else find_source(self.project, source)
        )
        with self._reading(query.elsewhere(self.project, found)) as engine:
            return preview(engine, self.project, found, self.as_of)

    def profile(self, table: str) -> tuple[Profile, ...]:
        """Read types, values, NULLs and different values of a table's columns; raise EngineError."""
        from tallystick.service.profile import profile, table_relation

        engine = self._read()
        return profile(engine, table_relation(table, engine.dialect))

    def build(
        self,
        select: Sequence[str] = (),
        *,
        start: Instant | None = None,
        end: Instant | None = None,
        restate: tuple[Instant, Instant] | None = None,
        progress: Progress | None = None,
    ) -> BuildReport:
        """Materialise models in the warehouse: what is new plus the lookback. `select` names metrics or models.

        `restate` is a range whose rows have changed since: it is read again, and everything that follows from it.
        Raise UsageError where its end lies before its start, or `end` before `start`.
        """
        from tallystick.build.build import build

        unions = derived.select(self.project, select)
        named = {name for union in unions for name in (union.name, union.table)}
        asked = [name for name in select if name not in named]
        models = query.select_models(self.project, asked) if asked or not select else ()
        stop = min(parse_instant(end, self.project), self.as_of) if end is not None else self.as_of
        project = query.starting_at(self.project, start)
        begin = project.settings.start
        if start is not None and begin is not None and begin >= stop:
            raise UsageError(f"nothing lies between {begin:%Y-%m-%d} and {stop:%Y-%m-%d}", hint="check start and end")
        since = query.restated_from(self.project, restate)
        return build(
            self._write(),
            project,
            models,
            end=stop,
            now=self._clock(),
            since=since,
            progress=progress,
            derived=unions,
        )

    def collect(
        self,
        select: Sequence[str] = (),
        *,
        due: bool = False,
        start: Instant | None = None,
        end: Instant | None = None,
        seconds: float | None = None,
    ) -> CollectReport:
        """Read series of the named metrics, or of all active ones, into the store; with `due` only what is due.

        After `seconds` nothing more is begun; what is left stays due. A window that failed is in the report and
        leaves the others alone.
        """
        from tallystick.service import collect

        engine = self._read()
        return collect.run(
            self.project,
            engine,
            select,
            due=due,
            start=start,
            end=end,
            as_of=self.as_of,
            clock=self._clock,
            seconds=seconds,
        )

    def series(
        self,
        metric: str,
        *,
        grain: str | None = None,
        entity: str | None = None,
        by: str | None = None,
        start: Instant | None = None,
        end: Instant | None = None,
        format: Literal["arrow", "pandas", "polars"] = "arrow",  # noqa: A002 - the word the command line uses
    ) -> Frame:
        """Return collected values of a metric from the store: one row per bucket, entity and dimension value.

        Columns: bucket, the entity's key, the dimension, value, numerator, denominator, n, state (`settling`, `final`
        or `restated`) and collected_at; is_other where values of the dimension were folded into one. The warehouse is not asked.
        """
        from tallystick.service import collect

        wanted = collect.choose(self.project, metric, grain, entity, by)
        found = collect.stored(self.project, wanted, start, end)
        return _as_format(collect.table(found, self.project, wanted), format)

    def runs(self, metric: str | None = None, *, limit: int = 50, failed: bool = False) -> tuple[Run, ...]:
        """Return the newest runs of the collector first, of one metric or all; with `failed` only those that failed."""
        from tallystick.service import collect

        return collect.history(self.project, metric, limit=limit, failed=failed)

    def totals(self, *, start: Instant | None = None) -> tuple[Total, ...]:
        """Return what collecting each metric has cost, the dearest first; with `start`, of runs since."""
        from tallystick.service import collect

        return collect.totals(self.project, start)

    def close(self) -> None:
        """Close the connection to the warehouse, if one was made."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> Engine:
        from tallystick.engines.connect import connect

        if self._engine is None:
            self._engine = connect(self.project, read_only=True)
            self._writable = False
        return self._engine

    @contextmanager
    def _reading(self, warehouse: str | None) -> Iterator[Engine]:
        """Give the connection to the project's warehouse, or one to another for the while."""
        if warehouse is None:
            yield self._read()
            return
        from tallystick.engines.connect import connect

        engine = connect(self.project, read_only=True, name=warehouse)
        try:
            yield engine
        finally:
            engine.close()

    def _write(self) -> Engine:
        if self._engine is None or not self._writable:
            from tallystick.engines.connect import connect

            self.close()
            self._engine = connect(self.project)
            self._writable = True
        return self._engine


def _as_format(table: pa.Table, name: str) -> Frame:
    if name == "pandas":
        return table.to_pandas()
    if name == "polars":
        import polars as pl

        return pl.from_arrow(table)
    return table
