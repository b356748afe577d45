"""Values of registry options: what is of another kind than its option takes is reported and left out (spec oso §3).

A registry is a Python module or JSON, so anything may stand anywhere: text where a list belongs would be read letter
by letter, `"false"` would be true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from typing import Protocol, cast

from tallystick.definitions.diagnostics import nearest
from tallystick.definitions.registry import MetricMetadata, MetricQueryDef, RollingConfig

CRONS = ("@daily", "@weekly", "@monthly", "@yearly")
_USUAL_DIALECTS = frozenset({"bigquery", "clickhouse", "duckdb", "postgres", "presto", "snowflake", "spark", "trino"})


class Report(Protocol):
    """Takes a finding about the option of a metric."""

    def __call__(
        self, code: str, message: str, key: str | None = None, *, hint: str | None = None, warning: bool = False
    ) -> None:
        """Keep the finding."""


def is_text(value: object) -> bool:
    """Tell whether a value is text that says something."""
    return isinstance(value, str) and bool(value.strip())


def is_texts(value: object) -> bool:
    """Tell whether a value is a list of texts, and not one text."""
    return isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(item, str) for item in value)


def is_dialect(value: object) -> bool:
    """Tell whether a value names an SQL dialect; the parser is loaded only for one that is not among the usual."""
    if not isinstance(value, str) or value.lower() in _USUAL_DIALECTS:
        return isinstance(value, str)
    from sqlglot.dialects.dialect import Dialect

    return Dialect.get(value.lower()) is not None


def day_of(value: object) -> str | None:
    """Return the day a value names, as ISO text; None where it names none."""
    if isinstance(value, date):
        return value.isoformat()[:10]
    try:
        return datetime.fromisoformat(value).date().isoformat() if isinstance(value, str) else None
    except ValueError:
        return None


def is_audits(value: object) -> bool:
    """Tell whether a value is a list of audits, each a name and a dict of arguments."""
    return isinstance(value, (list, tuple)) and all(_is_audit(item) for item in value)


def is_functions(value: object) -> bool:
    """Tell whether a value is a list of functions."""
    return isinstance(value, (list, tuple)) and all(callable(item) for item in value)


def _is_audit(item: object) -> bool:
    return (
        isinstance(item, (list, tuple)) and len(item) == 2 and isinstance(item[0], str) and isinstance(item[1], Mapping)
    )


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_metadata(value: object) -> bool:
    return isinstance(value, MetricMetadata)


def is_count(value: object) -> bool:
    """Tell whether a value is a whole number above 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


Check = tuple[Callable[[object], bool], str]
_TEXTS = "a list of texts"
_AUDITS = "a list of (name, {argument: value})"
_DEFINITION: Mapping[str, Check] = {
    "entity_types": (is_texts, 'a list such as ["artifact", "project"]'),
    "vars": (_is_mapping, "a dict of variables"),
    "name": (is_text, "text"),
    "dialect": (is_dialect, "an SQL dialect"),
    "rolling": (_is_mapping, 'RollingConfig(windows=[30], unit="day", cron="@daily")'),
    "time_aggregations": (is_texts, 'a list such as ["daily", "monthly"]'),
    "over_all_time": (_is_flag, "True or False"),
    "is_intermediate": (_is_flag, "True or False"),
    "enabled": (_is_flag, "True or False"),
    "incremental": (_is_flag, "True or False"),
    "metadata": (_is_metadata, "MetricMetadata(display_name=…, description=…)"),
    "additional_tags": (is_texts, _TEXTS),
    "audits": (is_audits, _AUDITS),
    "incremental_audits": (is_audits, _AUDITS),
}
_DEFAULTS: Mapping[str, object] = {
    "over_all_time": False,
    "is_intermediate": False,
    "enabled": True,
    "incremental": True,
}
_OPTIONS: Mapping[str, Check] = {
    "schema": (is_text, "text"),
    "model_prefix": (is_text, "text"),
    "timeseries_sources": (is_texts, _TEXTS),
    "default_dialect": (is_dialect, "an SQL dialect"),
    "enabled": (_is_flag, "True or False"),
    "audits": (is_audits, _AUDITS),
    "incremental_audits": (is_audits, _AUDITS),
    "metadata_modifiers": (is_functions, "a list of functions"),
    "audit_factories": (is_functions, "a list of functions"),
}


def checked_options(options: Mapping[str, object], report: Report) -> dict[str, object]:
    """Return the options of a call without those whose value is of another kind, which are reported."""
    kept = dict(options)
    for name, (is_right, kind) in _OPTIONS.items():
        if kept.get(name) is not None and not is_right(kept[name]):
            report("bad-option", f"'{name}' is {_shown(kept.pop(name))}", hint=f"write {kind}")
    start = kept.get("start")
    if start is not None:
        kept["start"] = day_of(start)
        if kept["start"] is None:
            hint = 'write a day such as "2015-01-01"; until then history begins with the first row'
            report("bad-option", f"'start' is {_shown(start)}, not a day", hint=hint, warning=True)
    return kept


def checked_definition(key: str, given: MetricQueryDef, report: Report) -> MetricQueryDef | None:
    """Return a metric whose options are what they should be, None where it names no file; report what is not."""
    if not is_text(given.ref):
        code = "bad-option" if given.ref else "missing-option"
        said = _is("ref", given.ref) if given.ref else "it has no ref"
        report(code, f"'{key}': {said}", key, hint='write ref="….sql"')
        return None
    fields: dict[str, object] = {"ref": given.ref}
    for name, (is_right, kind) in _DEFINITION.items():
        value = getattr(given, name)
        if value is None or is_right(value):
            fields[name] = value if value is not None else _DEFAULTS.get(name)
        else:
            report("bad-option", f"'{key}': {_is(name, value)}", key, hint=f"write {kind}")
            fields[name] = _DEFAULTS.get(name)
    if fields["rolling"] is not None:
        fields["rolling"] = _rolling(key, cast("Mapping[str, object]", fields["rolling"]), report)
    if fields["metadata"] is not None:
        fields["metadata"] = _metadata(key, cast("MetricMetadata", fields["metadata"]), report)
    return MetricQueryDef(**fields, **given.other)  # type: ignore[arg-type]


def _rolling(key: str, given: Mapping[str, object], report: Report) -> RollingConfig:
    """Return rolling windows without what is no window, size or time to run."""
    kept = dict(given)
    kept["windows"] = list(_windows(key, given.get("windows"), report))
    for name in ("model_batch_size", "slots"):
        if kept.get(name) is not None and not is_count(kept[name]):
            report("bad-option", f"'{key}': {_is(name, kept.pop(name))}", key, hint="write a whole number of 1 or more")
    cron = kept.get("cron")
    if cron is None:
        taken = 'it is taken as cron="@daily"'
        report("missing-option", f"'{key}': rolling does not say when to run", key, hint=taken, warning=True)
    elif cron not in CRONS:
        hint = nearest(str(cron), CRONS)
        report("bad-option", f"'{key}': {_is('cron', cron)}, not a time to run", key, hint=hint, warning=True)
        if not is_text(cron):
            del kept["cron"]
    return cast("RollingConfig", kept)


def _windows(key: str, given: object, report: Report) -> Iterator[int]:
    if not isinstance(given, (list, tuple)):
        said = "rolling has no windows" if given is None else _is("windows", given)
        report("bad-window", f"'{key}': {said}", key, hint="write windows=[30, 90]")
        return
    if not given:
        report("bad-window", f"'{key}': the list of windows is empty", key, hint="write windows=[30, 90]")
    for window in given:
        if isinstance(window, int) and not isinstance(window, bool):
            yield window
        else:
            report(
                "bad-window", f"'{key}': {_shown(window)} is not a window", key, hint="windows are whole numbers: [30]"
            )


def _metadata(key: str, given: MetricMetadata, report: Report) -> MetricMetadata:
    """Return what people are told, with the metric's key for a name that is missing."""
    texts: dict[str, object] = {"display_name": given.display_name, "description": given.description}
    for name, value in texts.items():
        if not is_text(value):
            code, said = ("bad-option", _is(name, value)) if value else ("missing-option", f"metadata has no {name}")
            report(code, f"'{key}': {said}", key, hint=f'add {name}="…"', warning=True)
    for name in sorted(given.other):
        hint = nearest(name, texts)
        report("unknown-option", f"'{key}': MetricMetadata has no option '{name}'", key, hint=hint, warning=True)
    kept = {name: str(value) for name, value in texts.items() if is_text(value)}
    return MetricMetadata(display_name=kept.get("display_name", key), description=kept.get("description", ""))


def _is(name: str, value: object) -> str:
    return f"{name} is {_shown(value)}"


def _shown(value: object) -> str:
    """Return a value as it would be written, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
