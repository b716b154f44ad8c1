"""What a plan means for who can be reached, what a file looks like, and whether an unchanged one is reported."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.directory.store.migrations import fencing

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; the runs so far do not say."""
    op.add_column("import_runs", sa.Column("reach", sa.JSON(), nullable=True))
    op.add_column("import_runs", sa.Column("shape", sa.JSON(), nullable=True))
    op.add_column("sources", sa.Column("report_unchanged", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    """Drop them; a run that found its file unchanged reads as applied, which changed nothing either."""
    with fencing.lifted("import_runs"):
        op.execute("UPDATE import_runs SET status = 5 WHERE status = 12")
    op.drop_column("sources", "report_unchanged")
    op.drop_column("import_runs", "shape")
    op.drop_column("import_runs", "reach")
