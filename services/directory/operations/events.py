"""Read events: one tenant's log, and the stream that other services follow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import Session

from services.directory.rules.errors import InvalidArgument
from services.directory.store.events import Cursor, committed_events, newest_place
from services.directory.store.tables import Event

_KIND = re.compile(r"[a-z_]+\.([a-z_]+|\*)")


@dataclass(frozen=True)
class Batch:
    """The next events, and the place from which to go on: past them, or past all that were not asked for."""

    events: Sequence[Event]
    cursor: Cursor


def list_events(session: Session, tenant_id: int, *, kind: str, run_id: int, after: Cursor, limit: int) -> list[Event]:
    """Read a tenant's events in commit order; `kind` is exact, a family, or empty. Errors: InvalidArgument."""
    kinds = check_kinds([kind] if kind else [], field="kind")
    return committed_events(session, after, kinds, limit=limit, tenant_id=tenant_id, run_id=run_id)


def next_events(session: Session, kinds: Sequence[str], *, after: Cursor, limit: int) -> Batch:
    """Read the next events of all tenants in commit order."""
    newest = newest_place(session)
    if newest <= after:
        return Batch((), after)
    found = committed_events(session, after, kinds, limit=limit)
    if len(found) == limit:
        return Batch(found, (found[-1].xid, found[-1].position))
    return Batch(found, newest)


def check_kinds(kinds: Sequence[str], *, field: str) -> list[str]:
    """Give the kinds back when each is a kind or a family of kinds. Errors: InvalidArgument."""
    if not all(_KIND.fullmatch(kind) for kind in kinds):
        raise InvalidArgument([(field, "must be a kind such as user.created, or a family such as user.*")])
    return list(kinds)
