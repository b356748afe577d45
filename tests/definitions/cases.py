"""Fixture files of projects and their findings: `=== title`, then `--- path` and text, then `--- findings`.

Findings are listed as `severity code place message (hint)`, one to a line; `--- metrics` lists the metrics that stay.
Remarks of severity info are left out unless the case has them under findings. Run this file to rewrite the expected
parts after a change that is meant, then read the difference.
"""

from __future__ import annotations

import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tallystick.definitions.load import load
from tallystick.errors import ProjectError

FIXTURES = Path(__file__).parent.parent / "fixtures" / "definitions"
FINDINGS, METRICS = "findings", "metrics"


@dataclass(frozen=True, slots=True)
class Case:
    """A project as files, with what is expected of loading it."""

    title: str
    files: dict[str, str]
    findings: str
    metrics: str

    def write(self, folder: Path) -> Path:
        """Write the files below a folder."""
        for name, text in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return folder

    def actual(self, folder: Path) -> tuple[str, str]:
        """Load the project and return its findings and metrics in the notation of the fixture."""
        try:
            project = load(self.write(folder))
        except ProjectError as error:
            message = str(error).replace(str(folder), "PROJECT")
            return f"{type(error).__name__} {message}", ""
        shown = [finding for finding in project.diagnostics if finding.code != "undocumented"]
        return "\n".join(map(str, shown)), " ".join(project.metrics)

    def text(self, findings: str, metrics: str) -> str:
        """Return the case as it is written in a fixture file."""
        files = "".join(f"--- {name}\n{text}" for name, text in self.files.items())
        return f"=== {self.title}\n{files}--- {FINDINGS}\n{findings}\n--- {METRICS}\n{metrics}\n"


def read_cases(path: Path) -> list[Case]:
    """Return the cases of a fixture file."""
    found = []
    for chunk in re.split(r"(?m)^=== ", path.read_text(encoding="utf-8"))[1:]:
        title, _, body = chunk.partition("\n")
        parts = re.split(r"(?m)^--- (\S+)\n", body)[1:]
        files = dict(zip(parts[::2], parts[1::2], strict=True))
        findings = files.pop(FINDINGS, "").strip()
        metrics = files.pop(METRICS, "").strip()
        found.append(Case(title, files, findings, metrics))
    return found


def all_cases() -> list[tuple[str, Case]]:
    """Return every case with the name of its file."""
    return [(path.stem, case) for path in sorted(FIXTURES.glob("*.txt")) for case in read_cases(path)]


def rewrite() -> None:
    """Rewrite the expected parts of every fixture file from what loading does now."""
    for path in sorted(FIXTURES.glob("*.txt")):
        texts = []
        for case in read_cases(path):
            with tempfile.TemporaryDirectory() as folder:
                texts.append(case.text(*case.actual(Path(folder))))
        path.write_text("\n".join(texts), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(rewrite())
