"""When a source was detached: one that was stays disabled (S12)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from services.directory.store.migrations import fencing

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_FILL = """
    UPDATE sources SET detach_time = (
        SELECT max(e.time) FROM events e WHERE e.tenant_id = sources.tenant_id
          AND e.kind = 'source.detached' AND e.resource_id = sources.id)
    WHERE state = 3 AND NOT EXISTS (
        SELECT 1 FROM users u
        WHERE u.tenant_id = sources.tenant_id AND u.owner_source_id = sources.id AND u.state <> 2)
"""


def upgrade() -> None:
    """Add the column, and fill it from the events of sources that are disabled and have had nobody since."""
    op.add_column("sources", sa.Column("detach_time", sa.DateTime(timezone=True), nullable=True))
    with fencing.lifted("sources", "events", "users"):
        op.execute(_FILL)


def downgrade() -> None:
    """Drop it: a source that was detached can be enabled again."""
    op.drop_column("sources", "detach_time")
