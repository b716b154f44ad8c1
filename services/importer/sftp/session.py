"""Reach a server, see that it is the pinned one, and log in."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko
import stamina
import structlog

from services.importer.errors import (
    ConnectionFailedError,
    ConnectionLostError,
    FetchFailedError,
    HostKeyChangedError,
    ImporterError,
    LoginFailedError,
)
from services.importer.sftp.endpoint import Endpoint, Patience
from services.importer.sftp.keys import fingerprint_of, pinned_key, private_key

log = structlog.get_logger()

_KEEPALIVE_S = 15
_RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")


class KindNotOfferedError(ImporterError):
    """The server has no host key of the kind that was asked for."""


@contextmanager
def session(endpoint: Endpoint, patience: Patience) -> Iterator[paramiko.SFTPClient]:
    """Log in on the pinned server; what breaks inside becomes FetchFailedError, ConnectionLostError if that may pass.

    Raises HostKeyMissingError, HostKeyChangedError, ConnectionFailedError and LoginFailedError.
    """
    transport = logged_in(endpoint, pinned_key(endpoint.host_key), patience)
    try:
        with failures_named():
            yield opened_sftp(transport, patience)
    finally:
        transport.close()


@contextmanager
def failures_named() -> Iterator[None]:
    """Turn what breaks inside into FetchFailedError, or ConnectionLostError if another try may do."""
    try:
        yield
    except (OSError, EOFError, paramiko.SSHException) as error:
        log.warning("sftp.fetch_failed", error=type(error).__name__, errno=getattr(error, "errno", None))
        raise _fetch_failure(error) from error


def logged_in(endpoint: Endpoint, pinned: paramiko.PKey, patience: Patience) -> paramiko.Transport:
    """Connect and log in: by key, by password if there is no key or it is not accepted, by both if both are wanted."""
    if endpoint.private_key:
        key = private_key(endpoint.private_key)
        try:
            return _log_in(connect_to_pinned(endpoint, pinned, patience), endpoint, key)
        except LoginFailedError:
            if not endpoint.password:
                raise
    # On a connection of its own: paramiko asks for the login service again, which some servers take for an error.
    return _log_in(connect_to_pinned(endpoint, pinned, patience), endpoint, None)


def connect_to_pinned(endpoint: Endpoint, pinned: paramiko.PKey, patience: Patience) -> paramiko.Transport:
    """Reach the server and see that it is the pinned one. Raises ConnectionFailedError and HostKeyChangedError."""
    try:
        transport = connect(endpoint, patience, kind=pinned.get_name())
    except KindNotOfferedError:  # see which key it shows instead
        transport = connect(endpoint, patience)
    shown = transport.get_remote_server_key()
    if shown.asbytes() != pinned.asbytes():
        transport.close()
        raise host_key_changed(shown=shown, pinned=pinned)
    transport.set_keepalive(_KEEPALIVE_S)
    return transport


def host_key_changed(*, shown: paramiko.PKey, pinned: paramiko.PKey) -> HostKeyChangedError:
    """Say which key the server shows and which is pinned."""
    return HostKeyChangedError(because="host_key_changed", shown=fingerprint_of(shown), pinned=fingerprint_of(pinned))


def connect(endpoint: Endpoint, patience: Patience, *, kind: str = "") -> paramiko.Transport:
    """Reach the server and agree on keys, with a few quick tries; nothing of ours is told, and nobody is trusted yet.

    A server has several host keys and shows one: of this `kind`, if it is said. Raises ConnectionFailedError and
    KindNotOfferedError.
    """
    try:
        for attempt in stamina.retry_context(
            on=ConnectionFailedError,
            attempts=patience.tries,
            timeout=3 * patience.connect_s,
            wait_initial=patience.first_pause_s,
            wait_max=patience.longest_pause_s,
        ):
            with attempt:
                return _handshake(endpoint, patience, kind)
    except ConnectionFailedError as error:
        log.warning("sftp.connection_failed", error=type(error.__cause__).__name__)
        raise
    raise ConnectionFailedError  # not reached: the retries return or raise


def opened_sftp(transport: paramiko.Transport, patience: Patience) -> paramiko.SFTPClient:
    """Begin to speak SFTP."""
    try:
        channel = transport.open_session(timeout=patience.connect_s)
        channel.settimeout(patience.stall_s)
        channel.invoke_subsystem("sftp")
        return paramiko.SFTPClient(channel)
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise FetchFailedError(because="no_sftp") from error


def _handshake(endpoint: Endpoint, patience: Patience, kind: str) -> paramiko.Transport:
    try:
        connection = socket.create_connection((endpoint.host, endpoint.port), timeout=patience.connect_s)
    except (OSError, UnicodeError) as error:
        raise ConnectionFailedError(because=_cause_of(error)) from error
    transport = paramiko.Transport(connection)
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = patience.connect_s
    if kind:
        transport.get_security_options().key_types = _RSA_SIGNATURES if kind == "ssh-rsa" else (kind,)
    try:
        transport.start_client(timeout=2 * patience.connect_s)
        if not transport.initial_kex_done:  # it returns without a word when its time is over
            raise TimeoutError
    except (OSError, EOFError, paramiko.SSHException) as error:
        transport.close()
        if kind and "host key" in str(error):
            raise KindNotOfferedError from error
        raise ConnectionFailedError(because="no_ssh") from error
    return transport


def _cause_of(error: Exception) -> str:
    if isinstance(error, socket.gaierror | UnicodeError):
        return "no_such_host"
    if isinstance(error, ConnectionRefusedError):
        return "port_closed"
    return "no_answer"


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
        raise LoginFailedError(because="key_refused" if key is not None else "password_refused") from error
    except (OSError, EOFError, paramiko.SSHException) as error:
        # Not tried again: some servers cut the connection of whoever they do not know, and lock who insists.
        transport.close()
        raise ConnectionFailedError(because="cut_at_login") from error
    transport.close()
    raise LoginFailedError(because="nothing_to_log_in_with" if not endpoint.password and key is None else "")


def _fetch_failure(error: Exception) -> FetchFailedError:
    """Say what broke: ConnectionLostError when another try may do, with its cause."""
    if isinstance(error, TimeoutError):
        return ConnectionLostError(because="stalled")
    if isinstance(error, EOFError | paramiko.SSHException | ConnectionError):
        return ConnectionLostError(because="cut")
    if isinstance(error, OSError) and error.errno == errno.EACCES:
        return FetchFailedError(because="forbidden")
    if isinstance(error, OSError) and str(error) in ("Socket is closed", "Garbage packet received"):
        return ConnectionLostError(because="cut")
    return FetchFailedError()
