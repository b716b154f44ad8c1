"""Gather what a report says of the people whom a run changed, and of a file that looks different."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from muster.directory.v1 import imports_pb2, imports_pb2_grpc

from services.notifier.report_data import Counts, People, Person, Reach, Shape

MOST_NAMES = 10
"""People of each kind of change whom a report names."""
MOST_COUNTED = 5_000
"""People of each kind of change whose phones are looked at."""

_PAGE = 1_000
_LOOK_BACK = 20  # runs among which the one before is sought


class ChangesReader:
    """Reads changes through the directory's import service. Every method raises grpc.aio.AioRpcError."""

    def __init__(self, imports: imports_pb2_grpc.ImportServiceAsyncStub) -> None:
        self._imports = imports

    async def people(self, run: str, counts: Counts) -> tuple[People, Reach]:
        """Name the first people of each kind of change, and count who can be reached by phone."""
        created = await self._changes(run, imports_pb2.CHANGE_ACTION_CREATE, counts.created, most=MOST_COUNTED)
        updates = counts.updated - counts.taken_over - counts.restored - counts.rekeyed
        updated = await self._changes(run, imports_pb2.CHANGE_ACTION_UPDATE, updates, most=MOST_COUNTED)
        taken_over = await self._changes(run, imports_pb2.CHANGE_ACTION_TAKE_OVER, counts.taken_over, most=MOST_NAMES)
        restored = await self._changes(run, imports_pb2.CHANGE_ACTION_RESTORE, counts.restored, most=MOST_NAMES)
        rekeyed = await self._changes(run, imports_pb2.CHANGE_ACTION_REKEY, counts.rekeyed, most=MOST_NAMES)
        deleted = await self._changes(run, imports_pb2.CHANGE_ACTION_DELETE, counts.deleted, most=MOST_NAMES)
        people = People(
            created=_persons(created),
            updated=_persons(updated),
            taken_over=_persons(taken_over),
            restored=_persons(restored),
            rekeyed=_persons(rekeyed),
            deleted=_persons(deleted),
        )
        phones = [_phone(change) for change in updated]
        reach = Reach(
            no_phone=sum(not _has_phone(change) for change in created),
            lost=sum(bool(before) and not after for before, after in phones),
            gained=sum(bool(after) and not before for before, after in phones),
            is_all=len(created) >= counts.created and len(updated) >= updates,
            most=MOST_COUNTED,
        )
        return people, reach

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

    async def _changes(
        self, run: str, action: imports_pb2.ChangeAction.ValueType, count: int, *, most: int
    ) -> list[imports_pb2.ImportChange]:
        return [change async for change in self._each(run, action, min(count, most))]

    async def _each(
        self, run: str, action: imports_pb2.ChangeAction.ValueType, most: int
    ) -> AsyncIterator[imports_pb2.ImportChange]:
        request = imports_pb2.ListImportChangesRequest(import_run=run, action=action)
        while most > 0:
            request.page_size = min(most, _PAGE)
            page = await self._imports.ListImportChanges(request)
            for change in page.changes:
                yield change
            most -= len(page.changes)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token


def _persons(changes: Sequence[imports_pb2.ImportChange]) -> tuple[Person, ...]:
    return tuple(_person(change) for change in changes[:MOST_NAMES])


def _person(change: imports_pb2.ImportChange) -> Person:
    deleted = change.action == imports_pb2.CHANGE_ACTION_DELETE
    updated = change.action == imports_pb2.CHANGE_ACTION_UPDATE
    return Person(
        name=change.display_name or change.external_id,
        fields=tuple(part.field for part in change.fields) if updated else (),
        groups_joined=0 if deleted else len(change.groups_added),
        groups_left=0 if deleted else len(change.groups_removed),
        user=change.user,
    )


def _has_phone(change: imports_pb2.ImportChange) -> bool:
    return any(part.field in {"phone", "secondary_phone"} and part.after for part in change.fields)


def _phone(change: imports_pb2.ImportChange) -> tuple[str, str]:
    return next(((part.before, part.after) for part in change.fields if part.field == "phone"), ("", ""))


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
