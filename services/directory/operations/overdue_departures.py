"""Judge units of work that nobody has ended: the gateway that kept one died, or could not reach the directory (S7)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import repeat
from typing import Final

import structlog
from sqlmodel import col, select

from services.directory.operations.provisioning.call import begin
from services.directory.operations.provisioning.departures import judge
from services.directory.operations.provisioning.guard import pause
from services.directory.operations.worker import RepeatingWorker
from services.directory.rules.errors import GuardTripped, TenantBusy
from services.directory.rules.names import SOURCE
from services.directory.store.provisioning_tables import PendingDeparture
from services.directory.store.session import Store, TenantLockedError
from services.directory.store.tables import Source

log = structlog.get_logger()

EVERY_S: Final = 15.0
_UNITS_AT_ONCE: Final = 100


def judge_overdue(store: Store, *, now: datetime) -> int:
    """Judge each overdue unit in a transaction of its own; answers how many people left.

    Units of a connection that the guard has paused wait until an administrator resumes it.
    """
    left = 0
    for tenant_id, source_id, unit in _overdue(store, now):
        try:
            with store.write(tenant_id) as session:
                left += judge(begin(session, tenant_id, source_id, now=now), unit)
        except GuardTripped as tripped:
            with store.write(tenant_id) as session:
                pause(session, tenant_id, source_id, tripped, now=now)
        except (TenantLockedError, TenantBusy):
            log.info("departures.postponed", source=SOURCE.format(tenant_id, source_id))
    if left:
        log.info("departures.judged", left=left)
    return left


def _overdue(store: Store, now: datetime) -> list[tuple[int, int, str]]:
    query = (
        select(PendingDeparture.tenant_id, PendingDeparture.source_id, PendingDeparture.unit)
        .join(
            Source,
            (col(Source.tenant_id) == col(PendingDeparture.tenant_id))
            & (col(Source.id) == col(PendingDeparture.source_id)),
        )
        .where(col(PendingDeparture.due_time) <= now, col(Source.guard_trip_time).is_(None))
        .distinct()
        .limit(_UNITS_AT_ONCE)
    )
    with store.read(None) as session:
        return list(session.exec(query))


def make_overdue_worker(store: Store, *, clock: Callable[[], datetime]) -> RepeatingWorker:
    """Judge what is overdue every few seconds, beside the server."""
    return RepeatingWorker("departures", lambda _: judge_overdue(store, now=clock()), repeat(EVERY_S))
