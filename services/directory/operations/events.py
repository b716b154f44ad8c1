"""Read events: one tenant's log, and the stream that other services follow."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import Session

from services.directory.rules.errors import InvalidArgument
from services.directory.store.event_kinds import EVENT_KINDS, FAMILIES
from services.directory.store.event_tables import ArchivedEvent
from services.directory.store.events import AnyEvent, Cursor, Order, Sought, committed_events, newest_place
from services.directory.store.tables import Event


@dataclass(frozen=True)
class Batch:
    """The next events, and the place from which to go on: past them, or past all that were not asked for."""

    events: Sequence[AnyEvent]
    cursor: Cursor


class Log(enum.Enum):
    """Where events are read: in the log, or among those past its retention."""

    CURRENT = Event
    ARCHIVE = ArchivedEvent


def list_events(
    session: Session, sought: Sought, *, log: Log, order: Order, beyond: Cursor, limit: int
) -> list[AnyEvent]:
    """Read a tenant's events beyond a place, in commit order or against it."""
    return committed_events(session, sought, beyond, limit=limit, order=order, log=log.value)


def next_events(session: Session, sought: Sought, *, after: Cursor, limit: int) -> Batch:
    """Read the next events in commit order: of all tenants, or of the one that is sought."""
    newest = newest_place(session, sought.tenant_id)
    if newest <= after:
        return Batch((), after)
    found = committed_events(session, sought, after, limit=limit)
    if len(found) == limit:
        return Batch(found, (found[-1].xid, found[-1].position))
    return Batch(found, newest)


def check_kinds(kinds: Sequence[str], *, field: str) -> list[str]:
    """Give the kinds back when each is a kind or a family of kinds. Errors: InvalidArgument."""
    for kind in kinds:
        family, _, rest = kind.partition(".")
        if kind in EVENT_KINDS or (rest == "*" and family in FAMILIES):
            continue
        known = ", ".join(other for other in EVENT_KINDS if other.partition(".")[0] == family)
        choice = f"one of {known}" if known else f"one of the families {', '.join(sorted(FAMILIES))}"
        sentence = f"must be a kind such as user.created, or a family such as user.*; {choice}"
        raise InvalidArgument([(field, sentence)])
    return list(kinds)
