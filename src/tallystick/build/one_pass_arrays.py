"""Rows of a metric's tables as arrays, and arrays as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from tallystick.compiler.one_pass import days
from tallystick.compiler.one_pass.names import work
from tallystick.compiler.sweep.calendar import DayTable
from tallystick.compiler.sweep.counters import Whole
from tallystick.compiler.sweep.tables import Columns
from tallystick.engines.adapter import Engine

_ARROW = {"TINYINT": pa.int8(), "INTEGER": pa.int32(), "BIGINT": pa.int64()}


def read(engine: Engine, query: str) -> dict[str, Whole]:
    """Return the columns of a query of whole numbers."""
    table = engine.run(query)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def day_table(engine: Engine) -> DayTable:
    """Return the working calendar of a build."""
    columns = read(engine, f"SELECT * FROM {work(days.TABLE)} ORDER BY day")
    first = int(columns["day"][0])
    return DayTable(first, {name: values.astype(np.int64) for name, values in columns.items()})


def arrow(types: Mapping[str, str], parts: Sequence[Columns]) -> pa.Table:
    """Return the rows of several parts as columns of the types a table has."""
    columns = {}
    for name, kind in types.items():
        as_stored = _ARROW[kind]
        # One copy that also narrows: chunks would be copied into batches once more.
        found = [part[name] for part in parts] or [np.zeros(0, np.int64)]
        columns[name] = pa.array(
            np.concatenate(found, dtype=as_stored.to_pandas_dtype(), casting="same_kind"), as_stored
        )
    return pa.table(columns)
