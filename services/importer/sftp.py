"""Fetch one file by SFTP from a server whose host key is pinned, once the file is complete (R1, R7)."""

from __future__ import annotations

import base64
import binascii
import errno
import io
import re
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import paramiko
import stamina
import structlog
from paramiko.pkey import UnknownKeyType

from services.importer.errors import (
    ConnectionFailedError,
    FetchFailedError,
    HostKeyChangedError,
    HostKeyMissingError,
    LoginFailedError,
    NoFileError,
    TooLargeError,
    UnstableFileError,
)

log = structlog.get_logger()

Wait = Callable[[float], None]
"""Waits for seconds; may raise to end the run."""

TRIES = 3
CONNECT_TIMEOUT_S = 15.0
STALL_TIMEOUT_S = 60.0
_KEEPALIVE_S = 15
_TWINS = (".tmp", ".part", ".filepart")
_PINNED = re.compile(r"(?:^|\s)((?:ssh|ecdsa)-[a-z0-9-]+)\s+([A-Za-z0-9+/]+={0,2})(?:\s|$)")
_RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")
_KEY_KINDS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


@dataclass(frozen=True)
class Endpoint:
    """Where a file is, and as whom to fetch it; `host_key` is `ssh-ed25519 AAAA…`, with or without a host before it."""

    host: str
    port: int
    username: str
    path: str
    host_key: str
    password: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)


@dataclass(frozen=True)
class RemoteFile:
    """A file as the server tells it: size in bytes and seconds since 1970 by the server's clock."""

    size_bytes: int
    mtime: int


class Sink(Protocol):
    """Where the bytes go; may refuse a file that grows beyond its limit."""

    def write(self, data: bytes, /) -> int:
        """Take the next bytes."""

    def clear(self) -> None:
        """Forget them: the file is fetched again."""


def fetch(endpoint: Endpoint, sink: Sink, *, stable_for_s: float, max_bytes: int, wait: Wait) -> RemoteFile:
    """Copy the file into `sink` once it is complete, and say which version of it that was.

    At most three tries, each of two looks `stable_for_s` apart. Raises NoFileError, UnstableFileError, TooLargeError,
    HostKeyMissingError, HostKeyChangedError, ConnectionFailedError, LoginFailedError or FetchFailedError.
    """
    with _session(endpoint) as sftp:
        for attempt in range(1, TRIES + 1):
            found = _stable(sftp, endpoint.path, stable_for_s, max_bytes, wait)
            if found is not None and _copied_whole(sftp, endpoint.path, found, sink):
                return found
            log.info("sftp.unstable", attempt=attempt)
            sink.clear()
    raise UnstableFileError


def delete(endpoint: Endpoint, fetched: RemoteFile) -> bool:
    """Delete the file if it is still the one that was fetched; False when another has come meanwhile.

    Raises as `fetch` does.
    """
    with _session(endpoint) as sftp:
        if _look(sftp, endpoint.path) != fetched:
            return False
        sftp.remove(endpoint.path)
        return True


def _stable(sftp: paramiko.SFTPClient, path: str, stable_for_s: float, max_bytes: int, wait: Wait) -> RemoteFile | None:
    """Look once or twice; the file if it was the same each time and nobody is writing a twin of it."""
    first = _look(sftp, path)
    has_twin = _has_twin(sftp, path)
    if first is None and not has_twin:
        raise NoFileError
    if first is not None and first.size_bytes > max_bytes:
        raise TooLargeError
    if first is not None and not has_twin and _is_settled(sftp, path, first, stable_for_s):
        return first
    wait(stable_for_s)
    second = _look(sftp, path)
    if second is None and not _has_twin(sftp, path):
        raise NoFileError
    return second if second == first and not has_twin and not _has_twin(sftp, path) else None


def _copied_whole(sftp: paramiko.SFTPClient, path: str, found: RemoteFile, sink: Sink) -> bool:
    received = sftp.getfo(path, sink)  # type: ignore[arg-type]  # it only writes
    return received == found.size_bytes and _look(sftp, path) == found


def _look(sftp: paramiko.SFTPClient, path: str) -> RemoteFile | None:
    attributes = _stat(sftp, path)
    if attributes is None:
        return None
    if attributes.st_mode is not None and stat.S_ISDIR(attributes.st_mode):
        raise FetchFailedError
    return RemoteFile(attributes.st_size or 0, attributes.st_mtime or 0)


def _stat(sftp: paramiko.SFTPClient, path: str) -> paramiko.SFTPAttributes | None:
    try:
        return sftp.stat(path)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise


def _has_twin(sftp: paramiko.SFTPClient, path: str) -> bool:
    return any(_stat(sftp, path + ending) is not None for ending in _TWINS)


def _is_settled(sftp: paramiko.SFTPClient, path: str, found: RemoteFile, stable_for_s: float) -> bool:
    """Tell whether the file's mtime is old by the server's own clock, so that one look suffices (R1).

    SFTP has no clock. But a server that keeps access times stamps a file when it is read: an access time that changes
    while we read one byte is the server's now. Where it does not change (mounted noatime, read a moment ago) nothing is
    known, and a second look is taken. Neither our own clock nor an access time that an uploader may have set is asked.
    """
    before = _stat(sftp, path)
    with sftp.open(path, "rb") as file:
        file.read(1)
    after = _stat(sftp, path)
    if before is None or after is None or after.st_atime is None or after.st_atime == before.st_atime:
        return False
    is_same = RemoteFile(after.st_size or 0, after.st_mtime or 0) == found
    return is_same and after.st_atime - found.mtime > stable_for_s


@contextmanager
def _session(endpoint: Endpoint) -> Iterator[paramiko.SFTPClient]:
    """Log in; what breaks inside becomes FetchFailedError."""
    transport = _logged_in(endpoint, _pinned_key(endpoint.host_key))
    try:
        sftp = _open_sftp(transport)
        try:
            yield sftp
        except (OSError, EOFError, paramiko.SSHException) as error:
            log.warning("sftp.fetch_failed", error=type(error).__name__, errno=getattr(error, "errno", None))
            raise FetchFailedError from error
    finally:
        transport.close()


def _logged_in(endpoint: Endpoint, pinned: paramiko.PKey) -> paramiko.Transport:
    """Connect and log in: by key, by password if there is no key or it is not accepted, by both if both are wanted."""
    if endpoint.private_key:
        try:
            return _log_in(_connect(endpoint, pinned), endpoint, _private_key(endpoint.private_key))
        except LoginFailedError:
            if not endpoint.password:
                raise
    # On a connection of its own: paramiko asks for the login service again, which some servers take for an error.
    return _log_in(_connect(endpoint, pinned), endpoint, None)


def _log_in(transport: paramiko.Transport, endpoint: Endpoint, key: paramiko.PKey | None) -> paramiko.Transport:
    try:
        if key is not None:
            transport.auth_publickey(endpoint.username, key)
        if endpoint.password and not transport.is_authenticated():
            transport.auth_password(endpoint.username, endpoint.password)
        if transport.is_authenticated():
            return transport
    except paramiko.AuthenticationException as error:
        transport.close()
        raise LoginFailedError from error
    except (OSError, EOFError, paramiko.SSHException) as error:
        transport.close()
        raise ConnectionFailedError from error
    transport.close()
    raise LoginFailedError


def _connect(endpoint: Endpoint, pinned: paramiko.PKey) -> paramiko.Transport:
    """Reach the server and see that it is the pinned one; a few quick retries for the connection only."""
    try:
        for attempt in stamina.retry_context(
            on=ConnectionFailedError, attempts=3, wait_initial=0.3, wait_max=2.0, timeout=45.0
        ):
            with attempt:
                return _handshake(endpoint, pinned)
    except ConnectionFailedError as error:
        log.warning("sftp.connection_failed", error=type(error.__cause__).__name__)
        raise
    raise ConnectionFailedError  # not reached: the retries return or raise


def _handshake(endpoint: Endpoint, pinned: paramiko.PKey) -> paramiko.Transport:
    try:
        connection = socket.create_connection((endpoint.host, endpoint.port), timeout=CONNECT_TIMEOUT_S)
    except (OSError, UnicodeError) as error:
        raise ConnectionFailedError from error
    transport = paramiko.Transport(connection)
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = CONNECT_TIMEOUT_S
    # Ask for a key of the pinned kind, since a server has several and shows only one.
    name = pinned.get_name()
    transport.get_security_options().key_types = _RSA_SIGNATURES if name == "ssh-rsa" else (name,)
    try:
        transport.start_client(timeout=CONNECT_TIMEOUT_S)
    except (OSError, EOFError, paramiko.SSHException) as error:
        transport.close()
        if "host key" in str(error):  # it has no key of the pinned kind any more
            raise HostKeyChangedError from error
        raise ConnectionFailedError from error
    if transport.get_remote_server_key().asbytes() != pinned.asbytes():
        transport.close()
        raise HostKeyChangedError
    transport.set_keepalive(_KEEPALIVE_S)
    return transport


def _open_sftp(transport: paramiko.Transport) -> paramiko.SFTPClient:
    try:
        channel = transport.open_session(timeout=CONNECT_TIMEOUT_S)
        channel.settimeout(STALL_TIMEOUT_S)
        channel.invoke_subsystem("sftp")
        return paramiko.SFTPClient(channel)
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise FetchFailedError from error


def _pinned_key(host_key: str) -> paramiko.PKey:
    found = _PINNED.search(host_key)
    if found is None:
        raise HostKeyMissingError
    try:
        return paramiko.PKey.from_type_string(found[1], base64.b64decode(found[2]))
    except (UnknownKeyType, paramiko.SSHException, binascii.Error, ValueError) as error:
        raise HostKeyMissingError from error


def _private_key(text: str) -> paramiko.PKey:
    """Read a key in OpenSSH or PEM form; LoginFailedError when it is neither, or locked with a passphrase."""
    for kind in _KEY_KINDS:
        try:
            return kind.from_private_key(io.StringIO(text))
        except (paramiko.SSHException, ValueError, IndexError, UnicodeError):
            continue
    raise LoginFailedError
