"""Write events beside the change they tell of, and read them in commit order, none skipped and none twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert, or_, text, tuple_
from sqlalchemy.sql.elements import Tuple
from sqlmodel import Session, col, select

from services.directory.store import ids
from services.directory.store.tables import Event

Cursor = tuple[int, int]
"""A place in commit order: transaction and position."""

BEGINNING: Final[Cursor] = (-1, 0)


@dataclass(frozen=True)
class Actor:
    """Who did it: a source, or somebody or something with a name."""

    name: str = ""
    source_id: int = 0


@dataclass(frozen=True)
class Change:
    """One event to be written; `resource` is a name prefix (`usr`) and an id."""

    kind: str
    resource: tuple[str, int]
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


def append_event(
    session: Session,
    tenant_id: int,
    *,
    kind: str,
    resource: tuple[str, int],
    actor: Actor,
    now: datetime,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    run_id: int = 0,
) -> None:
    """Write one event in the caller's transaction; `resource` is a name prefix (`usr`) and an id."""
    change = Change(kind=kind, resource=resource, before=before, after=after)
    append_events(session, tenant_id, [change], actor=actor, now=now, run_id=run_id)


def append_events(
    session: Session, tenant_id: int, changes: Sequence[Change], *, actor: Actor, now: datetime, run_id: int = 0
) -> None:
    """Write one event for each change, in their order, with one statement."""
    if not changes:
        return
    positions = ids.reserve_ids(session.connection(), "event", len(changes))
    shared = {
        "tenant_id": tenant_id,
        "xid": transaction_id(session),
        "time": now,
        "actor_source_id": actor.source_id,
        "actor": actor.name,
        "run_id": run_id,
    }
    rows = [
        {
            **shared,
            "position": position,
            "kind": change.kind,
            "resource_kind": change.resource[0],
            "resource_id": change.resource[1],
            "before": dict(change.before) if change.before else None,
            "after": dict(change.after) if change.after else None,
        }
        for position, change in zip(positions, changes, strict=True)
    ]
    session.connection().execute(insert(Event), rows)


def transaction_id(session: Session) -> int:
    """Name the transaction that writes, for `xid`; 0 on SQLite."""
    if session.get_bind().dialect.name == "sqlite":
        return 0
    return int(session.connection().execute(text("SELECT pg_current_xact_id()::text::bigint")).scalar_one())


def committed_events(
    session: Session,
    after: Cursor,
    kinds: Sequence[str],
    *,
    limit: int,
    tenant_id: int | None = None,
    run_id: int = 0,
) -> list[Event]:
    """Read events past the cursor `after`, in commit order.

    Only transactions below the oldest one still open are read: a lower one can no longer appear, so no cursor skips an
    event that commits late. On SQLite writers take turns, xid is 0, and the position alone is the commit order.
    `kinds` are exact (`user.created`) or whole families (`user.*`); empty means all.
    """
    query = select(Event).where(_place() > tuple_(*after))
    if session.get_bind().dialect.name != "sqlite":
        query = query.where(col(Event.xid) < _oldest_open_transaction(session))
    if tenant_id is not None:
        query = query.where(col(Event.tenant_id) == tenant_id)
    if run_id:
        query = query.where(col(Event.run_id) == run_id)
    if kinds:
        exact = [kind for kind in kinds if not kind.endswith(".*")]
        families = [col(Event.kind).startswith(kind[:-1], autoescape=True) for kind in kinds if kind.endswith(".*")]
        query = query.where(or_(col(Event.kind).in_(exact), *families))
    return list(session.exec(query.order_by(col(Event.xid), col(Event.position)).limit(limit)))


def newest_place(session: Session) -> Cursor:
    """Read the place of the newest event that may be read, so that a watcher of few kinds need not look again."""
    query = select(Event.xid, Event.position)
    if session.get_bind().dialect.name != "sqlite":
        query = query.where(col(Event.xid) < _oldest_open_transaction(session))
    found = session.exec(query.order_by(col(Event.xid).desc(), col(Event.position).desc()).limit(1)).first()
    return (found[0], found[1]) if found else BEGINNING


NOWHERE: Final[Cursor] = (0, -1)
"""Instead of a `basis`, when writers were under way and it cannot be said what is newer."""


def basis(session: Session) -> Cursor:
    """Mark this moment in a tenant whose writers are held off: `has_changed` can tell later whether any came after it.

    Whoever writes afterwards takes a higher position, and is a transaction that this one's snapshot does not know as
    ended; both are needed, since a transaction gets its number before it waits for the tenant's lock.
    """
    if session.get_bind().dialect.name == "sqlite":
        last = session.connection().execute(text("SELECT last FROM id_counters WHERE name = 'event'")).scalar_one()
        return (0, int(last))
    oldest_open = _oldest_open_transaction(session)
    return (oldest_open, ids.next_id(session, "event"))


def has_changed(session: Session, tenant_id: int, since: Cursor) -> bool:
    """Say whether anything but runs' own affairs was written in the tenant since a basis."""
    if since == NOWHERE:
        return True
    sql = f"SELECT count(*) FROM events WHERE {newer_than(tenant_id, since)} AND kind NOT LIKE 'run.%'"
    return bool(session.connection().execute(text(sql)).scalar_one())


def newer_than(tenant_id: int, since: Cursor) -> str:
    """Write the SQL condition for the tenant's events that came after a basis."""
    xid, position = since
    return f"tenant_id = {tenant_id} AND xid >= {xid} AND position > {position}"


def _place() -> Tuple:
    """Compare as a row: both databases use the index for it, and not for the same written with OR."""
    return tuple_(col(Event.xid), col(Event.position))


def _oldest_open_transaction(session: Session) -> int:
    sql = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
    return int(session.connection().execute(text(sql)).scalar_one())
