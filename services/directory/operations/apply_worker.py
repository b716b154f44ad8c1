"""Apply the runs that wait for it beside the server, and end those whose importer is gone."""

from __future__ import annotations

import threading
import time

import structlog
from muster.runtime.telemetry import fault_of
from sqlmodel import col, select

from services.directory.operations.import_applies import apply_run
from services.directory.operations.import_stages import sweep_stages
from services.directory.operations.imports import Imports, interrupt, is_at_rest, locked_run_of
from services.directory.store.tables import ImportRun, RunStatus

log = structlog.get_logger()

SWEEP_EVERY_S = 60.0
"""How often stages that nobody needs are looked for."""


class ApplyWorker:
    """Applies runs that are `applying`, one at a time, and ends runs whose importer is gone.

    It looks by itself every second, so a run that a killed process left `applying` is planned and applied again; `wake`
    makes it look at once. On PostgreSQL several directories may do so: the tenant's lock decides which one applies.
    """

    def __init__(self, imports: Imports, *, every_s: float = 1.0) -> None:
        self._imports = imports
        self._every_s = every_s
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._loop, name=f"apply-{number}", daemon=True)
            for number in range(1 if imports.store.is_sqlite else 2)
        ]
        self._busy: set[int] = set()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin, with whatever is left from before."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    def stop(self) -> None:
        """End after the run under way; a run cut short is applied again at the next start."""
        self._ended.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(timeout=5.0)

    def _loop(self) -> None:
        swept = -SWEEP_EVERY_S
        while not self._ended.is_set():
            try:
                self._round()
                if time.monotonic() - swept >= SWEEP_EVERY_S:
                    swept = time.monotonic()
                    sweep_stages(self._imports)
            except Exception as error:  # noqa: BLE001 - the outermost loop: log and go on
                log.error("import.apply_round_failed", **fault_of(error))
            self._wake.wait(self._every_s)
            self._wake.clear()

    def _round(self) -> None:
        for tenant_id, run_id in open_runs(self._imports):
            if self._ended.is_set():
                return
            with self._lock:
                if run_id in self._busy:
                    continue
                self._busy.add(run_id)
            try:
                apply_run(self._imports, tenant_id, run_id)
            finally:
                with self._lock:
                    self._busy.discard(run_id)


def open_runs(imports: Imports) -> list[tuple[int, int]]:
    """Find runs to apply, of all tenants; those whose importer is gone are ended on the way."""
    now = imports.clock()
    with imports.store.read(None) as session:
        runs = session.exec(
            select(ImportRun).where(
                col(ImportRun.status).in_([RunStatus.STAGING, RunStatus.PLANNED, RunStatus.APPLYING])
            )
        ).all()
    for run in runs:
        if run.status != RunStatus.APPLYING and not is_at_rest(run) and run.active_until < now:
            _interrupt(imports, run)
    return [(run.tenant_id, run.id) for run in runs if run.status == RunStatus.APPLYING]


def _interrupt(imports: Imports, run: ImportRun) -> None:
    with imports.store.write(run.tenant_id) as session:
        kept = locked_run_of(session, run.tenant_id, run.id)
        if is_at_rest(kept) or kept.status == RunStatus.APPLYING or kept.active_until >= imports.clock():
            return
        interrupt(imports, session, kept)
    imports.space(run.id).drop()
