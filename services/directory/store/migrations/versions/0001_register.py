"""The register of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SEQUENCES = ("tenant", "account", "group", "user", "source", "import_run", "event")
_TABLES = (
    "id_counters",
    "request_replays",
    "service_tokens",
    "tenants",
    "licenses",
    "accounts",
    "groups",
    "users",
    "memberships",
    "sources",
    "claims",
    "import_runs",
    "import_issues",
    "events",
)


def upgrade() -> None:
    """Create the tables and what gives out their ids."""
    _create_platform()
    _create_tenancy()
    _create_people()
    _create_sources()
    _create_claims()
    _create_runs()
    if op.get_context().dialect.name == "sqlite":
        counters = sa.table("id_counters", sa.column("name"), sa.column("last"))
        op.bulk_insert(counters, [{"name": name, "last": 0} for name in _SEQUENCES])
    else:
        for name in _SEQUENCES:
            op.execute(f"CREATE SEQUENCE {name}_id_seq AS bigint")
        op.execute("CREATE SCHEMA stage")


def downgrade() -> None:
    """Drop everything, stages too."""
    for name in reversed(_TABLES):
        op.drop_table(name)
    if op.get_context().dialect.name != "sqlite":
        op.execute("DROP SCHEMA stage CASCADE")
        for name in _SEQUENCES:
            op.execute(f"DROP SEQUENCE {name}_id_seq")


def _create_platform() -> None:
    op.create_table(
        "id_counters",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "request_replays",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("method", sa.Text(), server_default="", nullable=False),
        sa.Column("body_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "request_id"),
    )
    op.create_index("request_replays_by_age", "request_replays", ["tenant_id", "create_time"], unique=False)
    op.create_table(
        "service_tokens",
        sa.Column("token_id", sa.String(length=32), nullable=False),
        sa.Column("secret_hmac", sa.LargeBinary(), nullable=False),
        sa.Column("grant_name", sa.String(length=32), server_default="", nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("revoked", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token_id"),
    )


def _create_tenancy() -> None:
    op.create_table(
        "tenants",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("display_name", sa.Text(), server_default="", nullable=False),
        sa.Column("accept_url", sa.Text(), server_default="", nullable=False),
        sa.Column("language", sa.String(length=8), server_default="", nullable=False),
        sa.Column("main_account_id", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "licenses",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seats_total", sa.BigInteger(), nullable=False),
        sa.Column("seats_used", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
        ),
        sa.PrimaryKeyConstraint("tenant_id"),
    )
    op.create_table(
        "accounts",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("parent_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("display_name", sa.Text(), server_default="", nullable=False),
        sa.Column("main_group_id", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "groups",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("display_name", sa.Text(), server_default="", nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("is_main", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("owner_source_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "account_id"],
            ["accounts.tenant_id", "accounts.id"],
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "groups_by_external_id",
        "groups",
        ["tenant_id", "external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
        sqlite_where=sa.text("external_id IS NOT NULL"),
    )


def _create_people() -> None:
    op.create_table(
        "users",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("email", sa.Text(), server_default="", nullable=False),
        sa.Column("display_name", sa.Text(), server_default="", nullable=False),
        sa.Column("title", sa.Text(), server_default="", nullable=False),
        sa.Column("phone", sa.Text(), server_default="", nullable=False),
        sa.Column("secondary_phone", sa.Text(), server_default="", nullable=False),
        sa.Column("owner_source_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("state", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("password_reset_required", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "users_by_email",
        "users",
        ["tenant_id", "email"],
        unique=True,
        postgresql_where=sa.text("state = 1"),
        sqlite_where=sa.text("state = 1"),
    )
    op.create_table(
        "memberships",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("group_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("origin_source_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "group_id"],
            ["groups.tenant_id", "groups.id"],
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["users.tenant_id", "users.id"],
        ),
        sa.PrimaryKeyConstraint("tenant_id", "group_id", "user_id", "origin_source_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("memberships_by_user", "memberships", ["tenant_id", "user_id"], unique=False)


def _create_sources() -> None:
    op.create_table(
        "sources",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("display_name", sa.Text(), server_default="", nullable=False),
        sa.Column("kind", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("state", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("account_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("sftp_host", sa.Text(), server_default="", nullable=False),
        sa.Column("sftp_port", sa.Integer(), server_default="22", nullable=False),
        sa.Column("sftp_username", sa.Text(), server_default="", nullable=False),
        sa.Column("sftp_host_key", sa.Text(), server_default="", nullable=False),
        sa.Column("sftp_path", sa.Text(), server_default="", nullable=False),
        sa.Column("allowed_networks", sa.JSON(), nullable=False),
        sa.Column("sealed_credentials", sa.LargeBinary(), nullable=True),
        sa.Column("drop_password_sha256", sa.LargeBinary(), nullable=True),
        sa.Column("group_separator", sa.String(length=8), server_default="", nullable=False),
        sa.Column("automatic_invitations", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("region", sa.String(length=8), server_default="", nullable=False),
        sa.Column("create_unknown_groups", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("keep_primary_phone", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("keep_secondary_phone", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("delete_after_processing", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("nightly_time", sa.String(length=8), server_default="", nullable=False),
        sa.Column("time_zone", sa.Text(), server_default="", nullable=False),
        sa.Column("stable_for_seconds", sa.Integer(), server_default="60", nullable=False),
        sa.Column("skip_means_freeze", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("grace_nights", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("strict_encoding", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("max_file_bytes", sa.BigInteger(), server_default="536870912", nullable=False),
        sa.Column("limits", sa.JSON(), nullable=False),
        sa.Column("position", sa.Integer(), server_default="1", nullable=False),
        sa.Column("report_to", sa.JSON(), nullable=False),
        sa.Column("language", sa.String(length=8), server_default="", nullable=False),
        sa.Column("last_run_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_applied_run_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("nights_without_file", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sqlite_with_rowid=False,
    )


def _create_claims() -> None:
    op.create_table(
        "claims",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("missed_files", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("deletion_left_out", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "source_id"],
            ["sources.tenant_id", "sources.id"],
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["users.tenant_id", "users.id"],
        ),
        sa.PrimaryKeyConstraint("tenant_id", "source_id", "external_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("claims_by_user", "claims", ["tenant_id", "user_id"], unique=False)


def _create_runs() -> None:
    op.create_table(
        "import_runs",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("plan_only", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("file", sa.JSON(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("plan", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("plan_hash", sa.String(length=64), server_default="", nullable=False),
        sa.Column("plan_xid", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("plan_position", sa.BigInteger(), server_default="-1", nullable=False),
        sa.Column("applied_xid", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("applied_position", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("staged_rows", sa.BigInteger(), server_default="-1", nullable=False),
        sa.Column("staged_checksum", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("newest_timestamp", sa.DateTime(timezone=True), nullable=True),
        sa.Column("approved", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("approved_by", sa.Text(), server_default="", nullable=False),
        sa.Column("deletions_left_out", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("nights_without_file", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("seats_total", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("seats_used", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("active_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "source_id"],
            ["sources.tenant_id", "sources.id"],
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sqlite_with_rowid=False,
    )
    op.create_index("import_runs_by_source", "import_runs", ["tenant_id", "source_id", "id"], unique=False)
    op.create_index("import_runs_by_status", "import_runs", ["tenant_id", "status"], unique=False)
    op.create_table(
        "import_issues",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("row_key", sa.Text(), server_default="", nullable=False),
        sa.Column("severity", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("code", sa.Text(), server_default="", nullable=False),
        sa.Column("column_name", sa.Text(), server_default="", nullable=False),
        sa.Column("masked_value", sa.Text(), server_default="", nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "run_id"],
            ["import_runs.tenant_id", "import_runs.id"],
        ),
        sa.PrimaryKeyConstraint("tenant_id", "run_id", "number"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "events",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("xid", sa.BigInteger(), server_default="0", autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_source_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("actor", sa.Text(), server_default="", nullable=False),
        sa.Column("kind", sa.String(length=64), server_default="", nullable=False),
        sa.Column("resource_kind", sa.String(length=8), server_default="", nullable=False),
        sa.Column("resource_id", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("before", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("after", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
        ),
        sa.PrimaryKeyConstraint("tenant_id", "xid", "position"),
        sqlite_with_rowid=False,
    )
    op.create_index("events_in_commit_order", "events", ["xid", "position"], unique=False)
