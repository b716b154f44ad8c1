"""An import run: read, kept alive while its importer works, brought to rest.

import_openings opens it, import_stages keeps its rows, import_plans plans it, import_applies applies it, and
import_endings and unchanged_files end it otherwise.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import bindparam, text
from sqlmodel import Session

from services.directory.operations.schedule import settle_night
from services.directory.roster.space import StageSpace
from services.directory.rules.errors import NotFound, RunState, SourceStateError
from services.directory.rules.names import IMPORT_RUN, SOURCE
from services.directory.store.events import Actor, append_event
from services.directory.store.session import Lock, Store, TenantLockedError
from services.directory.store.tables import ImportRun, RunStatus, Source, SourceState, UtcDateTime

log = structlog.get_logger()

LEASE_S = 45.0
"""A run nobody has spoken for that long is over: its importer is gone."""

BROKEN_STREAM_LEASE_S = 10.0
"""How long an importer whose stream of rows broke has to come back."""

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
        "claims_dropped",
    ),
    0,
)

NOT_YET_DONE: Final = (
    "created",
    "updated",
    "taken_over",
    "restored",
    "rekeyed",
    "deferred",
    "deleted",
    "claims_dropped",
)
"""Counts of a plan that are 0 in what its run has done, until it is applied (R46)."""

EVENT_OF_STATUS: Mapping[RunStatus, str] = {
    RunStatus.PLANNED: "run.planned",
    RunStatus.HELD: "run.held",
    RunStatus.APPLIED: "run.applied",
    RunStatus.REFUSED: "run.refused",
    RunStatus.NO_FILE: "run.no_file",
    RunStatus.DISCARDED: "run.discarded",
    RunStatus.EXPIRED: "run.expired",
    RunStatus.FAILED: "run.failed",
    RunStatus.UNCHANGED: "run.unchanged",
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
        return run.plan_only or run.undoes_run_id != 0
    return run.status not in {RunStatus.STAGING, RunStatus.APPLYING}


def status_word(run: ImportRun) -> str:
    """The status as people and scripts read it."""
    return RunStatus(run.status).name.lower()


def interrupt(imports: Imports, session: Session, run: ImportRun) -> None:
    """End a run whose importer is gone; nothing of it is in the register."""
    end_run(
        imports,
        session,
        run,
        RunStatus.FAILED,
        reason="interrupted",
        message=f"The importer stopped in the middle; nothing was changed. {_CURE[bool(run.claim_id)]}",
        actor=Actor(source_id=run.source_id),
    )


_CURE = {False: "Run the source again.", True: "The night is tried again by itself."}


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
    """Bring a run to rest in the caller's transaction, with its event, from which the report is made, and its night."""
    now = imports.clock()
    run.status, run.reason, run.message = status, reason, message
    run.end_time = now
    run.revision += 1
    session.add(run)
    write_run_event(session, run, EVENT_OF_STATUS[status], actor=actor, now=now)
    settle_night(session, run, now=now)
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
