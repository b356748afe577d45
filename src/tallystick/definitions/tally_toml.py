"""Reading `tally.toml`: the project's settings, its warehouses and the defaults of its metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from tallystick.definitions.collect_settings import CollectSettings, read_collect
from tallystick.definitions.diagnostics import Severity, nearest
from tallystick.definitions.fields import Fields
from tallystick.definitions.metric import Views
from tallystick.definitions.project import Settings, Warehouse
from tallystick.definitions.read_about import read_views
from tallystick.definitions.read_source import check_zone
from tallystick.errors import DefinitionError

TABLES = ("project", "warehouse", "warehouses", "defaults", "collect")
_WEEK_STARTS = {"monday": 1, "sunday": 7, 1: 1, 7: 7}
STORAGES = ("change_points", "dense")
_SETTINGS_OF_WAREHOUSE = ("engine", "path", "schema", "storage", "allow", "max_cost", "options")
_SECRETS = ("password", "token", "private_key")
_LONGEST_LOOKBACK = 3660


def read_settings(fields: Fields, name: str) -> Settings:
    """Read `[project]` and `[defaults]` of a document; `name` is the project's unless it says otherwise."""
    defaults = Views()
    if table := _table(fields, "defaults"):
        defaults = read_views(table)
        if table.has("by"):
            table.report("misplaced-key", "'by' has no default: dimensions belong to sources", "by")
        table.refuse_unknown(within="[defaults]")
    table = _table(fields, "project") or Fields(fields.document, ("project",), {}, fields.findings)
    zone = _zone(table)
    settings = Settings(
        name=table.text("name") or name,
        time_zone=zone,
        week_start=_week_start(table),
        as_of=_instant(table, "as_of", zone),
        dialect=table.text("dialect"),
        start=_instant(table, "start", zone),
        compat=table.text("compat"),
        lookback=_lookback(table),
        allow_functions=table.texts("allow_functions") or (),
        views=defaults,
        collect=read_collect(collect) if (collect := _table(fields, "collect")) else CollectSettings(),
    )
    table.known.add("description")
    table.refuse_unknown(within="[project]")
    return settings


def read_warehouses(fields: Fields) -> dict[str, Warehouse]:
    """Read `[warehouse]` and `[warehouses.NAME]`; without any, a DuckDB database is the default."""
    found: dict[str, Warehouse] = {}
    if single := _table(fields, "warehouse"):
        found["default"] = _warehouse(single, "default")
    if several := _table(fields, "warehouses"):
        for name, value in several.table.items():
            if not isinstance(value, dict):
                several.wrong_type("a table", value, name)
            elif name in found:
                several.report("duplicate-name", f"warehouse '{name}' is defined twice", name)
            elif several.check_name("a warehouse", name):
                found[name] = _warehouse(several.sub(name), name)
    return found or {"default": Warehouse()}


def _table(fields: Fields, key: str) -> Fields | None:
    return fields.named(key) if key in fields.table else None


def _warehouse(fields: Fields, name: str) -> Warehouse:
    options = _options(fields)
    return Warehouse(
        name=name,
        engine=fields.text("engine") or "duckdb",
        path=fields.text("path"),
        schema=_schema(fields),
        storage=_storage(fields),
        allow=fields.texts("allow") or (),
        max_cost=_max_cost(fields),
        options=options,
        origin=fields.origin,
    )


def _max_cost(fields: Fields) -> float | None:
    if not (written := fields.find("max_cost")):
        return None
    value = written[1]
    if isinstance(value, bool) or not isinstance(value, int | float):
        fields.wrong_type("a number", value, "max_cost")
        return None
    if not 0 < value < math.inf:
        fields.report("bad-value", f"'max_cost' is {value}", "max_cost", hint="write a number above 0, or leave it out")
        return None
    return float(value)


def _schema(fields: Fields) -> str:
    schema = fields.text("schema")
    if schema is None:
        return "tally"
    if not schema.replace("_", "a").isalnum() or schema[0].isdigit():
        hint = "use letters, digits and _"
        fields.report("bad-name", f"'{schema}' cannot name a schema", "schema", hint=hint)
    return schema


def _storage(fields: Fields) -> str:
    """Read how models are kept."""
    storage = fields.text("storage") or STORAGES[0]
    if storage not in STORAGES:
        fields.report(
            "bad-value", f"'{storage}' is no way to keep models", "storage", hint=f"use {' or '.join(STORAGES)}"
        )
        return STORAGES[0]
    return storage


def _options(fields: Fields) -> Mapping[str, str]:
    """Read the settings an engine has of its own, written beside the others or in `options`."""
    found: dict[str, str] = {}
    inner = fields.table.get("options", {})
    if not isinstance(inner, dict):
        fields.wrong_type("a table", inner, "options")
        inner = {}
    beside = {key: value for key, value in fields.table.items() if key not in _SETTINGS_OF_WAREHOUSE}
    for key, value in {**beside, **inner}.items():
        hint = nearest(key, _SETTINGS_OF_WAREHOUSE) or ""
        if key in beside and hint.startswith("did you mean"):
            fields.report("unknown-key", f"'{key}' is not a key of a warehouse", key, hint=hint)
        elif isinstance(value, str | int | float):
            found[key] = str(value).lower() if isinstance(value, bool) else str(value)
        else:
            path = (key,) if key in beside else ("options", key)
            fields.wrong_type("text, a number, true or false", value, *path)
    _warn_of_secrets(fields, found, beside)
    return MappingProxyType(found)


def _warn_of_secrets(fields: Fields, options: Mapping[str, str], beside: Mapping[str, Any]) -> None:
    """Warn where a secret stands in the file instead of a reference to the environment."""
    for key in _SECRETS:
        if key in options and not options[key].startswith("env:"):
            path = (key,) if key in beside else ("options", key)
            message = f"'{key}' is written in a file that others may read"
            hint = f'write {key} = "env:WAREHOUSE_{key.upper()}" and set that variable'
            fields.report("secret-in-file", message, *path, severity=Severity.WARNING, hint=hint)


def _zone(fields: Fields) -> str:
    zone = fields.text("time_zone", "timezone")
    key = "time_zone" if "time_zone" in fields.table else "timezone"
    return (fields.parsed("bad-time-zone", check_zone, zone, key) if zone else None) or "UTC"


def _week_start(fields: Fields) -> int:
    if not (found := fields.find("week_start")):
        return 1
    value: Any = found[1].strip().lower() if isinstance(found[1], str) else found[1]
    if isinstance(value, str | int) and not isinstance(value, bool) and value in _WEEK_STARTS:
        return _WEEK_STARTS[value]
    fields.report("bad-value", f"a week cannot start on '{found[1]}'", "week_start", hint='write "monday" or "sunday"')
    return 1


def _instant(fields: Fields, key: str, zone: str) -> datetime | None:
    """Read an instant; a date, or a time without an offset, is meant in the project's zone."""
    if not (found := fields.find(key)):
        return None

    def parse(value: Any) -> datetime:
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value.strip())
            except ValueError:
                raise DefinitionError(
                    f"'{value}' is not a date", hint="write 2026-01-31 or 2026-01-31T12:00:00Z"
                ) from None
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)  # noqa: DTZ001 - the zone follows
        if not isinstance(value, datetime):
            raise DefinitionError(f"'{value}' is not a date", hint="write 2026-01-31 or 2026-01-31T12:00:00Z")
        local = value if value.tzinfo else value.replace(tzinfo=ZoneInfo(zone))
        try:
            return local.astimezone(UTC)
        except OverflowError:
            raise DefinitionError(f"'{value}' is out of range", hint="write a date between 1900 and 9000") from None

    return fields.parsed("bad-date", parse, found[1], key)


def _lookback(fields: Fields) -> int:
    days = fields.whole("lookback")
    if days is None:
        return 3
    if 0 <= days <= _LONGEST_LOOKBACK:
        return days
    hint = f"write a number of days from 0 to {_LONGEST_LOOKBACK}"
    fields.report("bad-value", f"a lookback of {days} days is out of range", "lookback", hint=hint)
    return 3
