"""Which models are made of which, and an order that builds every part before what is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from tallystick.compiler.definition_context import DefinitionContext, definition_context
from tallystick.compiler.formula_model import operands
from tallystick.compiler.model import Model
from tallystick.compiler.plan import plan
from tallystick.compiler.sql_definition import peer_models
from tallystick.definitions.graph import ARROW, cycles
from tallystick.definitions.metric import Formula, SqlQuery
from tallystick.definitions.project import Project
from tallystick.errors import CompileError, TallystickError


def parts(model: Model, project: Project, context: DefinitionContext) -> tuple[Model, ...]:
    """Return the models of other metrics whose rows this model can be, or has to be, made from."""
    metric = project.metrics[model.metric]
    if isinstance(metric.definition, Formula):
        names = operands(metric, project.metrics, project.dialect)
        return tuple(replace(model, metric=name) for name in names)
    if isinstance(metric.definition, SqlQuery):
        return peer_models(metric, model, context)
    return ()


def in_order(models: Iterable[Model], project: Project) -> tuple[Model, ...]:
    """Return models after their parts, otherwise in the order given; parts that a query reads are added.

    A model whose SQL cannot be read yet keeps its place: building it will say why.
    """
    wanted = dict.fromkeys(models)
    context = definition_context(project)
    planned = set(plan(project))
    done: dict[Model, None] = {}

    def visit(model: Model, path: tuple[Model, ...]) -> None:
        if model in done or model in path:
            return
        for part in _parts_or_none(model, project, context):
            if part in wanted or (part in planned and _is_required(model, project)):
                visit(part, (*path, model))
        done[model] = None

    for model in wanted:
        visit(model, ())
    return tuple(done)


def readers(changes: Mapping[str, datetime], project: Project) -> dict[str, datetime]:
    """Return, by name, the planned models that are made from metrics which changed or from such, with the first change."""
    context = definition_context(project)
    edges: dict[str, dict[Model, None]] = {}
    for model in plan(project):
        for part in _parts_or_none(model, project, context):
            edges.setdefault(part.metric, {})[model] = None
    found: dict[str, datetime] = {}
    waiting = list(changes.items())
    while waiting:
        metric, since = waiting.pop()
        for reader in edges.get(metric, ()):
            if reader.name not in found or since < found[reader.name]:
                found[reader.name] = since
                waiting.append((reader.metric, since))
    return found


def circles(models: Iterable[Model], project: Project) -> dict[str, tuple[str, ...]]:
    """Return, by name, the models that are made from themselves or from such, each with the way round."""
    context = definition_context(project)
    edges = {model.name: [part.name for part in _parts_or_none(model, project, context)] for model in models}
    found = {name: path for path in cycles(edges) for name in path}
    readers: dict[str, list[str]] = {}
    for name, read in edges.items():
        for part in read:
            readers.setdefault(part, []).append(name)
    waiting = list(found)
    while waiting:
        name = waiting.pop()
        fresh = [reader for reader in readers.get(name, ()) if reader not in found]
        found |= dict.fromkeys(fresh, found[name])
        waiting += fresh
    return found


def in_a_circle(path: Iterable[str]) -> CompileError:
    """Return the error that names tables which read each other, the first of them again at the end."""
    return CompileError(
        f"metrics read each other in a cycle: {ARROW.join(path)}", hint="break it at one of these tables"
    )


def _parts_or_none(model: Model, project: Project, context: DefinitionContext) -> tuple[Model, ...]:
    try:
        return parts(model, project, context)
    except TallystickError:
        return ()


def _is_required(model: Model, project: Project) -> bool:
    return isinstance(project.metrics[model.metric].definition, SqlQuery)
