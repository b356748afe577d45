"""A collection: everything one folder (or several merged ones) says, and the look-ups consumers make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from tallystick.definitions.diagnostics import Diagnostic, Severity, nearest
from tallystick.definitions.metric_hub import nouns as n
from tallystick.definitions.metric_hub.featmon import FeatureSpec
from tallystick.definitions.metric_hub.mode import Mode
from tallystick.errors import UnknownNameError

Outcomes = Mapping[tuple[str, str], n.Spec]
"""Outcomes by (platform, slug)."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """All specs of one tool, merged; nothing in it ever changes."""

    mode: Mode = Mode.COMPAT
    roots: tuple[str, ...] = ()
    configs: Mapping[str, n.Spec] = field(default_factory=lambda: MappingProxyType({}))
    outcomes: Outcomes = field(default_factory=lambda: MappingProxyType({}))
    defaults: Mapping[str, n.Spec] = field(default_factory=lambda: MappingProxyType({}))
    definitions: Mapping[str, n.Spec] = field(default_factory=lambda: MappingProxyType({}))
    functions: Mapping[str, n.Function] = field(default_factory=lambda: MappingProxyType({}))
    features: Mapping[str, FeatureSpec] = field(default_factory=lambda: MappingProxyType({}))
    nimbus: Mapping[str, n.Spec] = field(default_factory=lambda: MappingProxyType({}))
    diagnostics: tuple[Diagnostic, ...] = field(default=(), compare=False)

    @property
    def platforms(self) -> tuple[str, ...]:
        """Return the platforms that have definitions, in order of first appearance."""
        return tuple(self.definitions)

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """Return the findings that are errors."""
        return tuple(d for d in self.diagnostics if d.severity is Severity.ERROR)

    def spec_of(self, platform: str) -> n.Spec:
        """Return the definitions of a platform; raises `UnknownNameError` for an unknown one."""
        return named(self.definitions, platform, f"No definitions for platform {platform} found.")

    def metric(self, slug: str, platform: str) -> n.MetricDefinition | None:
        """Return a metric definition, or nothing."""
        spec = self.definitions.get(platform)
        return spec.metrics.get(slug) if spec else None

    def data_source(self, slug: str, platform: str) -> n.DataSourceDefinition | None:
        """Return a data source definition, or nothing."""
        spec = self.definitions.get(platform)
        return spec.data_sources.get(slug) if spec else None

    def segment(self, slug: str, platform: str) -> n.SegmentDefinition | None:
        """Return a segment definition, or nothing."""
        spec = self.definitions.get(platform)
        return spec.segments.get(slug) if spec else None

    def segment_data_source(self, slug: str, platform: str) -> n.SegmentDataSourceDefinition | None:
        """Return the definition of a segment's data source, or nothing."""
        spec = self.definitions.get(platform)
        return spec.segment_data_sources.get(slug) if spec else None

    def dimension(self, slug: str, platform: str) -> n.DimensionDefinition | None:
        """Return a dimension definition, or nothing."""
        spec = self.definitions.get(platform)
        return spec.dimensions.get(slug) if spec else None


def named(table: Mapping[str, T], name: str, message: str) -> T:
    """Look a name up; raises `UnknownNameError` with the nearest name as hint."""
    if name in table:
        return table[name]
    raise UnknownNameError(message, hint=nearest(name, table))
