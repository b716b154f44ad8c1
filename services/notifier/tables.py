"""The tables of the notifier's own store."""

from __future__ import annotations

import enum
from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import registry
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel


class MessageState(enum.IntEnum):
    """Where a message is on its way; the numbers are those of the contract."""

    QUEUED = 1
    SENT = 2
    FAILED = 3
    OBSOLETE = 4


class MessageKind(enum.IntEnum):
    """What a message is about; the numbers are those of the contract."""

    REPORT = 1
    NO_FILE = 2
    LICENSE = 3
    INVITATION = 4
    LOGIN_AGAIN = 5
    MAIL_CHANGED = 6
    PASSWORD_RESET = 7
    CONNECTION = 8
    KEY = 9


class Priority(enum.IntEnum):
    """Who goes first when several are due: a person who waits, those who must decide, and then the many."""

    AWAITED = 0
    """Somebody sits before a screen and waits: a forgotten password."""
    REPORT = 1
    PERSON = 2
    """Told to a person: a changed address, a lost password."""
    INVITATION = 3
    """A hundred thousand of them may come in one night."""


PERSONAL = frozenset(
    {MessageKind.INVITATION, MessageKind.LOGIN_AGAIN, MessageKind.MAIL_CHANGED, MessageKind.PASSWORD_RESET}
)
"""Kinds that are written to a person of the register; all others go to those who look after it."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime on both databases; SQLite keeps it naive."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC."""
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give UTC back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Table(SQLModel, registry=registry()):
    """Root of this store's tables; a metadata of its own keeps other services' tables out."""


class Message(Table, table=True):
    """One mail to one address. Whatever is replayed, an event makes each of its messages once.

    While a message is claimed, `claim` names the attempt and `next_attempt_at` is when the claim ends: who took it may
    be dead by then.
    """

    __tablename__ = "message"
    __table_args__ = (
        UniqueConstraint("tenant", "event", "message_id", name="uq_message_event_message_id"),
        Index("ix_message_tenant", "tenant", "key"),
        Index("ix_message_due", "state", "priority", "next_attempt_at", "key"),
        Index("ix_message_create_time", "create_time"),
        {"sqlite_autoincrement": True},  # a message's name is never reused
    )

    key: int = Field(
        default=None, sa_column=Column("key", BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    )
    tenant: str = Field(sa_column=Column("tenant", Text, nullable=False))
    event: str = Field(sa_column=Column("event", Text, nullable=False))
    recipient: str = Field(sa_column=Column("recipient", Text, nullable=False))
    kind: int
    about: str = Field(sa_column=Column("about", Text, nullable=False))
    message_id: str = Field(sa_column=Column("message_id", Text, nullable=False))
    subject: str = Field(sa_column=Column("subject", Text, nullable=False))
    text: str = Field(sa_column=Column("text", Text, nullable=False))
    html: str = Field(sa_column=Column("html", Text, nullable=False))
    attachment_name: str = Field(sa_column=Column("attachment_name", Text, nullable=False))
    attachment: bytes = Field(sa_column=Column("attachment", LargeBinary, nullable=False))
    urgent: bool
    state: int
    attempts: int = 0
    last_error: str = Field(default="", sa_column=Column("last_error", Text, nullable=False))
    create_time: datetime = Field(sa_column=Column("create_time", UtcDateTime, nullable=False))
    send_time: datetime | None = Field(default=None, sa_column=Column("send_time", UtcDateTime))
    next_attempt_at: datetime = Field(sa_column=Column("next_attempt_at", UtcDateTime, nullable=False))
    priority: int = Field(sa_column=Column("priority", Integer, nullable=False, server_default="1"))
    queue_time: datetime | None = Field(default=None, sa_column=Column("queue_time", UtcDateTime))
    """When it was queued last; people may have a message sent again."""
    claim: str = Field(default="", sa_column=Column("claim", Text, nullable=False, server_default=""))
    possible_repeats: int = Field(
        default=0, sa_column=Column("possible_repeats", Integer, nullable=False, server_default="0")
    )
    """Attempts of which nobody knows whether the mail server took the message."""


class Mention(Table, table=True):
    """A message is written to, or names, this person; without a `user` it names strangers."""

    __tablename__ = "mention"

    tenant: str = Field(sa_column=Column("tenant", Text, primary_key=True))
    user: str = Field(sa_column=Column("user", Text, primary_key=True))
    message: int = Field(
        sa_column=Column(
            "message",
            BigInteger().with_variant(Integer, "sqlite"),
            ForeignKey("message.key"),
            primary_key=True,
            autoincrement=False,
        )
    )


class Cursor(Table, table=True):
    """How far the event stream has been dealt with: one row."""

    __tablename__ = "cursor"

    key: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    position: str = Field(sa_column=Column("position", Text, nullable=False))
