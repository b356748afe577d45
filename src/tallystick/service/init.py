"""Starting a project: a small commented one with sample rows, or one guessed from a file of rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from tallystick.definitions.condition import Kind
from tallystick.definitions.project import Project
from tallystick.definitions.read_source import check_table
from tallystick.errors import ConflictError, MissingTableError, ProjectError, UsageError
from tallystick.service.guess import Guess, Profile, guess, identifier, quoted
from tallystick.service.profile import profile, table_relation

SETTINGS = "tally.toml"
ROW_FILES = (".parquet", ".csv", ".tsv", ".json", ".ndjson")

_SETTINGS = """\
# What holds for the whole project. `tally check` reports mistakes with file, line and column.

[project]
name = "{name}"
# time_zone = "Europe/Berlin"   # days start at midnight here; UTC unless written
# week_start = "sunday"         # weeks start on Monday unless written

[warehouse]
engine = "duckdb"
path = {path}       # built models are written here; safe to delete, `tally build` makes it again
"""


def _settings(name: str, warehouse: str | None = None) -> str:
    if warehouse is None:
        return _SETTINGS.format(name=name, path='"warehouse.duckdb"')
    head, _, _ = _SETTINGS.format(name=name, path="").rpartition("path = ")
    return f"{head}path = {_text(warehouse)}   # built models are written into its schema 'tally'\n"


_SAMPLE = """\
# A source is rows with roles: which column is the time, and which columns name the things you count for.
[sources.orders]
file = "data/orders.csv"            # or table = "shop.orders", or sql = "select …"
time = "ordered_at"
entities = { customer = "customer_id", store = "store_id" }
dimensions = ["country"]
filters = { completed = "status = 'completed'" }

[entities.customer]
key = "customer_id"

[entities.store]
key = "store_id"

# A metric is a name and one SQL aggregate over a source. Every grain, window and entity is compiled from it.
[metrics.revenue]
source = "orders"
expr = "sum(amount)"
where = "completed"
grains = ["day", "week", "month"]
rolling = [7, 28]
all_time = true
entities = ["all", "store"]
unit = "EUR"
direction = "up"
description = "Value of completed orders."
owner = "you@example.org"

[metrics.orders]
source = "orders"
expr = "count(*)"
where = "completed"
grains = ["day", "week", "month"]
entities = ["all", "store"]
description = "Number of completed orders."
owner = "you@example.org"

# A formula over other metrics; NULL where there are no orders.
[metrics.order_value]
expr = "revenue / orders"
grains = ["day", "week", "month"]
entities = ["all", "store"]
unit = "EUR"
description = "Average value of a completed order."
owner = "you@example.org"
"""


def write_project(folder: Path, rows: Path | str | None = None, *, warehouse: Path | None = None) -> tuple[Path, ...]:
    """Write a new project into a folder and return its files, the settings first.

    With `rows` a source and three metrics are guessed: from a Parquet, CSV or JSON file, or, where it names no file,
    from a table of the warehouse. A folder that is a project already gets the definitions only. Raises ProjectError
    if a file is already there: nothing is ever overwritten.
    """
    if rows is None:
        files = _sample_files(folder)
    elif is_file(rows):
        files = _guessed_files(folder, Path(rows))
    else:
        files = _files_of_table(folder, check_table(rows), warehouse)
    if taken := [name for name in files if (folder / name).exists()]:
        hint = "choose an empty folder" if SETTINGS in files else "rename or remove it first"
        raise ProjectError(f"{folder / taken[0]} already exists, nothing was written", hint=hint)
    for name, content in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        except OSError as error:
            raise ProjectError(f"{path} cannot be written: {error.strerror}") from error
    return tuple(folder / name for name in files)


def is_file(rows: Path | str) -> bool:
    """Tell whether what rows come from is a file; a table has no ending of a file and no folder."""
    path = Path(rows)
    return not isinstance(rows, str) or path.exists() or path.suffix.lower() in ROW_FILES or len(path.parts) > 1


def _sample_files(folder: Path) -> Mapping[str, str]:
    name = identifier(folder.resolve().name)
    return {
        SETTINGS: _settings(name),
        "definitions/orders.toml": _SAMPLE,
        "data/orders.csv": "\n".join(_sample_rows()) + "\n",
    }


def _sample_rows() -> Iterator[str]:
    """Make ninety days of orders by arithmetic: the same rows every time, a weekly rhythm, a few cancelled."""
    yield "order_id,ordered_at,customer_id,store_id,country,status,amount"
    order = 0
    for day in range(90):
        month, date = divmod(day, 30)
        for number in range(2 + (day * 7) % 5 - (day % 7 == 6)):
            order += 1
            customer, store = order * (order % 5 + 1) % 71, order * 11 % 4
            status = "cancelled" if order % 9 == 0 else "completed"
            amount = 12 + (order * 53) % 88 + store * 5
            moment = f"2025-{month + 4:02}-{date + 1:02} {8 + (number * 3) % 12:02}:{(order * 17) % 60:02}:00"
            yield f"{order},{moment},c{customer:02},s{store},{'DE' if store < 2 else 'FR'},{status},{amount}.50"


# -- guessed from a file ----------------------------------------------------------------------------------------------


def _guessed_files(folder: Path, rows: Path) -> Mapping[str, str]:
    if rows.suffix.lower() not in ROW_FILES:
        raise UsageError(f"'{rows.name}' is not a file of rows", hint=f"use one of {', '.join(ROW_FILES)}")
    if not rows.is_file():
        raise MissingTableError(f"there is no file '{rows}'")
    columns = profile_file(rows)
    return _files(folder, rows.stem, columns, {"file": _reference(rows, folder)})


def _files_of_table(folder: Path, table: str, warehouse: Path | None) -> Mapping[str, str]:
    """Guess from a table of an existing project's warehouse, or of the DuckDB file a new project is to use."""
    has_project = (folder / SETTINGS).exists()
    if has_project and warehouse is not None:
        raise UsageError(f"{folder} is a project with a warehouse of its own", hint="leave --warehouse out")
    if has_project:
        from tallystick.service.workspace import load

        with load(folder) as workspace:
            columns = workspace.profile(table)
        return _files(folder, table.rpartition(".")[2], columns, {"table": table})
    if warehouse is None:
        hint = "run it in a project's folder, or name a DuckDB file with --warehouse"
        raise UsageError(f"'{table}' is a table, and there is no warehouse to find it in", hint=hint)
    if not warehouse.is_file():
        raise MissingTableError(f"there is no file '{warehouse}'")
    from tallystick.engines.duckdb import DuckDBEngine

    engine = DuckDBEngine(warehouse, read_only=True)
    try:
        columns = profile(engine, table_relation(table, engine.dialect))
    finally:
        engine.close()
    path = _reference(warehouse, folder)
    return _files(folder, table.rpartition(".")[2], columns, {"table": table}, path)


def _files(
    folder: Path, name: str, columns: tuple[Profile, ...], reads: Mapping[str, str], warehouse: str | None = None
) -> Mapping[str, str]:
    """Return the files of a guess: definitions, and settings where the folder has none."""
    if not columns or not columns[0].values + columns[0].nulls:
        raise UsageError(f"'{next(iter(reads.values()))}' holds no rows to guess from")
    if not (folder / SETTINGS).exists():
        found = guess(name, columns)
        return {SETTINGS: _settings(found.name, warehouse), f"definitions/{found.name}.toml": definition(found, reads)}
    from tallystick.definitions.load import load
    from tallystick.service.stores import made_in

    project = load(folder, partial(made_in, folder))
    found = guess(name, columns, project.dialect)
    if found.name in project.sources:
        raise ConflictError(f"source '{found.name}' is already defined", hint="see tally source preview")
    return {f"definitions/{found.name}.toml": definition(_beside(found, project), reads, project)}


def _beside(found: Guess, project: Project) -> Guess:
    """Return the guess with names of metrics that are taken put behind the name of the source."""
    metrics = tuple(
        replace(metric, name=f"{found.name}_{metric.name}") if metric.name in project.metrics else metric
        for metric in found.metrics
    )
    return replace(found, metrics=metrics)


def profile_file(rows: Path) -> tuple[Profile, ...]:
    """Read the columns of a file: types, and values, NULLs and different values among its first rows."""
    from tallystick.engines.duckdb import DuckDBEngine

    engine = DuckDBEngine(files={"rows": rows.resolve()})
    try:
        return profile(engine, "rows")
    finally:
        engine.close()


def _reference(rows: Path, folder: Path) -> str:
    """Name the file as seen from the project if it lies inside, so that the folder can be moved; else in full."""
    rows, folder = rows.resolve(), folder.resolve()
    return rows.relative_to(folder).as_posix() if rows.is_relative_to(folder) else rows.as_posix()


def definition(found: Guess, reads: Mapping[str, str], project: Project | None = None) -> str:
    """Write a guess down as a definition file; `reads` says where the rows are, `project` what is defined already."""
    known = project.entities if project else {}
    entities = [(thing, column) for thing, column in found.entities if thing not in known]
    dialect = project.dialect if project else "duckdb"
    return "\n\n".join([_source(found, reads, dialect), *_entities(entities), *_metrics(found)]) + "\n"


def _source(found: Guess, reads: Mapping[str, str], dialect: str) -> str:
    lines = [
        "# Guessed from the columns: read it, correct it, then run `tally check`.",
        f"[sources.{found.name}]",
        *(f"{key} = {_text(value)}" for key, value in reads.items()),
    ]
    if found.time is not None:
        lines.append(f"time = {_text(quoted(found.time.name, dialect))}")
        if found.time.kind is Kind.DATE:
            lines.append("date = true")
    if found.entities:
        keys = ", ".join(f"{thing} = {_text(quoted(column, dialect))}" for thing, column in found.entities)
        lines.append(f"entities = {{ {keys} }}")
    dimensions = [f"{identifier(c)} = {_text(quoted(c, dialect))}" for c in found.dimensions]
    if dimensions:
        lines.append(f"dimensions = {{ {', '.join(dimensions)} }}")
    if found.numbers:
        lines.append(f"# numbers: {', '.join(found.numbers)}")
    return "\n".join(lines)


def _entities(entities: Iterable[tuple[str, str]]) -> Iterator[str]:
    for thing, column in entities:
        yield f"[entities.{thing}]\nkey = {_text(identifier(column))}"


def _metrics(found: Guess) -> Iterator[str]:
    grains = 'grains = ["day", "week", "month"]\nrolling = [28]\n' if found.time is not None else ""
    entities = ["all", *(thing for thing, _ in found.entities)]
    for metric in found.metrics:
        yield (
            f"[metrics.{metric.name}]\n"
            f'source = "{found.name}"\n'
            f"expr = {_text(metric.expr)}\n"
            f"{grains}all_time = true\n"
            f"entities = {json.dumps(entities)}\n"
            f"description = {_text(metric.description)}"
        )


def _text(value: str) -> str:
    """Write a TOML string; TOML reads JSON's escapes, but refuses a bare DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
