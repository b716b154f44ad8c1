"""An import run's life: opened, staged, refused, discarded. import_plans plans it, import_applies applies it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from muster.directory.v1 import imports_pb2
from sqlalchemy import bindparam, text
from sqlmodel import Session, col, select

from services.directory.operations.replay import Attempt, write_once
from services.directory.operations.source_secrets import require_file
from services.directory.roster.space import StageSpace
from services.directory.roster.stage import Staged
from services.directory.rules.errors import NotFound, RunState, SourceStateError, TenantBusy
from services.directory.rules.names import IMPORT_RUN, SOURCE
from services.directory.store import ids
from services.directory.store.events import Actor, append_event
from services.directory.store.seal import Seal
from services.directory.store.session import Lock, Store, TenantLockedError
from services.directory.store.tables import ImportIssue, ImportRun, RunStatus, Source, SourceState, UtcDateTime

log = structlog.get_logger()

LEASE_S = 45.0
"""A run nobody has spoken for that long is over: its importer is gone."""

BROKEN_STREAM_LEASE_S = 10.0
"""How long an importer whose stream of rows broke has to come back."""

TURN_WAIT_S = 60.0
"""How long a run waits for the tenant's active one (R44)."""

NO_COUNTS: Mapping[str, int] = dict.fromkeys(
    (
        "rows",
        "created",
        "updated",
        "taken_over",
        "restored",
        "rekeyed",
        "unchanged",
        "skipped",
        "rejected",
        "merged",
        "deferred",
        "deleted",
    ),
    0,
)

EVENT_OF_STATUS: Mapping[RunStatus, str] = {
    RunStatus.PLANNED: "run.planned",
    RunStatus.HELD: "run.held",
    RunStatus.APPLIED: "run.applied",
    RunStatus.REFUSED: "run.refused",
    RunStatus.NO_FILE: "run.no_file",
    RunStatus.DISCARDED: "run.discarded",
    RunStatus.EXPIRED: "run.expired",
    RunStatus.FAILED: "run.failed",
}


@dataclass
class Progress:
    """How many people each applying run of this process has written; readers only show it."""

    _rows: dict[int, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, run_id: int, rows: int) -> None:
        """Note a run's progress."""
        with self._lock:
            self._rows[run_id] = rows

    def of(self, run_id: int) -> int:
        """A run's progress; 0 when this process does not apply it."""
        with self._lock:
            return self._rows.get(run_id, 0)

    def forget(self, run_id: int) -> None:
        """Drop a run that is at rest."""
        with self._lock:
            self._rows.pop(run_id, None)


@dataclass(frozen=True)
class Imports:
    """What every import operation needs: the store, where SQLite stages go, the time."""

    store: Store
    stage_directory: Path
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    wait: Callable[[float], None] = time.sleep
    progress: Progress = field(default_factory=Progress)

    def space(self, run_id: int) -> StageSpace:
        """The run's stage."""
        return StageSpace(self.store, run_id, self.stage_directory)


def is_at_rest(run: ImportRun) -> bool:
    """Whether nothing happens to the run unless someone decides."""
    if run.status == RunStatus.PLANNED:
        return run.plan_only
    return run.status not in {RunStatus.STAGING, RunStatus.APPLYING}


def status_word(run: ImportRun) -> str:
    """The status as people and scripts read it."""
    return RunStatus(run.status).name.lower()


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
) -> imports_pb2.CreateImportRunResponse:
    """Open a run in `staging`, waiting up to 60 s for the tenant's active one to end (R44).

    Raises:
        NotFound, SourceStateError: the source does not exist, is disabled, or is no file.
        TenantBusy: the other run did not end in time.
    """
    deadline = imports.clock() + timedelta(seconds=TURN_WAIT_S)

    def work(session: Session) -> imports_pb2.CreateImportRunResponse:
        source = source_of(session, tenant_id, source_id)
        require_file(source)
        require_running(source)
        _one_at_a_time(session, tenant_id)
        if _active_runs(imports, session, tenant_id):
            raise _AnotherRunIsActiveError
        return answer(_open_run(imports, session, source, dry_run=dry_run, actor=actor))

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


def _one_at_a_time(session: Session, tenant_id: int) -> None:
    """Let two calls of one tenant look for active runs one after the other; SQLite's writers do so anyway."""
    if session.get_bind().dialect.name != "sqlite":
        session.connection().execute(
            text("SELECT pg_advisory_xact_lock(hashtext('muster.import_runs'), :tenant % 2147483647)"),
            {"tenant": tenant_id},
        )


def _active_runs(imports: Imports, session: Session, tenant_id: int) -> bool:
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


def interrupt(imports: Imports, session: Session, run: ImportRun) -> None:
    """End a run whose importer is gone; nothing of it is in the register."""
    end_run(
        imports,
        session,
        run,
        RunStatus.FAILED,
        reason="interrupted",
        message="The importer stopped in the middle; nothing was changed. Run the source again.",
        actor=Actor(source_id=run.source_id),
    )


def _open_run(imports: Imports, session: Session, source: Source, *, dry_run: bool, actor: Actor) -> ImportRun:
    now = imports.clock()
    run = ImportRun(
        tenant_id=source.tenant_id,
        id=ids.next_id(session, "import_run"),
        source_id=source.id,
        plan_only=dry_run or source.state == SourceState.TRIAL,
        counts=dict(NO_COUNTS),
        active_until=now + timedelta(seconds=LEASE_S),
        create_time=now,
    )
    session.add(run)
    source.last_run_id = run.id
    session.add(source)
    session.flush()
    write_run_event(session, run, "run.created", actor=actor, now=now)
    return run


def source_of(session: Session, tenant_id: int, source_id: int) -> Source:
    """Read a source; NotFound when the tenant has none of that id."""
    source = session.get(Source, (tenant_id, source_id))
    if source is None:
        raise NotFound(resource=SOURCE.format(tenant_id, source_id))
    return source


def require_running(source: Source) -> None:
    """Refuse a source of which nothing runs. Errors: NotFound (a deleted one), SourceStateError."""
    if source.delete_time is not None:
        raise NotFound(resource=SOURCE.format(source.tenant_id, source.id))
    if source.state in {SourceState.DISABLED, SourceState.PAUSED}:
        state = SourceState(source.state).name.lower()
        cure = "resume" if source.state == SourceState.PAUSED else "enable"
        raise SourceStateError(f"the source is {state}: {cure} it first", state=state)


def run_of(session: Session, tenant_id: int, run_id: int, *, for_update: bool = False) -> ImportRun:
    """Read a run; NotFound when the tenant has none of that id. `locked_run_of` reads it to change it."""
    run = session.get(ImportRun, (tenant_id, run_id), populate_existing=True, with_for_update=for_update)
    if run is None:
        raise NotFound(resource=IMPORT_RUN.format(tenant_id, run_id))
    return run


def locked_run_of(session: Session, tenant_id: int, run_id: int) -> ImportRun:
    """Read a run to change it: whoever else wants to waits and sees what became of it, so that a run ends once."""
    return run_of(session, tenant_id, run_id, for_update=True)


def require_status(run: ImportRun, *allowed: RunStatus) -> None:
    """RunState unless the run is in one of these."""
    if run.status not in allowed:
        raise RunState(status=status_word(run))


def require_staging(imports: Imports, tenant_id: int, run_id: int) -> None:
    """RunState unless the run takes rows."""
    with imports.store.read(tenant_id) as session:
        require_status(run_of(session, tenant_id, run_id), RunStatus.STAGING)


def renew_lease(imports: Imports, tenant_id: int, run_id: int, *, lease_s: float = LEASE_S) -> None:
    """Say that the run's importer is still there, or may come back; only while it stages or plans."""
    until = bindparam("until", imports.clock() + timedelta(seconds=lease_s), type_=UtcDateTime)
    sql = "UPDATE import_runs SET active_until = :until WHERE tenant_id = :t AND id = :r AND status = 1"
    with suppress(TenantLockedError), imports.store.write(tenant_id, lock=Lock.NONE) as session:
        session.connection().execute(text(sql).bindparams(until), {"t": tenant_id, "r": run_id})


@contextmanager
def kept_alive(imports: Imports, tenant_id: int, run_id: int) -> Iterator[None]:
    """Renew the run's lease until the block ends: planning a million rows takes longer than one lease."""
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(LEASE_S / 4):
            renew_lease(imports, tenant_id, run_id)

    renew_lease(imports, tenant_id, run_id)
    thread = threading.Thread(target=renew, name=f"lease-{run_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def finish_staging(
    imports: Imports,
    tenant_id: int,
    run_id: int,
    staged: Staged,
    *,
    file: dict[str, Any],
    newest_timestamp: datetime | None,
) -> None:
    """Keep what was staged; a newer file ends the source's held runs (R8)."""
    now = imports.clock()
    with imports.store.write(tenant_id) as session:
        run = locked_run_of(session, tenant_id, run_id)
        require_status(run, RunStatus.STAGING)
        run.staged_rows, run.staged_checksum = staged.row_count, staged.checksum
        run.file, run.newest_timestamp = file, newest_timestamp
        run.active_until = now + timedelta(seconds=LEASE_S)
        run.revision += 1
        session.add(run)
        source = source_of(session, tenant_id, run.source_id)
        source.nights_without_file = 0
        session.add(source)
        if run.plan_only:
            return
        held = session.exec(
            select(ImportRun)
            .where(
                ImportRun.tenant_id == tenant_id,
                ImportRun.source_id == run.source_id,
                ImportRun.status == RunStatus.HELD,
            )
            .order_by(col(ImportRun.id))
            .with_for_update()
        ).all()
        for older in held:
            end_run(
                imports,
                session,
                older,
                RunStatus.EXPIRED,
                reason=older.reason,
                message="A newer file came before anyone decided.",
                actor=Actor(source_id=run.source_id),
            )


def refuse_run(
    imports: Imports,
    tenant_id: int,
    run_id: int,
    *,
    status: RunStatus,
    reason: str,
    message: str,
    counts: Mapping[str, int],
    file: dict[str, Any],
    issues: list[ImportIssue],
    actor: Actor,
) -> ImportRun:
    """End a run whose file cannot be used: refused, no_file or failed; the same call again changes nothing."""
    with imports.store.write(tenant_id) as session:
        run = locked_run_of(session, tenant_id, run_id)
        if run.status == status:
            session.expunge(run)
            return run
        require_status(run, RunStatus.STAGING, RunStatus.PLANNED)
        source = source_of(session, tenant_id, run.source_id)
        if status == RunStatus.NO_FILE:
            source.nights_without_file += 1
            run.nights_without_file = source.nights_without_file
            session.add(source)
        run.counts = {**NO_COUNTS, **counts}
        run.plan = dict(run.counts)
        run.file = {**run.file, **file}
        session.add_all(issues)
        end_run(imports, session, run, status, reason=reason, message=message, actor=actor)
        session.flush()
        session.refresh(run)
        session.expunge(run)
    imports.space(run_id).drop()
    return run


def discard_run(imports: Imports, tenant_id: int, run_id: int, *, actor: Actor) -> ImportRun:
    """Decide against a held or planned run; again changes nothing."""
    with imports.store.write(tenant_id) as session:
        run = locked_run_of(session, tenant_id, run_id)
        if run.status != RunStatus.DISCARDED:
            if not (run.status == RunStatus.HELD or (run.status == RunStatus.PLANNED and run.plan_only)):
                raise RunState(status=status_word(run))
            end_run(imports, session, run, RunStatus.DISCARDED, reason=run.reason, message="Discarded.", actor=actor)
            session.flush()
        session.refresh(run)
        session.expunge(run)
    imports.space(run_id).drop()
    return run


def end_run(
    imports: Imports,
    session: Session,
    run: ImportRun,
    status: RunStatus,
    *,
    reason: str,
    message: str,
    actor: Actor,
) -> None:
    """Bring a run to rest in the caller's transaction, with its event; from that the report is made."""
    now = imports.clock()
    run.status, run.reason, run.message = status, reason, message
    run.end_time = now
    run.revision += 1
    session.add(run)
    write_run_event(session, run, EVENT_OF_STATUS[status], actor=actor, now=now)
    log.info("import.ended", run=IMPORT_RUN.format(run.tenant_id, run.id), status=status_word(run), reason=reason)


def write_run_event(session: Session, run: ImportRun, kind: str, *, actor: Actor, now: datetime) -> None:
    """Write an event about the run in the caller's transaction."""
    append_event(
        session,
        run.tenant_id,
        kind=kind,
        resource=("run", run.id),
        actor=actor,
        now=now,
        after={"status": status_word(run), "reason": run.reason},
        run_id=run.id,
    )
