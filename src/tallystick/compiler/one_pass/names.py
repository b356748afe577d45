"""Names in the statements of a build: stored tables lie in Tallystick's schema, working tables are temporary."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from sqlglot import exp

DIALECT = "duckdb"
WORK = "_pass_"
FORMAT = "4"
"""Changes with what tables hold: what is stored in another format is built anew."""


@lru_cache(maxsize=4096)
def quoted(name: str) -> str:
    """Return a quoted identifier."""
    return exp.to_identifier(name, quoted=True).sql(DIALECT)


def work(name: str) -> str:
    """Return the quoted name of a working table."""
    return quoted(f"{WORK}{name}")


def create_work(name: str, query: str) -> str:
    """Return the statement that fills a working table."""
    return f"CREATE OR REPLACE TEMP TABLE {work(name)} AS {query}"


@dataclass(frozen=True, slots=True)
class Schema:
    """Tallystick's schema in the warehouse; None is the one that a view lies in itself.

    A view looks for bare names beside it, also for whoever opens a file that is called like the schema.
    """

    name: str | None = None

    def table(self, name: str) -> str:
        """Return the quoted name of a stored table or view."""
        return quoted(name) if self.name is None else f"{quoted(self.name)}.{quoted(name)}"

    def create(self, name: str, query: str) -> str:
        """Return the statement that stores the rows of a query."""
        return f"CREATE TABLE {self.table(name)} AS {query}"
