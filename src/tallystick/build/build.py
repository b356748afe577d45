"""Bringing models up to date: what is new plus the lookback, together with the state that says so.

Models that can be derived from one reading of their source are built as families; the rest by their direct queries,
each after its parts. A metric that fails is reported and leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from tallystick.build import direct, pending, state
from tallystick.build.derived import build_derived, set_aside
from tallystick.build.direct import Target
from tallystick.build.one_pass import state as one_pass_state
from tallystick.build.one_pass.build import build_family
from tallystick.build.one_pass.job import Found, look
from tallystick.build.report import Action, BuildReport, BuiltModel, Progress
from tallystick.build.state import BuiltState
from tallystick.compiler.definition_hash import definition_hash
from tallystick.compiler.derived_models import project_derived
from tallystick.compiler.factory_models import FactoryModel
from tallystick.compiler.lower import source_names
from tallystick.compiler.model import Model
from tallystick.compiler.one_pass.family import Family, families
from tallystick.compiler.order import circles, in_a_circle, in_order
from tallystick.definitions.metric import SqlQuery
from tallystick.definitions.project import Project
from tallystick.engines.adapter import Engine, embedded
from tallystick.errors import CompileError, EngineBrokenError, StorageFullError, TallystickError, WarehouseLockedError
from tallystick.sql.calendar import floor
from tallystick.sql.grain import Grain

if TYPE_CHECKING:
    import pyarrow as pa

HOPELESS = (StorageFullError, WarehouseLockedError, EngineBrokenError)
"""Errors after which nothing else could be built either."""

Built = TypeVar("Built")


def build(
    engine: Engine,
    project: Project,
    models: Sequence[Model],
    *,
    end: datetime,
    now: datetime,
    since: datetime | None = None,
    progress: Progress | None = None,
    derived: Sequence[FactoryModel] = (),
) -> BuildReport:
    """Build models up to `end`, then what is `derived` from them; one that fails leaves the others alone.

    `since` restates: rows from then on are read again, however old, and all that follows from them.
    Raise StorageFullError, WarehouseLockedError or EngineBrokenError: nothing that follows could succeed either.
    """
    started = perf_counter()
    ordered = in_order(models, project)
    asked = frozenset(model.name for model in ordered)
    round_about = circles(ordered, project)
    with _on_one_thread(engine):
        before = _look(engine)
        drop_leftovers(engine, before.relations)
        aside = set_aside(engine, project_derived(project), before.relations)
        run = _Run(engine, project, before, end, now, asked, progress, since, cache(engine.run))
        here = tuple(
            model for model in ordered if not _lies_elsewhere(run, model) and not _is_circular(run, model, round_about)
        )
        groups, rest = families(project, here) if engine.capabilities.one_pass else ((), here)
        for family in groups:
            _build_family(run, family, before)
        if groups:
            embedded(engine).checkpoint(leaves_gaps=not run.closes_gaps)
    if engine.capabilities.one_pass and (rest or run.apart):
        run.pending = pending.read(engine)
    place = {model.name: index for index, model in enumerate(ordered)}
    for model in sorted([*rest, *run.apart], key=lambda model: place[model.name]):
        _build_directly(run, model)
    _leave_pending(run, [*rest, *run.apart])
    done = tuple(sorted(run.done, key=lambda outcome: place[outcome.name]))
    wanted = {model.table for model in derived}
    unions = (*derived, *(model for model in aside if model.table not in wanted))
    after = tuple(build_derived(engine, project, unions, end=end, now=now)) if unions else ()
    return BuildReport(models=(*done, *after), seconds=perf_counter() - started)


@contextmanager
def _on_one_thread(engine: Engine) -> Iterator[None]:
    """Let an embedded engine work on one thread until a step asks for more, and on all of them afterwards."""
    if not engine.capabilities.one_pass:
        yield
        return
    embedded(engine).use_threads(1)
    try:
        yield
    finally:
        embedded(engine).use_threads(None)


def _look(engine: Engine) -> Found:
    """Return what is in a warehouse; create the tables of states where they are missing."""
    if engine.capabilities.one_pass:
        return look(engine)
    there = engine.tables()
    if not {state.TABLE, state.HISTORY} <= there:
        state.prepare(engine)
    return Found(there, state.read(engine))


def drop_leftovers(engine: Engine, there: Collection[str]) -> None:
    """Drop what a killed build left beside the models it did not finish, out of the relations that are there."""
    for name in sorted(there):
        if name.startswith(("_next_", "_gone_")):
            engine.drop(name)


@dataclass(slots=True)
class _Run:
    """One build under way: what it started from, and what it has done."""

    engine: Engine
    project: Project
    before: Found
    end: datetime
    now: datetime
    asked: frozenset[str]
    progress: Progress | None
    since: datetime | None = None
    look: Callable[[str], pa.Table] | None = None
    done: list[BuiltModel] = field(default_factory=list)
    current: set[str] = field(default_factory=set)
    apart: list[Model] = field(default_factory=list)
    """Models of queries that cannot be built together."""
    closes_gaps: bool = False
    pending: Mapping[str, datetime] = field(default_factory=dict)
    """Models that have to be worked out again from an instant on, as their parts have changed since."""

    @property
    def states(self) -> Mapping[str, BuiltState]:
        """Return the states of models before the build."""
        return self.before.states

    def finish(self, outcome: BuiltModel) -> None:
        """Note one model's outcome and tell whoever watches."""
        self.done.append(outcome)
        if outcome.error is None:
            self.current.add(outcome.name)
        if self.progress is not None:
            self.progress(len(self.done), len(self.asked), outcome.name)

    def action(self, built: BuiltState) -> Action:
        """Tell what bringing a model to its new state meant."""
        old = self.states.get(built.model)
        if old is None:
            return Action.CREATED
        return Action.REFRESHED if old.definition_hash == built.definition_hash else Action.REBUILT


def _lies_elsewhere(run: _Run, model: Model) -> bool:
    """Report a model whose rows are in another warehouse than the one that is built into."""
    project = run.project
    named = [project.sources[name] for name in source_names(project, project.metrics[model.metric])]
    away = [source for source in named if source.warehouse not in (None, project.warehouse.name)]
    for source in away[:1]:
        message = (
            f"source '{source.name}' is in warehouse '{source.warehouse}', and models are built in "
            f"'{project.warehouse.name}'"
        )
        hint = f"collect it instead: tally collect {model.metric}"
        run.finish(_failure(model, CompileError(message, hint=hint)))
    return bool(away)


def _is_circular(run: _Run, model: Model, circles: Mapping[str, Sequence[str]]) -> bool:
    """Report a model that is made from itself: no order would build its parts first."""
    path = circles.get(model.name)
    if path is not None:
        run.finish(_failure(model, in_a_circle(path)))
    return path is not None


def _build_family(run: _Run, family: Family, before: Found | None) -> None:
    """Build a family at once; where that fails, its metrics one by one to find those that can be built."""
    outcome, seconds = _attempt(
        lambda: build_family(run.engine, run.project, family, end=run.end, now=run.now, since=run.since, before=before)
    )
    if isinstance(outcome, TallystickError):
        if len(family.members) > 1:
            for member in family.members:
                # They share dictionaries, which the first of them may create.
                _build_family(run, replace(family, members=(member,)), None)
            return
        (member,) = family.members
        asked = [model for model in member.models if model.name in run.asked]
        if member.query is not None:
            # Its own queries are what decides, and what they say of a mistake is in the words of the definition.
            one_pass_state.spoil(run.engine, member.prefix)
            run.apart += asked
            return
        for model in asked:
            run.finish(_failure(model, outcome))
        return
    run.closes_gaps |= not outcome.leaves_gaps
    for built in outcome.states:
        if built.model in run.asked:
            run.finish(_success(run, built, seconds / len(outcome.states)))


def _build_directly(run: _Run, model: Model) -> None:
    outcome, seconds = _attempt(lambda: _bring_up_to_date(run, model))
    if isinstance(outcome, TallystickError):
        run.finish(_failure(model, outcome))
    else:
        run.finish(_success(run, outcome, seconds))


def _bring_up_to_date(run: _Run, model: Model) -> BuiltState:
    """Build a model; with what was pending for it, in one transaction."""
    if model.name not in run.pending:
        return _create_or_refresh(run, model)
    with run.engine.transaction():
        built = _create_or_refresh(run, model)
        pending.done(run.engine, model.name)
    return built


def _create_or_refresh(run: _Run, model: Model) -> BuiltState:
    project, old = run.project, run.states.get(model.name)
    if model.name not in run.before.relations or run.pending.get(model.name) == pending.BEGINNING:
        old = None
    target = Target(model, definition_hash(model, project), project.settings.start, run.end, run.current, run.look)
    definition = project.metrics[model.metric].definition
    is_full = isinstance(definition, SqlQuery) and not definition.incremental and model.time.window is None
    since = direct.refresh_from(model, min(old.covered_end, run.end), project) if old and not is_full else None
    for again in (run.since, run.pending.get(model.name)):
        if since is not None and again is not None:
            since = min(since, floor(again, model.time.grain or Grain.DAY, direct.calendar(project, model)))
    if old is None or since is None or old.definition_hash != target.definition_hash or old.storage != direct.DENSE:
        return direct.create(run.engine, project, target, run.now)
    return direct.refresh(run.engine, project, target, old, since, run.now)


def _leave_pending(run: _Run, models: Collection[Model]) -> None:
    """Note a restatement of models for those that are made from them and were no part of the build."""
    if run.since is not None and run.engine.capabilities.one_pass:
        restated = {model.metric: run.since for model in models if model.name in run.current}
        pending.note(run.engine, run.project, restated, run.states.keys() - run.current)


def _attempt(work: Callable[[], Built]) -> tuple[Built | TallystickError, float]:
    """Run one piece of work and time it; return its error instead, unless nothing that follows could succeed."""
    started = perf_counter()
    try:
        outcome: Built | TallystickError = work()
    except HOPELESS:
        raise
    except TallystickError as error:
        outcome = error
    return outcome, perf_counter() - started


def _success(run: _Run, built: BuiltState, seconds: float) -> BuiltModel:
    action = run.action(built)
    return BuiltModel(name=built.model, metric=built.metric, action=action, rows=built.row_count, seconds=seconds)


def _failure(model: Model, error: TallystickError) -> BuiltModel:
    return BuiltModel(name=model.name, metric=model.metric, action=Action.FAILED, error=str(error))
