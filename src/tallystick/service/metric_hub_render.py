"""Answering `tally render` for a metric-hub clone: its own queries, or the models its metrics are as ordinary ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from tallystick.compiler.metric_hub.query import metric_source, require_metric
from tallystick.compiler.plan import plan
from tallystick.definitions.entity import ALL
from tallystick.definitions.metric_hub.conversion import CLIENT, DIALECT, reasons, scoped, to_project
from tallystick.definitions.metric_hub.repository import Repository, qualified
from tallystick.definitions.metric_hub.structured import select_expression_of
from tallystick.definitions.project import Project
from tallystick.errors import CompileError, TallystickError, UsageError
from tallystick.service import metric_hub
from tallystick.service.render import check_dialect, render_request
from tallystick.service.render_request import Rendered, Rendering, RenderRequest
from tallystick.sql.grain import Grain


def render_clone(repository: Repository, request: RenderRequest, tool: str | None = None) -> Rendering:
    """Return the SQL a request asks a clone for.

    A request for an entity, grain, window, all time or dates is about a model of the metric; any other is about
    metric-hub's own query, whose text in BigQuery is what consumers get today. Raise UnknownNameError, UsageError, or
    CompileError for a single metric that has no SQL or does not run in the dialect.
    """
    request = replace(request, dialect=request.dialect or DIALECT)
    check_dialect(request.dialect or DIALECT)
    if request.metric is None and not request.every:
        raise UsageError("no metric is named", hint="name one, or say --all for every metric of the repository")
    if _is_about_models(request):
        return _models(repository, request, tool)
    if not request.every:
        name = str(request.metric)
        if why := _obstacle(repository, name, request, tool):
            raise CompileError(f"'{name}' {why}", hint=f"it does in {DIALECT}")
        return Rendering(models=(_rendered(repository, name, request, tool),))
    found: list[Rendered] = []
    failures: list[tuple[str, str]] = []
    for name in _names(repository, request, tool):
        if why := _obstacle(repository, name, request, tool):
            failures.append((name, why))
            continue
        try:
            found.append(_rendered(repository, name, request, tool))
        except TallystickError as error:
            failures.append((name, str(error)))
    return Rendering(models=tuple(found), failures=tuple(failures))


def converted(repository: Repository, tool: str | None = None) -> Project:
    """Return what a tool sees as an ordinary project; raises `UnknownNameError` for a tool there is none of."""
    return to_project(repository.collection(tool), repository.root.as_posix())


def ordinary_name(repository: Repository, project: Project, name: str, tool: str | None = None) -> str:
    """Return what `platform.metric` is called in the converted project.

    Raise CompileError for a metric that has no ordinary form, saying why, and UnknownNameError.
    """
    collection = repository.collection(tool)
    platform, slug = qualified(collection, name)
    metric = require_metric(collection, slug, platform)
    if (ordinary := scoped(platform, metric.name)) in project.metrics:
        return ordinary
    place = metric.place.location if metric.place else None
    why = next((finding for finding in reasons(project) if finding.location == place), None)
    raise CompileError(why.message if why else f"metric '{name}' has no ordinary form", hint=why.hint if why else None)


def _is_about_models(request: RenderRequest) -> bool:
    return request.is_bound or any((request.model, request.entity, request.grain, request.window, request.all_time))


def _models(repository: Repository, request: RenderRequest, tool: str | None) -> Rendering:
    project = converted(repository, tool)
    name = request.metric
    if name is not None and name not in {*project.metrics, *(model.name for model in plan(project))}:
        ordinary = ordinary_name(repository, project, name, tool)
        platform = qualified(repository.collection(tool), name)[0]
        by = (
            scoped(platform, column) if scoped(platform, column) in project.dimensions else column
            for column in request.by
        )
        request = replace(request, metric=ordinary, by=tuple(by))
    return render_request(project, request, datetime.now(UTC))


def _names(repository: Repository, request: RenderRequest, tool: str | None) -> Iterator[str]:
    """Yield the metrics a request for all means: those with SQL; what only has statistics has none to print."""
    if request.metric is not None:
        yield request.metric
        return
    collection = repository.collection(tool)
    for platform, spec in collection.definitions.items():
        for metric in spec.metrics.values():
            if not metric.depends_on and select_expression_of(metric) is not None:
                yield f"{platform}.{metric.name}"


def _rendered(repository: Repository, name: str, request: RenderRequest, tool: str | None) -> Rendered:
    dialect = request.dialect or DIALECT
    sql = metric_hub.render(repository, name, tool, dialect=dialect, group_by=request.by)
    collection = repository.collection(tool)
    platform, slug = qualified(collection, name)
    source = metric_source(collection, require_metric(collection, slug, platform), platform)
    return Rendered(
        model=f"{platform}.{slug}",
        metric=f"{platform}.{slug}",
        entity=CLIENT if source.has_client else ALL,
        view="over_all_time" if source.submission_date == "NULL" else Grain.DAY.suffix,
        dialect=dialect,
        sql=sql,
    )


def _obstacle(repository: Repository, name: str, request: RenderRequest, tool: str | None) -> str | None:
    """Return why a metric does not run in the dialect asked for, if it does not."""
    dialect = request.dialect or DIALECT
    if dialect == DIALECT:
        return None
    verdict = metric_hub.why_not_portable(repository, name, tool, dialect=dialect)
    if verdict.is_portable:
        return None
    return f"does not run in {dialect}: {'; '.join(reason.message for reason in verdict.reasons)}"
