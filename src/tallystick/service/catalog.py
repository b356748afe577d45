"""The catalog of a project's folder: files and definitions made in the service side by side.

What is made in the service is checked with everything else there is before it is kept, so it has the same diagnostics
as a file; what it would break elsewhere is a conflict that names up to ten dependants (spec tripl §5.6).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tallystick.definitions.diagnostics import Diagnostic
from tallystick.definitions.document import Document, parse_toml
from tallystick.definitions.load import load as load_project
from tallystick.definitions.made import Made, place_of
from tallystick.definitions.project import Project
from tallystick.errors import ConflictError, DefinitionError, UnknownNameError
from tallystick.service.dependants import NAMED
from tallystick.service.stores import has_store, made_in, opened_store
from tallystick.store.kinds import Author, Kind

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from tallystick.store.catalog import Version
    from tallystick.store.definition_rows import Definition
    from tallystick.store.files import Synced

T = TypeVar("T")

FILES = "files"
"""Who changes definitions of files, as the catalog has it."""


def sync(project: Project, now: datetime) -> Synced:
    """Bring the definitions of a project's files into the catalog, as new versions where they changed."""
    from tallystick.store.files import sync_files

    with opened_store(project.root) as store, store.transaction() as connection:
        return sync_files(connection, Author(FILES, now), project)


def save(
    root: Path, author: Author, kind: Kind, name: str, body: Mapping[str, Any], *, version: int | None = None
) -> Definition:
    """Make a definition in the service, or change one that was made there.

    Raise DefinitionError for the first thing that is wrong with it, and ConflictError where its name is a file's or was
    given up, where it is not at `version` any more, and where others would lose what they use.
    """
    from tallystick.store import catalog
    from tallystick.store.definition_rows import find
    from tallystick.store.reading import read_body

    read_body(kind, name, body)
    before = _loaded(root, lambda made: made)
    _refuse(before, _loaded(root, lambda made: _with(made, kind, name, body)), kind, name)

    def write(connection: Connection) -> Definition:
        project = before.settings.name
        old = find(connection, project, kind, name)
        if old is None or old.deleted_at is not None:
            return catalog.create(connection, author, project, kind, name, body)
        return catalog.change_body(connection, author, project, kind, name, body, version=version)

    return _written(before, author, write)


def remove(root: Path, author: Author, kind: Kind, name: str) -> None:
    """Delete a definition made in the service; raise ConflictError where a file owns it or others use it."""
    from tallystick.store import catalog

    before = _loaded(root, lambda made: made)
    _refuse(before, _loaded(root, lambda made: _without(made, kind, name)), kind, name)
    _written(before, author, lambda connection: catalog.remove(connection, author, before.settings.name, kind, name))


def history(project: Project, kind: Kind, name: str) -> tuple[Version, ...]:
    """Return every version of a definition the catalog knows, oldest first; none where it was never brought there."""
    if not has_store(project.root):
        return ()
    from tallystick.store import catalog

    with opened_store(project.root) as store, store.reading() as connection:
        try:
            return catalog.history(connection, project.settings.name, kind, name)
        except UnknownNameError:
            return ()


def export(project: Project, names: Sequence[str] = ()) -> str:
    """Return definitions made in the service as the text of a definition file; all of them, or those of some names.

    Raise UnknownNameError for a name that is not there, ConflictError for one that is a file's already.
    """
    from tallystick.store import catalog

    with opened_store(project.root) as store, store.reading() as connection:
        known = catalog.list_definitions(connection, project.settings.name)
        for name in names:
            if not any(each.name == name for each in known):
                raise UnknownNameError(f"nothing called '{name}' was made in the service")
        chosen = [(each.kind, each.name) for each in known if each.name in names and _is_wanted(each, known)]
        return catalog.export(connection, project.settings.name, chosen)


def _is_wanted(one: Definition, known: Sequence[Definition]) -> bool:
    """Tell whether a name means this definition: where one kind of it is a file's and another is not, it means that."""
    return one.body is not None or all(other.body is None for other in known if other.name == one.name)


def _written(project: Project, author: Author, write: Callable[[Connection], T]) -> T:
    from tallystick.store.files import sync_files

    with opened_store(project.root) as store, store.transaction() as connection:
        sync_files(connection, Author(FILES, author.at), project)
        return write(connection)


# -- what would be --------------------------------------------------------------------------------------------------


def _loaded(root: Path, change: Callable[[Made], Made]) -> Project:
    folder = root if root.is_dir() else root.parent
    return load_project(root, lambda project: change(made_in(folder, project)))


def _with(made: Made, kind: Kind, name: str, body: Mapping[str, Any]) -> Made:
    from tallystick.store.toml_text import toml_text

    found = parse_toml(toml_text([(kind.table, name, body)]), place_of(kind.table, name))
    rest = _without(made, kind, name)
    return replace(rest, documents=(*rest.documents, found)) if isinstance(found, Document) else rest


def _without(made: Made, kind: Kind, name: str) -> Made:
    place = place_of(kind.table, name)
    return replace(made, documents=tuple(document for document in made.documents if document.file != place))


def _refuse(before: Project, after: Project, kind: Kind, name: str) -> None:
    """Raise DefinitionError for an error a change would bring into itself, ConflictError for one elsewhere."""
    known = {_key(finding) for finding in before.errors}
    new = [finding for finding in after.errors if _key(finding) not in known]
    place = place_of(kind.table, name)
    for finding in new:
        if finding.location.file == place and finding.code != "duplicate-name":
            raise DefinitionError(finding.message, hint=finding.hint)
    lost = sorted(_names(before) - _names(after) - {f"{kind} '{name}'"})
    others = lost or [str(finding.location) for finding in new if finding.location.file != place]
    if others:
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        raise ConflictError(f"{kind} '{name}' is used by {', '.join(others[:NAMED])}{more}", hint="change those first")


def _names(project: Project) -> frozenset[str]:
    """Return everything a project defines, each with what it is; sides of ratios are not by themselves."""
    groups = (
        (Kind.SOURCE, project.sources),
        (Kind.ENTITY, project.entities),
        (Kind.EVENT, project.segments),
        (Kind.DIMENSION, project.dimensions),
        (Kind.METRIC, {name: metric for name, metric in project.metrics.items() if metric.operand_of is None}),
    )
    return frozenset(f"{kind} '{name}'" for kind, nouns in groups for name in nouns)


def _key(finding: Diagnostic) -> tuple[str, str, str | None]:
    return finding.code, finding.message, finding.location.file
