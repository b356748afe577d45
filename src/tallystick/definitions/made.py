"""Definitions made in the service, beside those of files: read by the same rules, with names in the same space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tallystick.definitions.diagnostics import Diagnostic, diagnose
from tallystick.definitions.document import Document
from tallystick.definitions.drafts import Drafts, duplicate
from tallystick.definitions.fields import Fields
from tallystick.definitions.origin import Origin
from tallystick.definitions.query_file import QueryFiles
from tallystick.definitions.read_toml import read_definitions
from tallystick.definitions.tally_toml import read_warehouses

PLACE = "store:"
"""How the place of a definition begins that no file holds, such as `store:metrics.revenue`."""

_NOUNS = {
    "source": "sources",
    "entity": "entities",
    "event": "segments",
    "segment": "segments",
    "filter": "segments",
    "dimension": "dimensions",
    "metric": "metrics",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What the service holds: a document for each definition, and the day each deleted name was given up, by kind."""

    documents: tuple[Document, ...] = ()
    deleted: Mapping[tuple[str, str], str] = field(default_factory=lambda: MappingProxyType({}))
    findings: tuple[Diagnostic, ...] = ()


def place_of(table: str, name: str) -> str:
    """Return how the place of a definition made in the service is called."""
    return f"{PLACE}{table}.{name}"


def is_made(origin: Origin) -> bool:
    """Tell whether a definition was made in the service."""
    return (origin.location.file or "").startswith(PLACE)


def add_made(drafts: Drafts, made: Made, queries: QueryFiles) -> None:
    """Add what the service holds to what files define; a name that clashes is reported, and the file's stays.

    A file that says the same as the service was exported from there: it stands for both. A name that was deleted is
    never used again (spec tripl §12, names are never reused).
    """
    drafts.findings.extend(made.findings)
    _leave_out_deleted(drafts, made.deleted)
    for document in made.documents:
        if "warehouses" in document.data:
            _add_warehouses(document, drafts)
            continue
        mine = Drafts()
        read_definitions(document, mine, queries)
        if not _is_exported(mine, drafts):
            _add(mine, drafts)


def _leave_out_deleted(drafts: Drafts, deleted: Mapping[tuple[str, str], str]) -> None:
    for (kind, name), day in deleted.items():
        nouns = getattr(drafts, _NOUNS.get(kind, ""), {})
        if (noun := nouns.pop(name, None)) is not None:
            drafts.leave_out(getattr(noun, "kind", kind) if kind == "event" else kind, name)
            message = f"{kind} '{name}' existed in the service until {day}, and names are never reused"
            drafts.findings.append(diagnose("name-taken", message, noun.origin.location, hint="choose another name"))


def _is_exported(mine: Drafts, drafts: Drafts) -> bool:
    found = list(_nouns(mine))
    return bool(found) and all(getattr(drafts, place).get(noun.name) == noun for _, place, noun in found)


def _add(mine: Drafts, drafts: Drafts) -> None:
    drafts.findings.extend(mine.findings)
    drafts.flawed.extend(mine.flawed)
    for kind, names in mine.broken.items():
        for name in names:
            drafts.leave_out(kind, name)
    for kind, place, noun in _nouns(mine):
        drafts.add(kind, noun, getattr(drafts, place))


def _nouns(drafts: Drafts) -> Iterator[tuple[str, str, Any]]:
    for kind in ("source", "entity", "event", "dimension", "metric"):
        for noun in getattr(drafts, _NOUNS[kind]).values():
            yield kind, _NOUNS[kind], noun


def _add_warehouses(document: Document, drafts: Drafts) -> None:
    found = read_warehouses(Fields(document, (), document.data, drafts.findings))
    for name, warehouse in found.items():
        first = drafts.warehouses.get(name)
        if first is None or first.origin == Origin():  # nobody wrote the default one
            drafts.warehouses[name] = warehouse
        elif first != warehouse:
            at = warehouse.origin.location
            drafts.findings.append(duplicate("warehouse", name, first.origin.location, at))
