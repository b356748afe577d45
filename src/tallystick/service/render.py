"""Showing the SQL of models, without a connection."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tallystick.service import derived, render_cache
from tallystick.service.render_request import Rendered, Rendering, RenderRequest
from tallystick.service.stores import may_hold_definitions

if TYPE_CHECKING:
    from tallystick.compiler.factory_models import FactoryModel
    from tallystick.compiler.marked_text import MarkedText
    from tallystick.compiler.model import Model
    from tallystick.compiler.span import Span
    from tallystick.definitions.project import Project

# Compiler and definitions are imported where they are used: an answer from the cache needs neither.

Clock = Callable[[], datetime]

_COLLECTED = 4096
"""Models after which trees that are no longer needed are given back, even where a caller has put that off."""


def render_project(folder: Path, request: RenderRequest, *, clock: Clock | None = None) -> Rendering:
    """Return the SQL a request asks a project folder (or single file) for, from the cache where nothing has changed.

    Raise ProjectError, UnknownNameError or UsageError.
    """
    now = (clock or _now)()
    # What is made in the service may change without any file.
    key = None if may_hold_definitions(_root(folder)) else render_cache.key_of(folder, request)
    if key is not None and (kept := render_cache.recall(folder, key, now)) is not None:
        return kept
    from tallystick.definitions.load import load
    from tallystick.service.stores import made_in

    project = load(folder, partial(made_in, _root(folder)))
    as_of = project.settings.as_of or now
    rendering = render_request(project, request, as_of)
    if key is not None and (holds := _holds_from(project, request, now)) is not None:
        render_cache.keep(folder, key, rendering, None if holds == _ALWAYS else holds)
    return rendering


def _root(folder: Path) -> Path:
    return folder if folder.is_dir() else folder.parent


def render_request(project: Project, request: RenderRequest, as_of: datetime) -> Rendering:
    """Return the SQL of every model a request asks for; one that cannot be written is told and does not stop others."""
    from tallystick.errors import CompileError, DefinitionError

    dialect = request.dialect or project.warehouse.engine
    check_dialect(dialect)
    union = None if request.every else derived.find(project, request.model or request.metric)
    if union is not None:
        return Rendering(models=(_rendered(project, union, dialect),), left_out=len(project.errors))
    found: list[Rendered] = []
    failures: list[tuple[str, str]] = []
    for place, model in enumerate(requested_models(project, request), start=1):
        if place % _COLLECTED == 0:
            gc.collect()
        try:
            sql = render(project, model, dialect, _span(project, model, request, as_of), as_of)
        except (CompileError, DefinitionError) as error:
            if not request.every:
                raise
            failures.append((model.name, error.message + (f" ({error.hint})" if error.hint else "")))
            continue
        found.append(
            Rendered(
                model=model.name,
                metric=model.metric,
                entity=model.entity,
                view=model.time.suffix,
                dialect=dialect,
                sql=sql,
            )
        )
    return Rendering(models=tuple(found), failures=tuple(failures), left_out=len(project.errors))


def _rendered(project: Project, model: FactoryModel, dialect: str) -> Rendered:
    """Return a union or description in the shape of a metric's model."""
    sql = derived.render(project, model, dialect)
    metric, entity = model.metric or "", model.entity or ""
    return Rendered(model=model.table, metric=metric, entity=entity, view=model.kind, dialect=dialect, sql=sql)


def requested_models(project: Project, request: RenderRequest) -> Sequence[Model]:
    """Return the models a request means; raise UnknownNameError or UsageError."""
    from tallystick.errors import UsageError
    from tallystick.service.query import choose, select_models

    if request.every:
        return select_models(project, () if request.metric is None else (request.metric,))
    if request.metric is None:
        raise UsageError("no metric is named", hint="name one, or say --all for every model of the project")
    return (
        choose(
            project,
            request.metric,
            model=request.model,
            entity=request.entity,
            grain=request.grain,
            window=request.window,
            all_time=request.all_time,
            by=request.by,
        ),
    )


def render(project: Project, model: Model, dialect: str, span: Span | None, as_of: datetime) -> str:
    """Return a model's SQL: with parameters where no span is given, else with its dates. Raise UsageError."""
    from tallystick.compiler.lower import lower, to_text

    check_dialect(dialect)
    tree = lower(model, project, _covered(project, model, span, as_of), dialect)
    return to_text(tree, dialect, reads=project.dialect, copy=False)


def render_marked(project: Project, model: Model, request: RenderRequest, as_of: datetime) -> MarkedText:
    """Return a model's SQL with the parts that come from the user's definition told apart."""
    from tallystick.compiler.marked_text import marked_text

    dialect = request.dialect or project.warehouse.engine
    check_dialect(dialect)
    span = _covered(project, model, _span(project, model, request, as_of), as_of)
    return marked_text(model, project, span, dialect)


def _span(project: Project, model: Model, request: RenderRequest, as_of: datetime) -> Span | None:
    from tallystick.service.query import span

    return span(project, model, request.start, request.end, as_of) if request.is_bound else None


def _covered(project: Project, model: Model, span: Span | None, as_of: datetime) -> Span:
    from tallystick.compiler.span import Span
    from tallystick.service.instants import project_calendar

    if span is None:
        return Span(calendar=project_calendar(project))
    if span.start is None and model.time.window is not None:
        start = as_of.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
        return Span(start, span.end, span.calendar)
    return span


_ALWAYS = datetime.min.replace(tzinfo=UTC)


def _holds_from(project: Project, request: RenderRequest, now: datetime) -> datetime | None:
    """Return from when on an answer no longer depends on the clock, or None where it always will."""
    if not request.is_bound or project.settings.as_of is not None:
        return _ALWAYS
    has_start = request.start is not None or project.settings.start is not None
    if request.end is None or not has_start:
        return None
    from tallystick.service.instants import parse_instant

    end = parse_instant(request.end, project)
    return end if end <= now else None


def _now() -> datetime:
    return datetime.now(UTC)


def check_dialect(dialect: str) -> None:
    """Raise UsageError unless sqlglot knows the dialect."""
    from sqlglot.dialects.dialect import Dialects

    from tallystick.definitions.diagnostics import nearest
    from tallystick.errors import UsageError

    known = sorted(item.value for item in Dialects if item.value)
    if dialect not in known:
        raise UsageError(
            f"'{dialect}' is not an SQL dialect", hint=nearest(dialect, known) or f"known: {', '.join(known)}"
        )
