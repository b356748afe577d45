"""Starting a project: a small commented one with sample rows, or one guessed from a file of rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from tallystick.errors import MissingTableError, ProjectError, UsageError
from tallystick.service.guess import Guess, Profile, guess, identifier, quoted
from tallystick.service.profile import profile

ROW_FILES = (".parquet", ".csv", ".tsv", ".json", ".ndjson")

_SETTINGS = """\
# What holds for the whole project. `tally check` reports mistakes with file, line and column.

[project]
name = "{name}"
# time_zone = "Europe/Berlin"   # days start at midnight here; UTC unless written
# week_start = "sunday"         # weeks start on Monday unless written

[warehouse]
engine = "duckdb"
path = "warehouse.duckdb"       # built models are written here; safe to delete, `tally build` makes it again
"""

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


def write_project(folder: Path, rows: Path | None = None) -> tuple[Path, ...]:
    """Write a new project into a folder and return its files, the settings first.

    With `rows`, a Parquet, CSV or JSON file, a source and three metrics are guessed from its columns. Raises
    ProjectError if a file is already there: nothing is ever overwritten.
    """
    files = _guessed_files(folder, rows) if rows is not None else _sample_files(folder)
    if taken := [name for name in files if (folder / name).exists()]:
        raise ProjectError(f"{folder / taken[0]} already exists, nothing was written", hint="choose an empty folder")
    for name, content in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        except OSError as error:
            raise ProjectError(f"{path} cannot be written: {error.strerror}") from error
    return tuple(folder / name for name in files)


def _sample_files(folder: Path) -> Mapping[str, str]:
    name = identifier(folder.resolve().name)
    return {
        "tally.toml": _SETTINGS.format(name=name),
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
    if not columns or not columns[0].values + columns[0].nulls:
        raise UsageError(f"'{rows.name}' holds no rows to guess from")
    found = guess(rows.stem, columns)
    return {
        "tally.toml": _SETTINGS.format(name=found.name),
        f"definitions/{found.name}.toml": definition(found, _reference(rows, folder)),
    }


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


def definition(found: Guess, file: str) -> str:
    """Write a guess down as a definition file."""
    return "\n\n".join([_source(found, file), *_entities(found), *_metrics(found)]) + "\n"


def _source(found: Guess, file: str) -> str:
    lines = [
        "# Guessed from the columns of the file: read it, correct it, then run `tally check`.",
        f"[sources.{found.name}]",
        f"file = {_text(file)}",
    ]
    if found.time is not None:
        lines.append(f"time = {_text(quoted(found.time.name))}")
        if found.time.type == "DATE":
            lines.append("date = true")
    if found.entities:
        keys = ", ".join(f"{thing} = {_text(quoted(column))}" for thing, column in found.entities)
        lines.append(f"entities = {{ {keys} }}")
    dimensions = [f"{identifier(c)} = {_text(quoted(c))}" for c in found.dimensions]
    if dimensions:
        lines.append(f"dimensions = {{ {', '.join(dimensions)} }}")
    if found.numbers:
        lines.append(f"# numbers: {', '.join(found.numbers)}")
    return "\n".join(lines)


def _entities(found: Guess) -> Iterator[str]:
    for thing, column in found.entities:
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
