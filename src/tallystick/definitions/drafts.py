"""Definitions while they are collected from files, before their names are resolved."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from tallystick.definitions.diagnostics import Diagnostic, Severity, diagnose, nearest
from tallystick.definitions.entity import Entity
from tallystick.definitions.metric import Metric
from tallystick.definitions.origin import Origin, place_in
from tallystick.definitions.project import Settings, Warehouse
from tallystick.definitions.source import Dimension, Segment, Source
from tallystick.errors import Location, TallystickError

Noun = Source | Entity | Segment | Dimension | Metric
N = TypeVar("N", Source, Entity, Segment, Dimension, Metric)


@dataclass(slots=True)
class Drafts:
    """What reading has found so far; `broken` names what is left out because of its own errors, by kind.

    `flawed` are metrics that were read with errors: they are checked further, so that all their errors are told at
    once, and never kept.
    """

    settings: Settings = field(default_factory=Settings)
    settings_origin: Origin = field(default_factory=Origin)
    warehouses: dict[str, Warehouse] = field(default_factory=lambda: {"default": Warehouse()})
    sources: dict[str, Source] = field(default_factory=dict)
    entities: dict[str, Entity] = field(default_factory=dict)
    segments: dict[str, Segment] = field(default_factory=dict)
    dimensions: dict[str, Dimension] = field(default_factory=dict)
    metrics: dict[str, Metric] = field(default_factory=dict)
    broken: dict[str, set[str]] = field(default_factory=dict)
    flawed: list[Metric] = field(default_factory=list)
    flawed_at: dict[tuple[str, str], Location] = field(default_factory=dict)
    findings: list[Diagnostic] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing at all was defined or attempted."""
        nouns = (self.sources, self.entities, self.segments, self.dimensions, self.metrics)
        return not any(nouns) and not self.broken and not self.findings

    def add(self, kind: str, noun: N, into: dict[str, N]) -> None:
        """Keep a definition, or report it where its name is taken; the first one stays."""
        first = into.setdefault(noun.name, noun)
        if first is not noun:
            self.findings.append(duplicate(kind, noun.name, first.origin.location, noun.origin.location))
        elif at := self.flawed_at.get((kind, noun.name)):
            self.findings.append(duplicate(kind, noun.name, at, noun.origin.location))

    def set_aside(self, kind: str, noun: N, into: dict[str, N]) -> None:
        """Leave out a definition with errors; report it where its name is taken."""
        self.leave_out(kind, noun.name)
        if noun.name in into:
            self.findings.append(duplicate(kind, noun.name, into[noun.name].origin.location, noun.origin.location))
        self.flawed_at.setdefault((kind, noun.name), noun.origin.location)
        if isinstance(noun, Metric):
            self.flawed.append(noun)

    def leave_out(self, kind: str, name: str) -> None:
        """Remember a name whose definition has an error, so that nobody reports it as unknown."""
        self.broken.setdefault(kind, set()).add(name)

    def report_sql(self, error: TallystickError, origin: Origin, *paths: str, code: str = "bad-sql") -> None:
        """Report SQL that does not do, at the place inside the first of these fields that is written."""
        at = place_in(origin, error.at, *paths)
        self.findings.append(diagnose(code, error.message, at, hint=error.hint))

    def missing(self, kind: str, name: str, where: str, at: Location, known: Iterable[str]) -> Diagnostic:
        """Return the finding for a name that does not exist, or exists with errors of its own."""
        if name in self.broken.get(kind, ()):
            hint = f"correct {kind} '{name}' first"
            return diagnose("left-out", f"{where} is left out: {kind} '{name}' has an error", at, hint=hint)
        return diagnose(f"unknown-{kind}", f"{where}: there is no {kind} '{name}'", at, hint=nearest(name, known))

    def errors(self) -> int:
        """Count the errors found so far."""
        return sum(finding.severity is Severity.ERROR for finding in self.findings)


def duplicate(kind: str, name: str, first: Location, second: Location) -> Diagnostic:
    """Return the finding for a name that is defined twice, naming both places."""
    hint = f"'{name}' is first defined at {first}; rename or remove one of them"
    return diagnose("duplicate-name", f"{kind} '{name}' is defined twice", second, hint=hint)
