"""A directory for the importer's tests: real gRPC, no register; it keeps what it is sent and ends runs as told."""

# ruff: noqa: N802 - the contract's names

from __future__ import annotations

import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from muster.directory.v1 import imports_pb2, imports_pb2_grpc, sources_pb2, sources_pb2_grpc
from muster.runtime import errors, identity
from muster.runtime.server import Server

SOURCE = "tenants/ten_1/sources/src_1"
RUN = "tenants/ten_1/importRuns/run_1"
CALLER, STRANGER = "mst_svc_caller", "mst_svc_stranger"


class PermissionDeniedError(errors.RpcError):
    reason = "PERMISSION_DENIED"


class AwayError(errors.RpcError):
    reason = "STORE_UNAVAILABLE"


class BrokenError(errors.RpcError):
    reason = "INTERNAL"


class TooManyWatchersError(errors.RpcError):
    reason = "TOO_MANY_WATCHERS"


class RunStateError(errors.RpcError):
    reason = "RUN_STATE"


class TenantBusyError(errors.RpcError):
    reason = "TENANT_BUSY"


@dataclass
class DirectoryDouble(imports_pb2_grpc.ImportServiceServicer, sources_pb2_grpc.SourceServiceServicer):
    """`faults` are raised, in order, by the method they are listed under before it answers again."""

    source: sources_pb2.Source = field(default_factory=lambda: sources_pb2.Source(name=SOURCE))
    secret: sources_pb2.GetSourceSecretResponse = field(default_factory=sources_pb2.GetSourceSecretResponse)
    planned: imports_pb2.ImportRun = field(
        default_factory=lambda: imports_pb2.ImportRun(
            name=RUN,
            status=imports_pb2.IMPORT_RUN_STATUS_PLANNED,
            plan_hash="h4sh",
            plan=imports_pb2.ImportCounts(created=2, updated=1, deleted=1),
        )
    )
    faults: dict[str, list[Exception]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    facts: imports_pb2.ImportFileFacts | None = None
    lines: list[int] = field(default_factory=list)
    external_ids: list[str] = field(default_factory=list)
    row_hashes: list[bytes] = field(default_factory=list)
    issues: list[imports_pb2.ImportIssue] = field(default_factory=list)
    end: imports_pb2.ImportEnd | None = None
    refusal: imports_pb2.RefuseImportRunRequest | None = None
    added_issues: dict[int, imports_pb2.ImportIssue] = field(default_factory=dict)
    """Issues of a file that cannot be used, by number."""
    rejected_lines: list[int] = field(default_factory=list)
    """Lines that the plan rejects."""
    rejected_rows: dict[int, list[bytes]] = field(default_factory=dict)
    rejected_rows_are_whole: bool = False
    settled: set[bytes] = field(default_factory=set)
    settled_lines: list[int] = field(default_factory=list)
    wants_all_rows_from: str = ""
    """The method that answers settled rows by asking for all of them."""
    applied_hash: str = ""
    last_applied_sha256: bytes = b""
    due: int = 0
    """How many more times the source is due."""
    held_up: threading.Event | None = None
    """What a fetch waits for before it gets its secret."""
    claims_of_runs: list[str] = field(default_factory=list)
    released: list[sources_pb2.ReleaseReason.ValueType] = field(default_factory=list)
    _called_now: threading.Condition = field(default_factory=threading.Condition)

    def ClaimDueSource(self, request: Any, context: Any) -> Any:
        self._called("ClaimDueSource")
        assert request.request_id
        if not self.due:
            return sources_pb2.ClaimDueSourceResponse()
        self.due -= 1
        claim = sources_pb2.SourceClaim(claim=f"claim-{self.calls['ClaimDueSource']}", source=self.source, attempt=1)
        return sources_pb2.ClaimDueSourceResponse(claim=claim)

    def RenewClaim(self, request: Any, context: Any) -> Any:
        self._called("RenewClaim")
        return sources_pb2.RenewClaimResponse()

    def ReleaseClaim(self, request: Any, context: Any) -> Any:
        self._called("ReleaseClaim")
        assert request.request_id
        self.released.append(request.reason)
        return sources_pb2.ReleaseClaimResponse()

    def wait_for(self, method: str, count: int) -> None:
        """Wait until a method was called so many times."""
        with self._called_now:
            assert self._called_now.wait_for(lambda: self.calls[method] >= count, 10), method

    def GetSource(self, request: Any, context: Any) -> Any:
        self._called("GetSource")
        if identity.token_of(context.invocation_metadata()) != CALLER:
            raise PermissionDeniedError("not yours")
        return sources_pb2.GetSourceResponse(source=self.source)

    def GetSourceSecret(self, request: Any, context: Any) -> Any:
        self._called("GetSourceSecret")
        if self.held_up is not None:
            self.held_up.wait(10)
        return self.secret

    def CreateImportRun(self, request: Any, context: Any) -> Any:
        self._called("CreateImportRun")
        assert request.request_id
        self.claims_of_runs.append(request.claim)
        return imports_pb2.CreateImportRunResponse(import_run=self._run(imports_pb2.IMPORT_RUN_STATUS_STAGING))

    def RecordUnchangedFile(self, request: Any, context: Any) -> Any:
        self._called("RecordUnchangedFile")
        assert request.request_id
        assert request.file.reading
        is_unchanged = request.file.sha256 == self.last_applied_sha256
        run = self._run(imports_pb2.IMPORT_RUN_STATUS_UNCHANGED) if is_unchanged else None
        return imports_pb2.RecordUnchangedFileResponse(import_run=run)

    def ListSettledRows(self, request: Any, context: Any) -> Iterator[Any]:
        self._called("ListSettledRows")
        for row_hash in self.settled:
            yield imports_pb2.ListSettledRowsResponse(row_hashes=row_hash)

    def StageImportRows(self, request_iterator: Any, context: Any) -> Any:
        self.lines, self.external_ids, self.settled_lines, self.issues, self.end = [], [], [], [], None
        checksum = 0
        assert next(request_iterator).start.import_run == RUN
        for message in request_iterator:
            self._called("StageImportRows")
            if message.WhichOneof("payload") == "end":
                self.end = message.end
                break
            assert message.ByteSize() < 1024 * 1024
            self.lines.extend(message.block.lines)
            self.external_ids.extend(message.block.external_ids)
            self.row_hashes.append(message.block.row_hashes)
            self.settled_lines.extend(message.block.settled_lines)
            checksum = zlib.crc32("".join(f"{name}\n" for name in message.block.external_ids).encode(), checksum)
            checksum = zlib.crc32(message.block.settled_hashes, checksum)
            self.issues.extend(message.block.issues)
        assert self.end is not None
        assert self.end.row_count == len(self.lines) + len(self.settled_lines)
        assert self.end.checksum == checksum
        return imports_pb2.StageImportRowsResponse(row_count=len(self.lines))

    def PlanImport(self, request: Any, context: Any) -> Any:
        self._called("PlanImport")
        return imports_pb2.PlanImportResponse(import_run=self._unless_wanting("PlanImport", self.planned))

    def AddImportIssues(self, request: Any, context: Any) -> Any:
        self._called("AddImportIssues")
        self.added_issues.update(enumerate(request.issues, start=request.first_number))
        return imports_pb2.AddImportIssuesResponse()

    def ListImportIssues(self, request: Any, context: Any) -> Any:
        self._called("ListImportIssues")
        first = int(request.page_token or 0)
        shown = self.rejected_lines[first : first + 2]
        more = first + 2 < len(self.rejected_lines)
        return imports_pb2.ListImportIssuesResponse(
            issues=[imports_pb2.ImportIssue(line=line) for line in shown],
            next_page_token=str(first + 2) if more else "",
        )

    def KeepRejectedRows(self, request: Any, context: Any) -> Any:
        self._called("KeepRejectedRows")
        self.rejected_rows.update((row.line, list(row.cells)) for row in request.rejected_rows.rows)
        self.rejected_rows_are_whole = request.is_last
        return imports_pb2.KeepRejectedRowsResponse()

    def ApplyImport(self, request: Any, context: Any) -> Any:
        self._called("ApplyImport")
        self.applied_hash = request.plan_hash
        applying = self._run(imports_pb2.IMPORT_RUN_STATUS_APPLYING)
        return imports_pb2.ApplyImportResponse(import_run=self._unless_wanting("ApplyImport", applying))

    def WatchImportRun(self, request: Any, context: Any) -> Iterator[Any]:
        first = self._unless_wanting("WatchImportRun", self.planned)
        if first is not self.planned:
            yield imports_pb2.WatchImportRunResponse(import_run=first)
        for applied, status in (
            (2, imports_pb2.IMPORT_RUN_STATUS_APPLYING),
            (4, imports_pb2.IMPORT_RUN_STATUS_APPLIED),
        ):
            self._called("WatchImportRun")
            run = self._run(status)
            run.applied_rows = applied
            yield imports_pb2.WatchImportRunResponse(import_run=run)

    def GetImportRun(self, request: Any, context: Any) -> Any:
        self._called("GetImportRun")
        is_late = self.calls["GetImportRun"] > 1
        status = imports_pb2.IMPORT_RUN_STATUS_APPLIED if is_late else imports_pb2.IMPORT_RUN_STATUS_APPLYING
        return imports_pb2.GetImportRunResponse(import_run=self._run(status))

    def RefuseImportRun(self, request: Any, context: Any) -> Any:
        self._called("RefuseImportRun")
        self.refusal = request
        run = self._run(request.status)
        run.reason = request.reason
        return imports_pb2.RefuseImportRunResponse(import_run=run)

    def _unless_wanting(self, method: str, run: imports_pb2.ImportRun) -> imports_pb2.ImportRun:
        wants = self.settled_lines and self.wants_all_rows_from == method
        return self._run(imports_pb2.IMPORT_RUN_STATUS_STAGING) if wants else run

    def _run(self, status: Any) -> imports_pb2.ImportRun:
        return imports_pb2.ImportRun(name=RUN, source=self.source.name, status=status)

    def _called(self, method: str) -> None:
        with self._called_now:
            self.calls[method] += 1
            self._called_now.notify_all()
        if self.faults.get(method):
            raise self.faults[method].pop(0)


def serve(double: DirectoryDouble) -> Server:
    """Start a server for the double on a free port."""

    def register(server: grpc.Server) -> None:
        imports_pb2_grpc.add_ImportServiceServicer_to_server(double, server)
        sources_pb2_grpc.add_SourceServiceServicer_to_server(double, server)

    server = Server(register, service_names=[], address="127.0.0.1:0", threads=4)
    server.start()
    return server
