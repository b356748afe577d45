"""Reading SQL metrics: a file is one metric, with its settings in an optional comment that every engine ignores."""

from __future__ import annotations

import re
from pathlib import Path

from tallystick.definitions.diagnostics import Diagnostic, Severity, diagnose
from tallystick.definitions.document import Document, parse_toml, read_text
from tallystick.definitions.drafts import Drafts
from tallystick.definitions.fields import IDENTIFIER, Fields, identifier_hint
from tallystick.definitions.metric import Metric
from tallystick.definitions.query_file import METRICS, QueryFiles
from tallystick.definitions.read_about import read_about, read_views
from tallystick.definitions.read_metric import sql_query
from tallystick.errors import Location

_FENCE = re.compile(r"--[ \t]*---[ \t]*\r?$")
_COMMENT = re.compile(r"--[ ]?")


def read_sql(path: Path, drafts: Drafts, queries: QueryFiles) -> None:
    """Add the metric of one SQL file to the drafts (spec anchors §6.4, SQL).

    A file without a header that another definition refers to is that definition's text and no metric of its own.
    """
    file = path.relative_to(queries.root).as_posix()
    text = read_text(path, file)
    if not isinstance(text, str):
        drafts.findings.append(text)
        return
    if path.resolve() in queries.referenced and _header_lines(text) == []:
        return
    before = len(drafts.findings)
    metric = _read(path, file, text, drafts, queries)
    if any(finding.severity is Severity.ERROR for finding in drafts.findings[before:]):
        drafts.leave_out("metric", path.stem)
    elif metric is not None:
        drafts.add("metric", metric, drafts.metrics)


def _read(path: Path, file: str, text: str, drafts: Drafts, queries: QueryFiles) -> Metric | None:
    header = header_of(text, file)
    if not isinstance(header, Document):
        drafts.findings.append(header)
        return None
    fields = Fields(header, (), header.data, drafts.findings)
    if not IDENTIFIER.fullmatch(path.stem):
        hint = f"rename the file: {identifier_hint(path.stem)}"
        fields.report("bad-name", f"'{path.stem}' cannot name a metric: it is not an identifier", hint=hint)
    if not text.strip():
        fields.report("empty-value", "the file is empty", hint="write a query")
    query = sql_query(fields, text, path.relative_to(queries.root / METRICS).as_posix())
    metric = Metric(
        name=path.stem,
        definition=query,
        views=read_views(fields),
        about=read_about(fields),
        intermediate=fields.flag("intermediate", "is_intermediate") or False,
        enabled=fields.flag("enabled") is not False,
        origin=fields.origin,
    )
    fields.refuse_unknown(within="an SQL metric")
    return metric


def header_of(text: str, file: str) -> Document | Diagnostic:
    """Return the settings of an SQL file as a document with places in that file; empty where it has none."""
    lines = _header_lines(text)
    if lines is None:
        hint = "end it with a line of -- --- after comment lines only"
        return diagnose("toml-syntax", "the header is never closed", Location(file, 1, 1), hint=hint)
    if not lines:
        return Document(file, "", {})
    prefix = min(len(line) - len(_COMMENT.sub("", line, count=1)) for line in lines)
    return parse_toml("\n".join(line[prefix:] for line in lines), file, line=1, column=prefix)


def _header_lines(text: str) -> list[str] | None:
    """Return the lines between two fences at the top of a file, none without a fence, None if it stays open."""
    first, _, rest = text.partition("\n")
    found: list[str] = []
    if not _FENCE.match(first):
        return found
    for line in rest.split("\n"):
        if _FENCE.match(line):
            return found
        if not line.startswith("--"):
            return None
        found.append(line.rstrip("\r"))
    return None
