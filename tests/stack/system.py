"""The services on one database, whoever runs them: typed doors to them, to be killed and started again."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
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
    api_keys_pb2_grpc,
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
from sqlalchemy.engine import make_url

from tests.stack.service import START_TIMEOUT_S, Runner, Service
from tests.stack.waiting import wait_until_well


def _public_host_key() -> str:
    """A host key that nobody has; the hosted drop is tested with `muster up`."""
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    return " ".join(key.split()[:2])


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


class System:
    """The services, and typed doors to them with vendor support's token."""

    def __init__(
        self,
        runner: Runner,
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
        self._runner = runner
        self._smtp = smtp
        self._settings = dict(settings or {})
        self._channels: dict[Service, grpc.Channel] = {}

    def __enter__(self) -> Self:
        try:
            self.start(Service.DIRECTORY)
            others = [service for service in Service if service is not Service.DIRECTORY]
            with ThreadPoolExecutor(len(others)) as threads:
                list(threads.map(self.start, others))
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End every service as an operator would, the directory last, and close the channels."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()
        self._runner.end([service for service in Service if service is not Service.DIRECTORY])
        self._runner.end([Service.DIRECTORY])

    def start(self, service: Service) -> None:
        """Start a service, the second time on its old address, and wait until it is healthy."""
        self._runner.start(service, self._environment_of(service))

        def alive() -> bool:
            return not self._runner.has_ended(service)

        try:
            if service is Service.SCIM_GATEWAY:
                wait_until_well(f"http://{self.address(service)}/healthz", timeout_s=START_TIMEOUT_S, alive=alive)
            else:
                wait_until_serving(self.address(service), timeout_s=START_TIMEOUT_S, alive=alive)
        except TimeoutError as error:
            raise AssertionError(f"{service} did not start: {self.log_of(service)[-3000:]}") from error

    def kill(self, service: Service) -> None:
        """SIGKILL a service: no handler runs, no buffer is flushed."""
        self._runner.kill(service)

    def revive(self) -> None:
        """Start what a test has killed and left."""
        for service in Service:
            if self._runner.has_ended(service):
                self.start(service)

    def restart(self, service: Service) -> None:
        """SIGKILL a service, and start it again."""
        self.kill(service)
        self.start(service)

    def address(self, service: Service) -> str:
        """Where tests reach a service."""
        return self._runner.address(service)

    def reach(self, host: str, port: int) -> tuple[str, int]:
        """Where the services reach a server that tests reach at `host:port`."""
        return self._runner.reach(host, port)

    def log_of(self, service: Service) -> str:
        """What a service has logged."""
        return self._runner.log_of(service)

    def channel(self, service: Service, token: str | None = None) -> grpc.Channel:
        """A channel with support's token (kept and closed by the system), or with another (the caller's to close)."""
        if token is not None:
            return open_channel(self.address(service), token)
        if service not in self._channels:
            support = self.credentials.token(self.database_url, "support")
            self._channels[service] = open_channel(self.address(service), support)
        return self._channels[service]

    @property
    def scim_url(self) -> str:
        """Where identity providers call."""
        return f"http://{self.address(Service.SCIM_GATEWAY)}/scim/v2"

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
    def api_keys(self) -> Any:
        """ApiKeyService."""
        return api_keys_pb2_grpc.ApiKeyServiceStub(self.channel(Service.DIRECTORY))

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

    def _environment_of(self, service: Service) -> dict[str, str]:
        prefix = service.upper()
        if service is Service.DIRECTORY:
            own = self.credentials.directory_environment(self._database_url_inside())
        else:
            own = {f"{prefix}_DIRECTORY": self._runner.address_inside(Service.DIRECTORY)}
        if service in {Service.IMPORTER, Service.NOTIFIER}:  # the gateway forwards its callers' keys and has none
            own[f"{prefix}_TOKEN"] = self.credentials.token(self.database_url, service)
        if service is Service.IMPORTER:
            own["IMPORTER_NIGHTS"] = "false"  # at two in the morning they would fall into whatever is being tested
        if service is Service.NOTIFIER:
            own |= self._notifier_environment()
        return own | {name: value for name, value in self._settings.items() if name.startswith(prefix)}

    def _notifier_environment(self) -> dict[str, str]:
        is_sqlite = self.database_url.startswith("sqlite")
        host, port = self.reach(*self._smtp)
        return {
            "NOTIFIER_DATABASE_URL": f"sqlite:///{self.folder / 'notifier.db'}"
            if is_sqlite
            else self._database_url_inside(),
            "NOTIFIER_SENDER": "muster@vendor.example",
            "NOTIFIER_SMTP_HOST": host,
            "NOTIFIER_SMTP_PORT": str(port),
            "NOTIFIER_SMTP_TLS": "none",
            "NOTIFIER_SMTP_TIMEOUT_S": "4",  # what a killed one had begun is tried again after 10 s
        }

    def _database_url_inside(self) -> str:
        """The database's URL as the services see it; files and sockets are at the same place for everybody."""
        url = make_url(self.database_url)
        if url.host is None or url.port is None:
            return self.database_url
        host, port = self.reach(url.host, url.port)
        return url.set(host=host, port=port).render_as_string(hide_password=False)
