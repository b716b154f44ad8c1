"""Do what has come due, in small transactions: sleepers deleted, the deleted erased, old rows put away."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Table, delete, text, tuple_
from sqlalchemy import select as columns
from sqlmodel import Session, SQLModel, col, select

from services.directory.operations.erasure import due_for_erasure, erase_people
from services.directory.operations.event_archive import archive_events
from services.directory.operations.import_stages import sweep_stages
from services.directory.operations.import_undo import FORMER_PASSWORDS, UNDOABLE_FOR, forget_former_passwords
from services.directory.operations.imports import Imports
from services.directory.operations.leaving import HOUSEKEEPING, delete_long_dormant
from services.directory.operations.refusals import KEPT_FOR as REFUSALS_KEPT_FOR
from services.directory.operations.rejected_rows import KEPT_FOR as ROWS_KEPT_FOR
from services.directory.operations.replay import KEPT_FOR as ANSWERS_KEPT_FOR
from services.directory.operations.tenant_sql import TenantSql
from services.directory.operations.worker import RepeatingWorker
from services.directory.rules.errors import TenantBusy
from services.directory.rules.leaving import DORMANT_FOR, RESTORABLE_FOR
from services.directory.rules.names import TENANT
from services.directory.store import schema
from services.directory.store.activity_tables import ConnectionQuirk, ConnectionRequest, ConnectionTally
from services.directory.store.administrator_tables import AdministratorSession
from services.directory.store.import_tables import RejectedRowsPage
from services.directory.store.provisioning_tables import LicenseRefusal, SleepingMembership
from services.directory.store.seal import Seal
from services.directory.store.session import TenantLockedError
from services.directory.store.tables import RequestReplay, Tenant

log = structlog.get_logger()

TENANTS_KEPT_FOR: Final = timedelta(days=90)
"""How long a deleted tenant's rows stay."""

EVERY_S: Final = 3600.0
FIRST_WITHIN_S: Final = 300.0
"""When a directory looks first, and how often from then on; give or take, so that replicas do not meet."""

_PEOPLE_AT_ONCE: Final = 500
_ROWS_AT_ONCE: Final = 5000
_LOCK: Final = 7_236_000_001
"""PostgreSQL's advisory lock of the one purge at a time; no tenant has such an id."""


@dataclass
class Purged:
    """What a purge did."""

    dormant_users_deleted: int = 0
    users_erased: int = 0
    sleeping_memberships_ended: int = 0
    request_replays_deleted: int = 0
    rejected_rows_deleted: int = 0
    license_refusals_deleted: int = 0
    sessions_deleted: int = 0
    stages_dropped: int = 0
    tenants_wiped: int = 0
    events_archived: int = 0
    connection_requests_deleted: int = 0
    is_under_way: bool = False


@dataclass(frozen=True)
class Housekeeper:
    """Purges what has come due, one purge at a time among all directories on one database."""

    imports: Imports
    seal: Seal
    event_retention: timedelta
    activity_retention: timedelta = timedelta(days=30)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def purge(self, should_stop: Callable[[], bool] = lambda: False) -> Purged:
        """Do all that is due. What is interrupted, or in the way of an import, is done by the next purge."""
        purged = Purged()
        with self._alone() as is_alone:
            if not is_alone:
                return Purged(is_under_way=True)
            now = self.imports.clock()
            for tenant_id, delete_time in self._tenants():
                if should_stop():
                    return purged
                try:
                    if delete_time is None:
                        self._tend(tenant_id, purged, now)
                    elif delete_time <= now - TENANTS_KEPT_FOR:
                        self._wipe(tenant_id)
                        purged.tenants_wiped += 1
                except (TenantLockedError, TenantBusy):
                    log.info("housekeeping.postponed", tenant=TENANT.format(tenant_id))
            self._tend_platform(purged, now)
        log.info("housekeeping.done", **{name: count for name, count in vars(purged).items() if count})
        return purged

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Take the turn, or say that another purge has it; a directory that dies gives it back."""
        if not self._turn.acquire(blocking=False):
            yield False
            return
        try:
            if self.imports.store.is_sqlite:
                yield True
                return
            with self.imports.store.engine.connect() as connection:
                taken = connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK}).scalar_one()
                connection.commit()  # the lock is the session's; a transaction left open would hold followers back
                try:
                    yield bool(taken)
                finally:
                    if taken:
                        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
                        connection.commit()
        finally:
            self._turn.release()

    def _tenants(self) -> list[tuple[int, datetime | None]]:
        with self.imports.store.read(None) as session:
            return list(session.exec(select(Tenant.id, Tenant.delete_time).order_by(col(Tenant.id))))

    def _tend(self, tenant_id: int, purged: Purged, now: datetime) -> None:
        """Do what is due in a tenant; one look tells whether anything is."""
        with self.imports.store.read(tenant_id) as session:
            due = _due(session, tenant_id, now, now - self.activity_retention)
        if due.dormant:
            purged.dormant_users_deleted += self._repeat(
                tenant_id, lambda session: delete_long_dormant(session, tenant_id, now=now, limit=_PEOPLE_AT_ONCE)
            )
        if due.deleted:
            self._erase(tenant_id, purged, now)
        if due.sleeping:
            ended = _delete_some(SleepingMembership, tenant_id, col(SleepingMembership.until) <= now)
            purged.sleeping_memberships_ended += self._repeat(tenant_id, ended)
        if due.passwords:
            self._repeat(tenant_id, lambda session: forget_former_passwords(session, tenant_id, now=now))
        if due.answers:
            old = col(RequestReplay.create_time) < now - ANSWERS_KEPT_FOR
            purged.request_replays_deleted += self._repeat(tenant_id, _delete_some(RequestReplay, tenant_id, old))
        if due.rejected_rows:
            old = col(RejectedRowsPage.create_time) < now - ROWS_KEPT_FOR
            purged.rejected_rows_deleted += self._repeat(tenant_id, _delete_some(RejectedRowsPage, tenant_id, old))
        if due.refusals:
            old = col(LicenseRefusal.last_time) < now - REFUSALS_KEPT_FOR
            purged.license_refusals_deleted += self._repeat(tenant_id, _delete_some(LicenseRefusal, tenant_id, old))
        if due.activity:
            before = now - self.activity_retention
            for table, moment in (
                (ConnectionTally, col(ConnectionTally.start_time)),
                (ConnectionQuirk, col(ConnectionQuirk.last_time)),
            ):
                self._repeat(tenant_id, _delete_some(table, tenant_id, moment < before))
            old = col(ConnectionRequest.time) < before
            purged.connection_requests_deleted += self._repeat(
                tenant_id, _delete_some(ConnectionRequest, tenant_id, old)
            )

    def _erase(self, tenant_id: int, purged: Purged, now: datetime) -> None:
        ended: list[int] = []

        def work(session: Session) -> int:
            due = due_for_erasure(session, tenant_id, deleted_before=now - RESTORABLE_FOR, limit=_PEOPLE_AT_ONCE)
            if due:
                ended.extend(
                    erase_people(session, self.imports, self.seal, tenant_id, due, actor=HOUSEKEEPING, now=now)
                )
            return len(due)

        purged.users_erased += self._repeat(tenant_id, work)
        for run_id in ended:
            self.imports.space(run_id).drop()

    def _tend_platform(self, purged: Purged, now: datetime) -> None:
        """Do what belongs to no tenant."""
        expired = _delete_some(AdministratorSession, None, col(AdministratorSession.expire_time) <= now)
        purged.sessions_deleted += self._repeat(None, expired)
        old = col(RequestReplay.create_time) < now - ANSWERS_KEPT_FOR
        purged.request_replays_deleted += self._repeat(None, _delete_some(RequestReplay, 0, old))
        purged.stages_dropped += sweep_stages(self.imports)
        before = now - self.event_retention
        purged.events_archived += self._repeat(
            None, lambda session: archive_events(session, before=before, limit=_ROWS_AT_ONCE)
        )

    def _wipe(self, tenant_id: int) -> None:
        """Delete all rows of a tenant, those that point to others first, and at last the tenant itself."""
        for table in reversed(SQLModel.metadata.sorted_tables):
            if table.name in schema.NAMES and "tenant_id" in table.c:
                whose = None if table.name == "service_tokens" else tenant_id
                self._repeat(whose, _delete_some(table, tenant_id))
        with self.imports.store.write(None) as session:
            session.connection().execute(delete(Tenant).where(col(Tenant.id) == tenant_id))

    def _repeat(self, tenant_id: int | None, work: Callable[[Session], int]) -> int:
        """Work in one transaction after the other until one finds nothing to do; answers how much was done."""
        total = 0
        while True:
            with self.imports.store.write(tenant_id) as session:
                done = work(session)
            total += done
            if not done:
                return total


@dataclass(frozen=True)
class _Due:
    """Whether there is anything of each kind."""

    dormant: bool
    deleted: bool
    sleeping: bool
    passwords: bool
    answers: bool
    activity: bool
    rejected_rows: bool
    refusals: bool


def _due(session: Session, tenant_id: int, now: datetime, activity_before: datetime) -> _Due:
    looks = (
        "SELECT 1 FROM users WHERE tenant_id = :t AND state = 3 AND leave_time <= :dormant",
        "SELECT 1 FROM users WHERE tenant_id = :t AND state = 2 AND erase_time IS NULL AND leave_time <= :deleted",
        "SELECT 1 FROM sleeping_memberships WHERE tenant_id = :t AND until <= :now",
        f"SELECT 1 FROM ({FORMER_PASSWORDS}) q",
        "SELECT 1 FROM request_replays WHERE tenant_id = :t AND create_time < :answers",
        " UNION ALL ".join(
            f"SELECT 1 FROM {table} WHERE tenant_id = :t AND {moment} < :activity"
            for table, moment in (
                ("connection_requests", "time"),
                ("connection_tallies", "start_time"),
                ("connection_quirks", "last_time"),
            )
        ),
        "SELECT 1 FROM rejected_rows WHERE tenant_id = :t AND create_time < :rejected_rows",
        "SELECT 1 FROM license_refusals WHERE tenant_id = :t AND last_time < :refusals",
    )
    moments = {
        "now": now,
        "dormant": now - DORMANT_FOR,
        "deleted": now - RESTORABLE_FOR,
        "undoable": now - UNDOABLE_FOR,
        "answers": now - ANSWERS_KEPT_FOR,
        "activity": activity_before,
        "rejected_rows": now - ROWS_KEPT_FOR,
        "refusals": now - REFUSALS_KEPT_FOR,
    }
    statement = "SELECT " + ", ".join(f"EXISTS ({look})" for look in looks)
    found = TenantSql(session, tenant_id, now).query(statement, {"t": tenant_id, **moments}).one()
    return _Due(*map(bool, found))


def _delete_some(rows: Any, tenant_id: int | None, condition: Any = None) -> Callable[[Session], int]:
    """Make a step that deletes some rows of a table, of a tenant (None: of all) and where a condition holds."""
    table: Table = rows if isinstance(rows, Table) else rows.__table__
    query = columns(*table.primary_key.columns)
    if tenant_id is not None:
        query = query.where(table.c.tenant_id == tenant_id)
    if condition is not None:
        query = query.where(condition)
    statement = delete(table).where(tuple_(*table.primary_key.columns).in_(query.limit(_ROWS_AT_ONCE)))
    return lambda session: session.connection().execute(statement).rowcount


def make_housekeeping_worker(housekeeper: Housekeeper, *, first_within_s: float = FIRST_WITHIN_S) -> RepeatingWorker:
    """Purge once an hour, beside the server; told to end, after the tenant under way."""
    return RepeatingWorker("housekeeping", housekeeper.purge, _waits(first_within_s))


def _waits(first_within_s: float) -> Iterator[float]:
    """Spread replicas; it keeps no secret."""
    yield random.uniform(0, first_within_s)  # noqa: S311
    while True:
        yield EVERY_S * random.uniform(0.9, 1.1)  # noqa: S311
