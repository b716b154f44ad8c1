"""Answer ImporterService: see that the caller may, start the run on a thread of its own, and stream how far it is."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
from muster.directory.v1 import error_reason_pb2, sources_pb2
from muster.importer.v1 import importer_pb2, importer_pb2_grpc
from muster.runtime import errors, identity

from services.importer.directory import Directory, Run, TurnDidNotComeError
from services.importer.endpoints import endpoint_of
from services.importer.errors import TooLargeError
from services.importer.run import Importer, Progress, Publish, max_file_bytes
from services.importer.source_check import SourceTest
from services.importer.spool import Spool


class UnauthenticatedError(errors.RpcError):
    """The call carries no token."""

    reason = "UNAUTHENTICATED"


class InvalidArgumentError(errors.RpcError):
    """A field is missing, or a stream does not begin with its start."""

    reason = "INVALID_ARGUMENT"


class DirectorySaidError(errors.RpcError):
    """What the directory answered, told on with its reason."""

    def __init__(self, failure: errors.Failure) -> None:
        super().__init__(failure.message, metadata=failure.metadata, violations=failure.violations)
        self.reason = failure.reason
        self.retry_after_s = failure.retry_after_s


class DirectoryAwayError(errors.RpcError):
    """The directory does not answer."""

    reason = "STORE_UNAVAILABLE"
    retry_after_s = 2.0


class TenantBusyError(errors.RpcError):
    """The tenant's turn did not come in time."""

    reason = "TENANT_BUSY"
    retry_after_s = 10.0


def translate(error: Exception) -> errors.RpcError | None:
    """Tell on what the directory said; None for faults of our own."""
    if isinstance(error, TurnDidNotComeError):
        return TenantBusyError("another run of the tenant is active")
    if not isinstance(error, grpc.RpcError):
        return None
    failure = errors.failure_of(error)
    if f"ERROR_REASON_{failure.reason}" in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name:
        return DirectorySaidError(failure)
    if failure.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        return DirectoryAwayError("the directory does not answer")
    return None


class ImporterApi(importer_pb2_grpc.ImporterServiceServicer):
    """RunSource, ImportFile and TestSource. A run goes on to its rest even when its caller hangs up."""

    def __init__(self, directory: Directory, importer: Importer, *, temp_dir: Path | None) -> None:
        self._directory = directory
        self._importer = importer
        self._temp_dir = temp_dir
        self._threads: set[threading.Thread] = set()

    def RunSource(  # noqa: N802 - the contract's name
        self, request: importer_pb2.RunSourceRequest, context: grpc.ServicerContext
    ) -> Iterator[importer_pb2.RunSourceResponse]:
        """Fetch the source's file now and take it through."""
        source = self._source(request.source, context)

        def work(publish: Publish) -> Run:
            return self._importer.run_source(source, dry_run=request.dry_run, publish=publish)

        for progress, run in self._follow(work):
            yield importer_pb2.RunSourceResponse(progress=_to_proto(progress), import_run=run)

    def ImportFile(  # noqa: N802 - the contract's name
        self, request_iterator: Iterator[importer_pb2.ImportFileRequest], context: grpc.ServicerContext
    ) -> Iterator[importer_pb2.ImportFileResponse]:
        """Take a file's bytes through."""
        first = next(request_iterator, None)
        if first is None or first.WhichOneof("payload") != "start" or not first.start.file_name:
            raise InvalidArgumentError(
                "the stream must begin with a start that names source and file",
                violations=[("start", "is missing or incomplete")],
            )
        start = first.start
        source = self._source(start.source, context)
        spool = Spool(self._temp_dir, max_bytes=max_file_bytes(source))
        try:
            is_whole = _received(request_iterator, spool)
        except BaseException:
            spool.close()
            raise

        def work(publish: Publish) -> Run:
            with spool:
                if not is_whole:
                    return self._importer.refuse_too_large(
                        source, start.file_name, dry_run=start.dry_run, publish=publish
                    )
                return self._importer.import_file(
                    source, spool, start.file_name, dry_run=start.dry_run, publish=publish
                )

        for progress, run in self._follow(work):
            yield importer_pb2.ImportFileResponse(progress=_to_proto(progress), import_run=run)

    def TestSource(  # noqa: N802 - the contract's name
        self, request: importer_pb2.TestSourceRequest, context: grpc.ServicerContext
    ) -> Iterator[importer_pb2.TestSourceResponse]:
        """Go the way to the source's file step by step."""
        source = self._source(request.source, context)
        endpoint = endpoint_of(self._directory.secret(source.name))
        for check in SourceTest(source, endpoint, wait=self._importer.wait, now=self._importer.now).checks():
            yield importer_pb2.TestSourceResponse(check=check)

    def join(self, timeout_s: float) -> None:
        """Wait for the runs under way, `timeout_s` each; they hear of the end from Importer.wait and publish."""
        for thread in tuple(self._threads):
            thread.join(timeout_s)

    def _source(self, name: str, context: grpc.ServicerContext) -> sources_pb2.Source:
        token = identity.token_of(context.invocation_metadata())
        if token is None:
            raise UnauthenticatedError("send a bearer token")
        if not name:
            raise InvalidArgumentError("name a source", violations=[("source", "is empty")])
        return self._directory.source_as_seen_by(token, name)

    def _follow(self, work: Callable[[Publish], Run]) -> Iterator[tuple[Progress, Run | None]]:
        """Do the work on a thread and yield how far it is; the last pair has the run at rest."""
        news: queue.SimpleQueue[Progress | Run | Exception] = queue.SimpleQueue()

        def labour() -> None:
            try:
                news.put(work(news.put))
            except Exception as error:  # noqa: BLE001 - raised again where the caller waits
                news.put(error)
            finally:
                self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=labour, name="import", daemon=True)
        self._threads.add(thread)
        thread.start()
        progress = Progress()
        while True:
            heard = news.get()
            if isinstance(heard, Exception):
                raise heard
            if not isinstance(heard, Progress):
                yield progress, heard
                return
            progress = heard
            yield progress, None


def _received(messages: Iterator[importer_pb2.ImportFileRequest], spool: Spool) -> bool:
    """Write the file's bytes to the spool; False when there are too many of them."""
    try:
        for message in messages:
            if message.WhichOneof("payload") != "chunk":
                raise InvalidArgumentError("only chunks may follow the start", violations=[("chunk", "is missing")])
            spool.write(message.chunk)
    except TooLargeError:
        return False
    return True


def _to_proto(progress: Progress) -> importer_pb2.Progress:
    return importer_pb2.Progress(
        rows_sent=progress.rows_sent,
        rows_total=progress.rows_total,
        rows_applied=progress.rows_applied,
        rows_to_apply=progress.rows_to_apply,
    )
