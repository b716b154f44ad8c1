"""Move events past the log's retention to the archive, oldest first, and none that anybody still needs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, tuple_
from sqlalchemy import select as columns
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from services.directory.store.event_tables import ArchivedEvent, Subscription
from services.directory.store.events import Cursor, is_settled, place
from services.directory.store.tables import Event

LEAST_RETENTION: Final = timedelta(days=100)
"""Events younger than this are needed by runs that may be undone and people who may be restored: they always stay."""

_COLUMNS: Final = tuple(Event.__table__.columns.keys())  # type: ignore[attr-defined]


def archive_events(session: Session, *, before: datetime, limit: int) -> int:
    """Move the oldest events, at most `limit` and all older than `before`, to the archive; answers how many.

    The log keeps its order without a gap: whatever is after an event that must stay, stays. So does whatever a
    subscription has not acknowledged. All tenants at once, in a transaction across tenants; call it until it answers 0.
    `before` is at least LEAST_RETENTION ago.
    """
    last = _last_to_go(session, before, limit)
    if last is None:
        return 0
    gone = place() <= tuple_(*last)
    moved = columns(*(getattr(Event, name) for name in _COLUMNS)).where(gone)
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    copied = insert(ArchivedEvent).from_select(list(_COLUMNS), moved).on_conflict_do_nothing()  # two at once
    session.connection().execute(copied)
    return session.connection().execute(delete(Event).where(gone)).rowcount


def _last_to_go(session: Session, before: datetime, limit: int) -> Cursor | None:
    in_order = (col(Event.xid), col(Event.position))
    query = select(*in_order).where(is_settled(session))
    stays = session.exec(select(*in_order).where(col(Event.time) >= before).order_by(*in_order).limit(1)).first()
    if stays is not None:
        query = query.where(place() < tuple_(*stays))
    kept = (col(Subscription.xid), col(Subscription.position))
    acknowledged = session.exec(select(*kept).order_by(*kept).limit(1)).first()
    if acknowledged is not None:
        query = query.where(place() <= tuple_(*acknowledged))
    last = session.exec(query.order_by(*in_order).limit(limit)).all()
    return (last[-1][0], last[-1][1]) if last else None
