"""Claims, priorities, and whom a message mentions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add columns and the table of mentions; a message is one of its event's by its Message-ID."""
    with op.batch_alter_table("message", table_kwargs={"sqlite_autoincrement": True}) as table:
        table.add_column(sa.Column("priority", sa.Integer(), nullable=False, server_default="1"))
        table.add_column(sa.Column("queue_time", sa.DateTime(timezone=True), nullable=True))
        table.add_column(sa.Column("claim", sa.Text(), nullable=False, server_default=""))
        table.add_column(sa.Column("possible_repeats", sa.Integer(), nullable=False, server_default="0"))
        table.add_column(sa.Column("erase_when_done", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.drop_constraint("uq_message_event_recipient", type_="unique")
        table.create_unique_constraint("uq_message_event_message_id", ["tenant", "event", "message_id"])
    op.drop_index("ix_message_due", "message")
    op.create_index("ix_message_due", "message", ["state", "priority", "next_attempt_at", "key"])
    op.create_index("ix_message_create_time", "message", ["create_time"])
    op.create_table(
        "mention",
        sa.Column("tenant", sa.Text(), primary_key=True),
        sa.Column("user", sa.Text(), primary_key=True),
        sa.Column("message", _KEY, sa.ForeignKey("message.key"), primary_key=True, autoincrement=False),
    )


def downgrade() -> None:
    """Take all that away again; messages whose address was erased go, since the old shape needs one for each event."""
    op.drop_table("mention")
    op.drop_index("ix_message_create_time", "message")
    op.drop_index("ix_message_due", "message")
    op.create_index("ix_message_due", "message", ["state", "next_attempt_at"])
    op.execute("DELETE FROM message WHERE recipient = '' OR state = 4")
    with op.batch_alter_table("message", table_kwargs={"sqlite_autoincrement": True}) as table:
        table.drop_constraint("uq_message_event_message_id", type_="unique")
        table.create_unique_constraint("uq_message_event_recipient", ["tenant", "event", "recipient"])
        for column in ("erase_when_done", "possible_repeats", "claim", "queue_time", "priority"):
            table.drop_column(column)
