"""What the ordinary commands print where the folder is a metric-hub clone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tallystick.cli.output import Format, Row, cell, note, write_json, write_line, write_rows
from tallystick.definitions.diagnostics import Diagnostic, Severity
from tallystick.definitions.metric_hub.mode import Mode
from tallystick.definitions.metric_hub.repository import LOOKER, Repository, open_repository
from tallystick.errors import CompileError, DefinitionError, UsageError

if TYPE_CHECKING:
    from tallystick.compiler.model import Model
    from tallystick.errors import Location
    from tallystick.service.metric_hub import Fact
    from tallystick.service.render_request import Rendering, RenderRequest

ENTRY_COLUMNS = (
    *("name", "kind", "source", "level", "deprecated", "owner", "friendly_name"),
    *("file", "line", "column"),
)
FIELD_COLUMNS = ("field", "value", "file", "line", "column")
DEFAULT = "(default)"


def check_clone(root: Path, *, strict: bool) -> tuple[Sequence[Diagnostic], int]:
    """Return the findings about a clone, and how many metrics it defines."""
    from tallystick.compiler.metric_hub.checks import check

    repository = open_repository(root, Mode.STRICT if strict else Mode.COMPAT)
    return check(repository), sum(len(spec.metrics) for spec in repository.shared.definitions.values())


def list_clone(root: Path, tool: str | None, form: Format) -> None:
    """Print the metrics that a tool sees, one per line, with the place of each."""
    from tallystick.service.metric_hub import entries

    rows = [
        {
            "name": entry.name,
            "kind": entry.kind,
            "source": entry.data_source,
            "level": entry.level,
            "deprecated": entry.deprecated,
            "owner": ", ".join(entry.owners) or None,
            "friendly_name": " ".join((entry.friendly_name or "").split()) or None,
            **_place(entry.location),
        }
        for entry in entries(_opened(root), tool)
    ]
    write_rows(rows, ENTRY_COLUMNS, form)


def show_clone(root: Path, name: str, tool: str | None, form: Format) -> None:
    """Print every field of what a name means to a tool, each with the file, line and column that gave it."""
    from tallystick.service.metric_hub import facts

    repository = _opened(root)
    things = [_thing(repository, name, tool, kind, found) for kind, found in facts(repository, name, tool).items()]
    match form:
        case Format.JSON:
            write_json(things)
        case Format.CSV:
            rows = [
                {**field, "name": thing["name"], "type": thing["type"]} for thing in things for field in _fields(thing)
            ]
            write_rows(rows, ("name", "type", *FIELD_COLUMNS), form)
        case Format.TABLE:
            for thing in things:
                _write_sheet(thing)


def render_clone(root: Path, request: RenderRequest, tool: str | None) -> Rendering:
    """Return the SQL of metrics of a clone."""
    from tallystick.service import metric_hub_render

    return metric_hub_render.render_clone(_opened(root), request, tool)


def models_of_clone(root: Path, metric: str | None, tool: str | None) -> Sequence[Model]:
    """Return the models of a clone's metrics as ordinary ones; tell on stderr which have no ordinary form."""
    from tallystick.compiler.plan import find_metric, metric_models, plan
    from tallystick.definitions.metric_hub.conversion import reasons
    from tallystick.service.metric_hub_render import converted, ordinary_name

    repository = _opened(root)
    project = converted(repository, tool)
    if metric is None:
        for finding in reasons(project):
            note(str(finding))
        return plan(project)
    name = metric if metric in project.metrics else ordinary_name(repository, project, metric, tool)
    return tuple(metric_models(find_metric(project, name), project))


def lookml_files(root: Path, tool: str | None) -> tuple[Mapping[str, str], tuple[Diagnostic, ...]]:
    """Return LookML of what a tool sees, by default looker where there is one, and what could not be said in it."""
    from tallystick.interop.lookml import export

    repository = _opened(root)
    default = LOOKER if LOOKER in repository.tools else None
    exported = export(repository.collection(tool or default))
    return exported.files, exported.diagnostics


def documentation_files(root: Path) -> Mapping[str, str]:
    """Return the pages of a clone's documentation."""
    from tallystick.interop.docs_site import site

    return site(_opened(root))


def _opened(root: Path) -> Repository:
    repository = open_repository(root)
    errors = sum(finding.severity is Severity.ERROR for finding in repository.diagnostics)
    if errors:
        note(f"warning: {errors} {'error' if errors == 1 else 'errors'} in the repository, see tally check")
    return repository


def _place(location: Location | None) -> Row:
    if location is None:
        return {"file": None, "line": None, "column": None}
    return {"file": location.file, "line": location.line, "column": location.column}


def _thing(repository: Repository, name: str, tool: str | None, kind: str, found: Sequence[Fact]) -> Row:
    from tallystick.definitions.metric_hub.repository import qualified

    platform, slug = qualified(repository.collection(tool), name)
    place = next((fact.location for fact in found if fact.field == "name"), None)
    return {
        "name": f"{platform}.{slug}",
        "type": kind,
        "tool": tool,
        **_place(place),
        "fields": [{"field": fact.field, "value": fact.value, **_place(fact.location)} for fact in found],
        "sql": _sql(repository, kind, f"{platform}.{slug}", tool),
    }


def _sql(repository: Repository, kind: str, name: str, tool: str | None) -> str | None:
    """Return the query of a metric; none for what has no query, or none that can be written (tally check says why)."""
    from tallystick.service.metric_hub import render

    try:
        return render(repository, name, tool) if kind == "metric" else None
    except (CompileError, DefinitionError, UsageError):
        return None


def _fields(thing: Row) -> Iterator[Row]:
    fields = cast("list[Row]", thing["fields"])
    for field in fields:
        yield {**field, "value": _text(field["value"])}


def _text(value: object) -> str:
    return (
        json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | tuple | bool) else str(value).strip()
    )


def _at(row: Row) -> str:
    return f"{row['file']}:{row['line']}:{row['column']}" if row["file"] else DEFAULT


def _write_sheet(thing: Row) -> None:
    from tallystick.cli.render import write_sql

    write_line(f"{thing['name']}  {thing['type']}  {_at(thing)}")
    write_line()
    fields = list(_fields(thing))
    widths = [max(map(len, column)) for column in zip(*((str(f["field"]), _at(f)) for f in fields), strict=True)]
    for field in fields:
        lines = str(field["value"]).splitlines() or [""]
        for number, line in enumerate(lines):
            label, place = (str(field["field"]), _at(field)) if number == 0 else ("", "")
            write_line(f"  {label.ljust(widths[0])}  {place.ljust(widths[1])}  {cell(line)}".rstrip())
    if thing["sql"]:
        write_line()
        write_sql(str(thing["sql"]))
