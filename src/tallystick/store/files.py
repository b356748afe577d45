"""Definitions of files in the catalog: brought up to date with the project, never changed here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, select

from tallystick.definitions.about import Status
from tallystick.definitions.document import FileOrigin
from tallystick.definitions.drafts import Noun
from tallystick.definitions.load import TALLY_TOML
from tallystick.definitions.made import is_made
from tallystick.definitions.metric import Metric
from tallystick.definitions.project import Project, Warehouse
from tallystick.errors import Location
from tallystick.store import audit
from tallystick.store.catalog_tables import definitions as table
from tallystick.store.definition_rows import Content, Definition, add, change, definition, set_column
from tallystick.store.kinds import Author, Kind, Owner
from tallystick.store.projects import ensure_project
from tallystick.store.reach import take_turn
from tallystick.store.reading import about_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What bringing files into the catalog did; `conflicts` say why a definition of a file was left out."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    archived: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()


def sync_files(connection: Connection, author: Author, project: Project, name: str | None = None) -> Synced:
    """Make the catalog's definitions of files those of a project; `name` is the project's unless given.

    One that left the files is archived, not deleted, and comes back with its file. Where the service has the same
    name, the file takes it over if it says the same (it was exported), and is reported and left out if it does not.
    """
    name = name or project.settings.name
    take_turn(connection, name)
    ensure_project(connection, author, name, time_zone=project.settings.time_zone)
    rows = connection.execute(select(table).where(table.c.project == name).order_by(table.c.id).with_for_update())
    known = {(one.kind, one.name): one for one in map(definition, rows)}
    added, changed, archived, conflicts = [], [], [], []
    seen = set()
    for kind, noun in _nouns(project):
        seen.add((kind, noun.name))
        content = Content(owned_by=Owner.FILE, noun=noun, place=_place(noun), dialect=project.dialect)
        old = known.get((kind, noun.name))
        if old is None:
            add(connection, author, name, kind, noun.name, content)
            added.append(f"{kind} {noun.name}")
        elif problem := _conflict(old, content):
            conflicts.append(problem)
        elif change(connection, author, old, content) or _is_back(old, content):
            set_column(connection, old, status=about_of(noun).status.value)
            changed.append(f"{kind} {noun.name}")
    for key, old in known.items():
        if key not in seen and _has_left(old, project):
            _archive(connection, author, old)
            archived.append(f"{old.kind} {old.name}")
    return Synced(added=tuple(added), changed=tuple(changed), archived=tuple(archived), conflicts=tuple(conflicts))


def _nouns(project: Project) -> Iterator[tuple[Kind, Any]]:
    groups = (
        (Kind.WAREHOUSE, project.warehouses),
        (Kind.SOURCE, project.sources),
        (Kind.ENTITY, project.entities),
        (Kind.EVENT, project.segments),
        (Kind.DIMENSION, project.dimensions),
        (Kind.METRIC, project.metrics),
    )
    for kind, nouns in groups:
        for noun in nouns.values():
            # The sides of a ratio are metrics of their own to the compiler only.
            if not (isinstance(noun, Metric) and noun.operand_of) and not _is_the_services(noun):
                yield kind, noun


def _is_the_services(noun: Noun | Warehouse) -> bool:
    return is_made(noun.origin)


def _has_left(old: Definition, project: Project) -> bool:
    """Tell whether a definition is in no file any more; while files have errors nobody knows."""
    return old.owned_by is Owner.FILE and old.status is not Status.ARCHIVED and not project.errors


def _place(noun: Noun | Warehouse) -> Location:
    if isinstance(noun, Warehouse):
        return Location(TALLY_TOML)
    return replace(noun.origin.location, column=None)


def _written(noun: Noun | Warehouse) -> Any:
    """Return the table a file writes for a definition: its facts may hold more, such as the source of an event."""
    if isinstance(noun, Warehouse) or not isinstance(noun.origin, FileOrigin):
        return None
    table: Any = noun.origin.document.data
    for key in noun.origin.path:
        table = table[key]
    return table


def _conflict(old: Definition, content: Content) -> str | None:
    """Return why a file cannot have a name, or None where it can."""
    if old.deleted_at is not None:
        return f"{content.place}: {old.kind} '{old.name}' was deleted, and names are never reused"
    if old.owned_by is Owner.SERVICE and old.facts != content.facts and old.body != _written(content.noun):
        return f"{content.place}: {old.kind} '{old.name}' is defined in the service by {old.created_by}, differently"
    return None


def _archive(connection: Connection, author: Author, old: Definition) -> None:
    set_column(connection, old, status=Status.ARCHIVED.value)
    detail = {"reason": f"it is no longer in {old.place.file}"}
    audit.record(connection, author, "archive", project=old.project, kind=old.kind.value, name=old.name, detail=detail)


def _is_back(old: Definition, content: Content) -> bool:
    """Tell whether a definition was archived, or the service's, and is a file's as it was."""
    return old.status is not about_of(content.noun).status or old.owned_by is Owner.SERVICE
