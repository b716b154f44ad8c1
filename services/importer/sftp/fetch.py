"""Copy one file once it is complete (R1, R2, R5, R7), and delete it when it has been taken."""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import paramiko
import stamina
import structlog

from services.importer.errors import (
    ConnectionLostError,
    FetchFailedError,
    NoFileError,
    TooLargeError,
    UnstableFileError,
)
from services.importer.sftp.endpoint import PATIENCE, Endpoint, Patience, RemoteFile
from services.importer.sftp.looks import has_settled, look, twin_of
from services.importer.sftp.markers import FoundMarker, Marker, find_marker
from services.importer.sftp.session import session

log = structlog.get_logger()

Wait = Callable[[float], None]
"""Waits for seconds; may raise to end the run."""

TRIES = 3
"""At a file that does not stand still (R1)."""


@dataclass(frozen=True)
class Fetched:
    """Which version of the file was copied, and which marker stood beside it."""

    file: RemoteFile
    marker: FoundMarker | None = None


class Sink(Protocol):
    """Where the bytes go; may refuse a file that grows beyond its limit."""

    def write(self, data: bytes, /) -> int:
        """Take the next bytes."""

    def clear(self) -> None:
        """Forget them: the file is fetched again."""

    @property
    def sha256(self) -> bytes:
        """SHA-256 of the bytes taken."""


def fetch(
    endpoint: Endpoint,
    sink: Sink,
    *,
    stable_for_s: float,
    max_bytes: int,
    wait: Wait,
    marker: Marker = Marker.NONE,
    patience: Patience = PATIENCE,
) -> Fetched:
    """Copy the file into `sink` once it is complete, and say which version of it that was.

    At most three tries, each of two looks `stable_for_s` apart; all of it again, with a growing pause, when the
    connection breaks or stalls. Raises NoFileError, UnstableFileError, TruncatedError (the end marker), TooLargeError,
    HostKeyMissingError, HostKeyChangedError, ConnectionFailedError, LoginFailedError or FetchFailedError.
    """
    for attempt in stamina.retry_context(
        on=ConnectionLostError,
        attempts=patience.tries,
        timeout=None,
        wait_initial=patience.first_pause_s,
        wait_max=patience.longest_pause_s,
    ):
        with attempt:
            sink.clear()
            with session(endpoint, patience) as sftp:
                copy = _Copy(sftp, endpoint.path, sink, max_bytes, patience)
                return copy.when_complete(stable_for_s, wait, marker)
    raise FetchFailedError  # not reached: the attempts return or raise


def delete(endpoint: Endpoint, fetched: Fetched, *, patience: Patience = PATIENCE) -> bool:
    """Delete the file if it is still the one that was fetched, and its marker; False when another has come meanwhile.

    The file goes first: a marker alone is no file, while a file alone would be refused the next night. Raises as
    `fetch` does.
    """
    with session(endpoint, patience) as sftp:
        if look(sftp, endpoint.path) != fetched.file:
            return False
        sftp.remove(endpoint.path)
        marker = fetched.marker
        if marker is not None and look(sftp, marker.path) == marker.file:
            sftp.remove(marker.path)
        return True


@dataclass(frozen=True)
class _Copy:
    """One file's way into the sink, within one session."""

    sftp: paramiko.SFTPClient
    path: str
    sink: Sink
    max_bytes: int
    patience: Patience

    def when_complete(self, stable_for_s: float, wait: Wait, marker: Marker) -> Fetched:
        for attempt in range(1, TRIES + 1):
            found = self._stable(stable_for_s, wait)
            if found is not None:
                beside = find_marker(self.sftp, self.path, found, marker)
                if self._copied_whole(found):
                    if beside is not None:
                        beside.check(self.sink.sha256)
                    return Fetched(found, beside)
            log.info("sftp.unstable", attempt=attempt)
            self.sink.clear()
        if twin := twin_of(self.sftp, self.path):
            raise UnstableFileError(because="twin_stayed", twin=posixpath.basename(self.path) + twin)
        raise UnstableFileError

    def _stable(self, stable_for_s: float, wait: Wait) -> RemoteFile | None:
        """Look once or twice; the file if it was the same each time and nobody is writing a twin of it."""
        first = self._look()
        has_twin = bool(twin_of(self.sftp, self.path))
        if first is None and not has_twin:
            raise NoFileError
        if first is not None and not has_twin and has_settled(self.sftp, self.path, first, stable_for_s):
            return first
        wait(stable_for_s)
        second = self._look()
        has_twin_now = bool(twin_of(self.sftp, self.path))
        if second is None and not has_twin_now:
            raise NoFileError
        return second if second == first and not has_twin and not has_twin_now else None

    def _look(self) -> RemoteFile | None:
        found = look(self.sftp, self.path)
        if found is not None and found.size_bytes > self.max_bytes:
            raise TooLargeError
        return found

    def _copied_whole(self, found: RemoteFile) -> bool:
        try:
            with _at_most(self.patience.transfer_s, self.sftp):
                received = self.sftp.getfo(self.path, self.sink)  # type: ignore[arg-type]  # it only writes
        except FileNotFoundError:  # taken away since the last look
            return False
        return received == found.size_bytes and look(self.sftp, self.path) == found


@contextmanager
def _at_most(seconds: float, sftp: paramiko.SFTPClient) -> Iterator[None]:
    """End the session when what is done inside takes longer. Raises FetchFailedError then."""
    ended = threading.Event()
    channel = sftp.get_channel()

    def end() -> None:
        ended.set()
        if channel is not None:
            channel.get_transport().close()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, EOFError, paramiko.SSHException) as error:
        if ended.is_set():
            raise FetchFailedError(because="too_slow") from error
        raise
    finally:
        timer.cancel()
