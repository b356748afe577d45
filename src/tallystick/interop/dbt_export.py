"""A project for dbt ≥ 1.11: incremental models, their descriptions and tests, sources and a profile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from math import ceil
from pathlib import Path

from sqlglot import exp

from tallystick.compiler.factory_models import FactoryModel
from tallystick.compiler.lower import to_text
from tallystick.compiler.model import Model
from tallystick.compiler.run_dates import EPOCH
from tallystick.compiler.span import Span
from tallystick.definitions.metric import SqlQuery
from tallystick.definitions.project import Project
from tallystick.errors import UsageError
from tallystick.interop import connection
from tallystick.interop.bounds import Bounds
from tallystick.interop.dbt_macros import RANGE, UNIQUE_ROWS
from tallystick.interop.exported import Contents, Exported, Report, Setting, Staged, Tool, contents
from tallystick.interop.facts import Facts
from tallystick.interop.folder import write_folder
from tallystick.interop.jinja import protect, raw
from tallystick.interop.registered import Derived
from tallystick.interop.tables import Origin, Reference
from tallystick.interop.yaml import to_yaml
from tallystick.sql.grain import Grain

TOOL = "dbt"
SCHEMA = "metrics"
_MINUTES = {Grain.FIVE_MINUTES: 5, Grain.FIFTEEN_MINUTES: 15, Grain.HOUR: 60, Grain.SIX_HOURS: 360}
_MINUTES_OF_DAY = 1440


def export(
    project: Project,
    models: Sequence[Model],
    folder: Path,
    *,
    unions: Sequence[FactoryModel] = (),
    schema: str = SCHEMA,
    start: datetime | None = None,
) -> Report:
    """Write a dbt project for models into a folder; raise UsageError if the folder holds anything else.

    `unions` are a registry's unions and descriptions to write with them.

    The warehouse is asked for columns and for the first row where it can be reached. `start` begins history there.
    """
    facts = Facts(project, start)
    tool = Tool(bounds=_bounds, written=_table)
    try:
        found = contents(project, models, unions, schema, facts, tool)
    finally:
        facts.close()
    if not found.models and not found.derived:
        raise UsageError("there is no model to export", hint=str(found.failed[0].error) if found.failed else None)
    files = dict(_files(found, facts, folder))
    write_folder(folder, files, TOOL)
    left_out = tuple(sorted({name for name, _ in found.audits}))
    return Report(models=found.names, files=tuple(sorted(files)), failed=found.failed, left_out=left_out)


def _files(found: Contents, facts: Facts, folder: Path) -> Iterator[tuple[str, str]]:
    yield "dbt_project.yml", to_yaml(_project(found, facts))
    yield "profiles.yml", to_yaml(_profiles(found, folder))
    yield "README.md", _readme(found)
    yield "macros/tally_range.sql", RANGE
    yield "tests/generic/tally_unique_rows.sql", UNIQUE_ROWS
    if found.external:
        yield "models/sources.yml", to_yaml({"version": 2, "sources": list(_sources(found))})
    for staged in found.staged:
        yield f"models/sources/{staged.name}.sql", _staged_text(staged, found)
    if found.staged:
        yield "models/sources/schema.yml", to_yaml(_schema(map(_staged_entry, found.staged)))
    for model in found.models:
        yield f"models/{model.setting.metric.name}/{model.name}.sql", _model_text(model, found)
    for union in found.derived:
        yield f"models/derived/{union.name}.sql", _derived_text(union, found)
    if found.derived:
        yield "models/derived/schema.yml", to_yaml(_schema(map(_derived_entry, found.derived)))
    ordered = sorted(found.models, key=_metric)
    for metric, group in groupby(ordered, key=_metric):
        yield f"models/{metric}/schema.yml", to_yaml(_schema(_entry(model, found.dialect) for model in group))


def _metric(model: Exported) -> str:
    return model.setting.metric.name


# -- models -----------------------------------------------------------------------------------------------------------


def _bounds(setting: Setting) -> Bounds:
    del setting
    names = ("first", "until", "last", "end")
    first, until, last, end = (exp.cast(exp.var(f"'{{{{ span.{name} }}}}'"), "date") for name in names)
    return Bounds(first=first, until=until, last=last, end=end)


def _table(reference: Reference) -> exp.Table:
    if reference.origin is Origin.EXTERNAL:
        return exp.Table(this=exp.var(f"{{{{ source({_source_name(reference)!r}, {reference.name!r}) }}}}"))
    return exp.Table(this=exp.var(f"{{{{ ref({reference.name!r}) }}}}"))


def _source_name(reference: Reference) -> str:
    return "_".join(part for part in (reference.catalog, reference.schema or "main") if part)


def _model_text(model: Exported, found: Contents) -> str:
    setting = model.setting
    if setting.is_full:
        config = "materialized='table'"
    else:
        # Whole buckets are replaced, so rows that are no longer there do not stay.
        key = f"unique_key=[{model.time_column!r}]"
        config = f"materialized='incremental', incremental_strategy='delete+insert', {key}, on_schema_change='fail'"
    head = f"{{{{ config({config}) }}}}\n{{%- set span = {_range_call(model, found)} %}}\n"
    return f"{head}\n{_text(model.query, found)}\n"


def _range_call(model: Exported, found: Contents) -> str:
    setting, lookback = model.setting, found.project.settings.lookback
    grain = setting.model.time.grain or Grain.DAY
    if grain.is_sub_day:
        lookback = max(1, ceil(lookback * _MINUTES[grain] / _MINUTES_OF_DAY))
        grain = Grain.DAY
    start = (setting.start or EPOCH).isoformat()
    whole = ", whole=true" if isinstance(setting.metric.definition, SqlQuery) and grain is not Grain.DAY else ""
    return f"tally_range({grain.value!r}, start={start!r}, lookback={lookback}, column={model.time_column!r}{whole})"


def _text(query: exp.Query, found: Contents) -> str:
    protect(query)
    return to_text(query, found.dialect, reads=found.project.dialect)


def _staged_text(staged: Staged, found: Contents) -> str:
    return f"{{{{ config(materialized='view') }}}}\n\n{_text(staged.query, found)}\n"


# -- YAML -------------------------------------------------------------------------------------------------------------


def _schema(entries: Iterator[dict[str, object]]) -> dict[str, object]:
    return {"version": 2, "models": list(entries)}


def _entry(model: Exported, dialect: str) -> dict[str, object]:
    about = model.setting.metric.about
    meta: dict[str, object] = {"metric": model.setting.metric.name, "definition_hash": model.definition_hash}
    if about.owners:
        meta["owner"] = ", ".join(about.owners)
    config: dict[str, object] = {"meta": meta}
    if model.tags:
        config["tags"] = list(model.tags)
    unique = {"tally_unique_rows": {"arguments": {"columns": [_spelt(name, dialect) for name in model.grain]}}}
    texts = dict(model.column_descriptions())
    return {
        "name": model.name,
        "description": raw(model.description()),
        "config": config,
        "data_tests": [unique],
        "columns": [_column(name, texts.get(name), model.not_null, dialect) for name in model.columns],
    }


def _spelt(name: str, dialect: str) -> str:
    """Return a column's name as the models' SQL spells it: in quotes where it is no plain word."""
    return exp.to_identifier(name).sql(dialect)


def _column(name: str, text: str | None, not_null: Sequence[str], dialect: str) -> dict[str, object]:
    described: dict[str, object] = {"name": name}
    if _spelt(name, dialect) != name:
        described["quote"] = True
    if text is not None:
        described["description"] = raw(text)
    if name in not_null:
        described["data_tests"] = ["not_null"]
    return described


def _derived_text(model: Derived, found: Contents) -> str:
    kind = "view" if model.is_view else "table"
    return f"{{{{ config(materialized={kind!r}) }}}}\n\n{_text(model.query, found)}\n"


def _derived_entry(model: Derived) -> dict[str, object]:
    return {
        "name": model.name,
        "description": raw(model.description),
        "config": {"tags": list(model.tags)},
        "columns": [{"name": name} for name in model.columns],
    }


def _staged_entry(staged: Staged) -> dict[str, object]:
    described: dict[str, object] = {"description": raw(staged.description)} if staged.description else {}
    return {"name": staged.name, **described, "columns": [{"name": name} for name in staged.columns]}


def _sources(found: Contents) -> Iterator[Mapping[str, object]]:
    for name, group in groupby(sorted(found.external, key=_source_name), key=_source_name):
        tables = list(group)
        place: dict[str, object] = {"name": name, "schema": tables[0].schema or "main"}
        if tables[0].catalog:
            place["database"] = tables[0].catalog
        yield {**place, "tables": [{"name": table.name} for table in tables]}


def _project(found: Contents, facts: Facts) -> dict[str, object]:
    settings = found.project.settings
    variables: dict[str, object] = {"tally_time_zone": settings.time_zone, "tally_week_start": settings.week_start}
    if settings.as_of is not None:
        variables["tally_end"] = _day_after_last(settings.as_of, facts)
    name = connection.project_name(found.project)
    return {
        "name": name,
        "version": "1.0.0",
        "config-version": 2,
        "require-dbt-version": ">=1.11.0",
        "profile": name,
        "model-paths": ["models"],
        "macro-paths": ["macros"],
        "test-paths": ["tests"],
        "flags": {"send_anonymous_usage_stats": False},
        "vars": variables,
    }


def _day_after_last(as_of: datetime, facts: Facts) -> str:
    """Return the day after the last one that a clock that stands still has begun."""
    last = Span(None, as_of, facts.calendar).last_day
    assert last is not None  # noqa: S101 - the span has an end
    return (last + timedelta(days=1)).isoformat()


def _profiles(found: Contents, folder: Path) -> dict[str, object]:
    name = connection.project_name(found.project)
    return {name: {"target": "warehouse", "outputs": {"warehouse": _output(found, folder)}}}


def _output(found: Contents, folder: Path) -> dict[str, object]:
    if found.dialect != "duckdb":
        return {"type": found.dialect, "schema": found.schema, **connection.secret_options(found.project)}
    file = connection.duckdb_file(found, folder)
    settings = {"TimeZone": "UTC"}
    if found.staged:
        settings["file_search_path"] = connection.environment(connection.ROOT_VARIABLE, connection.root(found.project))
    path = connection.environment(connection.WAREHOUSE_VARIABLE, file.as_posix())
    return {"type": "duckdb", "path": path, "schema": found.schema, "threads": 1, "settings": settings}


def _readme(found: Contents) -> str:
    settings = found.project.settings
    fixed = ""
    if settings.as_of is not None:
        fixed = "\nThe project's clock stands still, and so does this one's: remove `tally_end` from `dbt_project.yml` to go on.\n"
    return f"""# {settings.name} for dbt

{len(found.names)} models in the schema `{found.schema}`, written by `tally export dbt`. Write it again rather than
change it here.

    pip install 'dbt-core>=1.11,<1.12' 'dbt-{found.dialect}'
    dbt build --profiles-dir .

A run makes the newest bucket and {settings.lookback} whole buckets before it again, and everything since. To make more
again: `dbt run --vars '{{tally_start: 2026-01-01}}'`; after a definition has changed: `dbt run --full-refresh`.
{fixed}"""
