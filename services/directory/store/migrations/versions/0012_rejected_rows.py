"""Rejected rows as they stand in the file, sealed, and until when a run's are on their way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.directory.store.migrations import fencing

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table and the column; earlier runs have no rows."""
    op.add_column("import_runs", sa.Column("rejected_rows_until", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "rejected_rows",
        *(
            sa.Column(name, sa.BigInteger, primary_key=True, autoincrement=False)
            for name in ("tenant_id", "run_id", "first_line")
        ),
        sa.Column("last_line", sa.BigInteger, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id", "run_id"], ["import_runs.tenant_id", "import_runs.id"]),
        sqlite_with_rowid=False,
    )
    op.create_index("rejected_rows_by_age", "rejected_rows", ["tenant_id", "create_time"])
    fencing.fence_table("rejected_rows")


def downgrade() -> None:
    """Drop them; the rows cannot be downloaded any more."""
    fencing.unfence_table("rejected_rows")
    op.drop_table("rejected_rows")
    op.drop_column("import_runs", "rejected_rows_until")
