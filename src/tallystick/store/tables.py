"""The tables of collected values: series, their points and revisions, and runs.

Instants are UTC. Key columns are never NULL, since NULLs are distinct in unique keys: what is not there is ''.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from tallystick.compiler.series import PointState
from tallystick.store.columns import Identity, Instant, Words, one_of
from tallystick.store.run_status import RunStatus

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_LIVE = text("is_live")

series = Table(
    "series",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("project", Words, nullable=False),
    Column("metric", Words, nullable=False),
    Column("grain", Words, nullable=False),
    Column("window", Words, nullable=False),
    Column("entity_type", Words, nullable=False),
    Column("dimension", Words, nullable=False),
    # A changed definition is collected as the next generation and then swapped in; earlier ones stay.
    Column("generation", Integer, nullable=False),
    Column("is_live", Boolean, nullable=False),
    Column("definition_hash", Words, nullable=False),
    Column("watermark", Instant),
    Column("live_from", Instant),
    Column("swept_at", Instant),
    UniqueConstraint(
        "project", "metric", "grain", "window", "entity_type", "dimension", "generation", name="uq_series"
    ),
)
Index(
    "uq_series_live",
    *(series.c[name] for name in ("project", "metric", "grain", "window", "entity_type", "dimension")),
    unique=True,
    sqlite_where=_LIVE,
    postgresql_where=_LIVE,
)

points = Table(
    "points",
    metadata,
    Column("series_id", ForeignKey("series.id", ondelete="CASCADE"), primary_key=True),
    Column("bucket", Instant, primary_key=True),
    Column("entity_id", Words, primary_key=True),
    Column("dimension_value", Words, primary_key=True),
    Column("is_other", Boolean, primary_key=True),
    Column("value", Double),
    Column("numerator", Double),
    Column("denominator", Double),
    # The three numbers as text where a double cannot hold one of them: whole ones beyond 2^53, decimals.
    Column("exact", Text),
    Column("n", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("definition_hash", Text, nullable=False),
    Column("collected_at", Instant, nullable=False),
    one_of("state", PointState),
    sqlite_with_rowid=False,
)

revisions = Table(
    "revisions",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("series_id", ForeignKey("series.id", ondelete="CASCADE"), nullable=False),
    Column("bucket", Instant, nullable=False),
    Column("entity_id", Words, nullable=False),
    Column("dimension_value", Words, nullable=False),
    Column("is_other", Boolean, nullable=False),
    Column("old_value", Double),
    Column("old_numerator", Double),
    Column("old_denominator", Double),
    Column("old_exact", Text),
    Column("old_n", BigInteger, nullable=False),
    Column("old_hash", Text, nullable=False),
    Column("new_value", Double),
    Column("new_numerator", Double),
    Column("new_denominator", Double),
    Column("new_exact", Text),
    Column("new_n", BigInteger),  # NULL where the bucket is gone
    Column("new_hash", Text, nullable=False),
    Column("revised_at", Instant, nullable=False),
    Index(None, "series_id", "bucket"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("project", Words, nullable=False),
    Column("subject", Words, nullable=False),
    Column("metric", Words, nullable=False),
    Column("window_start", Instant, nullable=False),
    Column("window_end", Instant, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("lease_until", Instant, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Column("covered_start", Instant),
    Column("covered_end", Instant),
    Column("rows", BigInteger),
    Column("bytes", BigInteger),
    Column("seconds", Double),
    Column("sql_hash", Text),
    Column("error", Text),
    Column("note", Text),
    # Whoever inserts an attempt first has claimed it.
    UniqueConstraint("project", "subject", "window_start", "window_end", "attempt", name="uq_runs"),
    Index(None, "project", "metric", "id"),
    Index(None, "project", "status"),
    one_of("status", RunStatus),
)
