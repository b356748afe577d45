"""Files of query text that definitions refer to."""

from __future__ import annotations

from pathlib import Path

from tallystick.definitions.diagnostics import Diagnostic, diagnose
from tallystick.definitions.document import read_text
from tallystick.definitions.metric import Metric, SqlQuery
from tallystick.definitions.origin import place_in
from tallystick.errors import Location

METRICS = "metrics"


def place_in_query(metric: Metric, place: Location | None) -> Location:
    """Return where a place within the text of a metric's query lies in the file that the text is written in."""
    ref = metric.definition.ref if isinstance(metric.definition, SqlQuery) else None
    file = metric.origin.location.file or ""
    if place is None or (ref is None and not file.endswith(".sql")):
        return place_in(metric.origin, place, "sql", "ref")
    known = metric.origin.of("sql").file or file
    return Location(known if known.endswith(".sql") else f"{METRICS}/{ref}", place.line, place.column)


class QueryFiles:
    """The SQL files of a project folder, read on reference; nothing outside the folder is ever read."""

    __slots__ = ("referenced", "root")

    def __init__(self, root: Path) -> None:
        self.root = root
        self.referenced: set[Path] = set()

    def read_metric(self, ref: str) -> str | Diagnostic:
        """Return the text of a metric's file, given relative to `metrics/`."""
        found = self._read(ref, (self.root / METRICS, self.root))
        return found if isinstance(found, Diagnostic) else found[0]

    def read_source(self, ref: str, defining: str) -> str | Diagnostic:
        """Return the text of a source's query, given relative to the defining file or to the project."""
        found = self._read(ref, ((self.root / defining).parent, self.root))
        return found if isinstance(found, Diagnostic) else found[0]

    def _read(self, ref: str, folders: tuple[Path, ...]) -> tuple[str, Path] | Diagnostic:
        root = self.root.resolve()
        for folder in folders:
            path = (folder / ref).resolve()
            if not path.is_relative_to(root):
                hint = "keep query files inside the project folder"
                return diagnose("outside-project", f"'{ref}' leads out of the project", hint=hint)
            if path.exists():
                self.referenced.add(path)
                text = read_text(path, ref)
                if isinstance(text, Diagnostic):
                    return diagnose(text.code, f"'{ref}': {text.message}", hint=text.hint)
                return text, path
        places = " or ".join(dict.fromkeys((folder / ref).relative_to(self.root).as_posix() for folder in folders))
        return diagnose("missing-file", f"'{ref}' does not exist", hint=f"it is looked for at {places}")
