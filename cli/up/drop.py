"""The hosted SFTP drop: customers upload, each into a folder of its own. Run as `python -m cli.up.drop`.

It reads DROP_LISTEN (host:port), DROP_DIRECTORY (host:port), DROP_TOKEN (the importer's), DROP_HOST_KEY_FILE,
DROP_FOLDER and DROP_EXIT_WITH_STDIN from the environment.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import asyncssh
import grpc.aio
import structlog
from muster.directory.v1 import sources_pb2_grpc
from muster.runtime import client
from muster.runtime.server import wait_for_end
from muster.runtime.telemetry import configure_logging

from cli.errors import CommandError
from cli.up.drop_logins import DropLogins, from_directory, may_come_from
from cli.up.drop_slowness import Slowness

log = structlog.get_logger()
_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LOGIN_TIMEOUT_S = 30
_KEEPALIVE_S = 60
_MOST_WRONG = 5
"""Wrong passwords of one connection."""


@dataclass(frozen=True)
class DropSettings:
    """What the drop must be told."""

    host: str
    port: int
    directory: str
    host_key_file: Path
    folder: Path
    token: str = field(repr=False)
    exit_with_stdin: bool = False

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Read the environment; the error names the variable that is missing or wrong."""
        host, _, port = _required(environ, "DROP_LISTEN").rpartition(":")
        if not host or not port.isdigit():
            raise CommandError("DROP_LISTEN must be host:port, such as 127.0.0.1:2222")
        return cls(
            host=host,
            port=int(port),
            directory=_required(environ, "DROP_DIRECTORY"),
            host_key_file=Path(_required(environ, "DROP_HOST_KEY_FILE")),
            folder=Path(_required(environ, "DROP_FOLDER")),
            token=_required(environ, "DROP_TOKEN"),
            exit_with_stdin=environ.get("DROP_EXIT_WITH_STDIN", "").lower() == "true",
        )


def main() -> None:
    """Serve until SIGTERM, SIGINT or, if so set, until stdin closes."""
    configure_logging("drop")
    try:
        settings = DropSettings.read(os.environ)
    except CommandError as error:
        sys.exit(f"drop: {error}")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="drop", daemon=True)
    thread.start()
    serving = asyncio.run_coroutine_threadsafe(_serve(settings), loop).result()
    wait_for_end(with_stdin=settings.exit_with_stdin)
    del serving  # a channel closes when nobody holds it
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=3.0)


async def _serve(settings: DropSettings) -> tuple[grpc.aio.Channel, asyncssh.SSHAcceptor]:
    channel = client.open_aio_channel(settings.directory, settings.token)
    logins = DropLogins(from_directory(sources_pb2_grpc.SourceServiceStub(channel)))
    acceptor = await listen(settings, logins)
    line = f'{{"listening": "{settings.host}:{acceptor.get_port()}"}}'
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    return channel, acceptor


async def listen(settings: DropSettings, logins: DropLogins, slowness: Slowness | None = None) -> asyncssh.SSHAcceptor:
    """Begin to accept connections: SFTP by password and nothing else, no shell, no forwarding."""
    slowness = slowness or Slowness()
    settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return await asyncssh.create_server(
        lambda: _Door(logins, slowness),
        settings.host,
        settings.port,
        server_host_keys=[str(settings.host_key_file)],
        sftp_factory=lambda channel: _OwnFolder(channel, settings.folder),
        allow_scp=False,
        allow_pty=False,
        agent_forwarding=False,
        x11_forwarding=False,
        public_key_auth=False,
        kbdint_auth=False,
        host_based_auth=False,
        login_timeout=_LOGIN_TIMEOUT_S,
        keepalive_interval=_KEEPALIVE_S,
        config=None,
    )


class _Door(asyncssh.SSHServer):
    """Lets one connection in, or not."""

    def __init__(self, logins: DropLogins, slowness: Slowness) -> None:
        self._logins = logins
        self._slowness = slowness
        self._address = ""
        self._connection: asyncssh.SSHServerConnection | None = None
        self._wrong = 0

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Remember where the connection comes from."""
        self._connection = conn
        self._address = conn.get_extra_info("peername")[0]

    async def begin_auth(self, username: str) -> bool:
        """Turn away who comes from a network that the login is not allowed from, before a password is asked for."""
        login = await self._logins.find(username)
        if login is not None and not may_come_from(self._address, login.allowed_networks):
            log.warning("drop.refused", reason="network", source=login.source, address=self._address)
            self._turn_away("this login is not allowed from your network")
        return True

    def password_auth_supported(self) -> bool:
        """Say that passwords are the way in."""
        return True

    async def validate_password(self, username: str, password: str) -> bool:
        """Ask the directory's logins; a login with an odd folder's name never comes in, and who is wrong waits."""
        login = await self._logins.let_in(username, password, self._address)
        if login is not None and self._connection is not None and _FOLDER_NAME.fullmatch(login.folder):
            self._connection.set_extra_info(folder=login.folder)
            log.info("drop.login", source=login.source)
            return True
        known = await self._logins.find(username)
        source = known.source if known is not None else ""
        log.warning("drop.refused", reason="password", source=source, address=self._address)
        await self._slowness.after_wrong(self._address)
        self._wrong += 1
        if self._wrong >= _MOST_WRONG:
            self._turn_away("too many wrong passwords")
        return False

    def _turn_away(self, why: str) -> None:
        if self._connection is not None:
            self._connection.disconnect(asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, why)


class _OwnFolder(asyncssh.SFTPServer):
    """Shows each login only its folder, as `/`; links are not made, since they could lead out of it."""

    def __init__(self, channel: Any, folder: Path) -> None:
        own = folder / channel.get_extra_info("folder")
        own.mkdir(mode=0o700, exist_ok=True)
        self._root = os.path.realpath(os.fsencode(own))
        super().__init__(channel, chroot=self._root)

    def map_path(self, path: bytes) -> bytes:
        """Find a path's place in the folder; a link that stands there and leads out of it leads nowhere."""
        local = super().map_path(path)
        real = os.path.realpath(local)
        if real != self._root and not real.startswith(self._root + b"/"):
            raise asyncssh.SFTPPermissionDenied("this leads out of your folder")
        return local

    def symlink(self, oldpath: bytes, newpath: bytes) -> None:  # noqa: ARG002 - asyncssh's signature
        """Refuse."""
        raise asyncssh.SFTPPermissionDenied("links are not allowed here")

    def link(self, oldpath: bytes, newpath: bytes) -> None:  # noqa: ARG002 - asyncssh's signature
        """Refuse."""
        raise asyncssh.SFTPPermissionDenied("links are not allowed here")


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise CommandError(f"{name} is missing; set it in the environment")
    return value


if __name__ == "__main__":
    main()
