"""Reading `[sources.x]` and the names given to parts of sources: events, segments, filters, dimensions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from tallystick.definitions.collect_settings import read_overrides
from tallystick.definitions.diagnostics import diagnose
from tallystick.definitions.duration import parse_duration
from tallystick.definitions.fields import Fields
from tallystick.definitions.query_file import QueryFiles
from tallystick.definitions.read_about import read_about
from tallystick.definitions.read_condition import read_where
from tallystick.definitions.source import Column, Conditions, Dimension, Segment, Source
from tallystick.errors import DefinitionError
from tallystick.sql.calendar import zone_info

DATA_FILES = (".parquet", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".csv.gz", ".tsv.gz", ".json.gz", ".ndjson.gz")
_TABLE = re.compile(r"[\w$-]+(?:\.[\w$-]+){0,2}")
_QUERY = re.compile(r"\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*\(*\s*(?:select|with|from|values)\b", re.IGNORECASE | re.DOTALL)


def check_zone(name: Any) -> str:
    """Return a time zone's name, or raise DefinitionError if there is no such zone."""
    zone_info(name)
    return str(name)


def check_table(name: Any) -> str:
    """Return a table's name, or raise DefinitionError where it is a file, a query or a call."""
    if str(name).lower().endswith(DATA_FILES):
        raise DefinitionError(f"'{name}' is a file, not a table", hint=f'write file = "{name}"')
    if not _TABLE.fullmatch(name):
        raise DefinitionError(f"'{name}' is not the name of a table", hint='write a query as sql = "select …"')
    return str(name)


def read_source(fields: Fields, queries: QueryFiles) -> Source:
    """Read one source."""
    rows = _rows(fields, queries)
    date_column = fields.text("submission_date_column") if "submission_date_column" in fields.table else None
    fields.known.add("submission_date_column")
    if date_column and fields.has("time"):
        hint = "keep one of them"
        fields.report("conflicting-keys", "'time' and 'submission_date_column' say the same thing", "time", hint=hint)
    is_date = fields.flag("date")
    zone = fields.text("time_zone", "timezone")
    filters, structured = _filters(fields)
    source = Source(
        name=fields.name,
        **rows,
        time=fields.text("time") or date_column,
        time_is_date=bool(date_column) if is_date is None else is_date,
        partition=fields.text("partition"),
        settle_seconds=_seconds(fields, "settle"),
        fresh_seconds=_seconds(fields, "fresh"),
        time_zone=fields.parsed("bad-time-zone", check_zone, zone, "time_zone") if zone else None,
        warehouse=fields.text("warehouse"),
        entities=_entities(fields),
        filters=filters,
        structured=structured,
        columns=_columns(fields),
        collect=read_overrides(fields),
        about=read_about(fields),
        origin=fields.origin,
    )
    fields.refuse_unknown(within=f"source '{fields.name}'")
    return source


def _seconds(fields: Fields, key: str) -> int:
    found = fields.find(key)
    return (fields.parsed("bad-duration", parse_duration, found[1], key) or 0) if found else 0


# -- rows -------------------------------------------------------------------------------------------------------------


def _rows(fields: Fields, queries: QueryFiles) -> dict[str, str | None]:
    """Read which of table, query and file a source is; exactly one of them must be written."""
    written = [key for key in ("table", "sql", "file", "from_expression") if fields.has(key)]
    table, sql, file = fields.text("table"), fields.text("sql"), fields.text("file")
    origin = fields.text("from_expression")
    if not written:
        hint = 'write table = "…", sql = "select …" or file = "….parquet"'
        message = f"source '{fields.name}' does not say where its rows are"
        fields.report_missing(message, "table", "sql", "file", hint=hint)
    for key in written[1:]:
        hint = "keep one of them"
        fields.report("conflicting-keys", f"'{written[0]}' and '{key}' both say where rows are", key, hint=hint)
    if origin is not None:
        table, sql = (None, _without_parentheses(origin)) if _QUERY.match(origin) else (origin, None)
    if table is not None:
        table = fields.parsed("bad-value", check_table, table, "from_expression" if origin else "table")
    if file is not None and file.lower().endswith(".sql"):
        found = queries.read_source(file, fields.document.file)
        if not isinstance(found, str):
            at = fields.document.at((*fields.path, "file"))
            fields.findings.append(diagnose(found.code, found.message, at, hint=found.hint))
        return {"table": None, "sql": found if isinstance(found, str) else None, "file": None}
    if file is not None and not file.lower().endswith(DATA_FILES):
        hint = f"files end in .sql (a query) or {', '.join(DATA_FILES[:6])} (rows)"
        fields.report("bad-value", f"'{file}' is not a kind of file that can be read", "file", hint=hint)
    return {"table": table, "sql": sql, "file": file}


def _without_parentheses(text: str) -> str:
    text = text.strip()
    return text[1:-1].strip() if text.startswith("(") and text.endswith(")") else text


# -- roles ------------------------------------------------------------------------------------------------------------


def _entities(fields: Fields) -> Mapping[str, str]:
    """Read which column holds the key of which entity; a list means columns named `<entity>_id`."""
    found: dict[str, str] = {}
    for key, name in (("client_id_column", "client"), ("group_id_column", "group")):
        if column := fields.text(key):
            found[name] = column
    if not (written := fields.find("entities")):
        return MappingProxyType(found)
    if isinstance(written[1], list | str):
        names = fields.texts("entities") or ()
        columns = {name: f"{name}_id" for name in names}
    elif table := fields.named("entities"):
        columns = {name: column for name in table.table if (column := table.text(name))}
    else:
        columns = {}
    for name in columns:
        fields.check_name("an entity", "entities", name)
    return MappingProxyType(found | columns)


def _filters(fields: Fields) -> tuple[Mapping[str, str], Mapping[str, Conditions]]:
    """Read named conditions as SQL; the SQL of structured ones is still empty."""
    found: dict[str, str] = {}
    structured: dict[str, Conditions] = {}
    table = fields.named("filters", hint='write name = "condition" pairs')
    for name in table.table if table is not None else ():
        assert table is not None  # noqa: S101 - it has a name in it
        if table.check_name("a filter", name) and (read := _condition(table, name)):
            found[name] = read if isinstance(read, str) else ""
            if not isinstance(read, str):
                structured[name] = read
    return MappingProxyType(found), MappingProxyType(structured)


def _condition(fields: Fields, *names: str) -> str | Conditions | None:
    """Read one condition: SQL, a table of column, operator and value, or a list of these that must all hold."""
    found = fields.find(*names)
    if found is None or not isinstance(found[1], dict | list):
        return fields.text(*names)
    texts, structured = read_where(fields, found[0])
    return (texts, structured) if texts else None


def _columns(fields: Fields) -> Mapping[str, Column]:
    columns: dict[str, Column] = {}
    if table := fields.named("columns", hint='write name = { unit = "EUR" } and the like'):
        for name, value in table.table.items():
            if isinstance(value, dict):
                columns[name] = _column(table.sub(name))
            else:
                table.wrong_type("a table", value, name, hint=f'write {name} = {{ sql = "…" }} or {{ unit = "…" }}')
    for name, sql in _dimensions(fields).items():
        if name in columns and sql is not None:
            message = f"'{name}' is both a column and a dimension with its own SQL"
            fields.report("conflicting-keys", message, "dimensions", name, hint="keep one of them")
        elif name in columns:
            columns[name] = replace(columns[name], is_dimension=True)
        else:
            columns[name] = Column(name=name, sql=sql, is_dimension=True)
    return MappingProxyType(columns)


def _column(fields: Fields) -> Column:
    column = Column(
        name=fields.name,
        sql=fields.text("sql", "expr"),
        type=fields.text("type"),
        unit=fields.text("unit"),
        description=fields.text("description"),
        is_dimension=fields.flag("dimension") or False,
    )
    fields.refuse_unknown(within=f"column '{fields.name}'")
    return column


def _dimensions(fields: Fields) -> Mapping[str, str | None]:
    """Read the shorthand `dimensions = ["country"]` or `{ name = "sql" }`."""
    if not (written := fields.find("dimensions")):
        return {}
    if isinstance(written[1], dict):
        table = fields.sub("dimensions")
        return {name: table.text(name) for name in table.table if table.check_name("a dimension", name)}
    return dict.fromkeys(fields.texts("dimensions") or ())


# -- named parts ------------------------------------------------------------------------------------------------------


def read_segment(fields: Fields, kind: str) -> Segment | None:
    """Read one event, segment or filter: a named condition on a source."""
    source = _source_of(fields, kind)
    where = _condition(fields, "where", "sql", "expr")
    if not fields.has("where", "sql", "expr"):
        fields.report_missing(f"{kind} '{fields.name}' has no condition", "where", hint='write where = "…"')
    about = read_about(fields)
    fields.refuse_unknown(within=f"{kind} '{fields.name}'")
    if source is None or where is None:
        return None
    return Segment(
        name=fields.name,
        source=source,
        where=where if isinstance(where, str) else "",
        kind=kind,
        structured=None if isinstance(where, str) else where,
        about=about,
        origin=fields.origin,
    )


def read_dimension(fields: Fields) -> Dimension | None:
    """Read one dimension: a named expression over the rows of a source."""
    source = _source_of(fields, "dimension")
    names = ("sql", "expr", "expression", "select_expression")
    sql = fields.text(*names)
    if not fields.has(*names):
        fields.report_missing(f"dimension '{fields.name}' has no expression", *names, hint='write sql = "…"')
    about = read_about(fields)
    fields.refuse_unknown(within=f"dimension '{fields.name}'")
    if source is None or sql is None:
        return None
    return Dimension(name=fields.name, source=source, sql=sql, about=about, origin=fields.origin)


def _source_of(fields: Fields, what: str) -> str | None:
    if not fields.has("source", "data_source"):
        fields.report_missing(f"{what} '{fields.name}' has no source", "source", hint='write source = "…"')
    return fields.text("source", "data_source")
