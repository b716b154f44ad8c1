"""ImportService: runs, their rows, plans and decisions."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import grpc
from muster.directory.v1 import imports_pb2

from services.directory.api import access, pages
from services.directory.api.import_messages import (
    change_to_proto,
    file_of,
    issue_of,
    issue_to_proto,
    newest_timestamp,
    to_proto,
)
from services.directory.api.import_rows import ImportRowServicer
from services.directory.api.servicer import Resources, WatchSlots
from services.directory.operations import (
    import_applies,
    import_endings,
    import_openings,
    import_plans,
    import_reads,
    import_stages,
    import_undo,
    unchanged_files,
)
from services.directory.operations import imports as operations
from services.directory.operations.apply_worker import ApplyWorker
from services.directory.operations.imports import Imports
from services.directory.operations.replay import Attempt
from services.directory.roster.stage import stage_rows
from services.directory.rules.errors import InvalidArgument
from services.directory.rules.names import IMPORT_RUN, SOURCE, parse
from services.directory.store.tables import RunStatus

RENEW_EVERY_S = 5.0
_MAX_REFUSAL_ISSUES = 1000
_ENDINGS = {
    imports_pb2.IMPORT_RUN_STATUS_REFUSED: RunStatus.REFUSED,
    imports_pb2.IMPORT_RUN_STATUS_NO_FILE: RunStatus.NO_FILE,
    imports_pb2.IMPORT_RUN_STATUS_FAILED: RunStatus.FAILED,
}


class ImportServicer(ImportRowServicer):
    """Translates; every decision is in operations and roster."""

    def __init__(self, resources: Resources, imports: Imports, worker: ApplyWorker) -> None:
        super().__init__(resources, imports)
        self._worker = worker
        self._run_watchers = WatchSlots()

    def CreateImportRun(
        self, request: imports_pb2.CreateImportRunRequest, context: grpc.ServicerContext
    ) -> imports_pb2.CreateImportRunResponse:
        """Open a run."""
        tenant_id, source_id = parse(SOURCE, request.source, field="source")
        caller = access.require(context, tenant_id)
        return import_openings.create_run(
            self._imports,
            self.seal,
            tenant_id,
            source_id,
            dry_run=request.dry_run,
            actor=caller.actor,
            attempt=Attempt.of(request.DESCRIPTOR.full_name, request),
            answer=lambda run: imports_pb2.CreateImportRunResponse(import_run=to_proto(run)),
            claim_id=request.claim,
        )

    def RecordUnchangedFile(
        self, request: imports_pb2.RecordUnchangedFileRequest, context: grpc.ServicerContext
    ) -> imports_pb2.RecordUnchangedFileResponse:
        """End a run at its beginning, when its file is the last applied one."""
        tenant_id, source_id = parse(SOURCE, request.source, field="source")
        caller = access.require(context, tenant_id)
        return unchanged_files.record_unchanged_file(
            self._imports,
            self.seal,
            tenant_id,
            source_id,
            file=file_of(request.file),
            actor=caller.actor,
            attempt=Attempt.of(request.DESCRIPTOR.full_name, request),
            answer=lambda run: imports_pb2.RecordUnchangedFileResponse(import_run=to_proto(run)),
            claim_id=request.claim,
        )

    def ListSettledRows(
        self, request: imports_pb2.ListSettledRowsRequest, context: grpc.ServicerContext
    ) -> Iterator[imports_pb2.ListSettledRowsResponse]:
        """Stream the hashes of rows that need not be sent."""
        tenant_id, run_id = parse(IMPORT_RUN, request.import_run, field="import_run")
        access.require(context, tenant_id)
        for hashes in import_reads.settled_hashes(self._imports, tenant_id, run_id):
            yield imports_pb2.ListSettledRowsResponse(row_hashes=hashes)

    def StageImportRows(
        self, request_iterator: Iterator[imports_pb2.StageImportRowsRequest], context: grpc.ServicerContext
    ) -> imports_pb2.StageImportRowsResponse:
        """Take the rows."""
        start = next(request_iterator, None)
        if start is None or not start.HasField("start"):
            raise InvalidArgument([("payload", "the first message must be `start`")])
        tenant_id, run_id = parse(IMPORT_RUN, start.start.import_run, field="start.import_run")
        access.require(context, tenant_id)
        operations.require_staging(self._imports, tenant_id, run_id)
        stream = _Stream(request_iterator, lambda: operations.renew_lease(self._imports, tenant_id, run_id))
        try:
            staged = stage_rows(self._imports.space(run_id), stream.blocks(), stream.end)
        except Exception:
            operations.renew_lease(self._imports, tenant_id, run_id, lease_s=operations.BROKEN_STREAM_LEASE_S)
            raise
        import_stages.finish_staging(
            self._imports,
            tenant_id,
            run_id,
            staged,
            file=file_of(start.start.file),
            newest_timestamp=newest_timestamp(stream.end()),
        )
        return imports_pb2.StageImportRowsResponse(row_count=staged.row_count)

    def RefuseImportRun(
        self, request: imports_pb2.RefuseImportRunRequest, context: grpc.ServicerContext
    ) -> imports_pb2.RefuseImportRunResponse:
        """End a run whose file cannot be used."""
        tenant_id, run_id = parse(IMPORT_RUN, request.import_run, field="import_run")
        caller = access.require(context, tenant_id)
        if request.status not in _ENDINGS:
            raise InvalidArgument([("status", "must be REFUSED, NO_FILE or FAILED")])
        run = import_endings.refuse_run(
            self._imports,
            tenant_id,
            run_id,
            status=_ENDINGS[request.status],
            reason=request.reason,
            message=request.message,
            counts={
                "rows": request.counts.rows,
                "skipped": request.counts.skipped,
                "rejected": request.counts.rejected,
            },
            file=file_of(request.file) if request.HasField("file") else {},
            issues=[
                issue_of(tenant_id, run_id, number, issue)
                for number, issue in enumerate(request.issues[:_MAX_REFUSAL_ISSUES], start=1)
            ],
            actor=caller.actor,
        )
        return imports_pb2.RefuseImportRunResponse(import_run=to_proto(run))

    def PlanImport(
        self, request: imports_pb2.PlanImportRequest, context: grpc.ServicerContext
    ) -> imports_pb2.PlanImportResponse:
        """Plan the run."""
        tenant_id, run_id = parse(IMPORT_RUN, request.import_run, field="import_run")
        access.require(context, tenant_id)
        run = import_plans.plan_run(self._imports, tenant_id, run_id, rejected_rows_follow=request.rejected_rows_follow)
        return imports_pb2.PlanImportResponse(import_run=to_proto(run))

    def ApplyImport(
        self, request: imports_pb2.ApplyImportRequest, context: grpc.ServicerContext
    ) -> imports_pb2.ApplyImportResponse:
        """Start to apply it, or approve it."""
        tenant_id, run_id = parse(IMPORT_RUN, request.import_run, field="import_run")
        caller = access.require(context, tenant_id)
        run = import_applies.start_apply(
            self._imports,
            tenant_id,
            run_id,
            plan_hash=request.plan_hash,
            leave_deletions_out=request.deletions == imports_pb2.DELETIONS_LEAVE_OUT,
            actor=caller.actor,
        )
        self._worker.wake()
        return imports_pb2.ApplyImportResponse(import_run=to_proto(run))

    def DiscardImportRun(
        self, request: imports_pb2.DiscardImportRunRequest, context: grpc.ServicerContext
    ) -> imports_pb2.DiscardImportRunResponse:
        """Decide against it."""
        tenant_id, run_id = parse(IMPORT_RUN, request.import_run, field="import_run")
        caller = access.require(context, tenant_id)
        run = import_endings.discard_run(self._imports, tenant_id, run_id, actor=caller.actor)
        return imports_pb2.DiscardImportRunResponse(import_run=to_proto(run))

    def PlanUndo(
        self, request: imports_pb2.PlanUndoRequest, context: grpc.ServicerContext
    ) -> imports_pb2.PlanUndoResponse:
        """Plan an applied run's inverse."""
        tenant_id, run_id = parse(IMPORT_RUN, request.import_run, field="import_run")
        caller = access.require(context, tenant_id)
        run = import_undo.plan_undo(self._imports, tenant_id, run_id, actor=caller.actor)
        return imports_pb2.PlanUndoResponse(import_run=to_proto(run))

    def GetImportRun(
        self, request: imports_pb2.GetImportRunRequest, context: grpc.ServicerContext
    ) -> imports_pb2.GetImportRunResponse:
        """Read one run."""
        tenant_id, run_id = parse(IMPORT_RUN, request.name, field="name")
        access.require(context, tenant_id)
        with self._imports.store.read(tenant_id) as session:
            run = import_reads.get_run(session, tenant_id, run_id)
        applied = self._imports.progress.of(run_id)
        return imports_pb2.GetImportRunResponse(import_run=to_proto(run, applied_rows=applied))

    def ListImportRuns(
        self, request: imports_pb2.ListImportRunsRequest, context: grpc.ServicerContext
    ) -> imports_pb2.ListImportRunsResponse:
        """Page through a source's runs."""
        tenant_id, source_id = parse(SOURCE, request.source, field="source")
        access.require(context, tenant_id)
        page = pages.page_of(request, start=(0,))
        with self._imports.store.read(tenant_id) as session:
            runs = import_reads.list_runs(session, tenant_id, source_id, before_id=page.after[0], limit=page.limit)
        shown, token = page.cut(runs, lambda run: (run.id,))
        return imports_pb2.ListImportRunsResponse(import_runs=[to_proto(run) for run in shown], next_page_token=token)

    def WatchImportRun(
        self, request: imports_pb2.WatchImportRunRequest, context: grpc.ServicerContext
    ) -> Iterator[imports_pb2.WatchImportRunResponse]:
        """Follow a run to its rest."""
        tenant_id, run_id = parse(IMPORT_RUN, request.import_run, field="import_run")
        access.require(context, tenant_id)
        with self._run_watchers.take():
            for run, applied in import_reads.watch_run(self._imports, tenant_id, run_id):
                if not context.is_active():
                    return
                yield imports_pb2.WatchImportRunResponse(import_run=to_proto(run, applied_rows=applied))

    def ListImportChanges(
        self, request: imports_pb2.ListImportChangesRequest, context: grpc.ServicerContext
    ) -> imports_pb2.ListImportChangesResponse:
        """Page through a run's changes."""
        tenant_id, run_id = parse(IMPORT_RUN, request.import_run, field="import_run")
        access.require(context, tenant_id)
        page = pages.page_of(request, start=(-1, 0))
        changes = import_reads.list_changes(
            self._imports,
            tenant_id,
            run_id,
            action=request.action,
            after=(page.after[0], page.after[1]),
            limit=page.limit,
        )
        shown, token = page.cut(changes, lambda change: change.key)
        return imports_pb2.ListImportChangesResponse(
            changes=[change_to_proto(tenant_id, change) for change in shown], next_page_token=token
        )

    def ListImportIssues(
        self, request: imports_pb2.ListImportIssuesRequest, context: grpc.ServicerContext
    ) -> imports_pb2.ListImportIssuesResponse:
        """Page through a run's issues."""
        tenant_id, run_id = parse(IMPORT_RUN, request.import_run, field="import_run")
        access.require(context, tenant_id)
        page = pages.page_of(request, start=(0,))
        with self._imports.store.read(tenant_id) as session:
            issues = import_reads.list_issues(
                session,
                tenant_id,
                run_id,
                severity=request.severity,
                after_number=page.after[0],
                limit=page.limit,
            )
        shown, token = page.cut(issues, lambda issue: (issue.number,))
        return imports_pb2.ListImportIssuesResponse(
            issues=[issue_to_proto(issue) for issue in shown], next_page_token=token
        )


class _Stream:
    """The blocks of a stream after its start; its end, once the blocks are read; a renewed lease on the way."""

    def __init__(self, requests: Iterator[imports_pb2.StageImportRowsRequest], renew: Callable[[], None]) -> None:
        self._requests = requests
        self._renew = renew
        self._end: imports_pb2.ImportEnd | None = None

    def blocks(self) -> Iterator[imports_pb2.ImportBlock]:
        """Yield the blocks; a stream that stops without its end is no file."""
        renewed = time.monotonic()
        for request in self._requests:
            if request.HasField("end"):
                self._end = request.end
                return
            yield request.block
            if time.monotonic() - renewed > RENEW_EVERY_S:
                self._renew()
                renewed = time.monotonic()

    def end(self) -> imports_pb2.ImportEnd:
        """The stream's last message. Errors: InvalidArgument when it did not come."""
        if self._end is None:
            raise InvalidArgument([("payload", "the last message must be `end`")])
        return self._end
