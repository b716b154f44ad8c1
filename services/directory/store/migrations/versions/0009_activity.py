"""What identity providers asked of connections, and how those are doing."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from services.directory.store.migrations import fencing

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_SEQUENCE = "connection_request"
_TABLES = ("connection_requests", "connection_tallies", "connection_quirks", "connection_health")


def upgrade() -> None:
    """Create the tables."""
    _create_requests()
    op.create_table(
        "connection_tallies",
        *_of_source(),
        _time("start_time"),
        _number("requests", "0"),
        _number("failures", "0"),
        sa.PrimaryKeyConstraint("tenant_id", "source_id", "start_time"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "connection_quirks",
        *_of_source(),
        sa.Column("quirk", sa.String(64), nullable=False),
        _text("cure"),
        _number("count"),
        _time("first_time"),
        _time("last_time"),
        sa.PrimaryKeyConstraint("tenant_id", "source_id", "quirk"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "connection_health",
        *_of_source(),
        _time("last_success_time", nullable=True),
        _number("locked_out", "0"),
        _time("failing_since", nullable=True),
        _time("judged_from", nullable=True),
        _number("dropped", "0"),
        sa.PrimaryKeyConstraint("tenant_id", "source_id"),
        sqlite_with_rowid=False,
    )
    if op.get_context().dialect.name == "sqlite":
        counters = sa.table("id_counters", sa.column("name"), sa.column("last"))
        op.bulk_insert(counters, [{"name": _SEQUENCE, "last": 0}])
    else:
        op.execute(f"CREATE SEQUENCE {_SEQUENCE}_id_seq AS bigint")
    for table in _TABLES:
        fencing.fence_table(table)
    fencing.open_sequence(_SEQUENCE)


def downgrade() -> None:
    """Drop them."""
    for table in reversed(_TABLES):
        op.drop_table(table)
    if op.get_context().dialect.name == "sqlite":
        op.execute(f"DELETE FROM id_counters WHERE name = '{_SEQUENCE}'")
    else:
        op.execute(f"DROP SEQUENCE {_SEQUENCE}_id_seq")


def _create_requests() -> None:
    op.create_table(
        "connection_requests",
        *_of_source(),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        _time("time"),
        _text("key_id", 32),
        _text("method", 8),
        _text("path"),
        _text("shape"),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        _text("scim_type", 32),
        _text("problem", 64),
        _text("detail"),
        _text("cure"),
        sa.Column("quirks", sa.JSON(), nullable=False),
        sa.Column("effects", sa.JSON(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "source_id", "number"),
        sqlite_with_rowid=False,
    )
    of_source = ["tenant_id", "source_id"]
    op.create_index("connection_requests_by_request", "connection_requests", [*of_source, "request_id"], unique=True)
    op.create_index("connection_requests_by_time", "connection_requests", ["tenant_id", "time"])
    failed = sa.text("status >= 400")
    op.create_index(
        "connection_requests_failed",
        "connection_requests",
        [*of_source, "number"],
        postgresql_where=failed,
        sqlite_where=failed,
    )


def _of_source() -> tuple[Any, ...]:
    return (
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["tenant_id", "source_id"], ["sources.tenant_id", "sources.id"]),
    )


def _number(name: str, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), server_default=default, nullable=False)


def _text(name: str, length: int | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length) if length else sa.Text(), server_default="", nullable=False)


def _time(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)
