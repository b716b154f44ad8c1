"""The register's tables. Every key and index starts with the tenant; docs/architecture.md names the exceptions."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Text,
    text,
)
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

MANUAL = 0
"""Stands where a source's id stands, for what people did by hand."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime on both databases; SQLite has no time zones and gets naive UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC; refuse a naive datetime."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime cannot be stored")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give UTC back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class UserState(enum.IntEnum):
    """Whether a user takes part; the numbers are those of the contract."""

    ACTIVE = 1
    DELETED = 2
    DORMANT = 3


class SourceKind(enum.IntEnum):
    """How a source's facts arrive; the numbers are those of the contract."""

    SFTP = 1
    SCIM = 2


class SourceState(enum.IntEnum):
    """Whether runs of a source write; the numbers are those of the contract."""

    TRIAL = 1
    ENABLED = 2
    DISABLED = 3
    PAUSED = 4


class RunStatus(enum.IntEnum):
    """Where an import run is; the numbers are those of the contract."""

    STAGING = 1
    PLANNED = 2
    HELD = 3
    APPLYING = 4
    APPLIED = 5
    REFUSED = 6
    NO_FILE = 7
    DISCARDED = 8
    EXPIRED = 9
    FAILED = 10
    UNDONE = 11
    UNCHANGED = 12


def key_column(name: str, **options: Any) -> Any:
    """A column of a primary key."""
    return Column(name, BigInteger, primary_key=True, autoincrement=False, **options)


def big_column(name: str, **options: Any) -> Any:
    """A number that is never NULL."""
    return Column(name, BigInteger, nullable=False, **options)


def text_column(name: str, *, length: int | None = None) -> Any:
    """A text that is never NULL: empty means none, so that no comparison meets '' against NULL."""
    return Column(name, String(length) if length else Text, nullable=False, server_default="")


def flag_column(name: str, *, default: bool = False) -> Any:
    """A truth value, false unless said."""
    return Column(name, Boolean, nullable=False, server_default=text(str(default).lower()))


def _time(name: str, *, nullable: bool = False) -> Any:
    return Column(name, UtcDateTime, nullable=nullable)


def _revision() -> Any:
    return Column("revision", Integer, nullable=False, server_default="1")


def _small(name: str, default: int) -> Any:
    return Column(name, SmallInteger, nullable=False, server_default=str(default))


def _json(name: str) -> Any:
    return Column(name, JSON(none_as_null=True), nullable=True)


class Tenant(SQLModel, table=True):
    """One customer organisation."""

    __tablename__ = "tenants"
    id: int = Field(sa_column=key_column("id"))
    display_name: str = Field(sa_column=text_column("display_name"))
    accept_url: str = Field(default="", sa_column=text_column("accept_url"))
    language: str = Field(default="en", sa_column=text_column("language", length=8))
    main_account_id: int = Field(sa_column=big_column("main_account_id"))
    revision: int = Field(default=1, sa_column=_revision())
    create_time: datetime = Field(sa_column=_time("create_time"))
    delete_time: datetime | None = Field(default=None, sa_column=_time("delete_time", nullable=True))


class License(SQLModel, table=True):
    """A tenant's seats; `seats_used` is kept by whoever creates or deletes users, in the same transaction.

    `told_percent` is the highest mark (90, 100) that seats in use have passed and of which an event told.
    """

    __tablename__ = "licenses"
    __table_args__ = (ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),)
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    seats_total: int = Field(sa_column=big_column("seats_total"))
    seats_used: int = Field(default=0, sa_column=big_column("seats_used", server_default="0"))
    told_percent: int = Field(default=0, sa_column=_small("told_percent", 0))
    revision: int = Field(default=1, sa_column=_revision())


class Account(SQLModel, table=True):
    """The main account or a sub-account."""

    __tablename__ = "accounts"
    __table_args__ = (ForeignKeyConstraint(["tenant_id"], ["tenants.id"]), {"sqlite_with_rowid": False})
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    id: int = Field(sa_column=key_column("id"))
    parent_id: int = Field(default=0, sa_column=big_column("parent_id", server_default="0"))
    display_name: str = Field(sa_column=text_column("display_name"))
    main_group_id: int = Field(sa_column=big_column("main_group_id"))
    revision: int = Field(default=1, sa_column=_revision())
    create_time: datetime = Field(sa_column=_time("create_time"))


class Group(SQLModel, table=True):
    """A main, manual or synced group; synced means it has a Group ID (`external_id`)."""

    __tablename__ = "groups"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "account_id"], ["accounts.tenant_id", "accounts.id"]),
        Index(
            "groups_by_external_id",
            "tenant_id",
            "external_id",
            unique=True,
            postgresql_where=text("external_id IS NOT NULL"),
            sqlite_where=text("external_id IS NOT NULL"),
        ),
        {"sqlite_with_rowid": False},
    )
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    id: int = Field(sa_column=key_column("id"))
    account_id: int = Field(sa_column=big_column("account_id"))
    display_name: str = Field(sa_column=text_column("display_name"))
    external_id: str | None = Field(default=None, sa_column=Column("external_id", Text, nullable=True))
    is_main: bool = Field(default=False, sa_column=flag_column("is_main"))
    owner_source_id: int = Field(default=MANUAL, sa_column=big_column("owner_source_id", server_default="0"))
    revision: int = Field(default=1, sa_column=_revision())
    create_time: datetime = Field(sa_column=_time("create_time"))
    update_time: datetime | None = Field(default=None, sa_column=_time("update_time", nullable=True))


class User(SQLModel, table=True):
    """A person. `owner_source_id` is MANUAL or the source that owns the attributes.

    `way_out` and `leave_time` say how and when a dormant or deleted user left (rules/leaving.py); an active one has 0
    and NULL. `erase_time` is when the personal data of a deleted one was erased.
    """

    __tablename__ = "users"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        Index(
            "users_by_email",
            "tenant_id",
            "email",
            unique=True,
            postgresql_where=text("state = 1"),
            sqlite_where=text("state = 1"),
        ),
        {"sqlite_with_rowid": False},
    )
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    id: int = Field(sa_column=key_column("id"))
    email: str = Field(sa_column=text_column("email"))
    display_name: str = Field(sa_column=text_column("display_name"))
    title: str = Field(default="", sa_column=text_column("title"))
    phone: str = Field(default="", sa_column=text_column("phone"))
    secondary_phone: str = Field(default="", sa_column=text_column("secondary_phone"))
    owner_source_id: int = Field(default=MANUAL, sa_column=big_column("owner_source_id", server_default="0"))
    state: int = Field(default=UserState.ACTIVE, sa_column=_small("state", 1))
    password_reset_required: bool = Field(default=False, sa_column=flag_column("password_reset_required"))
    revision: int = Field(default=1, sa_column=_revision())
    create_time: datetime = Field(sa_column=_time("create_time"))
    update_time: datetime = Field(sa_column=_time("update_time"))
    way_out: int = Field(default=0, sa_column=_small("way_out", 0))
    leave_time: datetime | None = Field(default=None, sa_column=_time("leave_time", nullable=True))
    erase_time: datetime | None = Field(default=None, sa_column=_time("erase_time", nullable=True))


class Source(SQLModel, table=True):
    """Where facts come from, and how to read them.

    `due_at` is when its next nightly run is due (NULL: it has no nights); while an importer has claimed it,
    `claimed_until` is when that importer counts as gone. `night_attempts` counts the tries of the night under way.
    """

    __tablename__ = "sources"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        Index("sources_by_due_at", "due_at"),
        {"sqlite_with_rowid": False},
    )
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    id: int = Field(sa_column=key_column("id"))
    display_name: str = Field(sa_column=text_column("display_name"))
    kind: int = Field(default=1, sa_column=_small("kind", 1))
    state: int = Field(default=SourceState.TRIAL, sa_column=_small("state", 1))
    account_id: int = Field(default=0, sa_column=big_column("account_id", server_default="0"))
    sftp_host: str = Field(default="", sa_column=text_column("sftp_host"))
    sftp_port: int = Field(default=22, sa_column=Column("sftp_port", Integer, nullable=False, server_default="22"))
    sftp_username: str = Field(default="", sa_column=text_column("sftp_username"))
    sftp_host_key: str = Field(default="", sa_column=text_column("sftp_host_key"))
    sftp_path: str = Field(default="", sa_column=text_column("sftp_path"))
    allowed_networks: list[str] = Field(
        default_factory=list, sa_column=Column("allowed_networks", JSON, nullable=False)
    )
    sealed_credentials: bytes | None = Field(
        default=None, sa_column=Column("sealed_credentials", LargeBinary, nullable=True)
    )
    drop_password_sha256: bytes | None = Field(
        default=None, sa_column=Column("drop_password_sha256", LargeBinary, nullable=True)
    )
    group_separator: str = Field(default=",", sa_column=text_column("group_separator", length=8))
    automatic_invitations: bool = Field(default=False, sa_column=flag_column("automatic_invitations"))
    region: str = Field(default="", sa_column=text_column("region", length=8))
    create_unknown_groups: bool = Field(default=False, sa_column=flag_column("create_unknown_groups"))
    keep_primary_phone: bool = Field(default=False, sa_column=flag_column("keep_primary_phone"))
    keep_secondary_phone: bool = Field(default=False, sa_column=flag_column("keep_secondary_phone"))
    delete_after_processing: bool = Field(default=False, sa_column=flag_column("delete_after_processing"))
    nightly_time: str = Field(default="02:00", sa_column=text_column("nightly_time", length=8))
    time_zone: str = Field(default="UTC", sa_column=text_column("time_zone"))
    stable_for_seconds: int = Field(
        default=60, sa_column=Column("stable_for_seconds", Integer, nullable=False, server_default="60")
    )
    end_marker: int = Field(default=1, sa_column=_small("end_marker", 1))
    skip_means_freeze: bool = Field(default=False, sa_column=flag_column("skip_means_freeze"))
    grace_nights: int = Field(default=0, sa_column=_small("grace_nights", 0))
    strict_encoding: bool = Field(default=False, sa_column=flag_column("strict_encoding"))
    max_file_bytes: int = Field(
        default=512 * 1024 * 1024, sa_column=big_column("max_file_bytes", server_default=str(512 * 1024 * 1024))
    )
    limits: dict[str, dict[str, float]] = Field(default_factory=dict, sa_column=Column("limits", JSON, nullable=False))
    position: int = Field(default=1, sa_column=Column("position", Integer, nullable=False, server_default="1"))
    report_to: list[str] = Field(default_factory=list, sa_column=Column("report_to", JSON, nullable=False))
    report_unchanged: bool = Field(default=False, sa_column=flag_column("report_unchanged"))
    language: str = Field(default="", sa_column=text_column("language", length=8))
    guard: bool = Field(default=True, sa_column=flag_column("guard", default=True))
    guard_trip_time: datetime | None = Field(default=None, sa_column=_time("guard_trip_time", nullable=True))
    last_run_id: int = Field(default=0, sa_column=big_column("last_run_id", server_default="0"))
    last_applied_run_id: int = Field(default=0, sa_column=big_column("last_applied_run_id", server_default="0"))
    nights_without_file: int = Field(default=0, sa_column=_small("nights_without_file", 0))
    due_at: datetime | None = Field(default=None, sa_column=_time("due_at", nullable=True))
    claim_id: str = Field(default="", sa_column=text_column("claim_id", length=64))
    claimed_by: str = Field(default="", sa_column=text_column("claimed_by"))
    claimed_until: datetime | None = Field(default=None, sa_column=_time("claimed_until", nullable=True))
    claim_time: datetime | None = Field(default=None, sa_column=_time("claim_time", nullable=True))
    night_attempts: int = Field(default=0, sa_column=_small("night_attempts", 0))
    revision: int = Field(default=1, sa_column=_revision())
    create_time: datetime = Field(sa_column=_time("create_time"))
    detach_time: datetime | None = Field(default=None, sa_column=_time("detach_time", nullable=True))
    delete_time: datetime | None = Field(default=None, sa_column=_time("delete_time", nullable=True))


class Claim(SQLModel, table=True):
    """A source's key (UniqueID) for a user. `missed_files` counts files without the user (R32's grace).

    `row_hash` is that of the row which took full effect in the source's last applied run, in hex; else NULL.
    """

    __tablename__ = "claims"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "source_id"], ["sources.tenant_id", "sources.id"]),
        ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"]),
        Index("claims_by_user", "tenant_id", "user_id"),
        {"sqlite_with_rowid": False},
    )
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    source_id: int = Field(sa_column=key_column("source_id"))
    external_id: str = Field(sa_column=Column("external_id", Text, primary_key=True))
    user_id: int = Field(sa_column=big_column("user_id"))
    missed_files: int = Field(default=0, sa_column=_small("missed_files", 0))
    deletion_left_out: bool = Field(default=False, sa_column=flag_column("deletion_left_out"))
    row_hash: str | None = Field(default=None, sa_column=Column("row_hash", Text, nullable=True))


class Membership(SQLModel, table=True):
    """A user in a group, once per origin: MANUAL or a source. A person in a group has one to several rows."""

    __tablename__ = "memberships"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "group_id"], ["groups.tenant_id", "groups.id"]),
        ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"]),
        Index("memberships_by_user", "tenant_id", "user_id"),
        {"sqlite_with_rowid": False},
    )
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    group_id: int = Field(sa_column=key_column("group_id"))
    user_id: int = Field(sa_column=key_column("user_id"))
    origin_source_id: int = Field(sa_column=key_column("origin_source_id"))


class ImportRun(SQLModel, table=True):
    """One visit to one source.

    `plan_xid` and `plan_position` say from where on an event is newer than the plan, or than an applied run's apply
    (position -1: not known);
    `applied_xid` and `applied_position` say where the run's own events begin. `claim_id` is the claim under which a
    source's night is run, or empty: somebody asked for the run.
    `reach` and `shape` are what roster/reach.py and roster/shape.py found in the plan.
    `undoes_run_id` is the run whose changes this one puts back, `undone_by_run_id` the one that put this one's back.
    `rejected_rows_until` is until when the importer may still bring rejected rows; NULL: nobody waits for any.
    """

    __tablename__ = "import_runs"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "source_id"], ["sources.tenant_id", "sources.id"]),
        Index("import_runs_by_source", "tenant_id", "source_id", "id"),
        Index("import_runs_by_status", "tenant_id", "status"),
        {"sqlite_with_rowid": False},
    )
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    id: int = Field(sa_column=key_column("id"))
    source_id: int = Field(sa_column=big_column("source_id"))
    status: int = Field(default=RunStatus.STAGING, sa_column=_small("status", 1))
    reason: str = Field(default="", sa_column=text_column("reason"))
    message: str = Field(default="", sa_column=text_column("message"))
    plan_only: bool = Field(default=False, sa_column=flag_column("plan_only"))
    file: dict[str, Any] = Field(default_factory=dict, sa_column=Column("file", JSON, nullable=False))
    counts: dict[str, int] = Field(default_factory=dict, sa_column=Column("counts", JSON, nullable=False))
    plan: dict[str, int] | None = Field(default=None, sa_column=_json("plan"))
    plan_hash: str = Field(default="", sa_column=text_column("plan_hash", length=64))
    plan_xid: int = Field(default=0, sa_column=big_column("plan_xid", server_default="0"))
    plan_position: int = Field(default=-1, sa_column=big_column("plan_position", server_default="-1"))
    rejected_rows_until: datetime | None = Field(default=None, sa_column=_time("rejected_rows_until", nullable=True))
    applied_xid: int = Field(default=0, sa_column=big_column("applied_xid", server_default="0"))
    applied_position: int = Field(default=0, sa_column=big_column("applied_position", server_default="0"))
    staged_rows: int = Field(default=-1, sa_column=big_column("staged_rows", server_default="-1"))
    staged_checksum: int = Field(default=0, sa_column=big_column("staged_checksum", server_default="0"))
    newest_timestamp: datetime | None = Field(default=None, sa_column=_time("newest_timestamp", nullable=True))
    approved: bool = Field(default=False, sa_column=flag_column("approved"))
    approved_by: str = Field(default="", sa_column=text_column("approved_by"))
    deletions_left_out: bool = Field(default=False, sa_column=flag_column("deletions_left_out"))
    nights_without_file: int = Field(default=0, sa_column=_small("nights_without_file", 0))
    seats_total: int = Field(default=0, sa_column=big_column("seats_total", server_default="0"))
    seats_used: int = Field(default=0, sa_column=big_column("seats_used", server_default="0"))
    undoes_run_id: int = Field(default=0, sa_column=big_column("undoes_run_id", server_default="0"))
    undone_by_run_id: int = Field(default=0, sa_column=big_column("undone_by_run_id", server_default="0"))
    reach: dict[str, Any] | None = Field(default=None, sa_column=_json("reach"))
    shape: dict[str, Any] | None = Field(default=None, sa_column=_json("shape"))
    active_until: datetime = Field(sa_column=_time("active_until"))
    claim_id: str = Field(default="", sa_column=text_column("claim_id", length=64))
    create_time: datetime = Field(sa_column=_time("create_time"))
    end_time: datetime | None = Field(default=None, sa_column=_time("end_time", nullable=True))
    revision: int = Field(default=1, sa_column=_revision())


class ImportIssue(SQLModel, table=True):
    """One thing wrong with one row or with the file; `number` is its place by line, rejections before warnings."""

    __tablename__ = "import_issues"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "run_id"], ["import_runs.tenant_id", "import_runs.id"]),
        {"sqlite_with_rowid": False},
    )
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    run_id: int = Field(sa_column=key_column("run_id"))
    number: int = Field(sa_column=key_column("number"))
    line: int = Field(sa_column=big_column("line"))
    row_key: str = Field(sa_column=text_column("row_key"))
    severity: int = Field(sa_column=_small("severity", 1))
    code: str = Field(sa_column=text_column("code"))
    column_name: str = Field(sa_column=text_column("column_name"))
    masked_value: str = Field(sa_column=text_column("masked_value"))
    message: str = Field(sa_column=text_column("message"))


class Event(SQLModel, table=True):
    """One committed change. `xid` is the transaction that wrote it (0 on SQLite): readers follow (xid, position)."""

    __tablename__ = "events"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
        Index("events_in_commit_order", "xid", "position"),
        {"sqlite_with_rowid": False},
    )
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    xid: int = Field(default=0, sa_column=key_column("xid", server_default="0"))
    position: int = Field(sa_column=key_column("position"))
    time: datetime = Field(sa_column=_time("time"))
    actor_source_id: int = Field(default=0, sa_column=big_column("actor_source_id", server_default="0"))
    actor: str = Field(default="", sa_column=text_column("actor"))
    kind: str = Field(sa_column=text_column("kind", length=64))
    resource_kind: str = Field(sa_column=text_column("resource_kind", length=8))
    resource_id: int = Field(sa_column=big_column("resource_id"))
    run_id: int = Field(default=0, sa_column=big_column("run_id", server_default="0"))
    before: dict[str, Any] | None = Field(default=None, sa_column=_json("before"))
    after: dict[str, Any] | None = Field(default=None, sa_column=_json("after"))


class ServiceToken(SQLModel, table=True):
    """A service's or vendor support's token: its HMAC, its grant, and the tenant it is bound to (0: all)."""

    __tablename__ = "service_tokens"
    token_id: str = Field(sa_column=Column("token_id", String(32), primary_key=True))
    secret_hmac: bytes = Field(sa_column=Column("secret_hmac", LargeBinary, nullable=False))
    grant: str = Field(sa_column=text_column("grant_name", length=32))
    tenant_id: int = Field(default=0, sa_column=big_column("tenant_id", server_default="0"))
    revoked: bool = Field(default=False, sa_column=flag_column("revoked"))
    create_time: datetime = Field(sa_column=_time("create_time"))


class RequestReplay(SQLModel, table=True):
    """The answer to a request_id, kept 24 hours in the same transaction as the effect; tenant 0: tenants' own."""

    __tablename__ = "request_replays"
    __table_args__ = (Index("request_replays_by_age", "tenant_id", "create_time"),)
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    request_id: str = Field(sa_column=Column("request_id", String(64), primary_key=True))
    method: str = Field(sa_column=text_column("method"))
    body_sha256: bytes = Field(sa_column=Column("body_sha256", LargeBinary, nullable=False))
    answer: bytes = Field(sa_column=Column("answer", LargeBinary, nullable=False))
    create_time: datetime = Field(sa_column=_time("create_time"))


class IdCounter(SQLModel, table=True):
    """Where SQLite keeps what PostgreSQL has sequences for; see store/ids.py."""

    __tablename__ = "id_counters"
    name: str = Field(sa_column=Column("name", String(32), primary_key=True))
    last: int = Field(sa_column=big_column("last"))
