"""The catalog: definitions made in the service beside those of files, with their versions and who uses them.

Definitions of files are read-only here. Names are never reused and never changed (DESIGN §3, tripl §4.6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select
from sqlglot.dialects.dialect import Dialect

from tallystick.definitions.about import Status
from tallystick.errors import ConflictError, UnknownNameError, UsageError
from tallystick.store import audit
from tallystick.store.catalog_tables import definitions as table
from tallystick.store.catalog_tables import uses, versions
from tallystick.store.definition_rows import Content, Definition, add, change, definition, find, get, set_column
from tallystick.store.differences import changes_meaning, differences
from tallystick.store.kinds import Author, Kind, Owner
from tallystick.store.projects import get_project
from tallystick.store.reading import facts_of, read_body
from tallystick.store.references import parts
from tallystick.store.runs import metrics_at_work
from tallystick.store.secrecy import refuse_secrets
from tallystick.store.toml_text import toml_text

MOST_NAMED = 10
"""A conflict names this many of those who use something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What a definition said for a while: who wrote it, when, and what changed, field by field."""

    number: int
    at: datetime
    author: str
    body: Mapping[str, Any] | None
    facts: Mapping[str, Any]
    changes: Sequence[Mapping[str, Any]]


# -- reading ----------------------------------------------------------------------------------------------------------


def list_definitions(
    connection: Connection,
    project: str,
    *,
    kind: Kind | None = None,
    status: Status | None = None,
    owned_by: Owner | None = None,
    tag: str | None = None,
    search: str | None = None,
) -> tuple[Definition, ...]:
    """Return definitions in their order; deleted ones are left out, `search` looks at names and texts about them."""
    statement = select(table).where(table.c.project == project, table.c.deleted_at.is_(None))
    for column, wanted in ((table.c.kind, kind), (table.c.status, status), (table.c.owned_by, owned_by)):
        if wanted is not None:
            statement = statement.where(column == wanted.value)
    found = map(definition, connection.execute(statement.order_by(table.c.kind, table.c.position)))
    return tuple(
        one for one in found if (tag is None or tag in one.tags) and (not search or _mentions(one, search.casefold()))
    )


def history(connection: Connection, project: str, kind: Kind, name: str) -> tuple[Version, ...]:
    """Return every version of a definition, oldest first; deleted ones keep theirs. Raise UnknownNameError."""
    found = find(connection, project, kind, name) or get(connection, project, kind, name)
    columns = [column for column in versions.c if column.name != "definition_id"]
    statement = select(*columns).where(versions.c.definition_id == found.id).order_by(versions.c.number)
    return tuple(Version(**row) for row in connection.execute(statement).mappings())


def where_used(connection: Connection, project: str, kind: Kind, name: str) -> dict[Kind, tuple[str, ...]]:
    """Return the names of the definitions that use one, by kind, whatever their status."""
    found: dict[Kind, tuple[str, ...]] = {}
    for user, other, _ in _users(connection, project, kind, name):
        found[user] = (*found.get(user, ()), other)
    return found


def export(connection: Connection, project: str, names: Sequence[tuple[Kind, str]] = ()) -> str:
    """Return definitions made in the service as the text of a TOML file that reads back to the same; all, or some."""
    if names:
        chosen = [get(connection, project, kind, name) for kind, name in names]
        for one in chosen:
            if one.body is None:
                raise ConflictError(f"{one.kind} '{one.name}' is a file already: {one.place}")
    else:
        chosen = list(list_definitions(connection, project, owned_by=Owner.SERVICE))
    order = list(Kind)
    chosen.sort(key=lambda one: (order.index(one.kind), one.position))
    return toml_text((one.kind.table, one.name, one.body or {}) for one in chosen)


# -- changing ---------------------------------------------------------------------------------------------------------


def create(
    connection: Connection, author: Author, project: str, kind: Kind, name: str, body: Mapping[str, Any]
) -> Definition:
    """Add a definition made in the service.

    Raise ConflictError where the name is or was taken, DefinitionError where the body is wrong or holds a secret.
    """
    get_project(connection, project)
    content = _content(connection, project, kind, name, body)
    taken = find(connection, project, kind, name)
    if taken is not None:
        raise _taken(taken)
    add(connection, author, project, kind, name, content)
    return get(connection, project, kind, name)


def change_body(
    connection: Connection,
    author: Author,
    project: str,
    kind: Kind,
    name: str,
    body: Mapping[str, Any],
    *,
    version: int | None = None,
) -> Definition:
    """Replace what a definition says; the same again makes no version.

    Raise ConflictError where a file owns it, where it is not at `version` any more, where it is being collected and
    its meaning changes, and where a source loses what others use.
    """
    old = _editable(connection, project, kind, name)
    if version is not None and version != old.version:
        raise ConflictError(
            f"{kind} '{name}' was changed by {old.updated_by} meanwhile (version {old.version}, not {version})",
            hint="look at the new version and change that",
        )
    content = _content(connection, project, kind, name, body)
    _refuse_while_collecting(connection, author, old, content)
    if kind is Kind.SOURCE:
        _refuse_narrowing(connection, old, facts_of(content.noun))
    change(connection, author, old, content)
    return get(connection, project, kind, name)


def label(  # noqa: PLR0913 - every label that is set on many at once
    connection: Connection,
    author: Author,
    project: str,
    kind: Kind,
    names: Sequence[str],
    *,
    status: Status | None = None,
    verified: bool | None = None,
    owners: Sequence[str] | None = None,
    tags: Sequence[str] | None = None,
) -> None:
    """Set labels of one or many definitions; any status may follow any other. Raise UsageError without a label."""
    given: dict[str, Any] = {"status": status.value if status else None, "verified": verified}
    given |= {"owners": None if owners is None else list(owners), "tags": None if tags is None else list(tags)}
    labels = {key: value for key, value in given.items() if value is not None}
    if not labels:
        raise UsageError("nothing to change was given", hint="give status, verified, owners or tags")
    synonyms = {"status": "deprecated", "owners": "owner"}
    for name in names:
        body = dict(_editable(connection, project, kind, name).body or {})
        for key in labels:
            body.pop(synonyms.get(key, ""), None)
        change_body(connection, author, project, kind, name, body | labels)


def remove(connection: Connection, author: Author, project: str, kind: Kind, name: str) -> None:
    """Delete a definition that nobody uses; its name stays taken and its history and values are kept."""
    found = _editable(connection, project, kind, name)
    _refuse_users(f"{kind} '{name}' is used", _users(connection, project, kind, name))
    set_column(connection, found, deleted_at=author.at)
    audit.record(connection, author, "delete", project=project, kind=kind.value, name=name)


def reorder(connection: Connection, author: Author, project: str, kind: Kind, names: Sequence[str]) -> None:
    """Put definitions into this order, within the places they already occupy (tripl §4.6).

    Raise UsageError for a name that comes twice, UnknownNameError for one that is not there.
    """
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"'{twice}' comes twice in the order", hint="name each one once")
    known = {one.name: one for one in list_definitions(connection, project, kind=kind)}
    for name in names:
        if name not in known:
            raise UnknownNameError(f"there is no {kind} '{name}' in project '{project}'")
    for name, place in zip(names, sorted(known[name].position for name in names), strict=True):
        if known[name].position != place:
            set_column(connection, known[name], position=place)
    detail = {"order": list(names)}
    audit.record(connection, author, "reorder", project=project, kind=kind.value, name="", detail=detail)


# -- rules ------------------------------------------------------------------------------------------------------------


def _content(connection: Connection, project: str, kind: Kind, name: str, body: Mapping[str, Any]) -> Content:
    if kind is Kind.WAREHOUSE:
        options = body.get("options", {})
        refuse_secrets({**body, **(options if isinstance(options, Mapping) else {})}, f"warehouse '{name}'")
    noun = read_body(kind, name, body)
    return Content(owned_by=Owner.SERVICE, noun=noun, body=dict(body), dialect=_dialect(connection, project))


def _dialect(connection: Connection, project: str) -> str:
    """Return the dialect of a project's default warehouse as far as the catalog knows it."""
    default = find(connection, project, Kind.WAREHOUSE, "default")
    engine = str(default.facts.get("engine", "duckdb")) if default is not None else "duckdb"
    return engine if Dialect.get(engine) else "duckdb"


def _editable(connection: Connection, project: str, kind: Kind, name: str) -> Definition:
    found = get(connection, project, kind, name, held=True)
    if found.owned_by is Owner.FILE and has_left_its_file(found):
        message = f"{kind} '{name}' is archived: it was in {found.place.file}, and names are never reused"
        raise ConflictError(message, hint="bring it back there, or choose another name")
    if found.owned_by is Owner.FILE:
        raise ConflictError(f"{kind} '{name}' is owned by {found.place}", hint="change it there")
    return found


def has_left_its_file(one: Definition) -> bool:
    """Tell whether a definition is archived because no file has it any more, and not because its file says so."""
    said = one.facts.get("about", {}).get("status")
    return one.status is Status.ARCHIVED and said != Status.ARCHIVED.value


def _taken(taken: Definition) -> ConflictError:
    if taken.deleted_at is not None:
        day = taken.deleted_at.date().isoformat()
        message = f"{taken.kind} '{taken.name}' existed until {day}, and names are never reused"
        return ConflictError(message, hint="choose another name")
    where = f"in {taken.place}" if taken.owned_by is Owner.FILE else f"by {taken.created_by}"
    return ConflictError(f"{taken.kind} '{taken.name}' is defined already, {where}", hint="choose another name")


def _refuse_while_collecting(connection: Connection, author: Author, old: Definition, content: Content) -> None:
    if old.kind is not Kind.METRIC or not changes_meaning(differences(old.facts, content.facts)):
        return
    if old.name in metrics_at_work(connection, old.project, author.at):
        raise ConflictError(
            f"metric '{old.name}' is being collected, and the change gives it another meaning",
            hint="wait until the run is done",
        )


def _refuse_narrowing(connection: Connection, old: Definition, facts: Mapping[str, Any]) -> None:
    lost = parts(old.facts) - parts(facts)
    if not lost:
        return
    everybody = _users(connection, old.project, Kind.SOURCE, old.name)
    for kind, name, _ in tuple(everybody):
        if kind is Kind.EVENT:
            # What counts an event may speak of other parts of its source.
            everybody += _users(connection, old.project, Kind.EVENT, name)
    users = [user for user in everybody if not lost.isdisjoint(user[2])]
    missed = sorted(lost.intersection(part for user in users for part in user[2]))
    _refuse_users(f"{', '.join(missed)} of source '{old.name}' is used", users)


def _refuse_users(what: str, users: Sequence[tuple[Kind, str, Sequence[str]]]) -> None:
    if not users:
        return
    named = ", ".join(f"{kind} '{name}'" for kind, name, _ in users[:MOST_NAMED])
    more = f" and {len(users) - MOST_NAMED} more" if len(users) > MOST_NAMED else ""
    raise ConflictError(f"{what} by {named}{more}", hint="change those first")


def _users(connection: Connection, project: str, kind: Kind, name: str) -> list[tuple[Kind, str, list[str]]]:
    statement = (
        select(table.c.kind, table.c.name, uses.c.parts)
        .join(uses, uses.c.definition_id == table.c.id)
        .where(table.c.project == project, table.c.deleted_at.is_(None), uses.c.kind == kind, uses.c.name == name)
        .where((table.c.kind != kind) | (table.c.name != name))
        .order_by(table.c.kind, table.c.name)
    )
    return [(Kind(row[0]), row[1], row[2]) for row in connection.execute(statement)]


def _mentions(one: Definition, word: str) -> bool:
    about = one.facts.get("about", {})
    return any(
        word in str(text).casefold() for text in (one.name, about.get("friendly_name"), about.get("description"))
    )
