"""Judge units of work that nobody has ended: the gateway that kept one died, or could not reach the directory (S7)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog
from muster.runtime.telemetry import fault_of
from sqlmodel import col, select

from services.directory.operations.provisioning.call import begin
from services.directory.operations.provisioning.departures import judge
from services.directory.operations.provisioning.guard import pause
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


class OverdueWorker:
    """Judges what is overdue every few seconds, beside the server; several replicas may do so at once."""

    def __init__(self, store: Store, *, clock: Callable[[], datetime], every_s: float = EVERY_S) -> None:
        self._store = store
        self._clock = clock
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="departures", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the unit under way."""
        self._ended.set()
        self._thread.join(timeout=5.0)

    def _loop(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                judge_overdue(self._store, now=self._clock())
            except Exception as error:  # noqa: BLE001 - the outermost loop: log and go on
                log.error("departures.failed", **fault_of(error))
