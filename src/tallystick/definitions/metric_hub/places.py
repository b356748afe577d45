"""Where things were written: documents, and places in them whose line is looked up only when somebody asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from tallystick.definitions.origin import Origin
from tallystick.definitions.toml_positions import TomlPath, locate
from tallystick.errors import Location


@dataclass(frozen=True, slots=True)
class Document:
    """One file of a repository: its name relative to the repository, and its text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """A key of a document, by its path of table names as they are spelled there."""

    document: Document
    path: TomlPath = ()

    def below(self, *keys: str | int) -> Place:
        """Return the place of a key inside this table."""
        return Place(self.document, self.path + keys)

    @property
    def location(self) -> Location:
        """Return file, line and column of the key, or of the nearest enclosing table that is written."""
        positions = _positions(self.document.text)
        path = self.path
        while path:
            if path in positions:
                line, column = positions[path]
                return Location(self.document.name, line, column)
            path = path[:-1]
        return Location(self.document.name, 1, 1)

    def __str__(self) -> str:
        return str(self.location)


Places = Mapping[str, Place]
NOWHERE: Places = MappingProxyType({})


def dotted(path: TomlPath) -> str:
    """Return a path as it is spelled in a table header."""
    return ".".join(str(part) for part in path)


def origin_of(place: Place | None, places: Places) -> Origin:
    """Turn places into the origin that ordinary definitions carry; this computes lines."""
    return Origin(
        location=place.location if place else Location(),
        fields=MappingProxyType({name: written.location for name, written in places.items()}),
    )


@lru_cache(maxsize=1024)
def _positions(text: str) -> Mapping[TomlPath, tuple[int, int]]:
    return locate(text)
