"""How many bytes the queries of a run brought."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the bytes of the answers to runs; those of earlier runs are not known."""
    op.add_column("runs", sa.Column("bytes", sa.BigInteger()))
