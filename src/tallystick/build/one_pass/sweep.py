"""Building a metric in memory: its gathered rows are read once, and worked on some entities at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tallystick.build.one_pass.arrays import arrow, read
from tallystick.compiler.one_pass import interning
from tallystick.compiler.one_pass.gather import Stream
from tallystick.compiler.one_pass.names import work
from tallystick.compiler.one_pass.rolling import DAY_BITS
from tallystick.compiler.one_pass.tables import Plan, base_keys, base_rows
from tallystick.compiler.sweep import entities
from tallystick.compiler.sweep.calendar import DayTable
from tallystick.compiler.sweep.counters import counters
from tallystick.compiler.sweep.entities import BaseRows, Pairs, rows_of
from tallystick.compiler.sweep.presence import presences
from tallystick.compiler.sweep.tables import Columns, Gathered, column_types, table_rows
from tallystick.engines.adapter import Engine, embedded

if TYPE_CHECKING:
    import pyarrow as pa

MOST = 50_000_000
"""Gathered rows that are held in memory, at about 40 bytes each; what is larger is built by statements."""


def is_for_memory(engine: Engine, plan: Plan, streams: Sequence[Stream]) -> bool:
    """Tell whether a metric is one of whole numbers, and not too large to be built in memory."""
    if not plan.is_narrow:
        return False
    sizes = " + ".join(f"(SELECT count(*) FROM {work(stream.table)})" for stream in streams)
    return bool(engine.rows(f"SELECT {sizes} <= {MOST} AS fits")[0]["fits"])


def create_tables(engine: Engine, plan: Plan, streams: Sequence[Stream], calendar: DayTable) -> None:
    """Write all tables of a metric from its gathered streams."""
    types = column_types(plan)
    leaving: list[Columns] = []
    fresh = set(types) - {plan.layout.leaving}
    for gathered in _gathered(engine, plan, streams):
        found: dict[str, list[Columns]] = {table: [] for table in types}
        for table, columns in table_rows(plan, calendar, gathered):
            found[table].append(columns)
        leaving += found.pop(plan.layout.leaving, [])
        for table, some in found.items():
            _write(engine, table, arrow(types[table], some), is_new=table in fresh)
        fresh.clear()
    for table in fresh:
        _write(engine, table, arrow(types[table], []), is_new=True)
    if plan.member.windows:
        # By day, so that appending reads no more of them than leave on its days.
        rows = arrow(types[plan.layout.leaving], leaving)
        _write(engine, plan.layout.leaving, rows.sort_by("day"), is_new=True)


def _gathered(engine: Engine, plan: Plan, streams: Sequence[Stream]) -> Iterator[Gathered]:
    """Yield what was gathered for some entities after the other."""
    columns = read(engine, interning.pairs(plan.family, plan.schema, plan.member))
    pairs = Pairs(columns["bid"].astype(np.int64), columns["eid"].astype(np.int64))
    keys = int(pairs.bids.max(initial=-1)) + 1
    rows = [_base_rows(engine, plan, stream, keys) for stream in streams]
    for part in entities.parts(pairs, rows):
        additive, found = None, {}
        for stream, base in zip(streams, rows, strict=True):
            eids, of_rows = rows_of(part, base)
            if stream.measure is None:
                additive = counters((eids << DAY_BITS) + of_rows.pop("day"), of_rows)
            else:
                name = stream.measure.name
                found[name] = presences(eids, of_rows["uid"], of_rows["day"], plan.packings[name])
        yield Gathered(additive, found)


def _base_rows(engine: Engine, plan: Plan, stream: Stream, keys: int) -> BaseRows:
    query = base_rows(plan, stream) if stream.measure is None else base_keys(plan, stream)
    columns = read(engine, query)
    return entities.base_rows(columns.pop("bid"), columns, keys)


def _write(engine: Engine, table: str, rows: pa.Table, *, is_new: bool) -> None:
    if is_new:
        engine.write(table, rows)
    elif rows.num_rows:
        embedded(engine).insert(table, rows)
