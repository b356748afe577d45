"""Bringing models up to date: what is new plus the lookback, each model in a transaction with its state."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from time import perf_counter

from tallystick.build import direct, state
from tallystick.build.direct import Target
from tallystick.build.report import Action, BuildReport, BuiltModel, Progress
from tallystick.build.state import BuiltState
from tallystick.compiler.definition_hash import definition_hash
from tallystick.compiler.model import Model
from tallystick.compiler.order import in_order
from tallystick.definitions.project import Project
from tallystick.engines.adapter import Engine
from tallystick.errors import StorageFullError, TallystickError, WarehouseLockedError


def build(
    engine: Engine,
    project: Project,
    models: Sequence[Model],
    *,
    end: datetime,
    now: datetime,
    progress: Progress | None = None,
) -> BuildReport:
    """Build models up to `end`; a model that fails is reported and leaves the others alone.

    Raise StorageFullError or WarehouseLockedError, since nothing that follows could succeed either.
    """
    started = perf_counter()
    state.prepare(engine)
    drop_leftovers(engine)
    states = state.read(engine)
    done: list[BuiltModel] = []
    current: set[str] = set()
    models = in_order(models, project)
    for model in models:
        outcome = _build_one(engine, project, model, states.get(model.name), end, now, current)
        done.append(outcome)
        if outcome.error is None:
            current.add(model.name)
        if progress is not None:
            progress(len(done), len(models), model.name)
    return BuildReport(models=tuple(done), seconds=perf_counter() - started)


def drop_leftovers(engine: Engine) -> None:
    """Drop what a killed build left beside the models it did not finish."""
    for name in sorted(engine.tables()):
        if name.startswith("_next_"):
            engine.execute(f"DROP TABLE {state.table(engine, name)}")


def _build_one(
    engine: Engine,
    project: Project,
    model: Model,
    old: BuiltState | None,
    end: datetime,
    now: datetime,
    current: Collection[str],
) -> BuiltModel:
    started = perf_counter()
    try:
        target = Target(model, definition_hash(model, project), project.settings.start, end, current)
        action, built = _bring_up_to_date(engine, project, target, old, now)
    except (StorageFullError, WarehouseLockedError):
        raise
    except TallystickError as error:
        return BuiltModel(name=model.name, metric=model.metric, action=Action.FAILED, error=str(error))
    seconds = perf_counter() - started
    return BuiltModel(name=model.name, metric=model.metric, action=action, rows=built.row_count, seconds=seconds)


def _bring_up_to_date(
    engine: Engine, project: Project, target: Target, old: BuiltState | None, now: datetime
) -> tuple[Action, BuiltState]:
    if old is None:
        return Action.CREATED, direct.create(engine, project, target, now)
    since = direct.refresh_from(target.model, min(old.covered_end, target.end), project)
    if old.definition_hash != target.definition_hash or since is None:
        action = Action.REBUILT if old.definition_hash != target.definition_hash else Action.REFRESHED
        return action, direct.create(engine, project, target, now)
    return Action.REFRESHED, direct.refresh(engine, project, target, old, since, now)
