"""Feature monitoring files: `featmon/<platform>.toml`, a closed schema of their own (spec metric_hub §13.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tallystick.definitions.diagnostics import nearest
from tallystick.definitions.metric_hub import values as v
from tallystick.definitions.metric_hub.places import Place

SOURCE_TYPES = ("metrics", "events_stream", "clients_daily")
METRIC_TYPES = ("boolean", "quantity", "labeled_counter", "labeled_boolean", "string", "event")
_SOURCE_KEYS = ("table_name", "type", "analysis_unit_id", "dimensions")
_DIMENSION_KEYS = ("field", "value_in", "default_value")
_FEATURE_KEYS = ("slug", "metrics_by_source", "ratios")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSource:
    """A table that features are measured on."""

    name: str
    table_name: str
    type: str
    analysis_unit_id: str = "client_info.client_id"
    dimensions: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A monitored feature: its probes by source and type, and pairs of them to divide."""

    name: str
    slug: str
    metrics_by_source: Mapping[str, Mapping[str, Any]]
    ratios: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """One platform's monitored features."""

    platform: str
    data_sources: Mapping[str, FeatureSource]
    features: Mapping[str, Feature]


def features_from(reading: v.Reading, raw: Mapping[str, Any], platform: str) -> FeatureSpec:
    """Read a featmon file; every unknown key is an error in both modes."""
    root = Place(reading.document)
    _closed(reading, raw, ("data_sources", "features"), root, "featmon file")
    sources = {
        name: _source(reading, name, table, root.below("data_sources", name))
        for name, table in _tables(reading, raw, "data_sources", root)
    }
    features = {
        name: _feature(reading, name, table, root.below("features", name), sources)
        for name, table in _tables(reading, raw, "features", root)
    }
    return FeatureSpec(platform=platform, data_sources=MappingProxyType(sources), features=MappingProxyType(features))


def _tables(reading: v.Reading, raw: Mapping[str, Any], key: str, place: Place) -> list[tuple[str, Any]]:
    table = raw.get(key, {})
    if not isinstance(table, dict):
        reading.error("mh-not-a-table", f"'{key}' should be a table, not a {v.kind_of(table)}", place.below(key))
        return []
    wrong = [name for name, item in table.items() if not isinstance(item, dict)]
    for name in wrong:
        reading.error("mh-not-a-table", f"'{key}.{name}' should be a table", place.below(key, name))
    return [(name, item) for name, item in table.items() if name not in wrong]


def _closed(reading: v.Reading, table: Mapping[str, Any], keys: tuple[str, ...], place: Place, what: str) -> None:
    for key in table:
        if key not in keys:
            message = f"{what} got an unexpected key '{key}'"
            reading.error("mh-unexpected-key", message, place.below(key), nearest(key, keys))


def _source(reading: v.Reading, name: str, table: Mapping[str, Any], place: Place) -> FeatureSource:
    _closed(reading, table, _SOURCE_KEYS, place, f"featmon data source '{name}'")
    if "table_name" not in table:
        reading.error("mh-missing-key", f"featmon data source '{name}' needs 'table_name'", place)
    kind = str(table.get("type", SOURCE_TYPES[0]))
    if kind not in SOURCE_TYPES:
        message = f"'{kind}' is not a valid featmon source type"
        reading.error("mh-bad-value", message, place.below("type"), nearest(kind, SOURCE_TYPES))
    dimensions = dict(_tables(reading, table, "dimensions", place))
    for dimension, options in dimensions.items():
        _closed(reading, options, _DIMENSION_KEYS, place.below("dimensions", dimension), f"dimension '{dimension}'")
    return FeatureSource(
        name=name,
        table_name=str(table.get("table_name", "")),
        type=kind,
        analysis_unit_id=str(table.get("analysis_unit_id", "client_info.client_id")),
        dimensions=v.freeze(dimensions),
    )


def _feature(
    reading: v.Reading, name: str, table: Mapping[str, Any], place: Place, sources: Mapping[str, FeatureSource]
) -> Feature:
    _closed(reading, table, _FEATURE_KEYS, place, f"feature '{name}'")
    by_source = dict(_tables(reading, table, "metrics_by_source", place))
    for source, by_type in by_source.items():
        here = place.below("metrics_by_source", source)
        if source not in sources:
            message = f"feature '{name}' reads the unknown data source '{source}'"
            reading.error("mh-unknown-data-source", message, here, nearest(source, sources))
        _closed(reading, by_type, METRIC_TYPES, here, f"source '{source}' of feature '{name}'")
    return Feature(
        name=name,
        slug=str(table.get("slug", name)),
        metrics_by_source=v.freeze(by_source),
        ratios=tuple(tuple(str(part) for part in pair) for pair in table.get("ratios", ())),
    )
