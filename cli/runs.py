"""Bring an import run to rest: follow it, approve it, read its rows, and say its exit status."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import grpc
from muster.directory.v1 import imports_pb2

from cli import documents
from cli.connect import Muster
from cli.errors import CommandError
from cli.listing import Listing
from cli.pages import every

EXIT_HELD, EXIT_REFUSED, EXIT_NO_FILE, EXIT_FAILED = 10, 20, 30, 1
_EXITS = {
    imports_pb2.IMPORT_RUN_STATUS_APPLIED: 0,
    imports_pb2.IMPORT_RUN_STATUS_UNCHANGED: 0,
    imports_pb2.IMPORT_RUN_STATUS_PLANNED: 0,
    imports_pb2.IMPORT_RUN_STATUS_HELD: EXIT_HELD,
    imports_pb2.IMPORT_RUN_STATUS_REFUSED: EXIT_REFUSED,
    imports_pb2.IMPORT_RUN_STATUS_NO_FILE: EXIT_NO_FILE,
}
_WITH_ROWS = (imports_pb2.IMPORT_RUN_STATUS_PLANNED, imports_pb2.IMPORT_RUN_STATUS_HELD)
_MOVING = (imports_pb2.IMPORT_RUN_STATUS_STAGING, imports_pb2.IMPORT_RUN_STATUS_APPLYING)
_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED)
_PATIENCE_S = 60.0  # a directory that was killed is back by then

Watcher = Callable[[imports_pb2.ImportRun], None]


class OnlyPlannedError(CommandError):
    """A dry run, or a run of a source in trial, cannot be approved."""

    def __init__(self) -> None:
        super().__init__(
            "the run only planned (a dry run, or its source in trial) and cannot be approved: "
            "run it again without --dry-run, after `muster source enable SOURCE` if the source is in trial"
        )


class OtherDecisionError(CommandError):
    """Someone approved the run before, and decided otherwise about its deletions."""

    def __init__(self, run: imports_pb2.ImportRun) -> None:
        done = "left out" if run.deletions_left_out else "applied"
        super().__init__(
            f"the run was already approved with its {run.plan.deleted} deletions {done}; look at it with "
            f"`muster runs show {run.name} --changes`"
        )


def exit_status(run: imports_pb2.ImportRun) -> int:
    """Say a run's outcome as an exit status: 0, 10 held, 20 refused, 30 no file, 1 for anything else."""
    return _EXITS.get(run.status, EXIT_FAILED)


def at_rest(run: imports_pb2.ImportRun) -> bool:
    """Tell whether the run stays as it is until someone acts; a plan about to be applied does not."""
    if run.status == imports_pb2.IMPORT_RUN_STATUS_PLANNED:
        return run.plan_only or bool(run.undoes)
    return run.status not in _MOVING


def approve(
    muster: Muster,
    run: imports_pb2.ImportRun,
    *,
    deletions: imports_pb2.Deletions.ValueType,
    watch: Watcher = lambda _: None,
) -> imports_pb2.ImportRun:
    """Approve the plan that `run` shows and wait for the outcome; it is held again when the plan has grown.

    Raises:
        OnlyPlannedError: the run is a dry run, or its source was in trial.
        OtherDecisionError: someone was faster, and decided otherwise about the deletions.
    """
    if run.status == imports_pb2.IMPORT_RUN_STATUS_PLANNED and run.plan_only:
        raise OnlyPlannedError
    request = imports_pb2.ApplyImportRequest(import_run=run.name, plan_hash=run.plan_hash, deletions=deletions)
    ended = follow(muster, muster.imports.ApplyImport(request).import_run, watch=watch)
    left_out = deletions == imports_pb2.DELETIONS_LEAVE_OUT
    decided_otherwise = ended.plan.deleted > 0 and ended.deletions_left_out != left_out
    if ended.status == imports_pb2.IMPORT_RUN_STATUS_APPLIED and decided_otherwise:
        raise OtherDecisionError(ended)
    return ended


def plan_undo(muster: Muster, name: str) -> imports_pb2.ImportRun:
    """Plan the undo of an applied run: a run of its own, which `undoes` it."""
    return muster.imports.PlanUndo(imports_pb2.PlanUndoRequest(import_run=name)).import_run


def undone_document(muster: Muster, undo: imports_pb2.ImportRun) -> documents.Document:
    """Write the run that was undone: `plan` is what was put back, the warnings whom the undo left out."""
    undone = documents.run(read_run(muster, undo.undoes))
    done = document_of(muster, undo)
    return undone | {name: done[name] for name in ("plan", "rejected", "warnings", "seats_total", "seats_used")}


def follow(
    muster: Muster,
    run: imports_pb2.ImportRun,
    *,
    watch: Watcher = lambda _: None,
    timeout_s: float | None = None,
) -> imports_pb2.ImportRun:
    """Wait until the run is at rest, over a restart of the directory too; after `timeout_s` return it as it is."""
    ends = time.monotonic() + timeout_s if timeout_s is not None else None
    silent_since = time.monotonic()
    while not at_rest(run):
        left = ends - time.monotonic() if ends is not None else None
        if left is not None and left <= 0:
            return run
        try:
            for answer in muster.imports.WatchImportRun(
                imports_pb2.WatchImportRunRequest(import_run=run.name), timeout=left
            ):
                run, silent_since = answer.import_run, time.monotonic()
                watch(run)
        except grpc.RpcError as error:
            if error.code() not in _PASSING or time.monotonic() - silent_since > _PATIENCE_S:
                raise
            time.sleep(0.3)
    return run


def read_run(muster: Muster, name: str) -> imports_pb2.ImportRun:
    """Read one run as it is now."""
    return muster.imports.GetImportRun(imports_pb2.GetImportRunRequest(name=name)).import_run


def document_of(muster: Muster, run: imports_pb2.ImportRun) -> documents.Document:
    """Write a run with all its rejected rows and warnings."""
    rejected, warnings = Listing(), Listing()
    for issue in _issues(muster, run):
        if issue.severity == imports_pb2.ISSUE_SEVERITY_REJECTED:
            rejected.append(documents.rejection(issue))
        else:
            warnings.append(documents.warning(issue))
    return documents.run(run) | {"rejected": rejected, "warnings": warnings}


def changes_of(muster: Muster, run: imports_pb2.ImportRun) -> Listing:
    """Write what the run's plan would change, or what the run did change."""
    request = imports_pb2.ListImportChangesRequest(import_run=run.name)
    return Listing(documents.change(each) for each in every(muster.imports.ListImportChanges, request, "changes"))


def rows_of(muster: Muster, run: imports_pb2.ImportRun) -> documents.Document:
    """Write the rows of a planned or held file with what each means, and how many of them are fine; else none."""
    if run.status not in _WITH_ROWS or run.undoes:
        return {"row_totals": None, "rows": []}
    request = imports_pb2.ListImportRowsRequest(import_run=run.name)
    totals: list[imports_pb2.ImportRowTotals] = []

    def page(asked: imports_pb2.ListImportRowsRequest) -> imports_pb2.ListImportRowsResponse:
        answer = muster.imports.ListImportRows(asked)
        totals.append(answer.totals) if answer.HasField("totals") else None
        return answer

    rows = Listing(documents.import_row(each) for each in every(page, request, "rows"))
    return {"row_totals": documents.row_totals(totals[0]), "rows": rows}


def rejected_rows_of(muster: Muster, run: str) -> Iterator[bytes]:
    """Read the run's rejected rows as a CSV file, piece by piece; the first is there before this returns."""
    pieces = (
        answer.chunk
        for answer in muster.imports.DownloadRejectedRows(imports_pb2.DownloadRejectedRowsRequest(import_run=run))
    )
    return chain([next(pieces)], pieces)


def _issues(muster: Muster, run: imports_pb2.ImportRun) -> Iterator[Any]:
    request = imports_pb2.ListImportIssuesRequest(import_run=run.name)
    return every(muster.imports.ListImportIssues, request, "issues")
