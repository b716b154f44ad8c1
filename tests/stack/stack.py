"""The servers under the tests of one process: started when first asked for, stopped together at the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, Self

from tests.stack.choice import Kind
from tests.stack.postgres import PostgresServer
from tests.stack.service import Runner
from tests.stack.sftp import SftpServer


class Servers(Protocol):
    """What containers and processes both are."""

    def start_postgres(self) -> PostgresServer:
        """Start PostgreSQL."""

    def start_sftp(self) -> SftpServer:
        """Start an SFTP server with one customer."""

    def run_services(self, folder: Path, images: Mapping[str, str]) -> Runner:
        """Run services beside these servers: from images, or as children with their files in `folder`."""

    def stop(self) -> None:
        """Stop all that was started."""


class Stack:
    """One PostgreSQL and one SFTP server, of the chosen kind."""

    def __init__(self, kind: Kind) -> None:
        self._servers = _servers_of(kind)
        self._postgres: PostgresServer | None = None
        self._sftp: SftpServer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._sftp is not None:
            self._sftp.close()
        self._servers.stop()

    def postgres(self) -> PostgresServer:
        """PostgreSQL, the same one each time."""
        if self._postgres is None:
            self._postgres = self._servers.start_postgres()
        return self._postgres

    def sftp(self) -> SftpServer:
        """The SFTP server, the same one each time."""
        if self._sftp is None:
            self._sftp = self._servers.start_sftp()
        return self._sftp

    def run_services(self, folder: Path, images: Mapping[str, str]) -> Runner:
        """Run the services of one system, the way the servers are run."""
        return self._servers.run_services(folder, images)


def _servers_of(kind: Kind) -> Servers:
    """Import only what the kind needs."""
    if kind is Kind.CONTAINERS:
        from tests.stack.containers import Containers  # noqa: PLC0415

        return Containers()
    from tests.stack.processes import Processes  # noqa: PLC0415

    return Processes()
