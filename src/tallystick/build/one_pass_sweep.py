"""Building a metric in memory: its gathered rows are read as arrays, a part of the entities at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from tallystick.compiler.one_pass import days
from tallystick.compiler.one_pass.gather import Stream
from tallystick.compiler.one_pass.names import work
from tallystick.compiler.one_pass.tables import Plan, Range, entity_rows, entity_sizes, presence_keys
from tallystick.compiler.sweep.calendar import DayTable
from tallystick.compiler.sweep.counters import Array, counters
from tallystick.compiler.sweep.presence import presences
from tallystick.compiler.sweep.tables import Columns, Gathered, column_types, table_rows
from tallystick.engines.adapter import Engine, embedded

PART = 4_000_000
"""Rows of entities that are held at a time; a single row takes about 150 bytes on its way."""
_ARROW = {"TINYINT": pa.int8(), "INTEGER": pa.int32(), "BIGINT": pa.int64()}


def create_tables(engine: Engine, plan: Plan, streams: Sequence[Stream]) -> None:
    """Write all tables of a metric with a narrow layout from its gathered streams."""
    calendar = _calendar(engine, plan)
    types = column_types(plan)
    parts: dict[str, list[Columns]] = {table: [] for table in types}
    fresh = set(types)
    for part in _ranges(engine, plan, streams):
        for table, columns in table_rows(plan, calendar, _gathered(engine, plan, streams, part)):
            parts[table].append(columns)
        for table, found in parts.items():
            rows = _arrow(types[table], found)
            if table in fresh:
                engine.write(table, rows)
            elif rows.num_rows:
                embedded(engine).insert(table, rows)
            found.clear()
        fresh.clear()


def _gathered(engine: Engine, plan: Plan, streams: Sequence[Stream], part: Range | None) -> Gathered:
    additive, found = None, {}
    for stream in streams:
        if stream.measure is None:
            columns = _read(engine, entity_rows(plan, stream, part))
            additive = counters(columns.pop("k"), columns)
        else:
            name = stream.measure.name
            found[name] = presences(_read(engine, presence_keys(plan, stream, part))["k"], plan.packings[name])
    return Gathered(additive, found)


def _calendar(engine: Engine, plan: Plan) -> DayTable:
    columns = _read(engine, f"SELECT * FROM {work(days.TABLE)} ORDER BY day")
    return DayTable(plan.extent.first, {name: values.astype(np.int64) for name, values in columns.items()})


def _ranges(engine: Engine, plan: Plan, streams: Sequence[Stream]) -> Iterator[Range | None]:
    """Return ranges of entities with about as many rows as are held at a time, None for all at once."""
    sizes = " + ".join(f"(SELECT count(*) FROM {work(stream.table)})" for stream in streams)
    if engine.rows(f"SELECT {sizes} AS n")[0]["n"] <= PART // 3:
        yield None
        return
    arms = " UNION ALL ".join(entity_sizes(plan, stream) for stream in streams)
    found = _read(engine, f"SELECT eid, sum(n)::BIGINT AS n FROM ({arms}) AS a GROUP BY eid ORDER BY eid")
    number = (np.cumsum(found["n"]) - found["n"]) // PART
    borders = found["eid"][np.flatnonzero(np.diff(number, prepend=-1))].tolist()
    yield from zip(borders, [*borders[1:], int(found["eid"][-1]) + 1], strict=True)


def _read(engine: Engine, query: str) -> dict[str, Array]:
    table = engine.run(query)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def _arrow(types: Mapping[str, str], parts: Sequence[Columns]) -> pa.Table:
    columns = {}
    for name, kind in types.items():
        arrow = _ARROW[kind]
        chunks = [pa.array(part[name].astype(arrow.to_pandas_dtype(), copy=False)) for part in parts]
        columns[name] = pa.chunked_array(chunks, arrow)
    return pa.table(columns)
