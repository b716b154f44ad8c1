"""Gather what a report says of the people whom a run changed, and of a file that looks different."""

from __future__ import annotations

from muster.directory.v1 import imports_pb2, imports_pb2_grpc

from services.notifier.report_data import Counts, People, Person, Shape

MOST_NAMES = 10
"""People of each kind of change whom a report names."""
_LOOK_BACK = 20  # runs among which the one before is sought


class ChangesReader:
    """Reads changes through the directory's import service. Every method raises grpc.aio.AioRpcError."""

    def __init__(self, imports: imports_pb2_grpc.ImportServiceAsyncStub) -> None:
        self._imports = imports

    async def people(self, run: str, counts: Counts) -> People:
        """Name the first people of each kind of change."""
        updated = counts.updated - counts.taken_over - counts.restored - counts.rekeyed
        return People(
            created=await self._first(run, imports_pb2.CHANGE_ACTION_CREATE, counts.created),
            updated=await self._first(run, imports_pb2.CHANGE_ACTION_UPDATE, updated),
            taken_over=await self._first(run, imports_pb2.CHANGE_ACTION_TAKE_OVER, counts.taken_over),
            restored=await self._first(run, imports_pb2.CHANGE_ACTION_RESTORE, counts.restored),
            rekeyed=await self._first(run, imports_pb2.CHANGE_ACTION_REKEY, counts.rekeyed),
            deleted=await self._first(run, imports_pb2.CHANGE_ACTION_DELETE, counts.deleted),
        )

    async def shape(self, run: imports_pb2.ImportRun) -> Shape | None:
        """Set the run's file beside that of the run applied before it; None when there is none."""
        if not run.HasField("file"):
            return None
        request = imports_pb2.ListImportRunsRequest(source=run.source, page_size=_LOOK_BACK)
        runs = (await self._imports.ListImportRuns(request)).import_runs
        earlier = [
            other
            for other in runs
            if other.status == imports_pb2.IMPORT_RUN_STATUS_APPLIED
            and other.HasField("file")
            and other.name != run.name
            and other.create_time.ToNanoseconds() < run.create_time.ToNanoseconds()
        ]
        return _compared(earlier[0], run) if earlier else None

    async def _first(self, run: str, action: imports_pb2.ChangeAction.ValueType, count: int) -> tuple[Person, ...]:
        if count <= 0:
            return ()
        request = imports_pb2.ListImportChangesRequest(import_run=run, action=action, page_size=min(count, MOST_NAMES))
        return tuple(_person(change) for change in (await self._imports.ListImportChanges(request)).changes)


def _person(change: imports_pb2.ImportChange) -> Person:
    deleted = change.action == imports_pb2.CHANGE_ACTION_DELETE
    updated = change.action == imports_pb2.CHANGE_ACTION_UPDATE
    return Person(
        name=change.display_name or change.external_id,
        fields=tuple(part.field for part in change.fields) if updated else (),
        groups_joined=0 if deleted else len(change.groups_added),
        groups_left=0 if deleted else len(change.groups_removed),
        groups_kept=0 if deleted else len(change.groups_kept),
        user=change.user,
    )


def _compared(before: imports_pb2.ImportRun, after: imports_pb2.ImportRun) -> Shape:
    return Shape(
        columns_before=tuple(before.file.columns),
        columns_after=tuple(after.file.columns),
        encoding_before=before.file.encoding,
        encoding_after=after.file.encoding,
        delimiter_before=before.file.delimiter,
        delimiter_after=after.file.delimiter,
        rows_before=before.counts.rows,
        rows_after=max(after.counts.rows, after.plan.rows),
    )
