"""Open a run when it is the tenant's turn (R44)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from muster.directory.v1 import imports_pb2
from sqlalchemy import text
from sqlmodel import Session, col, select

from services.directory.operations.imports import (
    LEASE_S,
    NO_COUNTS,
    Imports,
    interrupt,
    is_at_rest,
    require_running,
    source_of,
    write_run_event,
)
from services.directory.operations.replay import Attempt, write_once
from services.directory.operations.source_secrets import require_file
from services.directory.rules.errors import ClaimLost, TenantBusy
from services.directory.store import ids
from services.directory.store.events import Actor
from services.directory.store.seal import Seal
from services.directory.store.session import TenantLockedError
from services.directory.store.tables import ImportRun, RunStatus, Source, SourceState

TURN_WAIT_S = 60.0
"""How long a run waits for the tenant's active one (R44)."""


class _AnotherRunIsActiveError(Exception):
    """The tenant's turn is taken."""


def create_run(
    imports: Imports,
    seal: Seal,
    tenant_id: int,
    source_id: int,
    *,
    dry_run: bool,
    actor: Actor,
    attempt: Attempt,
    answer: Callable[[ImportRun], imports_pb2.CreateImportRunResponse],
    claim_id: str = "",
) -> imports_pb2.CreateImportRunResponse:
    """Open a run in `staging`, waiting up to 60 s for the tenant's active one to end (R44).

    With a claim it is the run of the source's night.

    Raises:
        ClaimLost: the source is no longer claimed by this.
        NotFound, SourceStateError: the source does not exist, is disabled, or is no file.
        TenantBusy: the other run did not end in time.
    """
    deadline = imports.clock() + timedelta(seconds=TURN_WAIT_S)

    def work(session: Session) -> imports_pb2.CreateImportRunResponse:
        source = source_of(session, tenant_id, source_id)
        require_file(source)
        require_running(source)
        if claim_id and source.claim_id != claim_id:
            raise ClaimLost  # before the turn is waited for
        one_at_a_time(session, tenant_id)
        if has_active_run(imports, session, tenant_id):
            raise _AnotherRunIsActiveError
        if claim_id:
            require_claim(session, source, claim_id)
        return answer(open_run(imports, session, source, dry_run=dry_run, actor=actor, claim_id=claim_id))

    while True:
        with suppress(TenantLockedError, _AnotherRunIsActiveError):
            return write_once(
                imports.store,
                seal,
                tenant_id,
                attempt,
                imports_pb2.CreateImportRunResponse,
                work,
                now=imports.clock(),
            )
        if imports.clock() >= deadline:
            raise TenantBusy
        imports.wait(0.25)


def one_at_a_time(session: Session, tenant_id: int) -> None:
    """Let two calls of one tenant look for active runs one after the other; SQLite's writers do so anyway."""
    if session.get_bind().dialect.name != "sqlite":
        session.connection().execute(
            text("SELECT pg_advisory_xact_lock(hashtext('muster.import_runs'), :tenant % 2147483647)"),
            {"tenant": tenant_id},
        )


def has_active_run(imports: Imports, session: Session, tenant_id: int) -> bool:
    """Whether another run is under way; those whose lease is over are ended on the way."""
    now = imports.clock()
    active = session.exec(
        select(ImportRun)
        .where(
            ImportRun.tenant_id == tenant_id,
            col(ImportRun.status).in_([RunStatus.STAGING, RunStatus.PLANNED, RunStatus.APPLYING]),
        )
        .order_by(col(ImportRun.id))
        .with_for_update()
    ).all()
    still = False
    for run in active:
        if is_at_rest(run):
            continue
        if run.status == RunStatus.APPLYING or run.active_until > now:
            still = True
        else:
            interrupt(imports, session, run)
    return still


def require_claim(session: Session, source: Source, claim_id: str) -> None:
    """Hold the source's row to the end: nobody claims it meanwhile. Errors: ClaimLost."""
    session.refresh(source, with_for_update=True)
    if source.claim_id != claim_id:
        raise ClaimLost


def open_run(
    imports: Imports, session: Session, source: Source, *, dry_run: bool, actor: Actor, claim_id: str = ""
) -> ImportRun:
    """Make the run in the caller's transaction, in `staging`; the caller knows that no other is active."""
    now = imports.clock()
    run = ImportRun(
        tenant_id=source.tenant_id,
        id=ids.next_id(session, "import_run"),
        source_id=source.id,
        plan_only=dry_run or source.state == SourceState.TRIAL,
        counts=dict(NO_COUNTS),
        active_until=now + timedelta(seconds=LEASE_S),
        claim_id=claim_id,
        create_time=now,
    )
    session.add(run)
    source.last_run_id = run.id
    session.add(source)
    session.flush()
    write_run_event(session, run, "run.created", actor=actor, now=now)
    return run
