"""Go the way to a source's file step by step, and say of each step what works, or why not and what to do."""

from __future__ import annotations

import difflib
import hashlib
import io
import posixpath
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from muster.directory.v1 import sources_pb2
from muster.importer.v1 import importer_pb2 as pb

from services.importer import sftp, vocabulary
from services.importer.csv_file import read_csv_file
from services.importer.endpoints import marker_of
from services.importer.errors import (
    ConnectionFailedError,
    HostKeyMissingError,
    NoFileError,
    RunEndedError,
    TooLargeError,
    UnstableFileError,
)
from services.importer.sftp import looks
from services.importer.sftp.keys import fingerprint_of, line_of, pinned_key
from services.importer.sftp.markers import find_marker
from services.importer.sftp.session import (
    KindNotOfferedError,
    connect,
    failures_named,
    host_key_changed,
    logged_in,
    opened_sftp,
)
from services.importer.spool import MAX_FILE_BYTES
from services.importer.timestamps import STALE_AFTER

if TYPE_CHECKING:
    import paramiko

SAMPLE_BYTES = 64 * 1024
MOST_WAITED_S = 30
"""Between two looks at the file, however long the source's own `stable_for` is."""
_MOST_NAMES = 1000
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}


class SourceTest:
    """One test of one source. Nothing is written, here or there."""

    def __init__(
        self,
        source: sources_pb2.Source,
        endpoint: sftp.Endpoint,
        *,
        wait: Callable[[float], None],
        now: Callable[[], datetime],
        patience: sftp.Patience = sftp.PATIENCE,
    ) -> None:
        self._source = source
        self._endpoint = endpoint
        self._wait = wait
        self._now = now
        self._patience = patience
        self._at(pb.SOURCE_CHECK_STEP_NAME)

    def checks(self) -> Iterator[pb.SourceCheck]:
        """Take the steps; the last one is the first that fails. Each is told once it has been taken."""
        try:
            yield self._name()
            yield from self._connection()
            self._at(pb.SOURCE_CHECK_STEP_LOGIN)
            pinned = pinned_key(self._endpoint.host_key)
            with closing(logged_in(self._endpoint, pinned, self._patience)) as transport, failures_named():
                client = opened_sftp(transport, self._patience)
                yield self._passed("The server accepts the login and serves SFTP.")
                yield from self._file(client)
        except RunEndedError as error:
            yield self._failed(error)

    def _at(self, step: pb.SourceCheckStep.ValueType) -> None:
        """Begin a step; what it finds goes into its check, whatever comes of it."""
        self._step = step
        self._facts: dict[str, Any] = {}

    def _name(self) -> pb.SourceCheck:
        host = self._endpoint.host
        try:
            found = socket.getaddrinfo(host, self._endpoint.port, type=socket.SOCK_STREAM) if host else []
        except (OSError, UnicodeError) as error:
            raise ConnectionFailedError(because="no_such_host") from error
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        if not addresses:
            raise ConnectionFailedError(because="no_such_host")
        return self._passed(f"The server's name has the address {', '.join(addresses[:4])}.")

    def _connection(self) -> Iterator[pb.SourceCheck]:
        """Reach the server and look at its host key; nobody logs in with one that is not pinned."""
        self._at(pb.SOURCE_CHECK_STEP_CONNECTION)
        try:
            pinned = pinned_key(self._endpoint.host_key)
        except HostKeyMissingError:
            pinned = None
        try:
            transport = connect(self._endpoint, self._patience, kind=pinned.get_name() if pinned else "")
        except KindNotOfferedError:
            transport = connect(self._endpoint, self._patience)
        with closing(transport):
            yield self._passed(f"The server answers as {transport.remote_version}.")
            self._at(pb.SOURCE_CHECK_STEP_HOST_KEY)
            shown = transport.get_remote_server_key()
        key = pb.ShownHostKey(
            host_key=line_of(shown),
            fingerprint=shown.fingerprint,
            standing=pb.HOST_KEY_STANDING_NEW,
            pinnable=bool(self._source.sftp.host),
        )
        self._facts = {"host_key": key}
        if pinned is None:
            raise HostKeyMissingError(because="host_key_new", shown=fingerprint_of(shown))
        key.pinned_fingerprint = pinned.fingerprint
        key.standing = pb.HOST_KEY_STANDING_CHANGED
        if shown.asbytes() != pinned.asbytes():
            raise host_key_changed(shown=shown, pinned=pinned)
        key.standing = pb.HOST_KEY_STANDING_PINNED
        yield self._passed(f"The server shows the pinned host key, {fingerprint_of(shown)}.")

    def _file(self, client: paramiko.SFTPClient) -> Iterator[pb.SourceCheck]:
        path = self._endpoint.path
        self._at(pb.SOURCE_CHECK_STEP_FOLDER)
        yield self._folder(client, posixpath.dirname(path))
        self._at(pb.SOURCE_CHECK_STEP_FILE)
        found = self._look(client)
        yield self._found(found)
        self._at(pb.SOURCE_CHECK_STEP_READ)
        with client.open(path, "rb") as file:
            sample = file.read(SAMPLE_BYTES)
        is_whole = len(sample) == found.size_bytes
        yield self._passed(f"The file can be read: {'all of it' if is_whole else f'its first {len(sample)} bytes'}.")
        self._at(pb.SOURCE_CHECK_STEP_STABLE)
        yield self._stable(client, found)
        if (marker := marker_of(self._source)) is not sftp.Marker.NONE:
            self._at(pb.SOURCE_CHECK_STEP_END_MARKER)
            beside = find_marker(client, path, found, marker)
            if is_whole and beside is not None:
                beside.check(hashlib.sha256(sample).digest())
            yield self._passed(f"The end marker {posixpath.basename(path)}{marker.value} stands beside the file.")
        self._at(pb.SOURCE_CHECK_STEP_HEADER)
        yield self._header(sample if is_whole else _whole_lines(sample), is_whole=is_whole)

    def _folder(self, client: paramiko.SFTPClient, folder: str) -> pb.SourceCheck:
        try:
            attributes = looks.stat_of(client, folder)
        except PermissionError:  # a server may show the file and not where it is
            return self._attention("", f"The server does not show the folder {folder}.", "")
        if attributes is None or not looks.is_folder(attributes):
            raise NoFileError(because="folder_absent", folder=folder)
        return self._passed(f"The folder {folder} is there.")

    def _look(self, client: paramiko.SFTPClient) -> sftp.RemoteFile:
        path = self._endpoint.path
        found = looks.look(client, path)
        if found is None:
            name = posixpath.basename(path)
            if twin := looks.twin_of(client, path):
                raise UnstableFileError(because="only_twin", twin=name + twin)
            near = _nearest(name, client, posixpath.dirname(path))
            raise NoFileError(because="other_name", near=near) if near else NoFileError()
        most = min(self._source.max_file_bytes or MAX_FILE_BYTES, MAX_FILE_BYTES)
        if found.size_bytes > most:
            raise TooLargeError
        return found

    def _found(self, found: sftp.RemoteFile) -> pb.SourceCheck:
        file = pb.FoundFile(path=self._endpoint.path, size_bytes=found.size_bytes)
        self._facts = {"file": file}
        text = f"The file is there, {found.size_bytes} bytes"
        if not found.mtime:
            return self._passed(f"{text}.")
        written = datetime.fromtimestamp(found.mtime, UTC)
        file.modify_time.FromDatetime(written)
        text = f"{text}, last written {written:%Y-%m-%d %H:%M:%S} UTC"
        if self._now() - written > STALE_AFTER:
            return self._attention("", f"{text}, more than 48 hours ago.", "Check that the export still runs.")
        return self._passed(f"{text}.")

    def _stable(self, client: paramiko.SFTPClient, found: sftp.RemoteFile) -> pb.SourceCheck:
        path, stable_for_s = self._endpoint.path, self._source.stable_for_seconds
        waited_s = min(stable_for_s, MOST_WAITED_S)
        has_twin = looks.twin_of(client, path)
        if not has_twin and looks.has_settled(client, path, found, stable_for_s):
            return self._passed(f"The file has stood still for more than {stable_for_s} s by the server's clock.")
        self._wait(waited_s)
        twin = looks.twin_of(client, path)
        if twin:
            raise UnstableFileError(because="twin", twin=posixpath.basename(path) + twin)
        if has_twin or looks.look(client, path) != found:
            return self._attention("", "The file is just being uploaded.", "Nothing to do: a run waits for its end.")
        return self._passed(f"The file did not change for {waited_s} s.")

    def _header(self, sample: bytes, *, is_whole: bool) -> pb.SourceCheck:
        ends_with_eof = is_whole and self._source.end_marker == sources_pb2.END_MARKER_EOF
        file = read_csv_file(
            lambda: io.BytesIO(sample), strict_encoding=self._source.strict_encoding, ends_with_eof=ends_with_eof
        )
        columns = [name for name, _ in sorted(file.header.positions.items(), key=lambda each: each[1])]
        self._facts["header"] = pb.FoundHeader(
            encoding=file.decoding.encoding,
            delimiter=file.delimiter,
            columns=columns,
            unknown_columns=file.header.unknown,
        )
        if is_whole and file.refusal is not None:
            raise file.refusal
        delimiter = _DELIMITERS.get(file.delimiter, repr(file.delimiter))
        text = f"The header is understood: {', '.join(columns)}, in {file.decoding.encoding}, separated by {delimiter}."
        if file.decoding.guessed:
            cause, cure = vocabulary.cause_and_cure(vocabulary.sentence("encoding_guessed"))
            return self._attention("encoding_guessed", f"{text} {cause}", cure)
        if file.header.unknown:
            _, cure = vocabulary.cause_and_cure(vocabulary.sentence("unknown_column"))
            unknown = ", ".join(file.header.unknown)
            return self._attention(f"unknown_column:{file.header.unknown[0]}", f"{text} Ignored: {unknown}.", cure)
        return self._passed(text)

    def _passed(self, message: str) -> pb.SourceCheck:
        return self._check(pb.SOURCE_CHECK_OUTCOME_PASSED, "", message, "")

    def _attention(self, reason: str, message: str, cure: str) -> pb.SourceCheck:
        return self._check(pb.SOURCE_CHECK_OUTCOME_ATTENTION, reason, message, cure)

    def _failed(self, error: RunEndedError) -> pb.SourceCheck:
        return self._check(pb.SOURCE_CHECK_OUTCOME_FAILED, error.code, *vocabulary.cause_and_cure(error.message))

    def _check(self, outcome: pb.SourceCheckOutcome.ValueType, reason: str, message: str, cure: str) -> pb.SourceCheck:
        return pb.SourceCheck(
            step=self._step, outcome=outcome, reason=reason, message=message, cure=cure, **self._facts
        )


def _whole_lines(sample: bytes) -> bytes:
    """Cut what was read of a longer file behind its last line, in any encoding; all of it when it has no line end."""
    end = max(sample.rfind(b"\n"), sample.rfind(b"\r")) + 1
    if sample[end : end + 1] == b"\0" and end % 2:  # the other half of a line end in little-endian UTF-16
        end += 1
    return sample[:end] or sample


def _nearest(name: str, client: paramiko.SFTPClient, folder: str) -> str:
    """Find a file whose name is nearly that one; "" when there is none, or the folder cannot be listed."""
    try:
        names = {each.casefold(): each for each in client.listdir(folder)[:_MOST_NAMES]}
    except OSError:
        return ""
    near = difflib.get_close_matches(name.casefold(), names, n=1)
    return names[near[0]] if near else ""
