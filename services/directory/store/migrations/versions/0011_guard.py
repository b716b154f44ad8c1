"""The guard of SCIM connections, and departures that wait until their request has ended (S7, S13)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.directory.store.migrations import fencing

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_SOURCE = ["sources.tenant_id", "sources.id"]


def upgrade() -> None:
    """Create the tables and columns; every connection that is there gets the guard."""
    op.add_column("sources", sa.Column("guard", sa.Boolean(), server_default=sa.text("true"), nullable=False))
    op.add_column("sources", sa.Column("guard_trip_time", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "guard_counts",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("minute", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("people", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("base", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id", "source_id"], _SOURCE),
        sa.PrimaryKeyConstraint("tenant_id", "source_id", "minute"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "pending_departures",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("unit", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("due_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_agreed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id", "source_id"], _SOURCE),
        sa.ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"]),
        sa.PrimaryKeyConstraint("tenant_id", "source_id", "unit", "user_id"),
        sqlite_with_rowid=False,
    )
    fencing.fence_table("guard_counts")
    fencing.fence_table("pending_departures", platform="SELECT")


def downgrade() -> None:
    """Drop them: whoever waits to be judged stays in, as in the release before who is in no group."""
    for table in ("pending_departures", "guard_counts"):
        op.drop_table(table)
    for column in ("guard_trip_time", "guard"):
        op.drop_column("sources", column)
