"""The keys metric-hub's tables have, as data (spec metric_hub §3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from tallystick.definitions.diagnostics import nearest
from tallystick.definitions.metric_hub import values as v
from tallystick.definitions.metric_hub.nouns import PERIOD_KEYS
from tallystick.definitions.metric_hub.places import Place

Fields = Mapping[str, v.Converter]

_ABOUT: dict[str, v.Converter] = {"friendly_name": v.text, "description": v.text}

AGGREGATED: Fields = MappingProxyType(
    {
        "aggregation": v.text,
        "column": v.text,
        "where": v.array(v.table),
        "within_days": v.integer,
        "threshold": v.table,
        "scale": v.number,
        "cumulative_window": v.integer,
        "incremental_window": v.integer,
        "repeat_windows": v.flag,
    }
)
METRIC: Fields = MappingProxyType(
    {
        "name": v.text,
        "select_expression": v.text,
        "data_source": v.text,
        **_ABOUT,
        "statistics": v.statistics,
        "bigger_is_better": v.flag,
        "analysis_bases": v.bases,
        "analysis_units": v.units,
        "type": v.text,
        "category": v.text,
        "depends_on": v.array(v.text),
        "owner": v.owner,
        "deprecated": v.flag,
        "level": v.choice("MetricLevel", "gold", "silver", "bronze"),
        **AGGREGATED,
    }
)
NIMBUS_METRIC: Fields = MappingProxyType(
    {k: c for k, c in METRIC.items() if k in AGGREGATED or k in _ABOUT}
    | {k: METRIC[k] for k in ("data_source", "statistics", "bigger_is_better", "category", "owner", "deprecated")}
    | {"level": METRIC["level"]}
)
DATA_SOURCE: Fields = MappingProxyType(
    {
        "name": v.text,
        "from_expression": v.text,
        "client_id_column": v.text,
        "submission_date_column": v.text,
        "group_id_column": v.text,
        "glean_client_id_column": v.text,
        "legacy_client_id_column": v.text,
        "experiments_column_type": v.text,
        "default_dataset": v.text,
        "build_id_column": v.text,
        **_ABOUT,
        "columns_as_dimensions": v.flag,
        "analysis_units": v.units,
    }
)
JOIN: Fields = MappingProxyType({"relationship": v.text, "on_expression": v.text})
SLUG = re.compile(r"[A-Za-z0-9_]+\Z")
RELATIONSHIPS = ("one_to_one", "many_to_one", "one_to_many", "many_to_many")
COLUMN_TYPES = ("simple", "native", "glean", "events_stream")
DIMENSION: Fields = MappingProxyType({"select_expression": v.text, "data_source": v.text, **_ABOUT})
SEGMENT: Fields = MappingProxyType({"select_expression": v.text, "data_source": v.text, **_ABOUT})
SEGMENT_DATA_SOURCE: Fields = MappingProxyType(
    {
        "from_expression": v.text,
        "window_start": v.integer,
        "window_end": v.integer,
        "client_id_column": v.text,
        "submission_date_column": v.text,
        "group_id_column": v.text,
        "glean_client_id_column": v.text,
        "legacy_client_id_column": v.text,
        "default_dataset": v.text,
    }
)
PARAMETER: Fields = MappingProxyType(
    {**_ABOUT, "value": v.text_or_table, "default": v.text_or_table, "distinct_by_branch": v.flag}
)
EXPERIMENT: Fields = MappingProxyType(
    {
        "enrollment_query": v.text,
        "enrollment_period": v.integer,
        "reference_branch": v.text,
        "start_date": v.date,
        "end_date": v.date,
        "segments": v.array(v.reference),
        "outcomes": v.array(v.reference),
        "skip": v.flag,
        "is_private": v.flag,
        "dataset_id": v.text,
        "sample_size": v.integer,
        "analysis_unit": v.choice("AnalysisUnit", "client_id", "profile_group_id"),
        "enrollments_query_type": v.choice(
            "EnrollmentsQueryType", "cirrus", "fenix-fallback", "normandy", "glean-event", "background-update"
        ),
    }
)
SYMBOLIC_WINDOWS = ("analysis_window_start", "analysis_window_end", "enrollment_start", "enrollment_end")


def _window(reading: v.Reading, value: object, place: Place) -> int | str:
    if value in SYMBOLIC_WINDOWS:
        return str(value)
    try:
        return v.integer(reading, value, place)
    except v.ValueProblemError as problem:
        known = nearest(str(value), SYMBOLIC_WINDOWS) or f"a number of days, or {', '.join(SYMBOLIC_WINDOWS)}"
        raise v.ValueProblemError(str(problem), known, place) from None


EXPOSURE_SIGNAL: Fields = MappingProxyType(
    {
        "name": v.text,
        "data_source": v.text,
        "select_expression": v.text,
        **_ABOUT,
        "window_start": _window,
        "window_end": _window,
    }
)
PROJECT: Fields = MappingProxyType(
    {
        "name": v.text,
        "platform": v.text,
        "xaxis": v.choice("MonitoringPeriod", "submission_date", "build_id"),
        "start_date": v.date,
        "end_date": v.date,
        "metrics": v.array(v.reference),
        "alerts": v.array(v.reference),
        "reference_branch": v.text,
        "compact_visualization": v.flag,
        "skip_default_metrics": v.flag,
        "skip": v.flag,
        "is_rollout": v.flag,
    }
)
METRIC_GROUP: Fields = MappingProxyType({**_ABOUT, "metrics": v.array(v.reference)})
POPULATION: Fields = MappingProxyType(
    {
        "data_source": v.text,
        "boolean_pref": v.text,
        "channel": v.choice("Channel", "nightly", "beta", "release"),
        "branches": v.array(v.text),
        "dimensions": v.array(v.reference),
        "monitor_entire_population": v.flag,
        "group_by_dimension": v.text,
    }
)
ALERT_TYPES = ("ci_overlap", "threshold", "avg_diff")
ALERT: Fields = MappingProxyType(
    {
        "type": v.choice("AlertType", *ALERT_TYPES),
        "metrics": v.array(v.reference),
        **_ABOUT,
        "parameters": v.array(v.anything),
        "min": v.array(v.number),
        "max": v.array(v.number),
        "window_size": v.integer,
        "max_relative_change": v.number,
        "statistics": v.array(v.text),
    }
)
FUNCTION: Fields = MappingProxyType({"definition": v.text, **_ABOUT})
TOP_LEVEL = frozenset(
    {
        *("project", "population", "metrics", "experiment", "segments", "data_sources", "friendly_name"),
        *("description", "parameters", "alerts", "dimensions", "functions", "default_metrics"),
        *PERIOD_KEYS,
    }
)
TABLES: Mapping[str, Fields] = MappingProxyType(
    {
        "metrics.<name>": METRIC,
        "data_sources.<name>": DATA_SOURCE,
        "segments.data_sources.<name>": SEGMENT_DATA_SOURCE,
        "segments.<name>": SEGMENT,
        "experiment": EXPERIMENT,
        "experiment.exposure_signal": EXPOSURE_SIGNAL,
        "project": PROJECT,
        "project.population": POPULATION,
        "alerts.<name>": ALERT,
        "parameters.<name>": PARAMETER,
    }
)
_MEANT = MappingProxyType(
    {
        "exposure_basis": "analysis_bases",
        "exposure_bases": "analysis_bases",
        "exposure_query_type": "enrollments_query_type",
        "enrollment_query_type": "enrollments_query_type",
        "percentiles": "parameters",
        "enrollment_end_date": "enrollment_period",
        "name": "friendly_name",
    }
)


def hint_for(key: str, fields: Fields) -> str | None:
    """Say what an unknown key was probably meant to be: a key here, or a known key of another table."""
    if (meant := _MEANT.get(key)) in fields:
        return f"did you mean '{meant}'?"
    if key in PERIOD_KEYS and fields is not METRIC:
        return f"'{key}' belongs in [metrics]"
    elsewhere = [table for table, known in TABLES.items() if key in known and known is not fields]
    close = nearest(key, fields)
    if elsewhere and not (close or "").startswith("did"):
        return f"'{key}' belongs in [{elsewhere[0]}]"
    return close
