"""The words of the catalog: kinds of definitions, who owns them, roles and scopes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    """What a definition defines; names are unique within a kind and a project."""

    WAREHOUSE = "warehouse"
    SOURCE = "source"
    ENTITY = "entity"
    EVENT = "event"
    DIMENSION = "dimension"
    METRIC = "metric"

    @property
    def table(self) -> str:
        """Return the TOML table such definitions are written in."""
        return {"entity": "entities"}.get(self.value, f"{self.value}s")


class Owner(StrEnum):
    """Where a definition is written: in a file of the project, or in the service."""

    FILE = "file"
    SERVICE = "service"


class Role(StrEnum):
    """What a person may do."""

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"


class Scope(StrEnum):
    """What a token may do, at most what its user may."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Author:
    """Who changes something, and when (UTC)."""

    name: str
    at: datetime
