"""Reading `[metrics.x]`: which of the kinds a metric is follows from the keys that are written."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from tallystick.definitions.collect_settings import read_overrides
from tallystick.definitions.diagnostics import Severity, diagnose
from tallystick.definitions.fields import Fields, describe
from tallystick.definitions.metric import Aggregate, Formula, Metric, SqlQuery, type_of_var
from tallystick.definitions.query_file import QueryFiles
from tallystick.definitions.read_about import read_about, read_views
from tallystick.definitions.read_aggregate import EXPR, SOURCE, aggregate, aggregation, ratio, with_divisor
from tallystick.definitions.read_per_unit import KEYS as PER_UNIT

Definition = Aggregate | Formula | SqlQuery

RESERVED = re.compile(r"overall|weekly|daily|\d+_day|preenrollment_\w+")
"""Names of analysis periods: a list under one of them selects metrics for that period (spec anchors §6.4 rule 2)."""

LATER = ("steps", "python", "depends_on")

_SHAPES = ("scalar", "histogram")


def read_metric(fields: Fields, queries: QueryFiles) -> Metric | None:
    """Read one metric; None where its kind belongs to a part of the product that does not exist yet."""
    if later := next((key for key in LATER if fields.has(key)), None):
        message = f"metric '{fields.name}' is not computed yet: '{later}' is reserved for a later version"
        fields.report("not-supported-yet", message, later, severity=Severity.INFO)
        return None
    definition = _definition(fields, queries)
    about = read_about(fields)
    views = read_views(fields)
    _shape(fields)
    intermediate = fields.flag("intermediate", "is_intermediate") or False
    enabled = fields.flag("enabled")
    collect = read_overrides(fields)
    fields.refuse_unknown(within=f"metric '{fields.name}'")
    if definition is None:
        return None
    return Metric(
        name=fields.name,
        definition=definition,
        views=views,
        about=about,
        intermediate=intermediate,
        enabled=enabled is not False,
        collect=collect,
        origin=fields.origin,
    )


def _definition(fields: Fields, queries: QueryFiles) -> Definition | None:
    kinds: dict[str, Callable[[Fields, QueryFiles], Definition | None]] = {
        "expr": _expression,
        "aggregation": _aggregation,
        "numerator": _ratio,
        "sql": _sql,
        "ref": _sql,
        "event": _counted_event,
    }
    synonyms = {"expr": EXPR}
    fields.known.update(_KEYS_OF_DEFINITIONS)
    chosen = next((key for key in kinds if fields.has(*synonyms.get(key, (key,)))), None)
    if chosen is None:
        hint = 'write expr and source, such as expr = "count(*)", or sql, or ref'
        fields.report_missing(f"metric '{fields.name}' does not say what it computes", *kinds, hint=hint)
        return None
    definition = kinds[chosen](fields, queries)
    _refuse_misplaced(fields, chosen)
    return definition


_ALLOWED = {
    "expr": {*EXPR, *SOURCE, "event", "where", "dialect", "per_distinct", *PER_UNIT},
    "aggregation": {
        "aggregation",
        "column",
        "quantile",
        *SOURCE,
        "event",
        "where",
        "dialect",
        "per_distinct",
        *PER_UNIT,
    },
    "event": {"event", *SOURCE, "where", "dialect", "per_distinct", *PER_UNIT},
    "numerator": {"numerator", "denominator"},
    "sql": {"sql", "ref", "dialect", "vars", "sources", "incremental", "cron"},
}
_ALLOWED["ref"] = _ALLOWED["sql"]
_KEYS_OF_DEFINITIONS = frozenset(key for keys in _ALLOWED.values() for key in keys)
_BESIDE = {
    "expr": "an expression",
    "aggregation": "an aggregation",
    "event": "an event",
    "numerator": "a ratio",
    "sql": "a query",
    "ref": "a query",
}


def _refuse_misplaced(fields: Fields, kind: str) -> None:
    for key in fields.table:
        if key in _KEYS_OF_DEFINITIONS and key not in _ALLOWED[kind]:
            hint = "a metric has exactly one definition"
            fields.report("misplaced-key", f"'{key}' has no meaning beside {_BESIDE[kind]}", key, hint=hint)


def _expression(fields: Fields, _: QueryFiles) -> Definition | None:
    expr = fields.text(*EXPR)
    if expr is None:
        return None
    if fields.has(*SOURCE, "event"):
        return with_divisor(fields, aggregate(fields, expr))
    for key in ("where", "dialect", "per_distinct", *PER_UNIT):
        if key in fields.table:
            hint = "add source, or write the condition on the metrics it is computed from"
            fields.report("misplaced-key", f"'{key}' needs a source", key, hint=hint)
    return Formula(expr=expr)


def _aggregation(fields: Fields, _: QueryFiles) -> Definition | None:
    return with_divisor(fields, aggregation(fields))


def _counted_event(fields: Fields, _: QueryFiles) -> Definition | None:
    return with_divisor(fields, aggregate(fields, "count(*)"))


def _ratio(fields: Fields, _: QueryFiles) -> Definition | None:
    return ratio(fields)


def _sql(fields: Fields, queries: QueryFiles) -> SqlQuery | None:
    sql, ref = fields.text("sql"), fields.text("ref")
    if sql is not None and ref is not None:
        fields.report("conflicting-keys", "'sql' and 'ref' say the same thing", "ref", hint="keep one of them")
    if ref is not None:
        found = queries.read_metric(ref)
        if not isinstance(found, str):
            at = fields.document.at((*fields.path, "ref"))
            fields.findings.append(diagnose(found.code, found.message, at, hint=found.hint))
            return None
        sql = found
    return None if sql is None else sql_query(fields, sql, ref)


def sql_query(fields: Fields, sql: str, ref: str | None) -> SqlQuery:
    """Build the definition of an SQL metric from its text and the settings beside it."""
    incremental = fields.flag("incremental")
    return SqlQuery(
        sql=sql,
        ref=ref,
        dialect=fields.text("dialect"),
        vars=_vars(fields),
        sources=fields.texts("sources") or (),
        incremental=incremental is not False,
        cron=fields.text("cron"),
    )


def _vars(fields: Fields) -> Mapping[str, type_of_var | tuple[type_of_var, ...]]:
    table = fields.named("vars")
    if table is None:
        return MappingProxyType({})
    good: dict[str, type_of_var | tuple[type_of_var, ...]] = {}
    for name, value in table.table.items():
        items = value if isinstance(value, list) else [value]
        if wrong := [item for item in items if not isinstance(item, str | int | float | bool)]:
            table.wrong_type("text, a number, true or false, or a list of them", wrong[0], name)
        else:
            good[name] = tuple(items) if isinstance(value, list) else value
    return MappingProxyType(good)


def _shape(fields: Fields) -> None:
    """Accept metric-hub's `type`, the shape of a value; the kind of a metric is never written."""
    found: tuple[str, Any] | None = fields.find("type")
    if found and found[1] not in _SHAPES:
        value = found[1] if isinstance(found[1], str) else describe(found[1])
        hint = 'leave it out: the kind follows from the keys, a ratio is expr = "revenue / orders"'
        fields.report("bad-value", f"'{value}' is not a value of 'type' (scalar or histogram)", "type", hint=hint)
