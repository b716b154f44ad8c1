"""The tables of people's own affairs: former keys, invitations, passwords; and Group IDs that wait to be released."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Final

from sqlalchemy import Column, ForeignKeyConstraint, Index, Integer, SmallInteger, Text
from sqlmodel import Field, SQLModel

from services.directory.store.tables import UtcDateTime, big_column, key_column, text_column


class InvitationState(enum.IntEnum):
    """Where an invitation is; the numbers are those of the contract. EXPIRED is never stored: it follows from time."""

    PENDING = 1
    SENT = 2
    ACCEPTED = 3
    EXPIRED = 4
    REVOKED = 5


OPEN_INVITATIONS: Final = f"({InvitationState.PENDING}, {InvitationState.SENT})"
"""The states, as SQL looks in them, in which an invitation can still be accepted."""


class FormerClaim(SQLModel, table=True):
    """A source's key for a user who has left, by which the user is found when the key comes back (R34)."""

    __tablename__ = "former_claims"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "source_id"], ["sources.tenant_id", "sources.id"]),
        ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"]),
        Index("former_claims_by_user", "tenant_id", "user_id"),
        {"sqlite_with_rowid": False},
    )
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    source_id: int = Field(sa_column=key_column("source_id"))
    external_id: str = Field(sa_column=Column("external_id", Text, primary_key=True))
    user_id: int = Field(sa_column=key_column("user_id"))
    end_time: datetime = Field(sa_column=Column("end_time", UtcDateTime, nullable=False))


class Invitation(SQLModel, table=True):
    """An invitation of a user; its links are made from its id and `generation`, which a resend raises."""

    __tablename__ = "invitations"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"]),
        Index("invitations_by_user", "tenant_id", "user_id", "id"),
        {"sqlite_with_rowid": False},
    )
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    id: int = Field(sa_column=key_column("id"))
    user_id: int = Field(sa_column=big_column("user_id"))
    state: int = Field(default=InvitationState.PENDING, sa_column=Column("state", SmallInteger, nullable=False))
    generation: int = Field(default=1, sa_column=Column("generation", Integer, nullable=False, server_default="1"))
    run_id: int = Field(default=0, sa_column=big_column("run_id", server_default="0"))
    create_time: datetime = Field(sa_column=Column("create_time", UtcDateTime, nullable=False))
    sent_time: datetime | None = Field(default=None, sa_column=Column("sent_time", UtcDateTime, nullable=True))
    expire_time: datetime = Field(sa_column=Column("expire_time", UtcDateTime, nullable=False))
    end_time: datetime | None = Field(default=None, sa_column=Column("end_time", UtcDateTime, nullable=True))
    revision: int = Field(default=1, sa_column=Column("revision", Integer, nullable=False, server_default="1"))


class Credential(SQLModel, table=True):
    """A user's password as argon2id keeps it ("" until one was chosen), and the newest link to choose another.

    `former_hash` and `former_set_time` are the password that a takeover ended (R27), kept for `former_run_id`'s undo.
    """

    __tablename__ = "credentials"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"]),
        {"sqlite_with_rowid": False},
    )
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    user_id: int = Field(sa_column=key_column("user_id"))
    password_hash: str = Field(default="", sa_column=text_column("password_hash"))
    set_time: datetime | None = Field(default=None, sa_column=Column("set_time", UtcDateTime, nullable=True))
    former_hash: str = Field(default="", sa_column=text_column("former_hash"))
    former_set_time: datetime | None = Field(
        default=None, sa_column=Column("former_set_time", UtcDateTime, nullable=True)
    )
    former_run_id: int = Field(default=0, sa_column=big_column("former_run_id", server_default="0"))
    failures: int = Field(default=0, sa_column=Column("failures", Integer, nullable=False, server_default="0"))
    locked_until: datetime | None = Field(default=None, sa_column=Column("locked_until", UtcDateTime, nullable=True))
    reset_generation: int = Field(
        default=0, sa_column=Column("reset_generation", Integer, nullable=False, server_default="0")
    )
    reset_expire_time: datetime | None = Field(
        default=None, sa_column=Column("reset_expire_time", UtcDateTime, nullable=True)
    )


class ReservedGroupId(SQLModel, table=True):
    """The Group ID of a synced group that was deleted by hand: taken until an administrator releases it (S8)."""

    __tablename__ = "reserved_group_ids"
    __table_args__ = (ForeignKeyConstraint(["tenant_id"], ["tenants.id"]), {"sqlite_with_rowid": False})
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    external_id: str = Field(sa_column=Column("external_id", Text, primary_key=True))
    group_id: int = Field(sa_column=big_column("group_id"))
    source_id: int = Field(default=0, sa_column=big_column("source_id", server_default="0"))
    create_time: datetime = Field(sa_column=Column("create_time", UtcDateTime, nullable=False))
