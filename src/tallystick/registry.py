"""The words of a Python registry, for `from tallystick.registry import …`."""

from tallystick.definitions.registry import (
    MetricMetadata,
    MetricMetadataModifiers,
    MetricQueryConfig,
    MetricQueryDef,
    RollingConfig,
    timeseries_metrics,
)

__all__ = [
    "MetricMetadata",
    "MetricMetadataModifiers",
    "MetricQueryConfig",
    "MetricQueryDef",
    "RollingConfig",
    "timeseries_metrics",
]
