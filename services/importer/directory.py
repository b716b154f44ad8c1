"""Speak to the directory: one method per step of a run, each repeated politely while the directory restarts."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import grpc
import stamina
import structlog
from muster.directory.v1 import imports_pb2, imports_pb2_grpc, sources_pb2, sources_pb2_grpc
from muster.runtime import errors, identity

from services.importer.errors import ImporterError
from services.importer.row_hash import SettledHashes

log = structlog.get_logger()

_AT_REST: Final = frozenset(
    {
        imports_pb2.IMPORT_RUN_STATUS_HELD,
        imports_pb2.IMPORT_RUN_STATUS_APPLIED,
        imports_pb2.IMPORT_RUN_STATUS_REFUSED,
        imports_pb2.IMPORT_RUN_STATUS_NO_FILE,
        imports_pb2.IMPORT_RUN_STATUS_DISCARDED,
        imports_pb2.IMPORT_RUN_STATUS_EXPIRED,
        imports_pb2.IMPORT_RUN_STATUS_FAILED,
        imports_pb2.IMPORT_RUN_STATUS_UNCHANGED,
    }
)
CREATE_TIMEOUT_S = 75.0
"""The directory waits up to 60 s for the tenant's turn (R44)."""
CLAIM_TIMEOUT_S = 10.0
"""Well within a lease."""
PLAN_TIMEOUT_S = 30 * 60.0
RESTART_PATIENCE_S = 120.0
_POLL_S = 1.0
_PAGE_SIZE = 1_000

Run = imports_pb2.ImportRun


class TurnDidNotComeError(ImporterError):
    """Another run of the tenant was active all the time (R44)."""


class WatchEndedError(ImporterError):
    """The stream of a run's progress ended before the run was at rest."""


class Directory:
    """The directory as the importer needs it, over one channel that carries the importer's own token."""

    def __init__(self, channel: grpc.Channel, *, wait: Callable[[float], None]) -> None:
        self._imports = imports_pb2_grpc.ImportServiceStub(channel)
        self._sources = sources_pb2_grpc.SourceServiceStub(channel)
        self._wait = wait

    def source_as_seen_by(self, token: str, name: str) -> sources_pb2.Source:
        """Read a source with the caller's own token: who may not see it may not run it."""
        request = sources_pb2.GetSourceRequest(name=name)
        return self._sources.GetSource(request, metadata=(identity.bearer(token),)).source

    def secret(self, source: str) -> sources_pb2.GetSourceSecretResponse:
        """Read where and as whom to fetch."""
        return self._sources.GetSourceSecret(sources_pb2.GetSourceSecretRequest(name=source))

    def claim_due_source(self, worker: str, *, lease_s: int, request_id: str) -> sources_pb2.SourceClaim | None:
        """Claim a source whose night is due; None when there is none."""
        request = sources_pb2.ClaimDueSourceRequest(worker=worker, lease_seconds=lease_s, request_id=request_id)
        answer = self._sources.ClaimDueSource(request, timeout=CLAIM_TIMEOUT_S)
        return answer.claim if answer.HasField("claim") else None

    def renew_claim(self, claim: sources_pb2.SourceClaim, *, lease_s: int) -> None:
        """Say that the claim's worker is still there."""
        request = sources_pb2.RenewClaimRequest(source=claim.source.name, claim=claim.claim, lease_seconds=lease_s)
        self._sources.RenewClaim(request, timeout=CLAIM_TIMEOUT_S)

    def release_claim(
        self, claim: sources_pb2.SourceClaim, reason: sources_pb2.ReleaseReason.ValueType, *, request_id: str
    ) -> None:
        """Give a claim back for which no run was opened."""
        request = sources_pb2.ReleaseClaimRequest(
            source=claim.source.name, claim=claim.claim, reason=reason, request_id=request_id
        )
        self._sources.ReleaseClaim(request, timeout=CLAIM_TIMEOUT_S)

    def create_run(self, source: str, *, dry_run: bool, claim: str = "") -> Run:
        """Open a run when it is the tenant's turn; TurnDidNotComeError when even the deadline passes."""
        request = imports_pb2.CreateImportRunRequest(
            source=source, dry_run=dry_run, request_id=str(uuid.uuid4()), claim=claim
        )
        try:
            return self._imports.CreateImportRun(request, timeout=CREATE_TIMEOUT_S).import_run
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise TurnDidNotComeError from error
            raise

    def record_unchanged(self, source: str, file: imports_pb2.ImportFileFacts, *, claim: str = "") -> Run | None:
        """Say which file is there; the run, `unchanged`, or None when the file is to be imported (R5).

        A directory that cannot say is asked for nothing less: the normal path finds out what is wrong.
        """
        request = imports_pb2.RecordUnchangedFileRequest(
            source=source, file=file, request_id=str(uuid.uuid4()), claim=claim
        )
        try:
            answer = self._imports.RecordUnchangedFile(request)
        except grpc.RpcError as error:
            log.info("import.unchanged_not_known", source=source, reason=errors.failure_of(error).reason)
            return None
        return answer.import_run if answer.HasField("import_run") else None

    def get_run(self, name: str) -> Run:
        """Read a run."""
        return self._imports.GetImportRun(imports_pb2.GetImportRunRequest(name=name)).import_run

    def settled_hashes(self, run: str) -> SettledHashes:
        """Read which rows need not be sent again."""
        request = imports_pb2.ListSettledRowsRequest(import_run=run)
        for attempt in _politely():
            with attempt:
                return SettledHashes(page.row_hashes for page in self._imports.ListSettledRows(request))
        raise WatchEndedError  # not reached: the attempts return or raise

    def stage(self, messages: Callable[[], Iterable[imports_pb2.StageImportRowsRequest]]) -> None:
        """Send the rows; when the stream breaks because the directory restarts, all of them again."""
        for attempt in _politely():
            with attempt:
                stream = _Stream(messages())
                try:
                    self._imports.StageImportRows(iter(stream))
                except grpc.RpcError:
                    if stream.fault is not None:
                        raise stream.fault from None
                    raise

    def plan(self, run: str) -> Run:
        """Have the rows planned."""
        request = imports_pb2.PlanImportRequest(import_run=run, rejected_rows_follow=True)
        for attempt in _politely():
            with attempt:
                return self._imports.PlanImport(request, timeout=PLAN_TIMEOUT_S).import_run
        raise WatchEndedError  # not reached: the attempts return or raise

    def apply(self, run: Run) -> Run:
        """Start to apply a planned run; one that went on without us is returned as it is."""
        request = imports_pb2.ApplyImportRequest(import_run=run.name, plan_hash=run.plan_hash)
        for attempt in _politely():
            with attempt:
                try:
                    return self._imports.ApplyImport(request).import_run
                except grpc.RpcError as error:
                    if errors.failure_of(error).reason == "RUN_STATE":
                        return self.get_run(run.name)
                    raise
        raise WatchEndedError  # not reached: the attempts return or raise

    def add_issues(self, run: str, first_number: int, issues: Sequence[imports_pb2.ImportIssue]) -> None:
        """Bring issues of a file that cannot be used; none only says that we are still here."""
        request = imports_pb2.AddImportIssuesRequest(import_run=run, first_number=first_number, issues=issues)
        for attempt in _politely():
            with attempt:
                self._imports.AddImportIssues(request)

    def rejected_lines(self, run: str) -> Iterator[int]:
        """Read the lines that the run's plan has rejected, in order."""
        rejected = imports_pb2.ISSUE_SEVERITY_REJECTED
        request = imports_pb2.ListImportIssuesRequest(import_run=run, severity=rejected, page_size=_PAGE_SIZE)
        while True:
            page = self._imports.ListImportIssues(request)
            yield from (issue.line for issue in page.issues)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def keep_rejected_rows(self, run: str, rows: Sequence[imports_pb2.RejectedRow], *, is_last: bool) -> None:
        """Bring rejected rows as they stand in the file."""
        request = imports_pb2.KeepRejectedRowsRequest(
            import_run=run, rejected_rows=imports_pb2.RejectedRows(rows=rows), is_last=is_last
        )
        for attempt in _politely():
            with attempt:
                self._imports.KeepRejectedRows(request)

    def refuse(self, request: imports_pb2.RefuseImportRunRequest) -> Run:
        """End a run whose file cannot be used; one that is past that is returned as it is."""
        for attempt in _politely():
            with attempt:
                try:
                    return self._imports.RefuseImportRun(request).import_run
                except grpc.RpcError as error:
                    if errors.failure_of(error).reason == "RUN_STATE":
                        return self.get_run(request.import_run)
                    raise
        raise WatchEndedError  # not reached: the attempts return or raise

    def watch(self, run: str, seen: Callable[[Run], None]) -> Run:
        """Follow a run until it is at rest, or wants all rows; `seen` gets it whenever it moves."""
        for attempt in _politely():
            with attempt:
                return self._watch_once(run, seen)
        raise WatchEndedError  # not reached: the attempts return or raise

    def _watch_once(self, name: str, seen: Callable[[Run], None]) -> Run:
        try:
            updates = self._imports.WatchImportRun(imports_pb2.WatchImportRunRequest(import_run=name))
            for update in updates:
                seen(update.import_run)
                if has_stopped(update.import_run):
                    updates.cancel()  # type: ignore[no-untyped-call]  # the stubs leave it out
                    return update.import_run
        except grpc.RpcError as error:
            if errors.failure_of(error).reason != "TOO_MANY_WATCHERS":
                raise
            return self._poll(name, seen)
        raise WatchEndedError

    def _poll(self, name: str, seen: Callable[[Run], None]) -> Run:
        while not has_stopped(run := self.get_run(name)):
            seen(run)
            self._wait(_POLL_S)
        return run


def has_stopped(run: Run) -> bool:
    """Tell whether nothing more happens to the run by itself: it is at rest, or wants all rows."""
    is_only_planned = run.status == imports_pb2.IMPORT_RUN_STATUS_PLANNED and run.plan_only
    return run.status in _AT_REST or is_only_planned or wants_all_rows(run)


def wants_all_rows(run: Run) -> bool:
    """Tell whether a run that was planned, or was to be applied, needs the rows that were not sent."""
    return run.status == imports_pb2.IMPORT_RUN_STATUS_STAGING


def _politely() -> Iterable[stamina.Attempt]:
    """Try again with a growing pause while the directory is away or the tenant busy, for two minutes at most."""
    return stamina.retry_context(
        on=_is_passing, attempts=None, timeout=RESTART_PATIENCE_S, wait_initial=0.2, wait_max=5.0
    )


def _is_passing(error: Exception) -> bool:
    if isinstance(error, WatchEndedError):
        return True
    if not isinstance(error, grpc.RpcError):
        return False
    return error.code() is grpc.StatusCode.UNAVAILABLE or errors.failure_of(error).reason == "STAGE_MISMATCH"


class _Stream:
    """Hands messages to gRPC and remembers what went wrong in making them, which gRPC would swallow."""

    def __init__(self, messages: Iterable[imports_pb2.StageImportRowsRequest]) -> None:
        self._messages = messages
        self.fault: Exception | None = None

    def __iter__(self) -> Iterator[imports_pb2.StageImportRowsRequest]:
        try:
            yield from self._messages
        except Exception as error:  # whatever it is, stage() raises it on the caller's thread
            self.fault = error
            raise
