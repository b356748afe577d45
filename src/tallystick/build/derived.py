"""Building what is made from models: unions as views, descriptions as tables (spec oso §8).

Unions read what has been built; a table that is not there is left out of them. What has not changed is left alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from time import perf_counter

from sqlglot import exp

from tallystick.build import state
from tallystick.build.report import Action, BuiltModel
from tallystick.build.state import BuiltState
from tallystick.compiler.definition_context import DefinitionContext, definition_context, key_of
from tallystick.compiler.definition_hash import definition_hash
from tallystick.compiler.derived_models import derived_model, described
from tallystick.compiler.factory_models import FactoryModel
from tallystick.compiler.lower import to_text
from tallystick.definitions.project import Project
from tallystick.engines.adapter import Engine
from tallystick.errors import TallystickError

VIEW, TABLE = "view", "dense"
HOLDS_TABLES = frozenset({"postgres"})
"""Engines whose views keep to the table they were made over, under whatever name: one could not be replaced."""


def set_aside(engine: Engine, models: Sequence[FactoryModel], there: Collection[str]) -> tuple[FactoryModel, ...]:
    """Drop the views that would keep the tables under them from being replaced, and return them."""
    if engine.dialect not in HOLDS_TABLES:
        return ()
    found = tuple(model for model in models if model.materialized == "view" and model.table in there)
    for model in found:
        engine.drop(model.table)
    return found


def build_derived(
    engine: Engine, project: Project, models: Sequence[FactoryModel], *, end: datetime, now: datetime
) -> Iterator[BuiltModel]:
    """Make unions and descriptions of what has been built by now; one that fails leaves the others alone."""
    there, old = engine.tables(), state.read(engine)
    work = _Work(engine, definition_context(project, engine.dialect), end, now)
    for model in models:
        started = perf_counter()
        try:
            outcome: Action | TallystickError = _build(work, model, there, old)
        except TallystickError as error:
            outcome = error
        seconds = perf_counter() - started
        name, metric = model.table, model.metric or ""
        if isinstance(outcome, TallystickError):
            yield BuiltModel(name=name, metric=metric, action=Action.FAILED, seconds=seconds, error=str(outcome))
        else:
            there = there | {name}
            yield BuiltModel(name=name, metric=metric, action=outcome, rows=None, seconds=seconds)


@dataclass(frozen=True, slots=True)
class _Work:
    """Where to build, what the definitions are compiled against, and the times that go into the state."""

    engine: Engine
    context: DefinitionContext
    end: datetime
    now: datetime


def _build(work: _Work, model: FactoryModel, there: Collection[str], states: dict[str, BuiltState]) -> Action:
    """Make one of them unless it is there as it should be, and note its state: later ones may read it."""
    engine, context, old = work.engine, work.context, states.get(model.table)
    model = replace(model, members=tuple(name for name in model.members if name.rpartition(".")[2] in there))
    wanted = _fingerprint(model, context, states)
    if old is not None and old.definition_hash == wanted and model.table in there:
        return Action.REFRESHED
    tree, is_view = derived_model(model, context), model.materialized == "view"
    if is_view and engine.capabilities.looks_beside:
        for table in tree.find_all(exp.Table):
            table.set("db", None)
    query = to_text(tree, engine.dialect, reads=context.project.dialect, pretty=False, copy=False)
    found = BuiltState(
        model=model.table,
        metric=model.metric or "",
        definition_hash=wanted,
        storage=VIEW if is_view else TABLE,
        covered_start=None,
        covered_end=work.end,
        row_count=None,
        built_at=work.now,
    )
    with engine.transaction():
        engine.drop(model.table)
        if is_view:
            engine.execute(f"CREATE VIEW {engine.qualified(model.table)} AS {query}")
        else:
            engine.create_as(model.table, query)
        state.write(engine, found)
    states[model.table] = found
    return Action.CREATED if old is None else Action.REBUILT


def _fingerprint(model: FactoryModel, context: DefinitionContext, states: Mapping[str, BuiltState]) -> str:
    """Return 16 hexadecimal digits over what decides the rows and types of a union or description."""
    project = context.project
    built = (states.get(name.rpartition(".")[2]) for name in model.members)
    facts: dict[str, object] = {
        "members": model.members,
        "built": [found and found.definition_hash for found in built],
        "compat": project.settings.compat,
        "schema": context.schema,
    }
    if model.metric is not None:
        metric = next(metric for metric in project.metrics.values() if key_of(metric) == model.metric)
        facts["about"] = [metric.about.friendly_name, metric.about.description, metric.about.unit]
        facts["models"] = [definition_hash(each, project) for _, each in described(metric, context)]
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
