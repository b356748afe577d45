"""The codes of all findings: stable, and what each means. `docs/diagnostics.md` is generated from this table."""

from __future__ import annotations

from collections.abc import Iterator

CODES = {
    "ambiguous-entity": "An entity is reached from a source in more than one way; name its column in the source.",
    "bad-date": "Not a date or an instant.",
    "bad-duration": "Not a length of time such as `2 days`.",
    "bad-expression": "SQL that parses, but is not an aggregate over a source or a formula over metrics.",
    "bad-grain": "Not a grain.",
    "bad-name": "A name that is not an identifier: lower-case letters, digits and `_`, no digit first.",
    "bad-sql": "SQL that does not parse, is not the one query or expression its place needs, or is refused.",
    "bad-time-zone": "Not a time zone of the tz database.",
    "bad-value": "A value that is not one of the known ones, or out of range.",
    "bad-window": "Not a rolling window, an empty one, or one longer than ten years.",
    "conflicting-keys": "Two keys that say the same thing.",
    "default-not-reached": "An entity of `[defaults]` that a metric's source cannot reach; the metric goes without it.",
    "duplicate-name": "A name that is already defined; the message names both places.",
    "empty-value": "Text that is empty.",
    "entity-cycle": "Entities that roll up into themselves; the message shows the way round.",
    "file-too-large": "A definition file above 5 MB, which is not read.",
    "left-out": "A definition that is fine in itself, but needs one that has an error.",
    "mapping-is-table": "`through` is almost the name of a source, but none; it is taken as a table.",
    "metric-cycle": "Metrics that are computed from themselves; the message shows the way round.",
    "misplaced-key": "A known key in a place where it has no meaning.",
    "missing-file": "A file that a definition refers to does not exist.",
    "missing-key": "A key that a definition cannot do without.",
    "missing-table": "A table or file of rows that a source reads does not exist.",
    "missing-time": "A metric on a source that has no time column.",
    "model-clash": "Two metrics that compile to a model of the same name.",
    "name-clash": "A name that means two things on one source.",
    "not-supported-yet": "Something a later version will read; it is left alone.",
    "not-text": "A binary file, or text that is not UTF-8.",
    "outside-project": "A reference to a file outside the project's folder, which is not read.",
    "reserved-name": "A name that has a meaning of its own.",
    "toml-syntax": "Text that is not TOML.",
    "undeclared-entity": "An entity that only a source or a roll-up mentions, named almost like a defined one.",
    "undocumented": "A metric without a description or an owner.",
    "unknown-column": "A column the source does not have.",
    "unknown-dimension": "A breakdown the source does not have.",
    "unknown-entity": "An entity that is neither defined nor carried by a source.",
    "unknown-event": "An event that is not defined.",
    "unknown-filter": "A condition by name that is no filter, event or segment of the source.",
    "unknown-key": "A key that native files do not have.",
    "unknown-metric": "A formula over a metric that is not defined.",
    "unknown-source": "A source that is not defined.",
    "unknown-warehouse": "A warehouse that `tally.toml` does not have.",
    "unreachable-entity": "An entity the source neither carries nor rolls up into.",
    "unreadable-file": "A file that cannot be read.",
    "unreadable-source": "A source the warehouse cannot read.",
    "unused-entity": "An entity no source carries.",
    "unused-source": "A source no metric reads.",
    "warehouse-unavailable": "The warehouse cannot be opened.",
    "wrong-source": "An event or segment of another source.",
    "wrong-type": "A value of another kind than its key takes.",
}


def table() -> Iterator[str]:
    """Yield the lines of the table in `docs/diagnostics.md`."""
    yield "| code | meaning |"
    yield "|---|---|"
    for code, meaning in sorted(CODES.items()):
        yield f"| `{code}` | {meaning} |"
