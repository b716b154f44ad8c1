"""When each source is due, and who has claimed it."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from alembic import op

from services.directory.store.fence import PLATFORM
from services.directory.store.migrations import fencing
from services.directory.store.tables import UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_CLAIM = ("claim_id", "claimed_by", "claimed_until", "claim_time", "night_attempts")


def upgrade() -> None:
    """Add the columns; each file that runs is due at its next nightly time."""
    op.add_column("sources", sa.Column("due_at", UtcDateTime(), nullable=True))
    op.add_column("sources", sa.Column("claim_id", sa.String(64), nullable=False, server_default=""))
    op.add_column("sources", sa.Column("claimed_by", sa.Text(), nullable=False, server_default=""))
    op.add_column("sources", sa.Column("claimed_until", UtcDateTime(), nullable=True))
    op.add_column("sources", sa.Column("claim_time", UtcDateTime(), nullable=True))
    op.add_column("sources", sa.Column("night_attempts", sa.SmallInteger(), nullable=False, server_default="0"))
    op.add_column("import_runs", sa.Column("claim_id", sa.String(64), nullable=False, server_default=""))
    op.create_index("sources_by_due_at", "sources", ["due_at"])
    with fencing.lifted("sources"):
        _schedule()
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"GRANT UPDATE ({', '.join(_CLAIM)}) ON sources TO {PLATFORM}")


def downgrade() -> None:
    """Forget when sources are due; nothing runs by itself."""
    op.drop_index("sources_by_due_at", "sources")
    op.drop_column("import_runs", "claim_id")
    for column in ("due_at", *_CLAIM):
        op.drop_column("sources", column)


def _schedule() -> None:
    """Give each file in trial or enabled its next night; the minute is near enough for the first one."""
    connection = op.get_bind()
    now = datetime.now(UTC)
    sources = sa.table(
        "sources",
        *(sa.column(name) for name in ("tenant_id", "id", "kind", "state", "nightly_time", "time_zone", "delete_time")),
        sa.column("due_at", UtcDateTime()),
    )
    running = sa.select(sources).where(
        sources.c.kind == 1, sources.c.state.in_([1, 2]), sources.c.delete_time.is_(None)
    )
    for row in connection.execute(running).all():
        local = now.astimezone(ZoneInfo(row.time_zone))
        due = datetime.combine(local.date(), time.fromisoformat(row.nightly_time), local.tzinfo)
        if due <= local:
            due += timedelta(days=1)
        connection.execute(
            sa.update(sources)
            .where(sources.c.tenant_id == row.tenant_id, sources.c.id == row.id)
            .values(due_at=due.astimezone(UTC))
        )
