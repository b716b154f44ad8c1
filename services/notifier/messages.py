"""Keep messages and the stream's cursor: the notifier's own store, on SQLite or PostgreSQL."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
    func,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import defer, registry
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, Session, SQLModel, col, select

from services.notifier.database import open_engine, upgrade


class MessageState(enum.IntEnum):
    """Where a message is on its way; the numbers are those of the contract."""

    QUEUED = 1
    SENT = 2
    FAILED = 3


class MessageKind(enum.IntEnum):
    """What a message is about; the numbers are those of the contract."""

    REPORT = 1
    NO_FILE = 2
    LICENSE = 3


@dataclass(frozen=True)
class Draft:
    """A message to queue; with an `error` it is kept as failed instead, so that people see what was not mailed."""

    recipient: str
    kind: MessageKind
    message_id: str
    subject: str
    text: str = ""
    html: str = ""
    attachment_name: str = ""
    attachment: bytes = b""
    urgent: bool = False
    error: str = ""


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
    """One mail to one address. A tenant's event is mailed to an address once, whatever is replayed."""

    __tablename__ = "message"
    __table_args__ = (
        UniqueConstraint("tenant", "event", "recipient", name="uq_message_event_recipient"),
        Index("ix_message_tenant", "tenant", "key"),
        Index("ix_message_due", "state", "next_attempt_at"),
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


class Cursor(Table, table=True):
    """How far the event stream has been dealt with: one row."""

    __tablename__ = "cursor"

    key: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    position: str = Field(sa_column=Column("position", Text, nullable=False))


_BODIES: tuple[Any, ...] = (Message.text, Message.html, Message.attachment)
_ONLY_CURSOR = 1


class MessageStore:
    """The store. Each method is one transaction; none waits for anything but the database."""

    def __init__(self, database_url: str) -> None:
        self._engine = open_engine(database_url)

    def migrate(self) -> None:
        """Bring the tables to this version's shape; safe to run in several replicas at once."""
        upgrade(self._engine)

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    def cursor(self) -> str:
        """Read from where to go on in the event stream; empty means from its beginning."""
        with self._transaction() as session:
            row = session.get(Cursor, _ONLY_CURSOR)
            return row.position if row else ""

    def advance(self, cursor: str) -> None:
        """Remember that everything up to `cursor` has been dealt with."""
        with self._transaction() as session:
            _move_cursor(session, cursor)

    def queue(self, drafts: Sequence[Draft], *, tenant: str, event: str, about: str, cursor: str, now: datetime) -> int:
        """Queue an event's messages and move the cursor past it, both or neither; returns how many were new."""
        with self._transaction() as session:
            queued = [_insert(session, draft, tenant=tenant, event=event, about=about, now=now) for draft in drafts]
            _move_cursor(session, cursor)
        return sum(queued)

    def due(self, now: datetime, *, limit: int = 500) -> list[int]:
        """List the keys of messages whose turn has come, those waiting longest first."""
        query = select(Message.key).where(Message.state == MessageState.QUEUED, col(Message.next_attempt_at) <= now)
        with self._transaction() as session:
            return list(session.exec(query.order_by(col(Message.next_attempt_at), col(Message.key)).limit(limit)))

    def next_due(self) -> datetime | None:
        """Say when the next queued message has its turn; None when nothing is queued."""
        query = select(func.min(Message.next_attempt_at)).where(Message.state == MessageState.QUEUED)
        with self._transaction() as session:
            return session.exec(query).one()

    def begin_attempt(self, key: int) -> Message:
        """Count an attempt before it is made, and read the message with its bodies."""
        with self._transaction() as session:
            message = session.get_one(Message, key)
            message.attempts += 1
            session.add(message)
            return message

    def mark_sent(self, key: int, *, now: datetime) -> None:
        """Remember that the mail server accepted the message."""
        self._change(key, state=MessageState.SENT, send_time=now, last_error="")

    def mark_failed(self, key: int, error: str) -> None:
        """Remember that the message will not be tried again."""
        self._change(key, state=MessageState.FAILED, last_error=error)

    def postpone(self, key: int, error: str, *, until: datetime) -> None:
        """Try the message again at `until`."""
        self._change(key, next_attempt_at=until, last_error=error)

    def postpone_all(self, *, until: datetime) -> None:
        """Try none of the queued messages before `until`: the mail server does not answer at all."""
        statement = update(Message).where(
            col(Message.state) == MessageState.QUEUED, col(Message.next_attempt_at) < until
        )
        with self._transaction() as session:
            session.connection().execute(statement.values(next_attempt_at=until))

    def page(self, tenant: str, *, before: int | None, limit: int) -> list[Message]:
        """List a tenant's messages without their bodies, newest first, from below the key `before` on."""
        query = select(Message).where(Message.tenant == tenant).options(*(defer(body) for body in _BODIES))
        if before is not None:
            query = query.where(col(Message.key) < before)
        with self._transaction() as session:
            return list(session.exec(query.order_by(col(Message.key).desc()).limit(limit)))

    def get(self, tenant: str, key: int) -> Message | None:
        """Read one message of a tenant; None when the tenant has no such message."""
        with self._transaction() as session:
            return session.exec(select(Message).where(Message.tenant == tenant, Message.key == key)).one_or_none()

    def _change(self, key: int, **values: Any) -> None:
        with self._transaction() as session:
            session.connection().execute(update(Message).where(col(Message.key) == key).values(**values))

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session


def _insert(session: Session, draft: Draft, *, tenant: str, event: str, about: str, now: datetime) -> int:
    """Insert one message unless this event was queued for this address before; says how many rows came."""
    values = asdict(draft)
    error = values.pop("error")
    values |= {
        "tenant": tenant,
        "event": event,
        "about": about,
        "state": MessageState.FAILED if error else MessageState.QUEUED,
        "attempts": 0,
        "last_error": error,
        "create_time": now,
        "next_attempt_at": now,
    }
    statement = _insert_into(session, Message).values(**values)
    made = session.connection().execute(statement.on_conflict_do_nothing().returning(col(Message.key)))
    return len(made.all())


def _move_cursor(session: Session, cursor: str) -> None:
    statement = _insert_into(session, Cursor).values(key=_ONLY_CURSOR, position=cursor)
    session.connection().execute(
        statement.on_conflict_do_update(index_elements=["key"], set_={"position": statement.excluded.position})
    )


def _insert_into(session: Session, table: type[Table]) -> sqlite.Insert:
    """SQLite's and PostgreSQL's INSERT … ON CONFLICT have the same methods and two classes."""
    make = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    return cast("sqlite.Insert", make(cast("Any", table)))
