"""What there is to say about a run that did not fail."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add a note to runs."""
    op.add_column("runs", sa.Column("note", sa.Text()))
