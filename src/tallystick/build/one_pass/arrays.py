"""Rows of a metric's tables as arrays, and arrays as rows.

Not by Arrow's own conversions: they load pandas where it is installed, which takes longer than appending a day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from tallystick.compiler.one_pass import days
from tallystick.compiler.one_pass.names import WORK
from tallystick.compiler.sweep.calendar import DayTable
from tallystick.compiler.sweep.counters import Whole
from tallystick.compiler.sweep.tables import Columns
from tallystick.engines.adapter import Engine, embedded

if TYPE_CHECKING:
    import pyarrow as pa

_STORED = {"TINYINT": np.int8, "INTEGER": np.int32, "BIGINT": np.int64}


def read(engine: Engine, query: str) -> dict[str, Whole]:
    """Return the columns of a query of whole numbers, none of them missing."""
    table = engine.run(query)
    return {name: _joined([whole(chunk) for chunk in table.column(name).chunks]) for name in table.column_names}


def whole(values: pa.Array) -> Whole:
    """Return whole numbers, none of them missing, as an array over the same memory."""
    return cast("Whole", np.from_dlpack(values))


def _joined(chunks: Sequence[Whole]) -> Whole:
    if not chunks:
        return np.zeros(0, np.int64)
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)


def write_days(engine: Engine, calendar: DayTable) -> None:
    """Write the working calendar of a build for statements."""
    name = f"{WORK}lent"
    with embedded(engine).lend(name, calendar.columns):
        engine.execute(days.create_days(name, calendar.columns))


def narrowed(types: Mapping[str, str], rows: Columns) -> dict[str, Whole]:
    """Return rows as columns of the types a table has, in its order."""
    return {name: rows[name].astype(_STORED[kind], copy=False) for name, kind in types.items()}


def arrow(types: Mapping[str, str], parts: Sequence[Columns]) -> pa.Table:
    """Return the rows of several parts as columns of the types a table has."""
    import pyarrow as pa

    columns: dict[str, pa.Array] = {}
    for name, kind in types.items():
        # One copy that also narrows: chunks would be copied into batches once more.
        found = [part[name] for part in parts] or [np.zeros(0, np.int64)]
        values = np.concatenate(found, dtype=_STORED[kind], casting="same_kind")
        buffers = [None, pa.py_buffer(values)]
        columns[name] = pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)
    return pa.table(columns)
