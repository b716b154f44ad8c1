"""The three services as child processes on one database, to be killed and started again."""

from __future__ import annotations

import base64
import enum
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import asyncssh
import grpc
from muster.directory.v1 import (
    accounts_pb2_grpc,
    events_pb2_grpc,
    groups_pb2_grpc,
    imports_pb2_grpc,
    licenses_pb2_grpc,
    sources_pb2_grpc,
    tenants_pb2_grpc,
    users_pb2_grpc,
)
from muster.importer.v1 import importer_pb2_grpc
from muster.notifier.v1 import messages_pb2_grpc
from muster.runtime.client import open_channel, wait_until_serving

from tests.stack.waiting import wait_until

START_TIMEOUT_S = 60.0


def _public_host_key() -> str:
    """A host key that nobody has; the hosted drop is tested with `muster up`."""
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    return " ".join(key.split()[:2])


class Service(enum.StrEnum):
    """The children, in the order of their start."""

    DIRECTORY = "directory"
    IMPORTER = "importer"
    NOTIFIER = "notifier"


@dataclass(frozen=True)
class Credentials:
    """Secrets of one test process, and one token for each grant; made anew each time, never written down."""

    pepper: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    seal_key: str = field(default_factory=lambda: base64.b64encode(secrets.token_bytes(32)).decode(), repr=False)
    drop_host_key: str = field(default_factory=_public_host_key)
    tokens: dict[str, str] = field(default_factory=dict, repr=False)

    def directory_environment(self, database_url: str) -> dict[str, str]:
        """The directory's settings on this database."""
        return {
            "DIRECTORY_DATABASE_URL": database_url,
            "DIRECTORY_PEPPER": self.pepper,
            "DIRECTORY_SEAL_KEY": self.seal_key,
            "DIRECTORY_DROP_HOST": "127.0.0.1",
            "DIRECTORY_DROP_PORT": "22",
            "DIRECTORY_DROP_HOST_KEY": self.drop_host_key,
        }

    def prepare(self, database_url: str) -> None:
        """Migrate an empty database and make the services' tokens in it: what `Databases` copies."""
        # Imported here: most tests start no system, and need not wait for SQLAlchemy.
        from services.directory.operations.tokens import create_token  # noqa: PLC0415
        from services.directory.rules.grants import Grant  # noqa: PLC0415
        from services.directory.store.migrations import migrate  # noqa: PLC0415
        from services.directory.store.session import Store  # noqa: PLC0415

        migrate(database_url)
        with closing(Store(database_url)) as store, store.write(None) as session:
            for grant in (Grant.SUPPORT, Grant.IMPORTER, Grant.NOTIFIER):
                token = create_token(session, grant, 0, pepper=self.pepper.encode(), now=datetime.now(UTC))
                self.tokens[f"{database_url.partition(':')[0]} {grant}"] = token

    def token(self, database_url: str, grant: str) -> str:
        """The token that every copy of the database's template knows."""
        return self.tokens[f"{database_url.partition(':')[0]} {grant}"]


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    address: str


class System:
    """Directory, importer and notifier, and typed doors to them with vendor support's token."""

    def __init__(
        self,
        folder: Path,
        database_url: str,
        credentials: Credentials,
        *,
        smtp: tuple[str, int],
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.database_url = database_url
        self.credentials = credentials
        self._smtp = smtp
        self._settings = dict(settings or {})
        self._children: dict[Service, _Child] = {}
        self._channels: dict[Service, grpc.Channel] = {}

    def __enter__(self) -> Self:
        try:
            self.start(Service.DIRECTORY)
            with ThreadPoolExecutor(2) as threads:
                list(threads.map(self.start, (Service.IMPORTER, Service.NOTIFIER)))
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End every child as an operator would, the directory last, and close the channels."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()
        clients = [service for service in self._children if service is not Service.DIRECTORY]
        for services in (clients, self._children.keys() - clients):
            _end([self._children[service].process for service in services])

    def start(self, service: Service) -> None:
        """Start a child, the second time on its old address, and wait until it is healthy."""
        before = self._children.get(service)
        address = before.address if before else "127.0.0.1:0"
        out, errors = self.folder / f"{service}.out", self.folder / f"{service}.log"
        with out.open("wb") as stdout, errors.open("ab") as stderr:
            process = subprocess.Popen(
                [_script(service), *(["serve"] if service is Service.DIRECTORY else [])],
                env=_environment(self._environment_of(service, address)),
                stdin=subprocess.PIPE,  # closed with us, so that no child outlives the tests
                stdout=stdout,
                stderr=stderr,
            )
        self._children[service] = _Child(process, address)

        def listening() -> str | None:
            assert process.poll() is None, f"{service} ended: {errors.read_text()[-3000:]}"
            line = out.read_text().partition("\n")
            return str(json.loads(line[0])["listening"]) if line[1] else None

        said = wait_until(listening, timeout_s=START_TIMEOUT_S, what=f"{service} to say where it listens")
        self._children[service] = _Child(process, str(said))
        wait_until_serving(str(said), timeout_s=START_TIMEOUT_S, alive=lambda: process.poll() is None)

    def kill(self, service: Service) -> None:
        """SIGKILL a child: no handler runs, no buffer is flushed."""
        process = self._children[service].process
        process.kill()
        process.wait(10)
        _close_pipes(process)

    def revive(self) -> None:
        """Start what a test has killed and left."""
        for service, child in list(self._children.items()):
            if child.process.poll() is not None:
                self.start(service)

    def restart(self, service: Service) -> None:
        """SIGKILL a child if it lives, and start it again."""
        self.kill(service)
        self.start(service)

    def address(self, service: Service) -> str:
        """Where a child listens."""
        return self._children[service].address

    def log_of(self, service: Service) -> str:
        """What a child has logged."""
        return (self.folder / f"{service}.log").read_text()

    def channel(self, service: Service, token: str | None = None) -> grpc.Channel:
        """A channel with support's token (kept and closed by the system), or with another (the caller's to close)."""
        if token is not None:
            return open_channel(self.address(service), token)
        if service not in self._channels:
            support = self.credentials.token(self.database_url, "support")
            self._channels[service] = open_channel(self.address(service), support)
        return self._channels[service]

    @property
    def tenants(self) -> Any:
        """TenantService; untyped as all stubs of grpcio are."""
        return tenants_pb2_grpc.TenantServiceStub(self.channel(Service.DIRECTORY))

    @property
    def accounts(self) -> Any:
        """AccountService."""
        return accounts_pb2_grpc.AccountServiceStub(self.channel(Service.DIRECTORY))

    @property
    def groups(self) -> Any:
        """GroupService."""
        return groups_pb2_grpc.GroupServiceStub(self.channel(Service.DIRECTORY))

    @property
    def users(self) -> Any:
        """UserService."""
        return users_pb2_grpc.UserServiceStub(self.channel(Service.DIRECTORY))

    @property
    def licenses(self) -> Any:
        """LicenseService."""
        return licenses_pb2_grpc.LicenseServiceStub(self.channel(Service.DIRECTORY))

    @property
    def sources(self) -> Any:
        """SourceService."""
        return sources_pb2_grpc.SourceServiceStub(self.channel(Service.DIRECTORY))

    @property
    def imports(self) -> Any:
        """ImportService."""
        return imports_pb2_grpc.ImportServiceStub(self.channel(Service.DIRECTORY))

    @property
    def events(self) -> Any:
        """EventService."""
        return events_pb2_grpc.EventServiceStub(self.channel(Service.DIRECTORY))

    @property
    def importer(self) -> Any:
        """ImporterService."""
        return importer_pb2_grpc.ImporterServiceStub(self.channel(Service.IMPORTER))

    @property
    def messages(self) -> Any:
        """MessageService."""
        return messages_pb2_grpc.MessageServiceStub(self.channel(Service.NOTIFIER))

    def _environment_of(self, service: Service, address: str) -> dict[str, str]:
        prefix = service.upper()
        own = {f"{prefix}_LISTEN": address, f"{prefix}_EXIT_WITH_STDIN": "true"}
        if service is Service.DIRECTORY:
            own |= self.credentials.directory_environment(self.database_url)
            own["DIRECTORY_STAGE_DIR"] = str(self.folder / "stage")
        else:
            own[f"{prefix}_DIRECTORY"] = self.address(Service.DIRECTORY)
            own[f"{prefix}_TOKEN"] = self.credentials.token(self.database_url, service)
        if service is Service.IMPORTER:
            own["IMPORTER_TEMP_DIR"] = str(self.folder / "incoming")
            (self.folder / "incoming").mkdir(exist_ok=True)
        if service is Service.NOTIFIER:
            own |= self._notifier_environment()
        return own | {name: value for name, value in self._settings.items() if name.startswith(prefix)}

    def _notifier_environment(self) -> dict[str, str]:
        is_sqlite = self.database_url.startswith("sqlite")
        return {
            "NOTIFIER_DATABASE_URL": f"sqlite:///{self.folder / 'notifier.db'}" if is_sqlite else self.database_url,
            "NOTIFIER_SENDER": "muster@vendor.example",
            "NOTIFIER_MAIL_DIR": str(self.folder / "mail"),
            "NOTIFIER_SMTP_HOST": self._smtp[0],
            "NOTIFIER_SMTP_PORT": str(self._smtp[1]),
            "NOTIFIER_SMTP_TLS": "none",
        }


def _script(service: str) -> str:
    """The console script beside this Python."""
    return str(Path(sys.executable).parent / f"muster-{service}")


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    """Our environment without settings of services that may stand in it."""
    prefixes = tuple(f"{service.upper()}_" for service in Service)
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)} | dict(own)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _close_pipes(process)


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
