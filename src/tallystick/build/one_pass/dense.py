"""Dense tables of rolling windows: intervals of days written out in memory, at the cost of writing the rows alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tallystick.compiler.one_pass.views import FIRST, UNTIL
from tallystick.engines.adapter import BATCH, Engine, embedded

if TYPE_CHECKING:
    import pyarrow as pa

MOST = 20_000_000
"""Stored change points of a metric up to which its models are written out in memory."""


def write_out(engine: Engine, table: str, query: str, bucket: str) -> None:
    """Add to a table, whose first column is the `bucket`, the dense rows of a query of intervals (`model_spans`)."""
    import pyarrow as pa

    spans = engine.run(query)
    schema = pa.schema([(bucket, pa.date32()), *(field for field in spans.schema if field.name not in (FIRST, UNTIL))])
    embedded(engine).insert(table, pa.RecordBatchReader.from_batches(schema, spread(spans, schema)))


def spread(spans: pa.Table, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield one row for each day of each interval, in order."""
    import pyarrow as pa

    first, until = (spans.column(name).to_numpy() for name in (FIRST, UNTIL))
    ends = np.cumsum(until.astype(np.int64) - first)
    total = int(ends[-1]) if len(ends) else 0
    values = [spans.column(name).combine_chunks() for name in schema.names[1:]]
    for begin in range(0, total, BATCH):
        end = min(begin + BATCH, total)
        low, high = np.searchsorted(ends, begin, side="right"), np.searchsorted(ends, end) + 1
        lengths = np.diff(np.minimum(ends[low:high], end), prepend=begin)
        rows = np.repeat(np.arange(low, high, dtype=np.int32), lengths)
        days = np.arange(begin, end) - np.repeat(ends[low:high] - until[low:high], lengths)
        columns = [
            pa.array(days.astype(np.int32)).view(pa.date32()),
            *(column.take(pa.array(rows)) for column in values),
        ]
        yield pa.record_batch(columns, schema)
