"""Keep messages and the stream's cursor: the notifier's own store, on SQLite or PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, cast

from sqlalchemy import Table as SqlTable
from sqlalchemy import Update, bindparam, case, func, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import defer
from sqlalchemy.sql.dml import ReturningUpdate
from sqlmodel import Session, col, select

from services.notifier.database import open_engine, upgrade
from services.notifier.erasure import NO_BODIES, erase
from services.notifier.tables import (
    Cursor,
    Mention,
    Message,
    MessageKind,
    MessageState,
    Priority,
    Table,
    UtcDateTime,
)

__all__ = ["Bundle", "CursorMovedError", "Draft", "Message", "MessageKind", "MessageState", "MessageStore", "Priority"]

_BODIES: tuple[Any, ...] = (Message.text, Message.html, Message.attachment)
_TABLE = cast("SqlTable", Message.__table__)  # type: ignore[attr-defined]  # SQLModel's types do not tell
_ONLY_CURSOR = 1


class CursorMovedError(Exception):
    """Another replica has dealt with these events meanwhile; nothing was stored."""


@dataclass(frozen=True)
class Draft:
    """A message to queue; with an `error` it is kept as failed instead, so that people see what was not mailed.

    `mentions` are the resource names of the people whom it is written to, or names.
    """

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
    priority: Priority = Priority.REPORT
    mentions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bundle:
    """What one event asks for: messages to queue, and a person whose data is to be erased."""

    tenant: str
    event: str
    about: str
    drafts: Sequence[Draft] = ()
    erased_user: str = ""


class MessageStore:
    """The store. Each method is one transaction; none waits for anything but the database."""

    def __init__(self, database_url: str) -> None:
        self._engine = open_engine(database_url)
        self._skips_locked = self._engine.dialect.name == "postgresql"

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

    def queue(self, bundles: Sequence[Bundle], *, now: datetime, after: str = "", cursor: str = "") -> int:
        """Queue messages and move the cursor from `after` to `cursor`, all or nothing; returns how many were new.

        Without a `cursor` it stays. Errors: CursorMovedError, when the cursor is no longer at `after`.
        """
        with self._transaction() as session:
            if cursor:
                _move_cursor(session, after, cursor)
            queued, waiting = 0, list[Bundle]()
            for bundle in bundles:
                waiting.append(bundle)
                if bundle.erased_user:  # what was queued before names the person; what comes after cannot
                    queued += _insert(session, waiting, now)
                    waiting.clear()
                    erase(session, bundle.tenant, bundle.erased_user)
            queued += _insert(session, waiting, now)
        return queued

    def take_turns(self, sent: Sequence[int], *, wanted: int, now: datetime, lease: timedelta) -> list[Message]:
        """Note what the mail server has taken, and claim the messages whose turn it is, with their bodies.

        Each claim counts as an attempt. Nobody else gets the message before the lease has run out; a claim that ran out
        was an attempt with an unknown end.
        """
        with self._transaction() as session:
            run = session.connection().execute
            if sent:
                run(_SENT, {"keys": sent, "at": now})
            found: list[Message] = []
            if wanted:
                values = {"wanted": wanted, "at": now, "claimed_as": uuid.uuid4().hex, "until": now + lease}
                taken = run(_claims(skips_locked=self._skips_locked), values)
                found = [Message(**row) for row in taken.mappings()]
        return sorted(found, key=lambda message: (message.priority, message.key))

    def next_due(self) -> datetime | None:
        """Say when the next queued message has its turn; None when nothing is queued."""
        query = select(func.min(Message.next_attempt_at)).where(Message.state == MessageState.QUEUED)
        with self._transaction() as session:
            return session.exec(query).one()

    def mark_sent(self, key: int, *, now: datetime) -> None:
        """Remember that the mail server accepted the message, whoever has a claim to it by now."""
        with self._transaction() as session:
            session.connection().execute(_SENT, {"keys": (key,), "at": now})

    def mark_failed(self, message: Message, error: str, *, state: MessageState = MessageState.FAILED) -> None:
        """Remember that the message will not be tried again, unless its claim has run out."""
        with self._transaction() as session:
            session.connection().execute(_claimed(message).values(state=state, claim="", last_error=error))

    def postpone(self, message: Message, error: str, *, until: datetime, in_doubt: bool = False) -> None:
        """Try the message again at `until`, unless its claim has run out; `in_doubt`: it may have arrived."""
        repeats = message.possible_repeats + (1 if in_doubt else 0)
        values = {"next_attempt_at": until, "last_error": error, "claim": "", "possible_repeats": repeats}
        with self._transaction() as session:
            session.connection().execute(_claimed(message).values(values))

    def queue_again(self, tenant: str, key: int, *, now: datetime) -> Message | None:
        """Send a message once more, or at once if it waits; None when there is no such one, or nothing left to send.

        One that is being sent at this moment is left to that.
        """
        mine = (col(Message.tenant) == tenant, col(Message.key) == key, col(Message.text) != "")
        values = {"state": MessageState.QUEUED, "next_attempt_at": now, "queue_time": now}
        with self._transaction() as session:
            again = update(Message).where(*mine, col(Message.claim) == "")
            session.connection().execute(again.values(values))
            return session.exec(select(Message).where(*mine)).one_or_none()

    def forget_bodies(self, *, before: datetime, limit: int = 1_000) -> int:
        """Erase the bodies of messages older than that, some at a time; returns how many."""
        ended = (MessageState.SENT, MessageState.FAILED, MessageState.OBSOLETE)
        old = select(Message.key).where(
            col(Message.create_time) < before, col(Message.state).in_(ended), col(Message.text) != ""
        )
        erase = update(Message).where(col(Message.key).in_(old.limit(limit))).values(NO_BODIES)
        with self._transaction() as session:
            return session.connection().execute(erase).rowcount

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

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session


def _claimed(message: Message) -> Update:
    return update(Message).where(col(Message.key) == message.key, col(Message.claim) == message.claim)


_SENT: Final = (
    update(_TABLE)
    .where(_TABLE.c.key.in_(bindparam("keys", expanding=True)))
    .values(state=MessageState.SENT, send_time=bindparam("at", type_=UtcDateTime()), claim="", last_error="")
)
"""Built once, as `_claims` is: writing them cost more than running them, for each mail."""


@cache
def _claims(*, skips_locked: bool) -> ReturningUpdate[Any]:
    message = _TABLE.c
    at = bindparam("at", type_=UtcDateTime())
    waits = select(message.key).where(message.state == MessageState.QUEUED, message.next_attempt_at <= at)
    first = waits.order_by(message.priority, message.next_attempt_at, message.key).limit(bindparam("wanted"))
    if skips_locked:
        first = first.with_for_update(skip_locked=True)
    due = first.cte("due")  # looked for once: a subquery that skips locked rows would find others at a second look
    values = {
        "claim": bindparam("claimed_as"),
        "attempts": message.attempts + 1,
        "possible_repeats": message.possible_repeats + case((message.claim != "", 1), else_=0),
        "next_attempt_at": bindparam("until", type_=UtcDateTime()),
    }
    return update(_TABLE).where(message.key.in_(select(due.c.key))).values(values).returning(_TABLE)


def _insert(session: Session, bundles: Sequence[Bundle], now: datetime) -> int:
    """Insert the messages that their events have not made before, with whom they mention; says how many rows came."""
    rows = [_row(draft, bundle, now) for bundle in bundles for draft in bundle.drafts]
    if not rows:
        return 0
    kept = (col(Message.key), col(Message.tenant), col(Message.event), col(Message.message_id))
    statement = _insert_into(session, Message).on_conflict_do_nothing().returning(*kept)
    made = {(tenant, event, name): key for key, tenant, event, name in session.connection().execute(statement, rows)}
    mentions = [
        {"tenant": bundle.tenant, "user": user, "message": made[bundle.tenant, bundle.event, draft.message_id]}
        for bundle in bundles
        for draft in bundle.drafts
        if (bundle.tenant, bundle.event, draft.message_id) in made
        for user in dict.fromkeys(draft.mentions)
    ]
    if mentions:
        session.connection().execute(_insert_into(session, Mention), mentions)
    return len(made)


def _row(draft: Draft, bundle: Bundle, now: datetime) -> dict[str, Any]:
    values = asdict(draft)
    error = values.pop("error")
    del values["mentions"]
    return values | {
        "tenant": bundle.tenant,
        "event": bundle.event,
        "about": bundle.about,
        "state": MessageState.FAILED if error else MessageState.QUEUED,
        "attempts": 0,
        "last_error": error,
        "create_time": now,
        "queue_time": now,
        "next_attempt_at": now,
        "claim": "",
        "possible_repeats": 0,
    }


def _move_cursor(session: Session, after: str, cursor: str) -> None:
    """Move on only from where this replica read; who comes second finds the cursor elsewhere. A first one is made."""
    run = session.connection().execute
    made = _insert_into(session, Cursor).values(key=_ONLY_CURSOR, position=after)
    run(made.on_conflict_do_nothing())
    moved = update(Cursor).where(col(Cursor.key) == _ONLY_CURSOR, col(Cursor.position) == after)
    if run(moved.values(position=cursor)).rowcount != 1:
        raise CursorMovedError


def _insert_into(session: Session, table: type[Table]) -> sqlite.Insert:
    """SQLite's and PostgreSQL's INSERT … ON CONFLICT have the same methods and two classes."""
    make = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    return cast("sqlite.Insert", make(cast("Any", table)))
