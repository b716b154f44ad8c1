"""What undoing a run needs: which run undid which, and the password that a takeover ended."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from services.directory.store.migrations import fencing

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    for table, column in _columns():
        op.add_column(table, column)


def downgrade() -> None:
    """Drop them; what was undone reads as discarded, and plans to undo are gone."""
    with fencing.lifted("import_runs", "import_issues"):
        op.execute(
            "DELETE FROM import_issues WHERE (tenant_id, run_id) IN ("
            "SELECT tenant_id, id FROM import_runs WHERE undoes_run_id <> 0)"
        )
        op.execute("DELETE FROM import_runs WHERE undoes_run_id <> 0")
        op.execute("UPDATE import_runs SET status = 8 WHERE status = 11")
    for table, column in reversed(_columns()):
        op.drop_column(table, column.name)


def _columns() -> list[tuple[str, sa.Column[Any]]]:
    return [
        ("import_runs", sa.Column("undoes_run_id", sa.BigInteger(), server_default="0", nullable=False)),
        ("import_runs", sa.Column("undone_by_run_id", sa.BigInteger(), server_default="0", nullable=False)),
        ("credentials", sa.Column("former_hash", sa.Text(), server_default="", nullable=False)),
        ("credentials", sa.Column("former_set_time", sa.DateTime(timezone=True), nullable=True)),
        ("credentials", sa.Column("former_run_id", sa.BigInteger(), server_default="0", nullable=False)),
    ]
