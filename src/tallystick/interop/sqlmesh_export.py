"""A project for SQLMesh: models without macros, their kinds, crons, grains and audits (spec oso §3.3, §12)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlglot import exp

from tallystick.compiler.factory_models import FactoryModel
from tallystick.compiler.lower import to_text
from tallystick.compiler.metric_calendar import calendar_of
from tallystick.compiler.model import Model
from tallystick.compiler.run_dates import EPOCH
from tallystick.definitions.metric import SqlQuery
from tallystick.definitions.oso_options import Audit
from tallystick.definitions.project import Project
from tallystick.errors import UsageError
from tallystick.interop import connection, sqlmesh_audits
from tallystick.interop.bounds import Bounds
from tallystick.interop.exported import Contents, Exported, Report, Setting, Staged, Tool, contents
from tallystick.interop.facts import Facts
from tallystick.interop.folder import write_folder
from tallystick.interop.jinja import take_apart
from tallystick.interop.registered import Derived
from tallystick.interop.tables import Reference
from tallystick.interop.yaml import to_yaml
from tallystick.sql import buckets
from tallystick.sql.calendar import Calendar
from tallystick.sql.grain import Grain

TOOL = "sqlmesh"
SCHEMA = "metrics"
_ENGINES = {"postgres": "postgres", "clickhouse": "clickhouse", "bigquery": "bigquery", "snowflake": "snowflake"}


def export(
    project: Project,
    models: Sequence[Model],
    folder: Path,
    *,
    unions: Sequence[FactoryModel] = (),
    schema: str = SCHEMA,
    start: datetime | None = None,
) -> Report:
    """Write a SQLMesh project for models into a folder; raise UsageError if the folder holds anything else.

    `unions` are a registry's unions and descriptions to write with them.

    The warehouse is asked for columns and for the first row where it can be reached. `start` begins history there.
    """
    facts = Facts(project, start)
    tool = Tool(
        bounds=lambda setting: _bounds(setting, project.warehouse.engine, calendar_of(project, setting.metric)),
        written=_table,
    )
    try:
        found = contents(project, models, unions, schema, facts, tool)
        if not found.models and not found.derived:
            raise UsageError("there is no model to export", hint=str(found.failed[0].error) if found.failed else None)
        files = dict(_files(found, facts, folder))
    finally:
        facts.close()
    write_folder(folder, files, TOOL)
    return Report(
        models=found.names,
        files=tuple(sorted(files)),
        failed=found.failed,
        left_out=tuple(sorted({audit[0] for audit in found.audits if not sqlmesh_audits.is_known(audit)})),
    )


def _files(found: Contents, facts: Facts, folder: Path) -> Iterator[tuple[str, str]]:
    yield "config.yaml", _config(found, folder)
    yield "README.md", _readme(found)
    if found.external:
        yield "external_models.yaml", _external(found, facts)
    for staged in found.staged:
        yield f"models/sources/{staged.name}.sql", _staged(staged, found)
    for model in found.models:
        yield f"models/{model.setting.metric.name}/{model.name}.sql", _model(model, found, facts)
    for union in found.derived:
        yield f"models/derived/{union.name}.sql", _derived(union, found)
    yield from sqlmesh_audits.files(found.audits, found.dialect)


def _table(reference: Reference) -> exp.Table:
    return exp.table_(reference.name, db=reference.schema, catalog=reference.catalog)


# -- time -------------------------------------------------------------------------------------------------------------


def _bounds(setting: Setting, dialect: str, calendar: Calendar) -> Bounds:
    """Return the interval SQLMesh asks for, widened to whole buckets."""
    grain = setting.model.time.grain
    if setting.is_full:
        return _history(setting, dialect, calendar)
    is_sub_day = grain is not None and grain.is_sub_day
    if grain is not None and is_sub_day and not isinstance(setting.metric.definition, SqlQuery):
        return _instants(grain, calendar, dialect)
    first: exp.Expr = exp.cast(exp.var("@start_ds"), "date")
    last: exp.Expr = exp.cast(exp.var("@end_ds"), "date")
    if grain is None or grain is Grain.DAY or is_sub_day:
        return Bounds(first=first, until=buckets.add_days(last, 1, dialect=dialect), last=last)
    first, last = (buckets.date_bucket(day, grain, calendar, dialect=dialect) for day in (first, last))
    until = buckets.next_bucket(last, grain, dialect=dialect)
    return Bounds(first=first, until=until, last=buckets.add_days(until, -1, dialect=dialect))


def _history(setting: Setting, dialect: str, calendar: Calendar) -> Bounds:
    """Return all history up to the last bucket that is over: models made whole only know when they are executed."""
    today: exp.Expr = exp.cast(exp.var("@execution_ds"), "date")
    if not calendar.is_utc:
        now = exp.cast(exp.var("@execution_ts"), "timestamp")
        today = buckets.bucket(now, Grain.DAY, calendar, is_date=False, dialect=dialect)
    grain = setting.model.time.grain
    until = today if grain is None or grain.is_sub_day else buckets.date_bucket(today, grain, calendar, dialect=dialect)
    first = buckets.date_literal(setting.start or EPOCH, dialect=dialect)
    return Bounds(first=first, until=until, last=buckets.add_days(until, -1, dialect=dialect))


def _instants(grain: Grain, calendar: Calendar, dialect: str) -> Bounds:
    start, end = (exp.cast(exp.var(name), "timestamp") for name in ("@start_ts", "@end_ts"))
    day = exp.cast(exp.var("@end_ds"), "date")
    if grain is Grain.HOUR and calendar.is_utc:
        # Intervals are whole hours already; SQLMesh's optimizer fails on DATE_TRUNC('HOUR', …) of a constant.
        tick = exp.Interval(this=exp.Literal.string("1"), unit=exp.var("MICROSECOND"))
        return Bounds(first=start, until=exp.Add(this=end, expression=tick), last=day, are_instants=True)
    first, last = (buckets.bucket(instant, grain, calendar, is_date=False, dialect=dialect) for instant in (start, end))
    until = buckets.next_bucket(last, grain, dialect=dialect, calendar=calendar)
    return Bounds(first=first, until=until, last=day, are_instants=True)


def _is_west_of_utc(zone: str) -> bool:
    """Tell whether local days of a zone end after those of UTC, in which SQLMesh counts intervals."""
    year = datetime(2026, 1, 1, tzinfo=UTC)
    offsets = (year.replace(month=month).astimezone(ZoneInfo(zone)).utcoffset() for month in (1, 7))
    return any(offset is not None and offset.total_seconds() < 0 for offset in offsets)


# -- files ------------------------------------------------------------------------------------------------------------


def _model(model: Exported, found: Contents, facts: Facts) -> str:
    about, setting = model.setting.metric.about, model.setting
    properties = [
        ("name", _name(found.schema, model.name, found.dialect)),
        ("kind", "FULL" if setting.is_full else _incremental(model, found)),
        ("cron", _text(setting.schedule.cron)),
        *_zone(setting, found.project),
        ("interval_unit", _text(setting.schedule.unit)),
        *([("start", _text(setting.start.isoformat()))] if setting.start is not None else []),
        *([("owner", _text(", ".join(about.owners)))] if about.owners else []),
        *_tags(model.tags),
        *_types(model, facts, found.dialect),
        ("grain", _list(_columns(model.grain, found.dialect))),
        ("description", _text(model.description())),
        ("column_descriptions", _descriptions(model, found.dialect)),
        ("audits", _lines(_audits(model, found.dialect))),
    ]
    return (
        f"{_ddl(properties)}\n\n{to_text(_typed(model, found.dialect), found.dialect, reads=found.project.dialect)}\n"
    )


def _types(model: Exported, facts: Facts, dialect: str) -> Iterator[tuple[str, str]]:
    """Yield the types of the columns: SQLMesh's own guess for the sum of decimals is too narrow to hold it."""
    found = facts.types(model.setting.model)
    if found is None or not set(model.columns) <= set(found):
        return
    types = {name: found[name] for name in model.columns} | {model.time_column: _time_type(model).upper()}
    lines = (f"{_column(name, dialect)} {kind}" for name, kind in types.items())
    yield "columns", _lines(lines)


def _time_type(model: Exported) -> str:
    grain = model.setting.model.time.grain
    return "timestamp" if grain is not None and grain.is_sub_day else "date"


def _typed(model: Exported, dialect: str) -> exp.Query:
    """Return the query with the type of its time column in plain sight: SQLMesh filters and deletes by it."""
    kind = _time_type(model)
    query = model.query
    take_apart(query)
    found = [node for node in query.selects if node.alias_or_name == model.time_column]
    if not isinstance(query, exp.Select) or len(found) != 1:
        columns = [exp.column(name, "model") for name in model.columns if name != model.time_column]
        time = exp.cast(exp.column(model.time_column, "model"), kind).as_(model.time_column)
        return exp.select(time, *columns, dialect=dialect).from_(query.subquery("model"))
    value = found[0].this if isinstance(found[0], exp.Alias) else found[0]
    if not (isinstance(value, exp.Cast) and value.is_type(kind)):
        found[0].replace(exp.cast(value.copy(), kind).as_(model.time_column))
    return query


def _incremental(model: Exported, found: Contents) -> str:
    schedule = model.setting.schedule
    lines = [
        f"time_column {_column(model.time_column, found.dialect)}",
        f"lookback {schedule.lookback(found.project.settings.lookback)}",
        f"batch_size {schedule.batch_size}",
    ]
    return f"INCREMENTAL_BY_TIME_RANGE {_lines(lines)}"


def _zone(setting: Setting, project: Project) -> list[tuple[str, str]]:
    zone = calendar_of(project, setting.metric).zone
    sub_day = setting.model.time.grain is not None and setting.model.time.grain.is_sub_day
    return [] if sub_day or not _is_west_of_utc(zone) else [("cron_tz", _text(zone))]


def _audits(model: Exported, dialect: str) -> Iterator[str]:
    yield f"not_null(columns := {_list(_columns(model.not_null, dialect))})"
    yield f"unique_combination_of_columns(columns := {_list(_columns(model.grain, dialect))})"
    yield from _calls(model.audits, dialect)


def _calls(audits: Iterable[Audit], dialect: str) -> Iterator[str]:
    return (sqlmesh_audits.call(audit, dialect) for audit in audits if sqlmesh_audits.is_known(audit))


def _tags(tags: Sequence[str]) -> list[tuple[str, str]]:
    return [("tags", _list(map(_text, tags)))] if tags else []


def _descriptions(model: Exported, dialect: str) -> str:
    return _lines(f"{_column(name, dialect)} = {_text(text)}" for name, text in model.column_descriptions())


def _lines(lines: Iterable[str]) -> str:
    return "(\n    " + ",\n    ".join(lines) + "\n  )"


def _derived(model: Derived, found: Contents) -> str:
    checks = list(_calls(model.audits, found.dialect))
    properties = [
        ("name", _name(found.schema, model.name, found.dialect)),
        ("kind", "VIEW" if model.is_view else "FULL"),
        *_tags(model.tags),
        ("description", _text(model.description)),
        *([("audits", _lines(checks))] if checks else []),
    ]
    take_apart(model.query)
    return f"{_ddl(properties)}\n\n{to_text(model.query, found.dialect, reads=found.project.dialect)}\n"


def _staged(staged: Staged, found: Contents) -> str:
    properties = [("name", _name(found.schema, staged.name, found.dialect)), ("kind", "VIEW")]
    if staged.description:
        properties.append(("description", _text(staged.description)))
    take_apart(staged.query)
    return f"{_ddl(properties)}\n\n{to_text(staged.query, found.dialect, reads=found.project.dialect)}\n"


def _ddl(properties: Iterable[tuple[str, str]]) -> str:
    return "MODEL (\n" + ",\n".join(f"  {name} {value}" for name, value in properties) + "\n);"


def _name(schema: str, table: str, dialect: str) -> str:
    return exp.table_(table, db=schema).sql(dialect)


def _columns(names: Iterable[str], dialect: str) -> Iterator[str]:
    return (_column(name, dialect) for name in names)


def _column(name: str, dialect: str) -> str:
    return exp.to_identifier(name).sql(dialect)


def _list(items: Iterable[str]) -> str:
    return f"({', '.join(items)})"


def _text(value: str) -> str:
    return exp.Literal.string(" ".join(value.split())).sql()


def _config(found: Contents, folder: Path) -> str:
    settings = found.project.settings
    values: dict[str, object] = {
        "gateways": {"warehouse": _gateway(found, folder)},
        "default_gateway": "warehouse",
        "model_defaults": {"dialect": found.dialect},
    }
    first = settings.start
    if first is not None:
        values["model_defaults"] = {"dialect": found.dialect, "start": first.date().isoformat()}
    return to_yaml(values)


def _gateway(found: Contents, folder: Path) -> dict[str, object]:
    if found.dialect != "duckdb":
        options = connection.secret_options(found.project)
        return {"connection": {"type": _ENGINES.get(found.dialect, found.dialect), **options}}
    file = connection.duckdb_file(found, folder)
    # The engine pins its session to UTC, which instants without a zone are read in.
    config = {"TimeZone": "UTC"}
    if found.staged:
        config["file_search_path"] = connection.environment(connection.ROOT_VARIABLE, connection.root(found.project))
    path = connection.environment(connection.WAREHOUSE_VARIABLE, file.as_posix())
    return {"connection": {"type": "duckdb", "database": path, "connector_config": config}}


def _external(found: Contents, facts: Facts) -> str:
    entries = []
    for table in found.external:
        columns = facts.columns(table.name, table.schema, table.catalog)
        name = _table(table).sql(found.dialect)
        entries.append({"name": name, **({"columns": dict(columns)} if columns else {})})
    return "".join(to_yaml({"models": [entry]}).removeprefix("models:\n") for entry in entries)


def _readme(found: Contents) -> str:
    settings = found.project.settings
    fixed = f" --execution-time '{settings.as_of:%Y-%m-%d %H:%M:%S}'" if settings.as_of is not None else ""
    variables = "`TALLY_WAREHOUSE` names the DuckDB file to work in" if found.dialect == "duckdb" else "See config.yaml"
    if found.staged:
        variables += ", `TALLY_PROJECT` the folder in which the source files are"
    return f"""# {settings.name} for SQLMesh

{len(found.names)} models in the schema `{found.schema}`, written by `tally export sqlmesh`. Write it again rather than
change it here.

    pip install 'sqlmesh[{found.dialect}]>=0.236'
    sqlmesh plan --auto-apply --no-prompts{fixed}
    sqlmesh run

{variables}; both have a default in `config.yaml`.

A model runs when a bucket is complete and holds complete buckets only. What `tally query` shows beyond that is the
bucket that is still `settling`.
"""
