"""Write events beside the change they tell of, and read them in commit order, none skipped and none twice."""

from __future__ import annotations

import enum
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import repeat
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, or_, text, true, tuple_
from sqlalchemy.sql.elements import Tuple
from sqlmodel import Session, col, select

from services.directory.store import ids
from services.directory.store.event_tables import ArchivedEvent
from services.directory.store.statements import Insertion
from services.directory.store.tables import Event

_TOLD: Final = "told_kinds"
_CALLS: Final = "calls"

Cursor = tuple[int, int]
"""A place in commit order: transaction and position."""

BEGINNING: Final[Cursor] = (-1, 0)
END: Final[Cursor] = (2**63 - 1, 2**63 - 1)

GROUP_LISTS: Final = frozenset({"groups", "was_in", "stays_in"})
"""Values of events that are lists of ids of groups; readers see names."""

MEMORY: Final = "undo"
"""The member of an event's `before` that only the undo of its run reads: nobody is shown it."""

AnyEvent = Event | ArchivedEvent
"""An event of the log, or one past its retention."""


_ONE_CALL: Final[Mapping[tuple[str, int], int]] = {}


class Order(enum.Enum):
    """From which end events are read."""

    OLDEST_FIRST = 1
    NEWEST_FIRST = 2


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
    told = session.info.setdefault(_TOLD, Counter())
    call_of = session.info.get(_CALLS, _ONE_CALL)
    told.update((call_of.get(change.resource, 0), change.kind) for change in changes)
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    positions = ids.reserve_ids(session.connection(), "event", len(changes)) if is_sqlite else repeat(0)
    shared = {
        "tenant_id": tenant_id,
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
            "before": json.dumps(dict(change.before)) if change.before else None,
            "after": json.dumps(dict(change.after)) if change.after else None,
        }
        for position, change in zip(positions, changes, strict=False)
    ]
    _INSERT.run_many(session, rows)


_BOUND: Final = [
    *("tenant_id", "time", "actor_source_id", "actor", "kind", "resource_kind", "resource_id", "run_id"),
    *("before", "after"),
]

_INSERT: Final = Insertion(
    Event,
    {
        "xid": "pg_current_xact_id()::text::bigint",
        "position": "nextval('event_id_seq')",
        **{name: f":{name}" for name in _BOUND},
    },
    sqlite={"xid": "0", "position": ":position"},
)
"""Written by every write: on PostgreSQL it takes position and transaction in the same round trip."""


def tell_apart(session: Session, call_of: Mapping[tuple[str, int], int]) -> None:
    """Say which of a transaction's calls each resource is of, by number; any other is the first one's."""
    session.info[_CALLS] = call_of


def told_kinds(session: Session, call: int = 0) -> Mapping[str, int]:
    """Count the events that the session's transaction has written one by one, by kind: those of one of its calls."""
    told: Mapping[tuple[int, str], int] = session.info.get(_TOLD, {})
    return {kind: count for (number, kind), count in told.items() if number == call}


def transaction_id(session: Session) -> int:
    """Name the transaction that writes, for `xid`; 0 on SQLite."""
    if session.get_bind().dialect.name == "sqlite":
        return 0
    return int(session.connection().execute(text("SELECT pg_current_xact_id()::text::bigint")).scalar_one())


@dataclass(frozen=True)
class Sought:
    """Which events are asked for: those for which all of this holds.

    `kinds` are exact (`user.created`) or whole families (`user.*`); empty means all. `tenant_id` None: of all tenants.
    """

    kinds: Sequence[str] = ()
    tenant_id: int | None = None
    run_id: int = 0
    resource: tuple[str, int] | None = None


def committed_events(
    session: Session,
    sought: Sought,
    beyond: Cursor,
    *,
    limit: int,
    order: Order = Order.OLDEST_FIRST,
    log: type[AnyEvent] = Event,
) -> list[AnyEvent]:
    """Read events beyond a cursor, in commit order or against it, from the log or from the archive.

    Only transactions below the oldest one still open are read: a lower one can no longer appear, so no cursor skips an
    event that commits late. On SQLite writers take turns, xid is 0, and the position alone is the commit order.
    """
    is_forward = order is Order.OLDEST_FIRST
    where = place(log)
    query = select(log).where(where > tuple_(*beyond) if is_forward else where < tuple_(*beyond))
    query = query.where(is_settled(session, log))
    if sought.tenant_id is not None:
        query = query.where(col(log.tenant_id) == sought.tenant_id)
    if sought.run_id:
        query = query.where(col(log.run_id) == sought.run_id)
    if sought.resource is not None:
        query = query.where(col(log.resource_kind) == sought.resource[0], col(log.resource_id) == sought.resource[1])
    if sought.kinds:
        exact = [kind for kind in sought.kinds if not kind.endswith(".*")]
        families = [
            col(log.kind).startswith(kind[:-1], autoescape=True) for kind in sought.kinds if kind.endswith(".*")
        ]
        query = query.where(or_(col(log.kind).in_(exact), *families))
    columns = (col(log.xid), col(log.position))
    query = query.order_by(*(column if is_forward else column.desc() for column in columns)).limit(limit)
    return cast("list[AnyEvent]", list(session.scalars(query)))


def is_settled(session: Session, log: type[AnyEvent] = Event) -> ColumnElement[bool]:
    """Write the condition for events before which none can appear any more: those that may be read."""
    if session.get_bind().dialect.name == "sqlite":
        return true()
    return col(log.xid) < _oldest_open_transaction(session)


def newest_place(session: Session, tenant_id: int | None = None) -> Cursor:
    """Read the place of the newest event that may be read, so that a watcher of few kinds need not look again."""
    query = select(Event.xid, Event.position).where(is_settled(session))
    if tenant_id is not None:
        query = query.where(col(Event.tenant_id) == tenant_id)
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
    """Say whether anything but runs' own affairs was written in the tenant since a basis, or can no longer be said."""
    if since == NOWHERE or has_archived(session, tenant_id, since):
        return True
    sql = f"SELECT count(*) FROM events WHERE {newer_than(tenant_id, since)} AND kind NOT LIKE 'run.%'"
    return bool(session.connection().execute(text(sql)).scalar_one())


def has_archived(session: Session, tenant_id: int, since: Cursor) -> bool:
    """Say whether events that came after a basis are in the log no more: then the log cannot tell what changed."""
    query = select(ArchivedEvent.xid, ArchivedEvent.position).where(col(ArchivedEvent.tenant_id) == tenant_id)
    newest = query.order_by(col(ArchivedEvent.xid).desc(), col(ArchivedEvent.position).desc()).limit(1)
    found = session.exec(newest).first()
    return found is not None and (found[0], found[1]) > since


def newer_than(tenant_id: int, since: Cursor) -> str:
    """Write the SQL condition for the tenant's events that came after a basis.

    Both `xid >= …` and `position > …` must hold. The first is said by the row, from which on both databases read then.
    """
    xid, position = since
    return f"tenant_id = {tenant_id} AND (xid, position) > ({xid}, {position}) AND position > {position}"


def place(log: type[AnyEvent] = Event) -> Tuple:
    """Compare as a row: both databases use the index for it, and not for the same written with OR."""
    return tuple_(col(log.xid), col(log.position))


def _oldest_open_transaction(session: Session) -> int:
    sql = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
    return int(session.connection().execute(text(sql)).scalar_one())
