"""What every engine can do. The adapter is the only plug-in point: one class per warehouse, the same names in each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from tallystick.engines.capabilities import Capabilities
from tallystick.engines.limits import UNLIMITED, Limits

if TYPE_CHECKING:
    # A fifth of a second each that `tally check` can do without.
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

Whole: TypeAlias = "npt.NDArray[np.integer[Any]]"
Rows: TypeAlias = "pa.Table | pa.RecordBatchReader | Mapping[str, Whole]"
"""Rows as they lie in memory: Arrow's, or a few as arrays of whole numbers by name of column."""

BATCH = 122_880
"""Rows DuckDB stores together; batches of just as many are written by all threads and not gathered once more."""


class Engine(Protocol):
    """A connection to one warehouse; every failure is an EngineError that says what to do and holds no secret."""

    dialect: str
    schema: str

    @property
    def capabilities(self) -> Capabilities:
        """Return what the engine can promise beyond running SQL."""

    def columns(self, relation_sql: str) -> Mapping[str, str]:
        """Return the columns of a FROM item and their types, without reading rows; raise MissingTableError."""

    def run(self, sql: str, limits: Limits = UNLIMITED) -> pa.Table:
        """Run one read-only query and return its rows; raise QueryTimeoutError or ResultTooLargeError."""

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Run one read-only query with a small answer and return its rows as plain values."""

    def execute(self, sql: str) -> None:
        """Run one statement that writes into Tallystick's own schema."""

    def transaction(self) -> AbstractContextManager[None]:
        """Open a transaction: all writes inside become visible together or not at all."""

    def write(self, table: str, rows: pa.Table) -> None:
        """Create or replace a table of Tallystick's schema from Arrow rows."""

    def create(self, table: str, columns: Mapping[str, str]) -> None:
        """Create an empty table of Tallystick's schema unless it is there; types as DuckDB spells them."""

    def create_as(self, table: str, query: str) -> None:
        """Create or replace a table of Tallystick's schema from a query."""

    def rename(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Give relations of Tallystick's schema new names, in order and all at once."""

    def kind(self, name: str) -> str | None:
        """Return TABLE or VIEW for a relation of Tallystick's schema, None where there is none."""

    def drop(self, name: str) -> None:
        """Drop a table or view of Tallystick's schema if it is there."""

    def qualified(self, name: str) -> str:
        """Return the quoted name of a table in Tallystick's schema."""

    def tables(self) -> frozenset[str]:
        """Return the names of tables and views in Tallystick's schema."""

    def close(self) -> None:
        """Close the connection."""


class EmbeddedEngine(Engine, Protocol):
    """An engine in this process, to which rows can be handed as they lie in memory (`Capabilities.one_pass`)."""

    def insert(self, table: str, rows: Rows) -> None:
        """Add rows to a table of Tallystick's schema; columns are matched by name."""

    def lend(self, name: str, rows: Rows) -> AbstractContextManager[None]:
        """Let statements inside read rows under a name."""

    def arrays(self, sql: str) -> dict[str, Whole]:
        """Run one read-only query of whole numbers, none of them missing, with few rows, and return its columns."""

    def batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """Run one read-only query and yield its rows as they come; read them all before the next statement."""

    def estimated_rows(self, table: str) -> int | None:
        """Return about how many rows a table of the warehouse has, None for what is no table of it."""

    def checkpoint(self, *, leaves_gaps: bool = False) -> None:
        """Put what was committed in its place in the file; gaps that deleted rows leave may stay until another one."""

    def use_threads(self, count: int | None) -> None:
        """Work on so many threads from the next statement on, None: on as many as there are processors."""


def embedded(engine: Engine) -> EmbeddedEngine:
    """Return an engine whose capabilities say that it is an embedded one, typed as such."""
    return cast("EmbeddedEngine", engine)
