"""Nights of the file, as the importer has them: staged, planned, decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from zlib import crc32

from muster.directory.v1 import imports_pb2

from tests.integration.roster.engine import block_of
from tests.reference.values import StagedRow

if TYPE_CHECKING:
    from tests.integration.directory.register.world import World

_COLUMNS = ["UniqueID", "Name", "Mail", "Title", "TelephoneNumber", "SecondaryTelephoneNumber", "Groups", "Skip"]


class Files:
    """Runs of one source."""

    def __init__(self, world: World, source: str) -> None:
        self.imports = world.support.imports
        self.world, self.source = world, source

    def plan(self, rows: Sequence[StagedRow], *, spares_settled: bool) -> imports_pb2.ImportRun:
        """Stage a file and plan it; settled rows travel by their hashes unless all are wanted."""
        source = self.world.sources.resource(self.source)
        run = self.imports.CreateImportRun(imports_pb2.CreateImportRunRequest(source=source)).import_run
        settled = self._settled(run.name) if spares_settled else frozenset()
        planned = self._stage_and_plan(run.name, rows, settled)
        if planned.status == imports_pb2.IMPORT_RUN_STATUS_STAGING:
            planned = self._stage_and_plan(run.name, rows, frozenset())
        return planned

    def apply(self, run: imports_pb2.ImportRun, *, leave_out: bool) -> imports_pb2.ImportRun:
        """Apply a planned run, or approve a held one, and wait for its rest."""
        deletions = imports_pb2.DELETIONS_LEAVE_OUT if leave_out else imports_pb2.DELETIONS_APPLY
        request = imports_pb2.ApplyImportRequest(import_run=run.name, plan_hash=run.plan_hash, deletions=deletions)
        self.imports.ApplyImport(request)
        watch = self.imports.WatchImportRun(imports_pb2.WatchImportRunRequest(import_run=run.name))
        return [answer.import_run for answer in watch][-1]

    def discard(self, run: imports_pb2.ImportRun) -> None:
        """Decide against it."""
        self.imports.DiscardImportRun(imports_pb2.DiscardImportRunRequest(import_run=run.name))

    def _settled(self, run: str) -> frozenset[bytes]:
        answers = self.imports.ListSettledRows(imports_pb2.ListSettledRowsRequest(import_run=run))
        hashes = b"".join(answer.row_hashes for answer in answers)
        return frozenset(hashes[place : place + 16] for place in range(0, len(hashes), 16))

    def _stage_and_plan(self, run: str, rows: Sequence[StagedRow], settled: frozenset[bytes]) -> imports_pb2.ImportRun:
        block = block_of(rows, settled)
        checksum = crc32("".join(f"{external_id}\n" for external_id in block.external_ids).encode())
        end = imports_pb2.ImportEnd(row_count=len(rows), checksum=crc32(block.settled_hashes, checksum))
        start = imports_pb2.StageImportStart(import_run=run, file=imports_pb2.ImportFileFacts(columns=_COLUMNS))
        payloads = ({"start": start}, {"block": block}, {"end": end})
        self.imports.StageImportRows(iter([imports_pb2.StageImportRowsRequest(**each) for each in payloads]))
        return self.imports.PlanImport(imports_pb2.PlanImportRequest(import_run=run)).import_run
