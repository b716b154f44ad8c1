"""Keep with each claim the hash of the row that took full effect, so that it need not be sent again as it was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; no row is settled until a run has been applied."""
    op.add_column("claims", sa.Column("row_hash", sa.Text(), nullable=True))


def downgrade() -> None:
    """Drop the column: every row travels again."""
    op.drop_column("claims", "row_hash")
