"""Take one run from its beginning to its rest: fetch, read, stage, plan, apply, watch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import grpc
import structlog
from muster.directory.v1 import imports_pb2, sources_pb2
from muster.runtime import errors as rpc_errors
from muster.runtime.telemetry import fault_of

from services.importer import rejected, sftp
from services.importer.csv_file import read_csv_file
from services.importer.directory import Directory, Run, has_stopped, wants_all_rows
from services.importer.endpoints import endpoint_of, marker_of
from services.importer.errors import (
    FaultError,
    FileRefusedError,
    InterruptedRunError,
    NoFileError,
    RunEndedError,
    TooLargeError,
)
from services.importer.night_claim import NightClaim, PutBackError
from services.importer.row_hash import SettledHashes, reading
from services.importer.row_layout import RowSettings
from services.importer.spool import MAX_FILE_BYTES, Spool
from services.importer.staging import ReadFile, file_name_of, staging_messages

log = structlog.get_logger()

_PROCESSED = (imports_pb2.IMPORT_RUN_STATUS_APPLIED, imports_pb2.IMPORT_RUN_STATUS_UNCHANGED)
_STOPPED = (sources_pb2.SOURCE_STATE_DISABLED, sources_pb2.SOURCE_STATE_PAUSED)


@dataclass(frozen=True)
class Progress:
    """How far a run is; totals are 0 until they are known."""

    rows_sent: int = 0
    rows_total: int = 0
    rows_applied: int = 0
    rows_to_apply: int = 0


Publish = Callable[[Progress], None]


@dataclass(frozen=True)
class Importer:
    """Runs imports; keeps nothing between them."""

    directory: Directory
    temp_dir: Path | None
    now: Callable[[], datetime]
    wait: Callable[[float], None]
    """Waits for seconds; raises InterruptedRunError when the importer is to stop."""

    def run_source(
        self, source: sources_pb2.Source, *, dry_run: bool, publish: Publish, claim: NightClaim | None = None
    ) -> Run:
        """Fetch the source's file and take it through; returns the run at rest.

        Raises only what CreateImportRun raises, grpc.RpcError when the directory stays away, and under a claim
        PutBackError.
        """
        fetched: list[tuple[sftp.Endpoint, sftp.Fetched]] = []

        def obtain(spool: Spool) -> None:
            endpoint = endpoint_of(self.directory.secret(source.name))
            found = sftp.fetch(
                endpoint,
                spool,
                stable_for_s=source.stable_for_seconds,
                max_bytes=max_file_bytes(source),
                wait=self.wait,
                marker=marker_of(source),
            )
            fetched.append((endpoint, found))

        with Spool(self.temp_dir, max_bytes=max_file_bytes(source)) as spool:
            file_name = file_name_of(source.sftp.path)
            journey = _Journey(self, source, spool, dry_run=dry_run, publish=publish, file_name=file_name, claim=claim)
            ended = journey.travel(obtain)
        if ended.status in _PROCESSED and source.delete_after_processing:
            self._delete(ended, *fetched[0])
        return ended

    def import_file(
        self, source: sources_pb2.Source, spool: Spool, file_name: str, *, dry_run: bool, publish: Publish
    ) -> Run:
        """Take a file by hand through all but the fetch; returns the run at rest. Raises as `run_source` does."""
        journey = _Journey(self, source, spool, dry_run=dry_run, publish=publish, file_name=file_name_of(file_name))
        return journey.travel(lambda _: None)

    def refuse_too_large(self, source: sources_pb2.Source, file_name: str, *, dry_run: bool, publish: Publish) -> Run:
        """End a run for a file by hand that passes the limit before it has arrived whole (R7)."""

        def obtain(_: Spool) -> None:
            raise TooLargeError

        with Spool(self.temp_dir) as nothing:
            journey = _Journey(
                self, source, nothing, dry_run=dry_run, publish=publish, file_name=file_name_of(file_name)
            )
            return journey.travel(obtain)

    def _delete(self, run: Run, endpoint: sftp.Endpoint, fetched: sftp.Fetched) -> None:
        """Delete the applied file and its marker (a setting); the run is applied whether this works or not."""
        try:
            is_deleted = sftp.delete(endpoint, fetched)
        except RunEndedError as error:
            log.warning("import.delete_failed", run=run.name, reason=error.code)
        else:
            log.info("import.deleted" if is_deleted else "import.newer_file_left", run=run.name)


def max_file_bytes(source: sources_pb2.Source) -> int:
    """The source's limit on its file (R7)."""
    return min(source.max_file_bytes or MAX_FILE_BYTES, MAX_FILE_BYTES)


class _Journey:
    """One run on its way.

    The run is opened once its file is here and read, or known to be unusable: a slow SFTP server must not keep the
    tenant's turn from other runs (R44), and the first look at a large file must not outlast the run's lease.
    """

    _run: Run

    def __init__(
        self,
        importer: Importer,
        source: sources_pb2.Source,
        spool: Spool,
        *,
        dry_run: bool,
        publish: Publish,
        file_name: str,
        claim: NightClaim | None = None,
    ) -> None:
        self._claim = claim
        self._claim_id = claim.id if claim else ""
        self._directory = importer.directory
        self._now = importer.now
        self._wait = importer.wait
        self._dry_run = dry_run
        self._source = source
        self._spool = spool
        self._publish = publish
        self._progress = Progress()
        self._facts = imports_pb2.ImportFileFacts(file_name=file_name)
        self._refused_file: ReadFile | None = None  # of which something was readable

    def travel(self, obtain: Callable[[Spool], None]) -> Run:
        """Get the file into the spool, read it and take it through; whatever happens, the run comes to rest.

        The last applied file again is not even read, unless there is something to do (R5); the directory says so.
        """
        is_stopped = self._source.state in _STOPPED  # the directory opens no run for it
        file = InterruptedRunError() if is_stopped else self._prepare(obtain)
        if isinstance(file, Run):
            log.info("import.unchanged", run=file.name, rows=file.counts.rows)
            return file
        if isinstance(file, RunEndedError) and self._claim is not None and self._claim.puts_back(file):
            raise PutBackError(file)
        self._run = self._directory.create_run(self._source.name, dry_run=self._dry_run, claim=self._claim_id)
        try:
            ended = self._take_through(file) if isinstance(file, ReadFile) else self._refuse(file)
        except RunEndedError as error:
            ended = self._refuse(error)
        except grpc.RpcError as error:
            log.warning("import.directory_fault", run=self._run.name, reason=rpc_errors.failure_of(error).reason)
            ended = self._refuse(InterruptedRunError())
        except Exception as error:  # noqa: BLE001 - outermost; it logs
            log.error("import.fault", run=self._run.name, **fault_of(error))
            ended = self._refuse(InterruptedRunError())
        log.info(
            "import.ended",
            run=ended.name,
            status=imports_pb2.ImportRunStatus.Name(ended.status),
            reason=ended.reason.partition(":")[0],
            rows=ended.counts.rows,
        )
        return ended

    def _prepare(self, obtain: Callable[[Spool], None]) -> ReadFile | Run | RunEndedError:
        """Get the file and read its shape, or the run that found it unchanged.

        Whatever goes wrong is answered, for a run that is opened to say so.
        """
        try:
            obtain(self._spool)
            return self._unchanged() or self._read()
        except RunEndedError as error:
            return error
        except Exception as error:  # noqa: BLE001 - outermost; it logs
            log.error("import.file_fault", source=self._source.name, **fault_of(error))
            return FaultError()

    def _unchanged(self) -> Run | None:
        """Ask whether this is the last applied file, with nothing to do about it (R5); a dry run shows its plan."""
        self._facts.size_bytes, self._facts.sha256 = self._spool.size_bytes, self._spool.sha256
        self._facts.reading = reading()
        return (
            None
            if self._dry_run
            else self._directory.record_unchanged(self._source.name, self._facts, claim=self._claim_id)
        )

    def _read(self) -> ReadFile:
        """Find out the file's shape; the FileRefusedError that applies, with what could be read counted."""
        settings = row_settings(self._source)
        csv_file = read_csv_file(
            self._spool.open,
            settings=settings,
            strict_encoding=self._source.strict_encoding,
            ends_with_eof=self._source.end_marker == sources_pb2.END_MARKER_EOF,
        )
        self._facts.encoding = csv_file.decoding.encoding
        self._facts.delimiter = csv_file.delimiter
        self._facts.columns.extend(csv_file.header.positions)
        rejected.describe(self._facts, csv_file)
        file = ReadFile(csv_file, settings, self._now())
        if csv_file.refusal is not None:
            self._refused_file = file
            raise csv_file.refusal
        return file

    def _take_through(self, file: ReadFile) -> Run:
        self._advance(rows_total=file.csv_file.rows)
        run = self._stage_and_apply(file, self._directory.settled_hashes(self._run.name))
        if wants_all_rows(run):
            log.info("import.all_rows_wanted", run=self._run.name)
            run = self._stage_and_apply(file, SettledHashes())
        return run

    def _stage_and_apply(self, file: ReadFile, settled: SettledHashes) -> Run:
        """Stage, plan and apply; returns the run at rest, or in `staging` when it wants all rows."""
        self._directory.stage(
            lambda: staging_messages(
                self._run.name, self._facts, file, lambda rows: self._advance(rows_sent=rows), settled
            )
        )
        planned = self._directory.plan(self._run.name)
        if planned.plan.rejected and not wants_all_rows(planned):
            rejected.keep_rejected_rows(self._directory, self._run.name, file.csv_file, self._wait)
        if has_stopped(planned):
            return planned
        self._advance(rows_to_apply=planned.plan.created + planned.plan.updated + planned.plan.deleted)
        applying = self._directory.apply(planned)
        if has_stopped(applying):
            return applying
        return self._directory.watch(self._run.name, lambda run: self._advance(rows_applied=run.applied_rows))

    def _advance(self, **figures: int) -> None:
        self._wait(0)  # ends the run when the importer is to stop
        self._progress = replace(self._progress, **figures)
        self._publish(self._progress)

    def _refuse(self, error: RunEndedError) -> Run:
        request = imports_pb2.RefuseImportRunRequest(
            import_run=self._run.name,
            status=_status_of(error),
            reason="" if isinstance(error, NoFileError) else error.code,
            message=error.message,
            file=self._facts,
        )
        if self._refused_file is not None:
            file, self._refused_file = self._refused_file, None
            told = rejected.tell_of_refused(self._directory, self._run.name, file, self._wait)
            request.counts.CopyFrom(told)
        return self._directory.refuse(request)


def _status_of(error: RunEndedError) -> imports_pb2.ImportRunStatus.ValueType:
    if isinstance(error, NoFileError):
        return imports_pb2.IMPORT_RUN_STATUS_NO_FILE
    if isinstance(error, FileRefusedError):
        return imports_pb2.IMPORT_RUN_STATUS_REFUSED
    return imports_pb2.IMPORT_RUN_STATUS_FAILED


def row_settings(source: sources_pb2.Source) -> RowSettings:
    """Take what decides how rows read out of a source's settings."""
    return RowSettings(
        group_separator=source.group_separator or ",",
        region=source.region,
        time_zone=_time_zone(source.time_zone),
    )


def _time_zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name) if name else UTC
    except (KeyError, ValueError, OSError):  # a zone that this machine's tables do not have
        log.warning("import.unknown_time_zone", zone=name)
        return UTC
