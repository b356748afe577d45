"""Where each field of a definition was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tallystick.errors import Location


@dataclass(frozen=True, slots=True)
class Origin:
    """The place of a definition and of each of its fields (dotted path below the definition)."""

    location: Location = field(default_factory=Location)
    fields: Mapping[str, Location] = field(default_factory=lambda: MappingProxyType({}))

    def of(self, path: str) -> Location:
        """Return where a field was written, or the nearest enclosing place that is known."""
        while path:
            if path in self.fields:
                return self.fields[path]
            path = path.rpartition(".")[0]
        return self.location

    def below(self, path: str) -> Origin:
        """Return the origin of something that is mentioned in a field and written nowhere else."""
        return Origin(self.of(path))

    def inside(self, path: str, line: int, column: int) -> Location:  # noqa: ARG002 - files that keep text know more
        """Return the place of a line and column (from 1) within the text of a field, as closely as it is known."""
        return self.of(path)


def place_of(origin: Origin, *paths: str) -> Location:
    """Return where the first of several fields that is written at all is written, else the definition's place."""
    for path in paths:
        at = origin.of(path)
        if at != origin.location:
            return at
    return origin.location


def place_in(origin: Origin, place: Location | None, *paths: str) -> Location:
    """Return where a place within the text of the first written field lies in the file."""
    field = next((path for path in paths if origin.of(path) != origin.location), paths[0])
    if place is not None and place.line and place.column:
        return origin.inside(field, place.line, place.column)
    return origin.of(field)
