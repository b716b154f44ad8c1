"""People's own affairs: former keys, invitations, passwords, administrators; subscriptions and archived events."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SEQUENCES = ("invitation", "administrator")
_USER = ["users.tenant_id", "users.id"]


def upgrade() -> None:
    """Create the tables and columns; whoever has left by now left at its last change."""
    for table, column in _columns():
        op.add_column(table, column)
    op.execute("UPDATE users SET leave_time = update_time WHERE state <> 1")
    _create_people()
    _create_administrators()
    _create_event_tables()
    if op.get_context().dialect.name == "sqlite":
        counters = sa.table("id_counters", sa.column("name"), sa.column("last"))
        op.bulk_insert(counters, [{"name": name, "last": 0} for name in _SEQUENCES])
    else:
        for name in _SEQUENCES:
            op.execute(f"CREATE SEQUENCE {name}_id_seq AS bigint")


def downgrade() -> None:
    """Drop them; a paused source becomes a disabled one, and archived events return to the log."""
    op.execute("UPDATE sources SET state = 3 WHERE state = 4")
    columns = "tenant_id, xid, position, time, actor_source_id, actor, kind, resource_kind, resource_id, run_id,"
    columns += " before, after"
    op.execute(f"INSERT INTO events ({columns}) SELECT {columns} FROM archived_events")
    for table in (
        "archived_events",
        "subscriptions",
        "administrator_sessions",
        "administrators",
        "reserved_group_ids",
        "credentials",
        "invitations",
        "former_claims",
    ):
        op.drop_table(table)
    for table, column in reversed(_columns()):
        op.drop_column(table, column.name)
    for name in _SEQUENCES:
        if op.get_context().dialect.name == "sqlite":
            op.execute(f"DELETE FROM id_counters WHERE name = '{name}'")
        else:
            op.execute(f"DROP SEQUENCE {name}_id_seq")


def _key(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False)


def _number(name: str, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), server_default=default, nullable=False)


def _integer(name: str, default: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), server_default=default, nullable=False)


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), server_default="", nullable=False)


def _time(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _columns() -> tuple[tuple[str, sa.Column[Any]], ...]:
    return (
        ("users", sa.Column("way_out", sa.SmallInteger(), server_default="0", nullable=False)),
        ("users", _time("leave_time", nullable=True)),
        ("users", _time("erase_time", nullable=True)),
        ("tenants", _time("delete_time", nullable=True)),
        ("sources", _time("delete_time", nullable=True)),
        ("licenses", sa.Column("told_percent", sa.SmallInteger(), server_default="0", nullable=False)),
        ("sleeping_memberships", _time("until", nullable=True)),
        ("api_keys", sa.Column("kind", sa.SmallInteger(), server_default="1", nullable=False)),
    )


def _create_people() -> None:
    op.create_table(
        "former_claims",
        _key("tenant_id"),
        _key("source_id"),
        sa.Column("external_id", sa.Text(), nullable=False),
        _key("user_id"),
        _time("end_time"),
        sa.ForeignKeyConstraint(["tenant_id", "source_id"], ["sources.tenant_id", "sources.id"]),
        sa.ForeignKeyConstraint(["tenant_id", "user_id"], _USER),
        sa.PrimaryKeyConstraint("tenant_id", "source_id", "external_id", "user_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("former_claims_by_user", "former_claims", ["tenant_id", "user_id"])
    op.create_table(
        "invitations",
        _key("tenant_id"),
        _key("id"),
        _number("user_id"),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        _integer("generation", "1"),
        _number("run_id", "0"),
        _time("create_time"),
        _time("sent_time", nullable=True),
        _time("expire_time"),
        _time("end_time", nullable=True),
        _integer("revision", "1"),
        sa.ForeignKeyConstraint(["tenant_id", "user_id"], _USER),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sqlite_with_rowid=False,
    )
    op.create_index("invitations_by_user", "invitations", ["tenant_id", "user_id", "id"])
    op.create_table(
        "credentials",
        _key("tenant_id"),
        _key("user_id"),
        _text("password_hash"),
        _time("set_time", nullable=True),
        _integer("failures", "0"),
        _time("locked_until", nullable=True),
        _integer("reset_generation", "0"),
        _time("reset_expire_time", nullable=True),
        sa.ForeignKeyConstraint(["tenant_id", "user_id"], _USER),
        sa.PrimaryKeyConstraint("tenant_id", "user_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "reserved_group_ids",
        _key("tenant_id"),
        sa.Column("external_id", sa.Text(), nullable=False),
        _number("group_id"),
        _number("source_id", "0"),
        _time("create_time"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        sa.PrimaryKeyConstraint("tenant_id", "external_id"),
        sqlite_with_rowid=False,
    )


def _create_administrators() -> None:
    op.create_table(
        "administrators",
        _key("tenant_id"),
        _key("id"),
        _number("account_id", "0"),
        sa.Column("role", sa.SmallInteger(), nullable=False),
        _text("email"),
        _text("display_name"),
        _text("password_hash"),
        sa.Column("sealed_totp_secret", sa.LargeBinary(), nullable=True),
        sa.Column("is_totp_on", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        _number("last_totp_step", "0"),
        _integer("failures", "0"),
        _time("locked_until", nullable=True),
        _time("last_sign_in_time", nullable=True),
        _integer("revision", "1"),
        _time("create_time"),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
        sqlite_with_rowid=False,
    )
    op.create_index("administrators_by_email", "administrators", ["email"], unique=True)
    op.create_table(
        "administrator_sessions",
        sa.Column("token_id", sa.String(length=32), nullable=False),
        _number("tenant_id"),
        _number("administrator_id"),
        sa.Column("secret_hmac", sa.LargeBinary(), nullable=False),
        _time("create_time"),
        _time("expire_time"),
        sa.PrimaryKeyConstraint("token_id"),
    )
    op.create_index("administrator_sessions_by_owner", "administrator_sessions", ["tenant_id", "administrator_id"])


def _create_event_tables() -> None:
    op.create_table(
        "subscriptions",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("kinds", sa.JSON(), nullable=False),
        _number("xid"),
        _number("position"),
        _time("create_time"),
        _time("update_time"),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "archived_events",
        _key("tenant_id"),
        _key("xid"),
        _key("position"),
        _time("time"),
        _number("actor_source_id", "0"),
        _text("actor"),
        sa.Column("kind", sa.String(length=64), server_default="", nullable=False),
        sa.Column("resource_kind", sa.String(length=8), server_default="", nullable=False),
        _number("resource_id"),
        _number("run_id", "0"),
        sa.Column("before", sa.JSON(), nullable=True),
        sa.Column("after", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        sa.PrimaryKeyConstraint("tenant_id", "xid", "position"),
        sqlite_with_rowid=False,
    )
