"""`tally show`: everything about one name."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tallystick.cli.list import entities_of, source_of, views_of
from tallystick.cli.options import FormatOption, ProjectOption, ToolOption, new_app
from tallystick.cli.output import Format, Row, cell, write_json, write_line, write_rows
from tallystick.cli.project import clone_root, opened, refuse_tool
from tallystick.cli.show_series import collected, write_series
from tallystick.cli.show_versions import versions, write_versions
from tallystick.definitions.about import About
from tallystick.definitions.diagnostics import nearest
from tallystick.definitions.entity import Entity
from tallystick.definitions.metric import Aggregate, Formula, Metric, SqlQuery
from tallystick.definitions.origin import Origin
from tallystick.definitions.source import Source
from tallystick.errors import UnknownNameError

if TYPE_CHECKING:
    from tallystick.compiler.model import Model
    from tallystick.definitions.project import Project
    from tallystick.service.workspace import Workspace

app = new_app()


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of a metric, source, entity, segment or dimension.")
    ],
    tool: ToolOption = None,
    project: ProjectOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show where a name is defined, what it means and what it becomes.

    Prints one object per thing of that name; a source and a metric may share one. In a metric-hub clone a name is
    PLATFORM.NAME, and every field comes with the file, line and column that gave it.
    """
    if (clone := clone_root(project)) is not None:
        from tallystick.cli.metric_hub_views import show_clone

        show_clone(clone, name, tool, form)
        return
    refuse_tool(tool)
    with opened(project) as workspace:
        things = [*_metric(workspace, name), *_others(workspace, name)]
        series = collected(workspace, name) if name in workspace.metrics else {}
        changes = {str(thing["type"]): versions(workspace, str(thing["type"]), name) for thing in things}
        if not things:
            raise UnknownNameError(
                f"nothing is called '{name}' here", hint=nearest(name, known_names(workspace.project))
            )
    match form:
        case Format.JSON:
            write_json([{**thing, **_kept(str(thing["type"]), series, changes)} for thing in things])
        case Format.CSV:
            facts = [{"name": name, "key": key, "value": value} for thing in things for key, value in thing.items()]
            write_rows(facts, ("name", "key", "value"), form)
        case Format.TABLE:
            for thing in things:
                _write_sheet(thing)
                if thing["type"] == "metric":
                    write_series(series)
                write_versions(changes[str(thing["type"])])


def _kept(type_: str, series: dict[str, list[Row]], changes: dict[str, list[Row]]) -> Row:
    """Return what the store knows about a thing: its series if it is a metric, and its versions if it changed."""
    found: dict[str, object] = {"series": series} if series and type_ == "metric" else {}
    return found | {"versions": changes[type_]} if changes[type_] else found


def known_names(project: Project) -> list[str]:
    """Return every name that can be shown."""
    return [*project.metrics, *project.sources, *project.entities, *project.segments, *project.dimensions]


def _others(workspace: Workspace, name: str) -> Iterator[Row]:
    """Describe what is defined under a name apart from metrics."""
    project = workspace.project
    if source := project.sources.get(name):
        yield _sheet("source", source.name, source.about, source.origin, _source(source, project))
    if entity := project.entities.get(name):
        metrics = dict.fromkeys(model.metric for model in workspace.models() if model.entity == name)
        facts = {**_entity(entity, project), "metrics": list(metrics)}
        yield _sheet("entity", entity.name, entity.about, entity.origin, facts)
    if segment := project.segments.get(name):
        facts = {"source": segment.source, "where": segment.where}
        yield _sheet(segment.kind, segment.name, segment.about, segment.origin, facts)
    if dimension := project.dimensions.get(name):
        facts = {"source": dimension.source, "definition": dimension.sql}
        yield _sheet("dimension", dimension.name, dimension.about, dimension.origin, facts)


def _metric(workspace: Workspace, name: str) -> Iterator[Row]:
    metric = workspace.metrics.get(name)
    if metric is None:
        return
    models = workspace.models(name)
    facts = {
        "kind": metric.kind,
        "source": source_of(metric),
        "definition": definition_of(metric),
        "where": list(metric.definition.where) if isinstance(metric.definition, Aggregate) else [],
        "entities": entities_of(models),
        "views": views_of(models),
        "by": list(metric.views.by),
        "used by": sorted(_users(metric, workspace.metrics)),
        "models": [model.name for model in models],
        "sql": workspace.render(name, model=_shown(models).name) if models else None,
    }
    yield _sheet("metric", metric.name, metric.about, metric.origin, facts)


def _shown(models: Sequence[Model]) -> Model:
    """Return the model whose SQL says most about a metric in few lines: the first with calendar buckets."""
    return next((model for model in models if model.time.grain is not None), models[0])


def definition_of(metric: Metric) -> str:
    """Return what a metric is, as it was written."""
    definition = metric.definition
    if isinstance(definition, SqlQuery):
        return definition.sql.strip()
    if isinstance(definition, Formula) and definition.operands:
        return " / ".join(_operand(operand.definition) for operand in definition.operands)
    return definition.expr


def _operand(definition: Aggregate | Formula | SqlQuery) -> str:
    """Return a side of a ratio in one line: its expression, its source and its conditions."""
    if not isinstance(definition, Aggregate):
        return "…"
    where = f" where {' and '.join(definition.where)}" if definition.where else ""
    return f"{definition.expr} of {definition.source}{where}"


def _users(metric: Metric, metrics: Mapping[str, Metric]) -> Iterator[str]:
    import re

    word = re.compile(rf"\b{re.escape(metric.name)}\b")
    for other in metrics.values():
        if other.name != metric.name and other.kind == "derived" and word.search(definition_of(other)):
            yield other.name


def _source(source: Source, project: Project) -> Row:
    readers = sorted(m.operand_of or m.name for m in project.metrics.values() if source_of(m) == source.name)
    return {
        "reads": source.table or source.file or source.sql,
        "time": source.time,
        "settles after": f"{source.settle_seconds} s" if source.settle_seconds else None,
        "entities": [f"{entity} = {column}" for entity, column in source.entities.items()],
        "filters": [f"{name}: {condition}" for name, condition in source.filters.items()],
        "columns": list(source.columns),
        "metrics": list(dict.fromkeys(readers)),
    }


def _entity(entity: Entity, project: Project) -> Row:
    return {
        "key": entity.key,
        "rolls up to": [f"{edge.parent} through {edge.through}" for edge in entity.rolls_up_to],
        "sources": sorted(s.name for s in project.sources.values() if entity.name in s.entities),
    }


def _sheet(type_: str, name: str, about: About, origin: Origin, facts: Row) -> Row:
    return {
        "name": name,
        "type": type_,
        "file": origin.location.file,
        "line": origin.location.line,
        "friendly_name": about.friendly_name,
        "description": about.description,
        "owners": list(about.owners),
        "tags": list(about.tags),
        "unit": about.unit,
        "direction": about.direction,
        "level": about.level,
        "status": about.status,
        **{key.replace(" ", "_"): value for key, value in facts.items()},
    }


_HEADING = ("name", "type", "file", "line", "description", "sql")


def _write_sheet(thing: Row) -> None:
    place = f"{thing['file']}:{thing['line']}" if thing.get("file") else ""
    write_line(f"{thing['name']}  {thing['type']}  {place}".rstrip())
    if thing.get("description"):
        write_line(str(thing["description"]).strip())
    write_line()
    facts = {key.replace("_", " "): value for key, value in thing.items() if key not in _HEADING and value}
    width = max(map(len, facts), default=0)
    for key, value in facts.items():
        lines = value.splitlines() if isinstance(value, str) else [cell(value)]
        if key == "models" and isinstance(value, list):
            lines = [f"{len(value)}, see tally models {thing['name']}"]
        for label, line in zip([key, *[""] * len(lines)], lines, strict=False):
            write_line(f"  {label.ljust(width)}  {line}")
    if thing.get("sql"):
        write_line()
        _write_sql(str(thing["sql"]))


def _write_sql(sql: str) -> None:
    """Write SQL to stdout, coloured on a terminal, and otherwise exactly as it is."""
    if not sys.stdout.isatty():
        write_line(sql)
        return
    from tallystick.cli.sql_text import sql_text, write_text

    write_text(sql_text(sql, ()))
