"""Findings about definitions: collected, located, each with the nearest name that would have worked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from enum import StrEnum

from tallystick.errors import Location, TallystickError


class Severity(StrEnum):
    """Rank a finding; only an error keeps a definition from being compiled."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One finding of `tally check`; `code` is stable and listed in docs/diagnostics.md."""

    code: str
    message: str
    severity: Severity = Severity.ERROR
    file: str | None = None
    line: int | None = None
    column: int | None = None
    hint: str | None = None

    def as_dict(self) -> dict[str, str | int | None]:
        """Return the keys `code, severity, file, line, column, message, hint`, in this order."""
        values = asdict(self)
        return {key: values[key] for key in ("code", "severity", "file", "line", "column", "message", "hint")}

    @property
    def location(self) -> Location:
        """Return the place this finding speaks of."""
        return Location(self.file, self.line, self.column)

    def __str__(self) -> str:
        place = f"{self.location}: " if str(self.location) else ""
        fix = f" ({self.hint})" if self.hint else ""
        return f"{place}{self.severity} [{self.code}] {self.message}{fix}"


def diagnose(
    code: str,
    message: str,
    at: Location | None = None,
    *,
    severity: Severity = Severity.ERROR,
    hint: str | None = None,
) -> Diagnostic:
    """Build a diagnostic at a location."""
    at = at or Location()
    return Diagnostic(
        code=code, message=message, severity=severity, file=at.file, line=at.line, column=at.column, hint=hint
    )


def from_error(code: str, error: TallystickError, at: Location | None = None) -> Diagnostic:
    """Turn an error raised while reading one definition into a finding about it."""
    return diagnose(code, error.message, error.at or at, hint=error.hint)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return a hint naming the closest known name, or the known names if they are few."""
    names = sorted(set(known))
    close = get_close_matches(name.lower(), [n.lower() for n in names], n=1, cutoff=0.6)
    if close:
        return f"did you mean '{next(n for n in names if n.lower() == close[0])}'?"
    if 0 < len(names) <= 8:
        return f"known: {', '.join(names)}"
    return None


def misspelled(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that a name is almost, for remarks about names that may also be meant as written."""
    close = get_close_matches(name.lower(), known, n=1, cutoff=0.85)
    return close[0] if close else None


def sort(findings: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Order findings by place, errors first within a place, and drop repeats."""
    rank = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}
    return tuple(
        sorted(
            dict.fromkeys(findings),
            key=lambda d: (d.file or "", d.line or 0, d.column or 0, rank[d.severity], d.code, d.message),
        )
    )
