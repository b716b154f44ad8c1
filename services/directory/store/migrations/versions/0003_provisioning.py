"""SCIM connections: keys, what connections said, sleeping memberships, refused seats; when a group last changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SEQUENCES = ("api_key", "refusal")
_SOURCE = ["sources.tenant_id", "sources.id"]


def upgrade() -> None:
    """Create the tables; users of states that only this release knows cannot be there yet."""
    op.add_column("groups", sa.Column("update_time", sa.DateTime(timezone=True), nullable=True))
    _create_keys()
    _create_resources()
    _create_sleeping()
    _create_refusals()
    if op.get_context().dialect.name == "sqlite":
        counters = sa.table("id_counters", sa.column("name"), sa.column("last"))
        op.bulk_insert(counters, [{"name": name, "last": 0} for name in _SEQUENCES])
    else:
        for name in _SEQUENCES:
            op.execute(f"CREATE SEQUENCE {name}_id_seq AS bigint")


def downgrade() -> None:
    """Drop them; dormant users become deleted ones, which is the nearest thing that the release before knows."""
    op.execute("UPDATE users SET state = 2 WHERE state = 3")
    for table in ("license_refusals", "sleeping_memberships", "provisioned_resources", "api_keys"):
        op.drop_table(table)
    op.drop_column("groups", "update_time")
    for name in _SEQUENCES:
        if op.get_context().dialect.name == "sqlite":
            op.execute(f"DELETE FROM id_counters WHERE name = '{name}'")
        else:
            op.execute(f"DROP SEQUENCE {name}_id_seq")


def _create_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.String(length=32), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("secret_hmac", sa.LargeBinary(), nullable=False),
        sa.Column("expires_days", sa.Integer(), server_default="0", nullable=False),
        sa.Column("expire_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_rotated", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_revoked", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_time", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id", "source_id"], _SOURCE),
        sa.PrimaryKeyConstraint("key_id"),
    )
    op.create_index("api_keys_by_source", "api_keys", ["tenant_id", "source_id", "number"])


def _create_resources() -> None:
    op.create_table(
        "provisioned_resources",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("resource_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name_key", sa.Text(), server_default="", nullable=False),
        sa.Column("external_id", sa.Text(), server_default="", nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_gone", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("folded", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id", "source_id"], _SOURCE),
        sa.PrimaryKeyConstraint("tenant_id", "source_id", "kind", "resource_id"),
        sqlite_with_rowid=False,
    )
    live_user = sa.text("kind = 1 AND NOT is_gone")
    op.create_index(
        "provisioned_users_by_name",
        "provisioned_resources",
        ["tenant_id", "source_id", "name_key"],
        unique=True,
        postgresql_where=live_user,
        sqlite_where=live_user,
    )
    for index, column in (("name", "name_key"), ("external_id", "external_id")):
        op.create_index(
            f"provisioned_resources_by_{index}", "provisioned_resources", ["tenant_id", "source_id", "kind", column]
        )


def _create_sleeping() -> None:
    op.create_table(
        "sleeping_memberships",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("group_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("origin_source_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["tenant_id", "group_id"], ["groups.tenant_id", "groups.id"]),
        sa.ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"]),
        sa.PrimaryKeyConstraint("tenant_id", "group_id", "user_id", "origin_source_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("sleeping_memberships_by_user", "sleeping_memberships", ["tenant_id", "user_id"])


def _create_refusals() -> None:
    op.create_table(
        "license_refusals",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("user_name", sa.Text(), server_default="", nullable=False),
        sa.Column("external_id", sa.Text(), server_default="", nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("first_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_time", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id", "source_id"], _SOURCE),
        sa.PrimaryKeyConstraint("tenant_id", "source_id", "name_key"),
        sqlite_with_rowid=False,
    )
    op.create_index("license_refusals_by_age", "license_refusals", ["tenant_id", "number"])
