"""Read the tables of one parsed file into a `Spec`, collecting every finding (spec metric_hub §3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from tallystick.definitions.diagnostics import from_error, nearest
from tallystick.definitions.metric_hub import nouns as n
from tallystick.definitions.metric_hub import schema, structured
from tallystick.definitions.metric_hub.mode import Quirk
from tallystick.definitions.metric_hub.places import Place, Places, dotted
from tallystick.definitions.metric_hub.values import Reading, ValueProblemError, kind_of
from tallystick.errors import DefinitionError

Raw = Mapping[str, Any]
D = TypeVar("D")


def spec_from(reading: Reading, raw: Raw, kind: n.Kind, slug: str, platform: str | None = None) -> n.Spec:
    """Read a whole file of a known kind."""
    root = Place(reading.document)
    _check_top_level(reading, raw, root)
    segments = _subtable(reading, raw, "segments", root)
    segment_sources = _subtable(reading, segments, "data_sources", root.below("segments"))
    is_outcome = kind is n.Kind.OUTCOME
    about = _fields(reading, {k: raw[k] for k in _OUTCOME_KEYS if k in raw}, root, _OUTCOME_FIELDS)[0]
    return n.Spec(
        kind=kind,
        slug=slug,
        platform=platform,
        metrics=_metrics(reading, raw, root, schema.METRIC),
        periods=_periods(reading, raw if is_outcome else _subtable(reading, raw, "metrics", root), root, is_outcome),
        data_sources=_each(reading, raw, "data_sources", root, data_source),
        segments=_named(reading, segments, root.below("segments"), segment, skip=("data_sources",)),
        segment_data_sources=_named(
            reading, segment_sources, root.below("segments", "data_sources"), segment_data_source
        ),
        dimensions=_each(reading, raw, "dimensions", root, dimension, lower=True),
        parameters=_each(reading, raw, "parameters", root, parameter),
        alerts=_each(reading, raw, "alerts", root, alert, lower=True),
        experiment=experiment(reading, _subtable(reading, raw, "experiment", root), root.below("experiment")),
        project=project(reading, _subtable(reading, raw, "project", root), root.below("project")),
        places=(root,),
        **(about if is_outcome else {}),
    )


def nimbus_spec(reading: Reading, raw: Raw, platform: str) -> n.Spec:
    """Read a file of structured metrics; its schema is closed in both modes (spec §3.11)."""
    root = Place(reading.document)
    for key in set(raw) - {"metrics"}:
        reading.error("mh-unknown-key", f"unexpected key '{key}' in structured metrics", root.below(key))
    metrics = _metrics(reading, raw, root, schema.NIMBUS_METRIC, is_closed=True)
    return n.Spec(kind=n.Kind.NIMBUS, slug=platform, platform=platform, metrics=metrics, places=(root,))


def functions_from(reading: Reading, raw: Raw) -> Mapping[str, n.Function]:
    """Read the macros of a `functions.toml` (spec §3.10)."""
    root = Place(reading.document)

    def function(reading: Reading, name: str, table: Raw, place: Place) -> n.Function | None:
        values, places = _fields(reading, table, place, schema.FUNCTION)
        if "definition" not in values:
            reading.error("mh-missing-key", f"function '{name}' has no definition", place)
            return None
        made = n.Function(name=name, place=place, places=places, **values)
        try:
            made("x")
        except (KeyError, IndexError, ValueError, AttributeError) as problem:
            message = f"the definition of function '{name}' is not a valid template: {problem}"
            reading.error("mh-macro", message, place.below("definition"), "double every literal brace")
        return made

    return _each(reading, raw, "functions", root, function)


_OUTCOME_KEYS = ("friendly_name", "description", "default_metrics")
_OUTCOME_FIELDS = {
    "friendly_name": schema.METRIC["friendly_name"],
    "description": schema.METRIC["description"],
    "default_metrics": schema.PROJECT["metrics"],
}


def _check_top_level(reading: Reading, raw: Raw, root: Place) -> None:
    unknown = [key for key in raw if key not in schema.TOP_LEVEL and not key.startswith("x_")]
    for key in unknown:
        message = f"Unexpected config key[s] found: {{'{key}'}}. config_file: {reading.document.name.rsplit('/')[-1]}"
        reading.error("mh-unexpected-key", message, root.below(key), nearest(key, schema.TOP_LEVEL))


def _subtable(reading: Reading, raw: Raw, key: str, place: Place) -> Raw:
    value = raw.get(key, {})
    if isinstance(value, dict):
        return value
    reading.error("mh-not-a-table", f"'{key}' should be a table, not a {kind_of(value)}", place.below(key))
    return {}


def _each(
    reading: Reading,
    raw: Raw,
    key: str,
    root: Place,
    read: Callable[[Reading, str, Raw, Place], D | None],
    *,
    lower: bool = False,
) -> Mapping[str, D]:
    return _named(reading, _subtable(reading, raw, key, root), root.below(key), read, lower=lower)


def _named(
    reading: Reading,
    tables: Raw,
    place: Place,
    read: Callable[[Reading, str, Raw, Place], D | None],
    *,
    skip: tuple[str, ...] = (),
    lower: bool = False,
) -> Mapping[str, D]:
    found: dict[str, D] = {}
    for name, table in tables.items():
        if name in skip:
            continue
        here = place.below(name)
        if not isinstance(table, dict):
            message = f"'{dotted(here.path)}' should be a table, not a {kind_of(table)}"
            reading.error("mh-not-a-table", message, here, nearest(name, skip))
            continue
        slug = name.lower() if lower else name
        if slug != name:
            reading.quirk(Quirk.LOWER_CASED, f"'{name}' is read as '{slug}'", here)
        definition = read(reading, slug, table, here)
        if definition is not None:
            found[slug] = definition
    return MappingProxyType(found)


def _fields(
    reading: Reading, table: Raw, place: Place, fields: schema.Fields, extra: tuple[str, ...] = ()
) -> tuple[dict[str, Any], Places]:
    """Read the known keys of a table; report the others."""
    values: dict[str, Any] = {}
    places: dict[str, Place] = {}
    for written, raw in table.items():
        key = written if written in fields else written.lower()
        here = place.below(written)
        if key in fields:
            try:
                values[key] = fields[key](reading, raw, here)
                places[key] = here
            except ValueProblemError as problem:
                reading.error("mh-bad-value", str(problem), problem.place or here, problem.hint)
        elif key not in extra and not key.startswith("x_"):
            ignored = " is ignored" if reading.mode.is_compat else ""
            message = f"unknown key '{written}' in [{dotted(place.path)}]{ignored}"
            reading.quirk(Quirk.UNKNOWN_KEY, message, here, schema.hint_for(key, fields))
    return values, MappingProxyType(places)


def _metrics(
    reading: Reading, raw: Raw, root: Place, fields: schema.Fields, *, is_closed: bool = False
) -> Mapping[str, n.MetricDefinition]:
    tables = dict(_subtable(reading, raw, "metrics", root))
    for key in {} if is_closed else n.PERIOD_KEYS:
        tables.pop(key, None)
    if not is_closed and "days28" in tables:
        here = root.below("metrics", "days28")
        reading.quirk(Quirk.RESERVED, "'days28' is reserved and ignored", here, "did you mean '28_day'?")
        tables.pop("days28")

    def metric(reading: Reading, slug: str, table: Raw, place: Place) -> n.MetricDefinition:
        if is_closed:
            for key in set(table) - set(fields):
                message = f"unexpected key '{key}' in structured metric '{slug}'"
                reading.error("mh-unknown-key", message, place.below(key), nearest(key, fields))
            table = {key: value for key, value in table.items() if key in fields}
            _require(reading, "structured metric", slug, table, place, ("data_source", "aggregation"))
        values, places = _fields(reading, table, place, fields)
        name = values.pop("name", slug)
        if name != slug:
            reading.quirk(Quirk.RENAMED, f"metric '{slug}' is called '{name}' in SQL", place.below("name"))
        made = n.MetricDefinition(name=name, place=place, places=places, **values)
        if structured.is_structured(made):
            _check_structured(reading, made)
        return made

    return _named(reading, tables, root.below("metrics"), metric)


def _check_structured(reading: Reading, metric: n.MetricDefinition) -> None:
    try:
        structured.check(metric)
    except DefinitionError as problem:
        reading.findings.append(from_error("mh-structured-metric", problem))


def _periods(reading: Reading, table: Raw, root: Place, is_outcome: bool) -> Mapping[n.Period, tuple[n.Reference, ...]]:
    found: dict[n.Period, tuple[n.Reference, ...]] = {}
    for key, period in n.PERIOD_KEYS.items():
        if key not in table:
            continue
        value = table[key]
        here = root.below(key) if is_outcome else root.below("metrics", key)
        if not isinstance(value, list):
            message = f"metrics.{key} should be a list of metrics"
            reading.error("mh-period-not-a-list", message, here, f'write {key} = ["metric", …]')
            continue
        found[period] = tuple(n.Reference(str(name), here.below(i)) for i, name in enumerate(value))
    return MappingProxyType(found)


def data_source(reading: Reading, slug: str, table: Raw, place: Place) -> n.DataSourceDefinition:
    """Read `[data_sources.<slug>]` with its joins (spec §3.3)."""
    joins_key = next((key for key in table if key.lower() == "joins"), None)
    values, places = _fields(reading, table, place, schema.DATA_SOURCE, extra=("joins",))
    name = values.pop("name", slug)
    joins: Mapping[str, n.Join] | None = None
    if joins_key is not None:
        joins = _named(reading, _subtable(reading, table, joins_key, place), place.below(joins_key), _join)
        places = MappingProxyType({**places, "joins": place.below(joins_key)})
    return n.DataSourceDefinition(name=name, place=place, places=places, joins=joins, **values)


def _join(reading: Reading, slug: str, table: Raw, place: Place) -> n.Join:
    values, _ = _fields(reading, table, place, schema.JOIN)
    relationship = values.get("relationship")
    if relationship is not None and relationship not in schema.RELATIONSHIPS:
        message = f"relationship '{relationship}' of the join with '{slug}' gives no JOIN keyword"
        hint = nearest(relationship, schema.RELATIONSHIPS)
        reading.quirk(Quirk.NO_JOIN_KEYWORD, message, place.below("relationship"), hint)
    return n.Join(**values)


def segment(reading: Reading, slug: str, table: Raw, place: Place) -> n.SegmentDefinition:
    """Read `[segments.<slug>]` (spec §3.5)."""
    values, places = _fields(reading, table, place, schema.SEGMENT)
    _require(reading, "segment", slug, table, place, ("select_expression", "data_source"))
    return n.SegmentDefinition(name=slug, place=place, places=places, **values)


def segment_data_source(reading: Reading, slug: str, table: Raw, place: Place) -> n.SegmentDataSourceDefinition:
    """Read `[segments.data_sources.<slug>]` (spec §3.5)."""
    values, places = _fields(reading, table, place, schema.SEGMENT_DATA_SOURCE)
    _require(reading, "segment data source", slug, table, place, ("from_expression",))
    if values.get("window_start", 0) > values.get("window_end", 0):
        message = f"window_start of segment data source '{slug}' must not be after window_end"
        reading.error("mh-bad-window", message, place.below("window_start"))
    return n.SegmentDataSourceDefinition(name=slug, place=place, places=places, **values)


def dimension(reading: Reading, slug: str, table: Raw, place: Place) -> n.DimensionDefinition:
    """Read `[dimensions.<slug>]` (spec §3.4)."""
    values, places = _fields(reading, table, place, schema.DIMENSION)
    _require(reading, "dimension", slug, table, place, ("select_expression", "data_source"))
    return n.DimensionDefinition(name=slug, place=place, places=places, **values)


def parameter(reading: Reading, slug: str, table: Raw, place: Place) -> n.ParameterDefinition:
    """Read `[parameters.<slug>]`, whose keys are closed in both modes (spec §3.7)."""
    for key in table:
        if key.lower() not in schema.PARAMETER and key.lower() != "name":
            message = f"ParameterDefinition got an unexpected key '{key}'"
            reading.error("mh-unexpected-key", message, place.below(key), nearest(key, schema.PARAMETER))
    known = {key: value for key, value in table.items() if key.lower() in schema.PARAMETER}
    values, places = _fields(reading, known, place, schema.PARAMETER)
    return n.ParameterDefinition(name=slug, place=place, places=places, **values)


def experiment(reading: Reading, table: Raw, place: Place) -> n.ExperimentSettings:
    """Read `[experiment]` (spec §3.6)."""
    values, places = _fields(reading, table, place, schema.EXPERIMENT, extra=("exposure_signal",))
    if "analysis_unit" in values:
        values["analysis_unit"] = n.Unit(values["analysis_unit"])
    if "exposure_signal" in table:
        raw = _subtable(reading, table, "exposure_signal", place)
        values["exposure_signal"] = _exposure_signal(reading, raw, place.below("exposure_signal"))
        places = MappingProxyType({**places, "exposure_signal": place.below("exposure_signal")})
    if values.get("is_private") and not values.get("dataset_id"):
        message = "dataset_id must be set to a custom dataset for private experiments"
        reading.error("mh-private-without-dataset", message, place.below("is_private"), "set experiment.dataset_id")
    return n.ExperimentSettings(place=place, places=places, **values)


def _exposure_signal(reading: Reading, table: Raw, place: Place) -> n.ExposureSignalDefinition:
    values, places = _fields(reading, table, place, schema.EXPOSURE_SIGNAL)
    required = ("name", "data_source", "select_expression", "friendly_name", "description")
    _require(reading, "exposure signal", str(values.get("name", "")), table, place, required)
    values.setdefault("name", "exposure_signal")
    return n.ExposureSignalDefinition(place=place, places=places, **values)


def project(reading: Reading, table: Raw, place: Place) -> n.ProjectSettings:
    """Read `[project]` with its population and metric groups (spec §3.9)."""
    values, places = _fields(reading, table, place, schema.PROJECT, extra=("population", "metric_groups"))
    if "name" in values:
        values["label"] = values.pop("name")
    population_place = place.below("population")
    raw, population_places = _fields(
        reading, _subtable(reading, table, "population", place), population_place, schema.POPULATION
    )
    return n.ProjectSettings(
        place=place,
        places=places,
        population=n.Population(place=population_place, places=population_places, **raw),
        metric_groups=_each(reading, table, "metric_groups", place, _metric_group, lower=True),
        **values,
    )


def _metric_group(reading: Reading, slug: str, table: Raw, place: Place) -> n.MetricGroup:
    values, places = _fields(reading, table, place, schema.METRIC_GROUP)
    return n.MetricGroup(name=slug, place=place, places=places, **values)


def alert(reading: Reading, slug: str, table: Raw, place: Place) -> n.AlertDefinition:
    """Read `[alerts.<slug>]` and check which keys its type needs and forbids (spec §3.9)."""
    values, places = _fields(reading, table, place, schema.ALERT)
    if "type" in values:
        _check_alert(reading, values, place)
    _require(reading, "alert", slug, table, place, ("type", "metrics"))
    return n.AlertDefinition(name=slug, place=place, places=places, **values)


_FORBIDDEN = {
    "ci_overlap": ("min", "max", "window_size", "max_relative_change"),
    "threshold": ("window_size", "max_relative_change"),
    "avg_diff": ("min", "max"),
}


def _check_alert(reading: Reading, values: dict[str, Any], place: Place) -> None:
    kind = values["type"]
    for key in _FORBIDDEN[kind]:
        if values.get(key) is not None:
            message = f"For alert of type AlertType.{kind.upper()}, the parameter {key} must not be set"
            reading.error("mh-alert", message, place.below(key), f"remove '{key}'")
    if kind == "threshold":
        _check_threshold(reading, values, place)
    for key in ("window_size", "max_relative_change") if kind == "avg_diff" else ():
        if values.get(key) is None:
            message = f"'{key}' needs to be specified when using avg_diff alert"
            reading.error("mh-alert", message, place)


def _check_threshold(reading: Reading, values: dict[str, Any], place: Place) -> None:
    if values.get("min") is None and values.get("max") is None:
        message = "Either 'max' or 'min' needs to be set when defining a threshold alert"
        reading.error("mh-alert", message, place, "add max = [number] or min = [number]")
    parameters = values.get("parameters")
    for key in ("min", "max"):
        bounds = values.get(key)
        if parameters and bounds and len(bounds) != len(parameters):
            message = f"Number of {key} thresholds not matching number of parameters to monitor"
            reading.error("mh-alert", message, place.below(key), "give one bound per parameter")


def _require(reading: Reading, what: str, slug: str, table: Raw, place: Place, keys: tuple[str, ...]) -> None:
    given = {key.lower() for key in table}
    if missing := [key for key in keys if key not in given]:
        listed = ", ".join(f"'{key}'" for key in missing)
        reading.error("mh-missing-key", f"{what} '{slug}' needs {listed}", place)
