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
