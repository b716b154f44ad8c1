"""An SFTP server on a thread for one module, with what its customer puts there."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncssh

from services.importer import sftp
from services.importer.spool import Spool

USER, PASSWORD = "customer", "correct horse"
DATA = b"UniqueID,Name,Mail\r\n" + b"EMP-0000001,Anna Berg,anna@example.org\r\n" * 20_000
LONG_AGO = 1_600_000_000
NONE = sftp.Marker.NONE
QUICK = sftp.Patience(first_pause_s=0.01, longest_pause_s=0.01)


@dataclass
class Server:
    """An SFTP server on a thread; `folder` is what its customer sees as `/`."""

    folder: Path
    port: int
    keys: dict[str, str]
    user_key: asyncssh.SSHKey
    asked: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "users.csv"

    def endpoint(self, **changes: Any) -> sftp.Endpoint:
        endpoint = sftp.Endpoint(
            host="127.0.0.1",
            port=self.port,
            username=USER,
            path="/users.csv",
            host_key=self.keys["ssh-ed25519"],
            password=PASSWORD,
        )
        return replace(endpoint, **changes)


class Login(asyncssh.SSHServer):
    """Lets the one customer in; `connections` are those that are open."""

    def __init__(self, connections, logins):
        self._connections = connections
        self._logins = logins

    def connection_made(self, conn):
        self._connections.add(conn)
        self.connection = conn

    def connection_lost(self, exc):
        self._connections.discard(self.connection)

    def begin_auth(self, username):
        return True

    def password_auth_supported(self):
        return True

    def validate_password(self, username, password):
        self._logins.append(username)
        return (username, password) == (USER, PASSWORD)


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve a folder until the end."""
    host_keys = [asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-rsa", key_size=2048)]
    user_key = asyncssh.generate_private_key("ssh-ed25519")
    authorized = asyncssh.import_authorized_keys(user_key.export_public_key().decode())
    asked: list[str] = []
    logins: list[str] = []

    connections: set[asyncssh.SSHServerConnection] = set()

    class Drop(asyncssh.SFTPServer):
        def __init__(self, chan):
            super().__init__(chan, chroot=os.fsencode(folder))

        def stat(self, path):
            asked.append("stat " + os.fsdecode(path))
            return super().stat(path)

    loop = asyncio.new_event_loop()

    async def listen():
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: Login(connections, logins),
            server_host_keys=host_keys,
            authorized_client_keys=authorized,
            sftp_factory=Drop,
        )

    acceptor = loop.run_until_complete(listen())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    keys = {key.algorithm.decode(): key.export_public_key().decode().strip() for key in host_keys}
    keys = {text.split()[0]: text for text in keys.values()}
    yield Server(folder, acceptor.get_port(), keys, user_key, asked, logins)

    async def close():
        acceptor.close()
        await acceptor.wait_closed()
        for connection in tuple(connections):
            connection.abort()
            await connection.wait_closed()
        rest = asyncio.all_tasks() - {asyncio.current_task()}  # those that end with their connections
        await asyncio.gather(*rest, return_exceptions=True)

    asyncio.run_coroutine_threadsafe(close(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


class Waits(list[float]):
    """Waits without time passing: remembers for how long, and lets something happen meanwhile."""

    def __init__(self, *meanwhile):
        super().__init__()
        self._meanwhile = list(meanwhile)

    def __call__(self, seconds):
        self.append(seconds)
        if self._meanwhile:
            self._meanwhile.pop(0)()


def fetch(server, wait=None, *, max_bytes=10_000_000, stable_for_s=60, patience=QUICK, marker=NONE, **changes):
    """Fetch the file; gives which version it was, and its bytes."""
    with Spool(None, max_bytes=max_bytes) as spool:
        found = sftp.fetch(
            server.endpoint(**changes),
            spool,
            stable_for_s=stable_for_s,
            max_bytes=max_bytes,
            wait=Waits() if wait is None else wait,
            marker=marker,
            patience=patience,
        )
        with spool.open() as file:
            return found.file, file.read()


def put(path, data=DATA, *, mtime=None):
    """Upload a file, as a client that keeps times does when an mtime is said."""
    path.write_bytes(data)
    if mtime is not None:
        # As a client that keeps times does: the access time goes back with the other.
        os.utime(path, (mtime, mtime))
    return path
