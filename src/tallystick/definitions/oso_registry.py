"""Registrations to metrics: what `timeseries_metrics(…)` or a JSON file says, as frozen nouns (spec oso §3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType, SimpleNamespace
from typing import cast

from tallystick.definitions.about import About
from tallystick.definitions.diagnostics import Diagnostic, Severity, diagnose, from_error, nearest
from tallystick.definitions.metric import Metric, SqlQuery, Views, type_of_var
from tallystick.definitions.origin import Origin
from tallystick.definitions.oso_options import OSO_ENTITIES, Audit, OsoOptions, TableOptions
from tallystick.definitions.registry import MetricMetadata, MetricQueryDef, Modifier, RollingConfig
from tallystick.definitions.registry_values import checked_definition, checked_options, is_audits, is_texts
from tallystick.errors import DefinitionError, Location
from tallystick.sql.grain import OVER_ALL_TIME, Grain, Window, WindowUnit, parse_grain

DEFAULT_SOURCES = ("events_daily_to_artifact",)
DEFAULT_DIALECT = "duckdb"
_OPTIONS = frozenset(
    [
        "schema",
        "metric_queries",
        "start",
        "model_prefix",
        "timeseries_sources",
        "default_dialect",
        "queries_dir",
        "enabled",
        "audits",
        "incremental_audits",
        "metadata_modifiers",
        "audit_factories",
        "catalog",
    ]
)
_REQUIRED = ("schema", "metric_queries", "start")
_NO_EFFECT = frozenset({"use_python_model", "start", "end"})
_FIELDS = frozenset(
    [
        "ref",
        "entity_types",
        "vars",
        "name",
        "dialect",
        "rolling",
        "time_aggregations",
        "over_all_time",
        "is_intermediate",
        "enabled",
        "incremental",
        "metadata",
        "additional_tags",
        "audits",
        "incremental_audits",
    ]
)
_ROLLING = frozenset(RollingConfig.__annotations__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where a registry is read: its file, the lines of its keys, and how the text of a `ref` is found.

    `query` returns the text and the place of a file relative to the registry's folder of queries, or an error.
    """

    file: str
    lines: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    query: Callable[[str], tuple[str, Location]] | None = None

    def at(self, key: str | None = None) -> Location:
        """Return where a metric is registered."""
        return Location(self.file, self.lines.get(key) if key is not None else None)


@dataclass(slots=True)
class _Reading:
    """One call being read: its options and what was found about them."""

    options: Mapping[str, object]
    where: Surroundings
    findings: list[Diagnostic] = field(default_factory=list)

    def report(
        self, code: str, message: str, key: str | None = None, *, hint: str | None = None, warning: bool = False
    ) -> None:
        severity = Severity.WARNING if warning else Severity.ERROR
        self.findings.append(diagnose(code, message, self.where.at(key), severity=severity, hint=hint))


def read_registration(options: Mapping[str, object], where: Surroundings) -> tuple[list[Metric], list[Diagnostic]]:
    """Return the metrics of one call of `timeseries_metrics` and all findings about it; one never stops another."""
    reading = _Reading(options, where)
    reading.options = checked_options(options, reading.report)
    for name in sorted(set(options) - _OPTIONS):
        reading.report(
            "unknown-option", f"timeseries_metrics has no option '{name}'", hint=nearest(name, _OPTIONS), warning=True
        )
    for name in _REQUIRED:
        if options.get(name) is None:
            reading.report(
                "missing-option",
                f"timeseries_metrics needs '{name}'",
                hint=f"add {name}=…",
                warning=name != "metric_queries",
            )
    queries = options.get("metric_queries")
    if queries is None:
        return [], reading.findings
    if not isinstance(queries, Mapping):
        reading.report(
            "bad-option", "metric_queries is not a dict of metrics", hint='write {"name": MetricQueryDef(…)}'
        )
        return [], reading.findings
    metrics: dict[str, Metric] = {}
    for key, definition in queries.items():
        metric = _metric(str(key), definition, reading)
        if metric is not None:
            _keep(metric, str(key), metrics, reading)
    return list(metrics.values()), reading.findings


def _keep(metric: Metric, key: str, metrics: dict[str, Metric], reading: _Reading) -> None:
    """Keep a metric unless its tables would be another's: the first one stays (spec oso §2)."""
    first = metrics.setdefault(metric.name, metric)
    if first is not metric:
        other = cast("SqlQuery", first.definition).label
        reading.report(
            "duplicate-name",
            f"metrics '{other}' and '{key}' would both be called '{metric.name}' and share their tables",
            key,
            hint=f"give '{key}' another name",
        )


def _metric(key: str, given: object, reading: _Reading) -> Metric | None:
    if not isinstance(given, MetricQueryDef):
        reading.report("bad-option", f"'{key}' is not a MetricQueryDef", key, hint='write MetricQueryDef(ref="….sql")')
        return None
    definition = checked_definition(key, given, reading.report)
    if definition is None:
        return None
    if not key.isidentifier() or not (definition.name or key).isidentifier():
        bad = key if not key.isidentifier() else str(definition.name)
        reading.report("bad-name", f"'{bad}' cannot be part of a table name", key, hint="use letters, digits and _")
        return None
    _check_fields(key, definition, reading)
    text, place = _query(key, definition, reading)
    if text is None:
        return None
    metric = Metric(
        name=definition.name or key,
        definition=_sql_query(key, definition, text, reading),
        views=_views(key, definition, reading),
        about=_about(definition),
        intermediate=bool(definition.is_intermediate),
        enabled=bool(definition.enabled) and reading.options.get("enabled", True) is not False,
        origin=Origin(reading.where.at(key), MappingProxyType({"sql": place})),
    )
    return _modified(key, definition, metric, reading)


def _check_fields(key: str, definition: MetricQueryDef, reading: _Reading) -> None:
    for name in sorted(definition.other):
        if name in _NO_EFFECT:
            reading.report(
                "option-without-effect", f"'{key}': '{name}' has no effect", key, hint="remove it", warning=True
            )
        else:
            hint = nearest(name, _FIELDS)
            reading.report(
                "unknown-option", f"'{key}': MetricQueryDef has no option '{name}'", key, hint=hint, warning=True
            )
    for name in sorted(set(definition.rolling or {}) - _ROLLING):
        hint = nearest(name, _ROLLING)
        reading.report("unknown-option", f"'{key}': RollingConfig has no option '{name}'", key, hint=hint, warning=True)


def _query(key: str, definition: MetricQueryDef, reading: _Reading) -> tuple[str | None, Location]:
    if reading.where.query is None:
        return "", Location(definition.ref)
    try:
        return reading.where.query(definition.ref)
    except DefinitionError as error:
        reading.findings.append(from_error("missing-file", error, reading.where.at(key)))
        return None, Location(definition.ref)


def _sql_query(key: str, definition: MetricQueryDef, text: str, reading: _Reading) -> SqlQuery:
    options, rolling = reading.options, definition.rolling or RollingConfig()
    sources = options.get("timeseries_sources")
    metadata = definition.metadata
    return SqlQuery(
        sql=text,
        ref=definition.ref,
        dialect=definition.dialect or str(options.get("default_dialect") or DEFAULT_DIALECT),
        label=key,
        vars=_vars(key, definition, reading),
        sources=tuple(map(str, cast("Iterable[object]", sources))) if sources is not None else DEFAULT_SOURCES,
        incremental=bool(definition.incremental),
        cron=rolling.get("cron"),
        oso=OsoOptions(
            schema=str(options.get("schema") or "oso"),
            start=str(options["start"]) if options.get("start") is not None else None,
            model_prefix=str(options["model_prefix"]) if options.get("model_prefix") is not None else None,
            window_unit=rolling.get("unit"),
            batch_size=rolling.get("model_batch_size"),
            slots=rolling.get("slots"),
            display_name=metadata.display_name if metadata is not None else None,
            description=metadata.description if metadata is not None else None,
            additional_tags=tuple(definition.additional_tags or ()),
            audits=(*_audits(definition.audits), *_audits(options.get("audits"))),
            incremental_audits=(*_audits(definition.incremental_audits), *_audits(options.get("incremental_audits"))),
        ),
    )


def _vars(
    key: str, definition: MetricQueryDef, reading: _Reading
) -> Mapping[str, type_of_var | tuple[type_of_var, ...]]:
    found: dict[str, type_of_var | tuple[type_of_var, ...]] = {}
    for name, value in (definition.vars or {}).items():
        items = tuple(value) if isinstance(value, (list, tuple)) else (value,)
        if not all(isinstance(item, (str, int, float)) for item in items):
            hint = "use text, numbers or lists of them"
            reading.report("bad-option", f"'{key}': the variable '{name}' is neither text nor a number", key, hint=hint)
        else:
            found[name] = (
                cast("tuple[type_of_var, ...]", items)
                if isinstance(value, (list, tuple))
                else cast("type_of_var", value)
            )
    return MappingProxyType(found)


def _audits(given: object) -> tuple[Audit, ...]:
    pairs = cast("Iterable[tuple[str, Mapping[str, object]]]", given or ())
    return tuple((str(name), MappingProxyType(dict(arguments))) for name, arguments in pairs)


def _about(definition: MetricQueryDef) -> About:
    metadata = definition.metadata
    return About(
        friendly_name=metadata.display_name if metadata is not None else None,
        description=metadata.description if metadata is not None else None,
        tags=tuple(definition.additional_tags or ()),
    )


def _views(key: str, definition: MetricQueryDef, reading: _Reading) -> Views:
    grains, all_time = _grains(key, definition, reading)
    windows = _windows(key, definition.rolling, reading) if definition.rolling else ()
    if not (grains or windows or all_time) and definition.enabled:
        hint = "add time_aggregations, rolling or over_all_time"
        reading.report("no-views", f"'{key}' asks for no time view, so it has no tables", key, hint=hint, warning=True)
    if definition.entity_types is not None and not definition.entity_types:
        hint = "leave entity_types out for all, or name some"
        reading.report(
            "no-views", f"'{key}' is counted for no entity, so it has no tables", key, hint=hint, warning=True
        )
    entities = definition.entity_types if definition.entity_types is not None else tuple(OSO_ENTITIES)
    return Views(entities=tuple(dict.fromkeys(entities)), grains=grains, rolling=windows, all_time=all_time)


def _grains(key: str, definition: MetricQueryDef, reading: _Reading) -> tuple[tuple[Grain, ...], bool]:
    found: dict[Grain, None] = {}
    all_time = bool(definition.over_all_time)
    for word in definition.time_aggregations or ():
        if word == OVER_ALL_TIME:
            all_time = True
            continue
        try:
            found[parse_grain(str(word))] = None
        except DefinitionError as error:
            hint = nearest(str(word), [grain.suffix for grain in Grain]) or error.hint
            reading.report("unknown-grain", f"'{key}': {error.message}", key, hint=hint)
    return tuple(found), all_time


def _windows(key: str, rolling: RollingConfig, reading: _Reading) -> tuple[Window, ...]:
    word = rolling.get("unit")
    if word is None or word not in tuple(WindowUnit):
        units = ", ".join(WindowUnit)
        reading.report("bad-window", f"'{key}': '{word}' is not a unit of windows", key, hint=f"units are {units}")
        return ()
    found: dict[Window, None] = {}
    for count in rolling.get("windows") or ():
        try:
            found[Window(count, WindowUnit(word))] = None
        except DefinitionError as error:
            reading.report("bad-window", f"'{key}': {error.message}", key, hint=error.hint)
    return tuple(found)


def _modified(key: str, definition: MetricQueryDef, metric: Metric, reading: _Reading) -> Metric:
    """Ask the registry's modifiers about every table of a metric and keep what they say."""
    modifiers = [
        modifier
        for option in ("metadata_modifiers", "audit_factories")
        for modifier in cast("Sequence[Modifier]", reading.options.get(option) or ())
    ]
    if not modifiers or not metric.enabled:
        return metric
    tables: dict[str, TableOptions] = {}
    for config in _configs(key, definition, metric, reading.options):
        tables[str(config["table_name"])] = _table_options(modifiers, config, key, reading)
    query = cast("SqlQuery", metric.definition)
    oso = replace(cast("OsoOptions", query.oso), tables=MappingProxyType(tables))
    return replace(metric, definition=replace(query, oso=oso))


def _configs(
    key: str, definition: MetricQueryDef, metric: Metric, options: Mapping[str, object]
) -> Iterable[dict[str, object]]:
    """Yield what a modifier is told about each table, in order (spec oso §3.1)."""
    rolling = definition.rolling or RollingConfig()
    variants: list[tuple[str, dict[str, object]]] = [
        (
            window.suffix,
            {
                "window": window.count,
                "unit": window.unit.value,
                "cron": rolling.get("cron"),
                "batch_size": rolling.get("model_batch_size"),
                "slots": rolling.get("slots"),
            },
        )
        for window in metric.views.rolling
    ]
    suffixes = [grain.suffix for grain in metric.views.grains] + ([OVER_ALL_TIME] if metric.views.all_time else [])
    variants += [(suffix, {"time_aggregation": suffix}) for suffix in suffixes]
    dialect = definition.dialect or options.get("default_dialect") or DEFAULT_DIALECT
    for entity in metric.views.entities:
        for suffix, reference in variants:
            yield {
                "table_name": f"{metric.name}_to_{entity}_{suffix}",
                "ref": {"name": key, "entity_type": entity, "dialect": dialect, **reference},
                "rendered_query": None,
                "vars": dict(definition.vars or {}),
                "query": SimpleNamespace(name=key, is_intermediate=definition.is_intermediate, _source=definition),
                "metadata": definition.metadata,
                "incremental": definition.incremental,
                "additional_tags": list(definition.additional_tags or ()),
                "dialect": dialect,
            }


def _table_options(
    modifiers: Sequence[Modifier], config: dict[str, object], key: str, reading: _Reading
) -> TableOptions:
    kind: dict[str, object] = {}
    audits: list[Audit] = []
    tags: list[str] = []
    for modifier in modifiers:
        try:
            answer = _answered(modifier(config))
            kind |= cast("Mapping[str, object]", answer.get("kind_options") or {})
            audits += _audits(answer.get("audits"))
            tags += cast("Sequence[str]", answer.get("tags") or ())
        except Exception as error:  # noqa: BLE001 - a user's function may fail in any way
            name = getattr(modifier, "__name__", "a modifier")
            message = f"{name} failed for {config['table_name']}: {type(error).__name__}: {error}"
            reading.report("modifier-failed", message, key, hint="its settings are left out", warning=True)
    return TableOptions(kind_options=MappingProxyType(kind), audits=tuple(audits), tags=tuple(tags))


def _is_dict(value: object) -> bool:
    return isinstance(value, Mapping)


_ANSWERS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "kind_options": (_is_dict, "a dict"),
    "audits": (is_audits, "a list of (name, {argument: value})"),
    "tags": (is_texts, "a list of texts"),
}


def _answered(answer: object) -> Mapping[str, object]:
    """Return what a modifier says, as a dict; raise TypeError where it says something else than it may."""
    if answer is None:
        return {}
    if isinstance(answer, tuple):
        answer = {"audits": [answer]}
    if not isinstance(answer, Mapping):
        raise TypeError(f"it returned {type(answer).__name__}, not a dict of {', '.join(_ANSWERS)}")
    for name, value in answer.items():
        if name not in _ANSWERS:
            raise TypeError(f"it returned '{name}', which is none of {', '.join(_ANSWERS)}")
        is_fine, what = _ANSWERS[name]
        if value is not None and not is_fine(value):
            raise TypeError(f"it returned {name} that are not {what}")
    return answer


def definition_of_json(entry: Mapping[str, object]) -> MetricQueryDef:
    """Return a metric of a registry given as data; keys that only repeat what follows from others are passed over."""
    passed_over = {"name_override", "entity_types_declared", "expected_tables", "metadata"}
    fields = {name: value for name, value in entry.items() if name not in passed_over}
    metadata = entry.get("metadata")
    fields["metadata"] = MetricMetadata(**metadata) if isinstance(metadata, Mapping) else metadata
    if entry.get("name_override"):
        fields["name"] = entry["name_override"]
    return MetricQueryDef(**fields)  # type: ignore[arg-type]
