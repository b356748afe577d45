"""Reading the table of one definition that was made in the service, by the rules of definition files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any

from tallystick.definitions.about import About
from tallystick.definitions.diagnostics import Diagnostic, Severity
from tallystick.definitions.document import Document, parse_toml
from tallystick.definitions.drafts import Drafts, Noun
from tallystick.definitions.fields import Fields
from tallystick.definitions.project import Warehouse
from tallystick.definitions.query_file import QueryFiles
from tallystick.definitions.read_toml import read_definitions
from tallystick.definitions.tally_toml import read_warehouses
from tallystick.errors import DefinitionError
from tallystick.store.kinds import Kind
from tallystick.store.toml_text import toml_text

_NOWHERE = Path("/nonexistent")  # a definition made in the service refers to no file
_DRAFTS = {
    Kind.SOURCE: "sources",
    Kind.ENTITY: "entities",
    Kind.EVENT: "segments",
    Kind.DIMENSION: "dimensions",
    Kind.METRIC: "metrics",
}


def read_body(kind: Kind, name: str, body: Mapping[str, Any]) -> Noun | Warehouse:
    """Return the noun a table defines; raise DefinitionError with the first finding that is an error."""
    document = parse_toml(toml_text([(kind.table, name, body)]), f"{kind} '{name}'")
    if isinstance(document, Diagnostic):
        raise DefinitionError(document.message)
    if kind is Kind.WAREHOUSE:
        return _warehouse(document, name)
    drafts = Drafts()
    read_definitions(document, drafts, QueryFiles(_NOWHERE))
    _refuse(drafts.findings)
    found: Noun = getattr(drafts, _DRAFTS[kind])[name]
    return found


def _warehouse(document: Document, name: str) -> Warehouse:
    findings: list[Diagnostic] = []
    found = read_warehouses(Fields(document, (), document.data, findings))
    _refuse(findings)
    return found[name]


def _refuse(findings: list[Diagnostic]) -> None:
    for finding in findings:
        if finding.severity is Severity.ERROR:
            raise DefinitionError(finding.message, hint=finding.hint)


def facts_of(noun: Noun | Warehouse) -> dict[str, Any]:
    """Return everything a definition says as plain data: no name, no place, nothing that is empty."""
    found: dict[str, Any] = _plain(noun)
    found.pop("name", None)
    return found


def about_of(noun: Noun | Warehouse) -> About:
    """Return what a definition says about itself; a warehouse says nothing."""
    return About() if isinstance(noun, Warehouse) else getattr(noun, "about", About())


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        pairs = ((field.name, getattr(value, field.name)) for field in fields(value) if field.name != "origin")
        return {name: plain for name, item in pairs if (plain := _plain(item)) not in (None, [], {}, False, "")}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
