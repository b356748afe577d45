"""Series, their points and revisions, and runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tallystick.store.columns import Identity, Instant, Words

revision = "0001"
down_revision = None

# What other tools read: one row for each value, in the words of the series contract.
SERIES_ROWS = """
CREATE VIEW series_rows AS
SELECT
    s.project, s.metric, s.grain, s."window", s.entity_type, p.entity_id, s.dimension, p.dimension_value, p.is_other,
    p.bucket, p.value, p.numerator, p.denominator, p.n, p.state, p.definition_hash, p.collected_at
FROM points AS p
JOIN series AS s ON s.id = p.series_id
WHERE s.is_live
"""


def upgrade() -> None:
    """Create the tables of collected values."""
    _series()
    _points()
    _revisions()
    _runs()
    op.execute(SERIES_ROWS)


def _series() -> None:
    op.create_table(
        "series",
        sa.Column("id", Identity, nullable=False),
        sa.Column("project", Words, nullable=False),
        sa.Column("metric", Words, nullable=False),
        sa.Column("grain", Words, nullable=False),
        sa.Column("window", Words, nullable=False),
        sa.Column("entity_type", Words, nullable=False),
        sa.Column("dimension", Words, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("is_live", sa.Boolean(), nullable=False),
        sa.Column("definition_hash", Words, nullable=False),
        sa.Column("watermark", Instant()),
        sa.Column("live_from", Instant()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_series")),
        sa.UniqueConstraint(
            "project", "metric", "grain", "window", "entity_type", "dimension", "generation", name="uq_series"
        ),
    )
    op.create_index(
        "uq_series_live",
        "series",
        ["project", "metric", "grain", "window", "entity_type", "dimension"],
        unique=True,
        sqlite_where=sa.text("is_live"),
        postgresql_where=sa.text("is_live"),
    )


def _points() -> None:
    op.create_table(
        "points",
        sa.Column("series_id", Identity, nullable=False),
        sa.Column("bucket", Instant(), nullable=False),
        sa.Column("entity_id", Words, nullable=False),
        sa.Column("dimension_value", Words, nullable=False),
        sa.Column("is_other", sa.Boolean(), nullable=False),
        sa.Column("value", sa.Double()),
        sa.Column("numerator", sa.Double()),
        sa.Column("denominator", sa.Double()),
        sa.Column("exact", sa.Text()),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("definition_hash", sa.Text(), nullable=False),
        sa.Column("collected_at", Instant(), nullable=False),
        sa.CheckConstraint("state IN ('settling', 'final', 'restated')", name=op.f("ck_points_state_is_known")),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_points_series_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint(
            "series_id", "bucket", "entity_id", "dimension_value", "is_other", name=op.f("pk_points")
        ),
        sqlite_with_rowid=False,
    )


def _revisions() -> None:
    op.create_table(
        "revisions",
        sa.Column("id", Identity, nullable=False),
        sa.Column("series_id", Identity, nullable=False),
        sa.Column("bucket", Instant(), nullable=False),
        sa.Column("entity_id", Words, nullable=False),
        sa.Column("dimension_value", Words, nullable=False),
        sa.Column("is_other", sa.Boolean(), nullable=False),
        sa.Column("old_value", sa.Double()),
        sa.Column("old_numerator", sa.Double()),
        sa.Column("old_denominator", sa.Double()),
        sa.Column("old_exact", sa.Text()),
        sa.Column("old_n", sa.BigInteger(), nullable=False),
        sa.Column("old_hash", sa.Text(), nullable=False),
        sa.Column("new_value", sa.Double()),
        sa.Column("new_numerator", sa.Double()),
        sa.Column("new_denominator", sa.Double()),
        sa.Column("new_exact", sa.Text()),
        sa.Column("new_n", sa.BigInteger()),
        sa.Column("new_hash", sa.Text(), nullable=False),
        sa.Column("revised_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_revisions_series_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revisions")),
    )
    op.create_index(op.f("ix_revisions_series_id_bucket"), "revisions", ["series_id", "bucket"])
    # ### end Alembic commands ###


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", Identity, nullable=False),
        sa.Column("project", Words, nullable=False),
        sa.Column("subject", Words, nullable=False),
        sa.Column("metric", Words, nullable=False),
        sa.Column("window_start", Instant(), nullable=False),
        sa.Column("window_end", Instant(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("lease_until", Instant(), nullable=False),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("finished_at", Instant()),
        sa.Column("covered_start", Instant()),
        sa.Column("covered_end", Instant()),
        sa.Column("rows", sa.BigInteger()),
        sa.Column("seconds", sa.Double()),
        sa.Column("sql_hash", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.CheckConstraint("status IN ('running', 'success', 'error', 'lost')", name=op.f("ck_runs_status_is_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("project", "subject", "window_start", "window_end", "attempt", name="uq_runs"),
    )
    op.create_index(op.f("ix_runs_project_metric_id"), "runs", ["project", "metric", "id"])
    op.create_index(op.f("ix_runs_project_status"), "runs", ["project", "status"])
