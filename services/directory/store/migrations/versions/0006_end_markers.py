"""How a complete file ends, as a setting of its source (R2)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the setting; so far no file had a marker."""
    op.add_column("sources", sa.Column("end_marker", sa.SmallInteger(), server_default="1", nullable=False))


def downgrade() -> None:
    """Drop it: files are fetched without their markers from now on."""
    op.drop_column("sources", "end_marker")
