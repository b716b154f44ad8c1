"""Run by itself what is due: claim sources, run each on a thread of its own, and keep the claims alive."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc
import structlog
from muster.directory.v1 import imports_pb2, sources_pb2
from muster.runtime.errors import failure_of
from muster.runtime.telemetry import fault_of

from services.importer.directory import Directory, TurnDidNotComeError
from services.importer.night_claim import NightClaim, PutBackError
from services.importer.run import Importer

log = structlog.get_logger()

LEASE_S = 60
"""A worker that says nothing for that long counts as gone; another one takes its sources up."""

_RENEW_EVERY_S = LEASE_S / 4
_FAILED = "failed"
_PUT_BACK = "put_back"
_NOT_OURS = "not_ours"
_LOST = frozenset({"CLAIM_LOST", "NOT_FOUND", "SOURCE_STATE"})


@dataclass(frozen=True)
class Tally:
    """How many nights ended how: words of runs (`applied`, `held`, …); `put_back` are to be tried again."""

    ended: Counter[str] = field(default_factory=Counter)

    @property
    def is_clean(self) -> bool:
        """Whether every night came to a rest that needs no other try."""
        return not (self.ended[_FAILED] or self.ended[_PUT_BACK])


@dataclass
class _UnderWay:
    claim: sources_pb2.SourceClaim
    thread: threading.Thread
    renewed_at: float
    is_lost: bool = False


class Nights:
    """One worker: it has so many nights at a time under way, and knows of nothing else; the directory keeps the rest.

    `stopping` is what the importer's waiting goes by, too: a night that hears of it gives its claim or its run back.
    """

    def __init__(
        self,
        directory: Directory,
        importer: Importer,
        *,
        at_a_time: int,
        every_s: float,
        stopping: threading.Event,
        worker: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._importer = importer
        self._at_a_time = at_a_time
        self._every_s = every_s
        self._stopping = stopping
        self._worker = worker or f"{socket.gethostname()}/{os.getpid()}"[-128:]
        self._clock = clock
        self._wake = threading.Event()
        self._under_way: dict[str, _UnderWay] = {}
        self._lock = threading.Lock()
        self._tally = Tally()

    def serve(self) -> None:
        """Ask for due sources every so often until told to stop; whatever fails is tried at the next turn."""
        log.info("nights.began", worker=self._worker, at_a_time=self._at_a_time)
        while not self._stopping.is_set():
            try:
                self._renew()
                self._fill()
            except grpc.RpcError as error:
                log.warning("nights.directory_away", reason=failure_of(error).reason)
            except Exception as error:  # noqa: BLE001 - the outermost loop: log and go on
                log.error("nights.fault", **fault_of(error))
            self._pause()

    def run_due(self) -> Tally:
        """Run what is due, and what becomes so meanwhile, until nothing is. Raises grpc.RpcError (no directory)."""
        while not self._stopping.is_set():
            was_busy = bool(self._nights())  # before asking: one that ends now may let another of its tenant be due
            self._renew()
            if not self._fill_unless_busy(was_busy=was_busy) and not was_busy:
                break
            self._pause()
        return self._tally

    def stop(self) -> None:
        """End the loop now; `stopping` tells the nights."""
        self._stopping.set()
        self._wake.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the nights under way, `timeout_s` each; of one that does not hear in time the lease runs out."""
        for night in self._nights():
            night.thread.join(timeout_s)

    def _fill(self) -> bool:
        """Claim as many sources as there is room for; answers whether there was one."""
        found = False
        while len(self._nights()) < self._at_a_time and not self._stopping.is_set():
            claim = self._directory.claim_due_source(self._worker, lease_s=LEASE_S, request_id=str(uuid.uuid4()))
            if claim is None:
                break
            found = True
            self._begin(claim)
        return found

    def _fill_unless_busy(self, *, was_busy: bool) -> bool:
        """Claim; a directory that restarts, or whose store is busy, does not end us while nights are under way."""
        try:
            return self._fill()
        except grpc.RpcError as error:
            reason = failure_of(error).reason
            if reason != "TENANT_BUSY" and not was_busy:
                raise
            log.warning("nights.directory_away", reason=reason)
            return True

    def _begin(self, claim: sources_pb2.SourceClaim) -> None:
        log.info("night.began", source=claim.source.name, attempt=claim.attempt)
        thread = threading.Thread(target=self._night, args=(claim,), name="night", daemon=True)
        with self._lock:
            self._under_way[claim.claim] = _UnderWay(claim, thread, self._clock())
        thread.start()

    def _renew(self) -> None:
        """Say of each claim that its worker is there, well before the lease is over."""
        for night in self._nights():
            if night.is_lost or self._clock() - night.renewed_at < _RENEW_EVERY_S:
                continue
            try:
                self._directory.renew_claim(night.claim, lease_s=LEASE_S)
            except grpc.RpcError as error:
                night.is_lost = _is_lost(error)  # or its run has just ended; either way the directory knows
                log.info("night.not_renewed", source=night.claim.source.name, reason=failure_of(error).reason)
            else:
                night.renewed_at = self._clock()

    def _night(self, claim: sources_pb2.SourceClaim) -> None:
        name = claim.source.name
        try:
            given = NightClaim(claim.claim, is_last_attempt=claim.is_last_attempt)
            run = self._importer.run_source(claim.source, dry_run=False, publish=lambda _: None, claim=given)
            outcome = imports_pb2.ImportRunStatus.Name(run.status).removeprefix("IMPORT_RUN_STATUS_").lower()
            log.info("night.ended", source=name, run=run.name, status=outcome)
        except Exception as error:  # noqa: BLE001 - outermost; it logs
            outcome = _NOT_OURS if _is_lost(error) else _PUT_BACK
            self._give_back(claim, error)
        finally:
            with self._lock:
                self._tally.ended[outcome] += 1
                self._under_way.pop(claim.claim, None)
            self._wake.set()

    def _give_back(self, claim: sources_pb2.SourceClaim, error: Exception) -> None:
        """Give a claim back for which there is no run; where that fails too, the lease runs out."""
        reason = self._reason_of(error)
        why = sources_pb2.ReleaseReason.Name(reason).removeprefix("RELEASE_REASON_").lower()
        log.warning("night.put_back", source=claim.source.name, why=why, **_fault_of(error))
        if reason == sources_pb2.RELEASE_REASON_UNSPECIFIED:
            return
        try:
            self._directory.release_claim(claim, reason, request_id=str(uuid.uuid4()))
        except grpc.RpcError as away:
            log.warning("night.left_to_its_lease", source=claim.source.name, reason=failure_of(away).reason)

    def _reason_of(self, error: Exception) -> sources_pb2.ReleaseReason.ValueType:
        if self._stopping.is_set():
            return sources_pb2.RELEASE_REASON_WORKER_ENDS
        if isinstance(error, TurnDidNotComeError):
            return sources_pb2.RELEASE_REASON_TENANT_BUSY
        if isinstance(error, grpc.RpcError):
            reason = failure_of(error).reason
            if reason == "TENANT_BUSY":
                return sources_pb2.RELEASE_REASON_TENANT_BUSY
            return sources_pb2.RELEASE_REASON_UNSPECIFIED  # lost, or a directory that is away: the lease runs out
        return sources_pb2.RELEASE_REASON_SERVER_AWAY

    def _nights(self) -> list[_UnderWay]:
        with self._lock:
            return list(self._under_way.values())

    def _pause(self) -> None:
        self._wake.wait(self._every_s)
        self._wake.clear()


def _is_lost(error: Exception) -> bool:
    """Whether the directory says that the source is another's by now, or nobody's."""
    return isinstance(error, grpc.RpcError) and failure_of(error).reason in _LOST


def _fault_of(error: Exception) -> dict[str, object]:
    if isinstance(error, PutBackError):
        return {"reason": error.code}
    if isinstance(error, grpc.RpcError):
        return {"reason": failure_of(error).reason}
    return dict(fault_of(error))
