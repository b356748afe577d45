"""What there is to say about a run that did not fail, and when a series was last read far back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tallystick.store.columns import Instant

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add a note to runs and the time of the last sweep to series."""
    op.add_column("runs", sa.Column("note", sa.Text()))
    op.add_column("series", sa.Column("swept_at", Instant()))
