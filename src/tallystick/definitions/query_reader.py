"""Finding the SQL files that a registry refers to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tallystick.errors import DefinitionError, Location


@dataclass(frozen=True, slots=True)
class QueryReader:
    """The folders in which a registry's SQL files are looked for, in order."""

    folders: tuple[Path, ...]
    root: Path | None = None

    def __call__(self, ref: str) -> tuple[str, Location]:
        """Return the text of a file and where it is; raise DefinitionError if no folder has it."""
        for folder in self.folders:
            path = folder / ref
            if path.is_file():
                return self._read(path)
        looked = ", ".join(dict.fromkeys(self._shown(folder) for folder in self.folders))
        raise DefinitionError(f"there is no file '{ref}'", hint=f"looked in {looked}")

    def _read(self, path: Path) -> tuple[str, Location]:
        try:
            return path.read_text(encoding="utf-8"), Location(self._shown(path), 1)
        except (OSError, ValueError) as error:
            raise DefinitionError(f"'{self._shown(path)}' cannot be read as text: {error}") from None

    def _shown(self, path: Path) -> str:
        if self.root is not None:
            try:
                return path.resolve().relative_to(self.root.resolve()).as_posix() or "."
            except ValueError:
                pass
        return path.as_posix()
