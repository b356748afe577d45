"""Reading native definition files: strict, every finding located, one bad definition never stopping the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tallystick.definitions.diagnostics import Severity
from tallystick.definitions.document import Document
from tallystick.definitions.drafts import Drafts
from tallystick.definitions.entity import Entity
from tallystick.definitions.fields import Fields
from tallystick.definitions.metric import Metric
from tallystick.definitions.query_file import QueryFiles
from tallystick.definitions.read_entity import read_entity
from tallystick.definitions.read_metric import RESERVED, read_metric
from tallystick.definitions.read_source import read_dimension, read_segment, read_source
from tallystick.definitions.source import Dimension, Segment, Source
from tallystick.definitions.tally_toml import TABLES as SETTINGS

N = TypeVar("N", Source, Entity, Segment, Dimension, Metric)

LATER = (
    "alerts",
    "calendars",
    "collections",
    "destinations",
    "experiment",
    "experiments",
    "features",
    "functions",
    "monitors",
    "parameters",
    "reports",
    "usage",
)
"""Tables other parts of the product will read; until then they are left alone (spec anchors §6.4 rule 1)."""

SEGMENTS = {"events": "event", "segments": "segment", "filters": "filter"}


def read_definitions(document: Document, drafts: Drafts, queries: QueryFiles, *, has_settings: bool = False) -> None:
    """Add every definition of a document to the drafts; `has_settings` where `[project]` belongs into the file."""
    fields = Fields(document, (), document.data, drafts.findings)
    fields.text("friendly_name"), fields.text("description")
    for key in ("sources", "data_sources"):
        _read_all(fields, key, "source", drafts, drafts.sources, lambda f: read_source(f, queries))
    _read_all(fields, "entities", "entity", drafts, drafts.entities, read_entity)
    for key, kind in SEGMENTS.items():
        _read_all(fields, key, kind, drafts, drafts.segments, lambda f, kind=kind: read_segment(f, kind))  # type: ignore[misc]
    _read_all(fields, "dimensions", "dimension", drafts, drafts.dimensions, read_dimension)
    _read_metrics(fields, drafts, queries)
    _read_the_rest(fields, has_settings=has_settings)


def _read_all(
    fields: Fields, key: str, kind: str, drafts: Drafts, into: dict[str, N], read: Callable[[Fields], N | None]
) -> None:
    if table := fields.named(key):
        for name, value in table.table.items():
            if isinstance(value, dict):
                _read_one(table, name, kind, drafts, into, read)
            else:
                table.wrong_type("a table", value, name, hint=f"write [{key}.{name}]")


def _read_one(
    table: Fields, name: str, kind: str, drafts: Drafts, into: dict[str, N], read: Callable[[Fields], N | None]
) -> None:
    """Read one definition; one with an error is left out, but its name stays known."""
    before = len(drafts.findings)
    table.check_name(f"a{'n' if kind[0] in 'aeiou' else ''} {kind}", name)
    noun = read(table.sub(name))
    if any(finding.severity is Severity.ERROR for finding in drafts.findings[before:]):
        drafts.leave_out(kind, name)
        if noun is not None:
            drafts.set_aside(kind, noun, into)
    elif noun is not None:
        drafts.add(kind, noun, into)


def _read_metrics(fields: Fields, drafts: Drafts, queries: QueryFiles) -> None:
    table = fields.named("metrics")
    if table is None:
        return
    for name, value in table.table.items():
        if isinstance(value, list):
            _report_selection(table, name)
        elif not isinstance(value, dict):
            table.wrong_type("a table", value, name, hint=f"write [metrics.{name}]")
        elif RESERVED.fullmatch(name):
            hint = "choose another name"
            table.report("reserved-name", f"'{name}' names an analysis period, not a metric", name, hint=hint)
            drafts.leave_out("metric", name)
        else:
            _read_one(table, name, "metric", drafts, drafts.metrics, lambda f: read_metric(f, queries))


def _report_selection(table: Fields, name: str) -> None:
    """Report a list in `[metrics]`: a selection of metrics for a period (spec anchors §6.4 rule 2)."""
    if RESERVED.fullmatch(name):
        message = f"the selection of metrics for '{name}' is not used yet"
        table.report("not-supported-yet", message, name, severity=Severity.INFO)
    else:
        hint = "a list selects metrics for overall, weekly, daily, 28_day or preenrollment_…"
        table.wrong_type("a table", table.table[name], name, hint=hint)


def _read_the_rest(fields: Fields, *, has_settings: bool) -> None:
    fields.known.update(LATER)
    if has_settings:
        fields.known.update(SETTINGS)
    for key in fields.table:
        if key in LATER:
            message = f"'{key}' is read by a later version and left alone"
            fields.report("not-supported-yet", message, key, severity=Severity.INFO)
        elif key in SETTINGS and not has_settings:
            fields.known.add(key)
            hint = f"move [{key}] to tally.toml in the project's folder"
            fields.report("misplaced-key", f"'{key}' belongs to the whole project", key, hint=hint)
    fields.refuse_unknown(within="a definition file")
