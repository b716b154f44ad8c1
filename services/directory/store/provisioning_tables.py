"""The tables of SCIM connections: keys, what they said, and who sleeps, waits to be judged or was refused a seat."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from services.directory.store.tables import UtcDateTime, big_column, flag_column, key_column, text_column

USER: Final = 1
GROUP: Final = 2
"""`ProvisionedResource.kind`; the numbers are those of the contract's ProvisionedKind."""


class KeyKind(enum.IntEnum):
    """How a key is shown; the numbers are those of the contract."""

    KEY = 1
    """As the bearer token itself."""
    CLIENT_SECRET = 2
    """In exchange for access tokens (S13)."""


class ApiKey(SQLModel, table=True):
    """A key of a SCIM connection, or a client's secret for OAuth 2.0: its HMAC, and until when it opens."""

    __tablename__ = "api_keys"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "source_id"], ["sources.tenant_id", "sources.id"]),
        Index("api_keys_by_source", "tenant_id", "source_id", "number"),
    )
    key_id: str = Field(sa_column=Column("key_id", String(32), primary_key=True))
    tenant_id: int = Field(sa_column=big_column("tenant_id"))
    source_id: int = Field(sa_column=big_column("source_id"))
    number: int = Field(sa_column=big_column("number"))
    kind: int = Field(default=KeyKind.KEY, sa_column=Column("kind", SmallInteger, nullable=False, server_default="1"))
    secret_hmac: bytes = Field(sa_column=Column("secret_hmac", LargeBinary, nullable=False))
    expires_days: int = Field(default=0, sa_column=Column("expires_days", Integer, nullable=False, server_default="0"))
    expire_time: datetime | None = Field(default=None, sa_column=Column("expire_time", UtcDateTime, nullable=True))
    is_rotated: bool = Field(default=False, sa_column=flag_column("is_rotated"))
    is_revoked: bool = Field(default=False, sa_column=flag_column("is_revoked"))
    create_time: datetime = Field(sa_column=Column("create_time", UtcDateTime, nullable=False))
    last_used_time: datetime | None = Field(
        default=None, sa_column=Column("last_used_time", UtcDateTime, nullable=True)
    )


class ProvisionedResource(SQLModel, table=True):
    """What a connection said of one of its users or groups; `resource_id` is the user's or group's own id.

    `document` is what it reads back; `folded` is the same in the form in which filters and orders compare: NFC and
    lower case. `is_gone` marks a user whom the connection deleted, and who comes back under the same id (S6).
    """

    __tablename__ = "provisioned_resources"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "source_id"], ["sources.tenant_id", "sources.id"]),
        Index(
            "provisioned_users_by_name",
            "tenant_id",
            "source_id",
            "name_key",
            unique=True,
            postgresql_where=text("kind = 1 AND NOT is_gone"),
            sqlite_where=text("kind = 1 AND NOT is_gone"),
        ),
        Index("provisioned_resources_by_name", "tenant_id", "source_id", "kind", "name_key"),
        Index("provisioned_resources_by_external_id", "tenant_id", "source_id", "kind", "external_id"),
        {"sqlite_with_rowid": False},
    )
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    source_id: int = Field(sa_column=key_column("source_id"))
    kind: int = Field(sa_column=Column("kind", Integer, primary_key=True, autoincrement=False))
    resource_id: int = Field(sa_column=key_column("resource_id"))
    name_key: str = Field(sa_column=text_column("name_key"))
    external_id: str = Field(default="", sa_column=text_column("external_id"))
    is_active: bool = Field(default=True, sa_column=flag_column("is_active"))
    is_gone: bool = Field(default=False, sa_column=flag_column("is_gone"))
    document: str = Field(sa_column=Column("document", Text, nullable=False))
    folded: dict[str, Any] = Field(
        sa_column=Column("folded", JSON().with_variant(JSONB(), "postgresql"), nullable=False)
    )


class SleepingMembership(SQLModel, table=True):
    """A membership of a dormant user, which wakes with the user; a manual one only until `until` (S6, S7)."""

    __tablename__ = "sleeping_memberships"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "group_id"], ["groups.tenant_id", "groups.id"]),
        ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"]),
        Index("sleeping_memberships_by_user", "tenant_id", "user_id"),
        {"sqlite_with_rowid": False},
    )
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    group_id: int = Field(sa_column=key_column("group_id"))
    user_id: int = Field(sa_column=key_column("user_id"))
    origin_source_id: int = Field(sa_column=key_column("origin_source_id"))
    until: datetime | None = Field(default=None, sa_column=Column("until", UtcDateTime, nullable=True))


class LicenseRefusal(SQLModel, table=True):
    """A user whom a connection could not create or re-activate for want of a seat, and who still has none (S5)."""

    __tablename__ = "license_refusals"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "source_id"], ["sources.tenant_id", "sources.id"]),
        Index("license_refusals_by_age", "tenant_id", "number"),
        {"sqlite_with_rowid": False},
    )
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    source_id: int = Field(sa_column=key_column("source_id"))
    name_key: str = Field(sa_column=Column("name_key", Text, primary_key=True))
    number: int = Field(sa_column=big_column("number"))
    user_name: str = Field(sa_column=text_column("user_name"))
    external_id: str = Field(default="", sa_column=text_column("external_id"))
    attempts: int = Field(default=1, sa_column=big_column("attempts", server_default="1"))
    first_time: datetime = Field(sa_column=Column("first_time", UtcDateTime, nullable=False))
    last_time: datetime = Field(sa_column=Column("last_time", UtcDateTime, nullable=False))


class PendingDeparture(SQLModel, table=True):
    """Somebody whom a call of a unit of work left in no SCIM group: judged when the unit ends, or is overdue (S7).

    `is_agreed`: an administrator has resumed the connection since, so that the guard lets this person go.
    """

    __tablename__ = "pending_departures"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "source_id"], ["sources.tenant_id", "sources.id"]),
        ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"]),
        {"sqlite_with_rowid": False},
    )
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    source_id: int = Field(sa_column=key_column("source_id"))
    unit: str = Field(sa_column=Column("unit", String(64), primary_key=True))
    user_id: int = Field(sa_column=key_column("user_id"))
    due_time: datetime = Field(sa_column=Column("due_time", UtcDateTime, nullable=False))
    is_agreed: bool = Field(default=False, sa_column=flag_column("is_agreed"))


class GuardCount(SQLModel, table=True):
    """People whom a connection put out within a minute, and who have not come back (S13).

    `base` is how many were active an hour before, where they were counted in that minute; else NULL.
    """

    __tablename__ = "guard_counts"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "source_id"], ["sources.tenant_id", "sources.id"]),
        {"sqlite_with_rowid": False},
    )
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    source_id: int = Field(sa_column=key_column("source_id"))
    minute: int = Field(sa_column=key_column("minute"))
    people: int = Field(default=0, sa_column=big_column("people", server_default="0"))
    base: int | None = Field(default=None, sa_column=Column("base", BigInteger, nullable=True))
