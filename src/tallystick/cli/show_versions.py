"""What changed in a definition, as the catalog has followed it: below its sheet, and in its JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tallystick.cli.output import Row, cell, write_line

if TYPE_CHECKING:
    from tallystick.service.workspace import Workspace

NEWEST = 5
"""A sheet shows this many changes."""


def versions(workspace: Workspace, type_: str, name: str) -> list[Row]:
    """Return the versions of a thing, oldest first; nothing where there is no store, or it never changed."""
    from tallystick.service import catalog
    from tallystick.store.kinds import Kind

    kind = {"segment": Kind.EVENT, "filter": Kind.EVENT}.get(type_) or Kind(type_)
    found = catalog.history(workspace.project, kind, name)
    if len(found) < 2:
        return []
    return [
        {"version": each.number, "at": each.at, "author": each.author, "changes": [dict(one) for one in each.changes]}
        for each in found
    ]


def write_versions(found: Sequence[Row]) -> None:
    """Write the newest changes, field by field; the first version is what the definition said at first."""
    for version in list(found)[1:][-NEWEST:]:
        write_line()
        write_line(f"  version {version['version']}  {version['at']:%Y-%m-%d %H:%M} by {version['author']}")
        changes = version["changes"]
        assert isinstance(changes, list)  # noqa: S101 - made above
        for change in changes:
            write_line(f"    {change['field']}: {cell(change['old'])} → {cell(change['new'])}")
        if not changes:
            write_line("    taken over, saying the same")
