"""BigQuery: a dataset is Tallystick's schema, and what a query may read is bounded before it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tallystick.engines.answers import bounded_table
from tallystick.engines.capabilities import Capabilities
from tallystick.engines.limits import UNLIMITED, Limits
from tallystick.engines.options import read_options
from tallystick.engines.relations import column_list, identifier, kind_of, qualified, text
from tallystick.errors import (
    ConnectionFailedError,
    EngineError,
    MissingDriverError,
    MissingTableError,
    QueryTimeoutError,
)

if TYPE_CHECKING:
    import pyarrow as pa

OPTIONS = ("project", "location", "credentials", "maximum_bytes_billed")


class BigQueryEngine:
    """A client of one BigQuery project; `maximum_bytes_billed` ends a query that would read more before it costs."""

    dialect = "bigquery"
    capabilities = Capabilities(transactions=False, one_pass=False, enforces_read_only=False)

    def __init__(self, options: Mapping[str, str], *, schema: str = "tally", read_only: bool = False) -> None:
        self.schema = schema
        self._options = read_options("bigquery", options, OPTIONS)
        self._client = self._connect()
        if not read_only:
            self.execute(f"CREATE SCHEMA IF NOT EXISTS {identifier(schema, self.dialect)}")

    def _connect(self) -> Any:
        try:
            from google.cloud import bigquery
        except ImportError as error:
            raise MissingDriverError(
                "the client of BigQuery is not installed", hint="pip install 'tallystick[bigquery]'"
            ) from error
        from google.auth.exceptions import GoogleAuthError

        try:
            if file := self._options.get("credentials"):
                read: Any = bigquery.Client.from_service_account_json
                client = read(file, project=self._options.get("project"))
            else:
                client = bigquery.Client(project=self._options.get("project"), location=self._options.get("location"))
        except (GoogleAuthError, OSError, ValueError) as error:
            message = self._options.scrub((str(error).splitlines() or [type(error).__name__])[0])
            raise ConnectionFailedError(
                f"BigQuery cannot be reached: {message}", hint="log in with gcloud, or name a credentials file"
            ) from None
        return client

    def columns(self, relation_sql: str) -> Mapping[str, str]:
        """Return the columns of a FROM item and their types by a dry run, which costs nothing."""
        with self._translated():
            job = self._client.query(f"SELECT * FROM {relation_sql}", job_config=self._config(dry_run=True))
            return {field.name: str(field.field_type) for field in job.schema or ()}

    def run(self, sql: str, limits: Limits = UNLIMITED) -> pa.Table:
        """Run one read-only query and return its rows; raise QueryTimeoutError or ResultTooLargeError."""
        with self._translated(limits):
            answer = self._answer(sql, limits)
            # An iterator can be started once only, and the parts of an empty answer tell no types.
            if not answer.total_rows:
                return answer.to_arrow(create_bqstorage_client=False)
            return bounded_table(answer.to_arrow_iterable(), limits)

    def _answer(self, sql: str, limits: Limits) -> Any:
        job = self._client.query(sql, job_config=self._config())
        try:
            return job.result(timeout=limits.seconds, max_results=None if limits.rows is None else limits.rows + 1)
        except FutureTimeoutError:
            job.cancel()
            raise QueryTimeoutError(
                f"the query ran longer than {limits.seconds or 0:g} s and was ended",
                hint="narrow it, or allow more time",
            ) from None

    def _config(self, *, dry_run: bool = False) -> Any:
        from google.cloud import bigquery

        config = bigquery.QueryJobConfig(dry_run=dry_run, labels={"application": "tallystick"})
        if self._options.get("maximum_bytes_billed") is not None:
            config.maximum_bytes_billed = self._options.number("maximum_bytes_billed", 0)
        return config

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Run one read-only query with a small answer and return its rows as plain values."""
        with self._translated():
            return [dict(row.items()) for row in self._answer(sql, UNLIMITED)]

    def execute(self, sql: str) -> None:
        """Run one statement that writes into Tallystick's own schema."""
        with self._translated():
            self._answer(sql, UNLIMITED)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do nothing: every DDL statement commits by itself, `capabilities` says so."""
        yield

    def write(self, table: str, rows: pa.Table) -> None:
        """Create or replace a table of Tallystick's schema from Arrow rows, as one load job of a Parquet file."""
        from io import BytesIO

        import pyarrow.parquet as pq
        from google.cloud import bigquery

        file = BytesIO()
        pq.write_table(rows, file)
        file.seek(0)
        config = bigquery.LoadJobConfig(source_format="PARQUET", write_disposition="WRITE_TRUNCATE")
        with self._translated():
            place = f"{self._client.project}.{self.schema}.{table}"
            self._client.load_table_from_file(file, place, job_config=config).result()

    def create(self, table: str, columns: Mapping[str, str]) -> None:
        """Create an empty table of Tallystick's schema unless it is there; types as DuckDB spells them."""
        # An instant is a TIMESTAMP here; the word alone would become a DATETIME, which is a time without a place.
        spelled = {name: kind.replace("TIMESTAMP", "TIMESTAMPTZ") for name, kind in columns.items()}
        self.execute(f"CREATE TABLE IF NOT EXISTS {self.qualified(table)} ({column_list(spelled, self.dialect)})")

    def create_as(self, table: str, query: str) -> None:
        """Create or replace a table of Tallystick's schema from a query."""
        self.execute(f"CREATE OR REPLACE TABLE {self.qualified(table)} AS {query}")

    def rename(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Give relations of Tallystick's schema new names, in order; each by a statement that commits by itself."""
        for old, new in pairs:
            kind = self.kind(old) or "TABLE"
            self.execute(f"ALTER {kind} {self.qualified(old)} RENAME TO {identifier(new, self.dialect)}")

    def kind(self, name: str) -> str | None:
        """Return TABLE or VIEW for a relation of Tallystick's schema, None where there is none."""
        catalog = f"{identifier(self.schema, self.dialect)}.INFORMATION_SCHEMA.TABLES"
        where = f"table_name = {text(name, self.dialect)}"
        return kind_of(self.rows(f"SELECT table_type AS kind FROM {catalog} WHERE {where}"))

    def drop(self, name: str) -> None:
        """Drop a table or view of Tallystick's schema if it is there."""
        if (found := self.kind(name)) is not None:
            self.execute(f"DROP {found} {self.qualified(name)}")

    def tables(self) -> frozenset[str]:
        """Return the names of tables and views in Tallystick's schema."""
        catalog = f"{identifier(self.schema, self.dialect)}.INFORMATION_SCHEMA.TABLES"
        return frozenset(row["table_name"] for row in self.rows(f"SELECT table_name FROM {catalog}"))

    def qualified(self, name: str) -> str:
        """Return the quoted name of a table in Tallystick's schema."""
        return qualified(self.schema, name, self.dialect)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    @contextmanager
    def _translated(self, limits: Limits = UNLIMITED) -> Iterator[None]:
        """Turn the client's errors into ours: what is wrong in one line, what to do, and no secret."""
        from google.api_core.exceptions import GoogleAPICallError, RetryError
        from google.auth.exceptions import GoogleAuthError

        try:
            yield
        except GoogleAPICallError as error:
            raise _translate(error, self._options.scrub(error.message or str(error)), limits) from None
        except (GoogleAuthError, RetryError) as error:
            message = self._options.scrub(str(error))
            raise ConnectionFailedError(
                f"BigQuery cannot be reached: {message}", hint="log in with gcloud, or name a credentials file"
            ) from None


def _translate(error: Any, message: str, limits: Limits) -> EngineError:
    first = (message.splitlines() or [type(error).__name__])[0]
    reason = next((found.get("reason") for found in error.errors or () if isinstance(found, dict)), None)
    if error.code == 404:
        return MissingTableError(first)
    if error.code in (401, 403):
        return ConnectionFailedError(f"BigQuery refused: {first}", hint="check the project and its permissions")
    if error.code == 504 or reason == "timeout":
        return QueryTimeoutError(
            f"the query ran longer than {limits.seconds or 0:g} s and was ended", hint="narrow it, or allow more time"
        )
    if reason == "bytesBilledLimitExceeded":
        return EngineError(first, hint="narrow the query, or raise maximum_bytes_billed")
    return EngineError(first)
