"""Keep the cursors of those who follow all tenants' events, so that a follower need keep nothing itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, tuple_
from sqlalchemy import select as columns
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col

from services.directory.rules.errors import InvalidArgument, NotFound
from services.directory.store.event_tables import Subscription
from services.directory.store.events import BEGINNING, Cursor, is_settled, newest_place, place
from services.directory.store.tables import Event

_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")


@dataclass(frozen=True)
class SubscriptionView:
    """A subscription, and how old the oldest event is that it has not acknowledged."""

    subscription: Subscription
    behind: timedelta


def open_subscription(
    session: Session, name: str, *, kinds: Sequence[str], cursor: Cursor | None, now: datetime
) -> Cursor:
    """Give the place from which a subscription goes on; made at its first use, from `cursor` (None: the beginning).

    Errors: InvalidArgument (a malformed name, a cursor for one that has its own, a cursor beyond the newest event).
    """
    if not _NAME.fullmatch(name):
        raise InvalidArgument([("subscription", "must be 1 to 64 of a-z, 0-9 and hyphens, a letter first")])
    if cursor is not None:
        _require_reached(session, cursor)
    if _make(session, name, kinds, cursor or BEGINNING, now):
        return cursor or BEGINNING
    if cursor is not None:
        raise InvalidArgument([("cursor", "the subscription has its own: leave it empty, or delete the subscription")])
    kept = _locked(session, name)
    if kept.kinds != list(kinds):
        kept.kinds, kept.update_time = list(kinds), now
        session.add(kept)
    return (kept.xid, kept.position)


def acknowledge(session: Session, name: str, cursor: Cursor, *, now: datetime) -> None:
    """Move a subscription forward; a cursor at or before its own has no effect.

    Errors: NotFound, InvalidArgument (a cursor beyond the newest event).
    """
    kept = _locked(session, name)
    if cursor <= (kept.xid, kept.position):
        return
    _require_reached(session, cursor)
    kept.xid, kept.position = cursor
    kept.update_time = now
    session.add(kept)


def list_subscriptions(session: Session, *, now: datetime) -> list[SubscriptionView]:
    """Read all subscriptions by name."""
    waiting = (
        columns(col(Event.time))
        .where(place() > tuple_(col(Subscription.xid), col(Subscription.position)), is_settled(session))
        .order_by(col(Event.xid), col(Event.position))
        .limit(1)
        .correlate(Subscription)
        .scalar_subquery()
    )
    found = session.execute(columns(Subscription, waiting).order_by(col(Subscription.name)))
    return [SubscriptionView(kept, now - oldest if oldest else timedelta()) for kept, oldest in found]


def delete_subscription(session: Session, name: str) -> None:
    """Forget a subscription. Errors: NotFound."""
    if not _NAME.fullmatch(name):
        raise _unknown(name)
    if not session.connection().execute(delete(Subscription).where(col(Subscription.name) == name)).rowcount:
        raise _unknown(name)


def _make(session: Session, name: str, kinds: Sequence[str], start: Cursor, now: datetime) -> bool:
    """Make it unless it is there; says which of both, also when two do so at once."""
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    row = insert(Subscription).values(
        name=name, kinds=list(kinds), xid=start[0], position=start[1], create_time=now, update_time=now
    )
    made = row.on_conflict_do_nothing().returning(col(Subscription.name))
    return session.connection().execute(made).first() is not None


def _locked(session: Session, name: str) -> Subscription:
    kept = session.get(Subscription, name, with_for_update=True) if _NAME.fullmatch(name) else None
    if kept is None:
        raise _unknown(name)
    return kept


def _unknown(name: str) -> NotFound:
    return NotFound(resource=f"subscriptions/{name[:64]}")


def _require_reached(session: Session, cursor: Cursor) -> None:
    if cursor > max(newest_place(session), BEGINNING):
        raise InvalidArgument(
            [("cursor", "lies beyond the newest event: no watch of this directory can have given it")]
        )
