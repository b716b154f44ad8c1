"""Find a running Muster and open channels to it: from the environment, else from what `muster up` left behind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

import grpc
from muster.directory.v1 import (
    accounts_pb2_grpc,
    administrators_pb2_grpc,
    api_keys_pb2_grpc,
    events_pb2_grpc,
    groups_pb2_grpc,
    imports_pb2_grpc,
    invitations_pb2_grpc,
    licenses_pb2_grpc,
    operations_pb2_grpc,
    scim_activity_pb2_grpc,
    sources_pb2_grpc,
    tenants_pb2_grpc,
    users_pb2_grpc,
)
from muster.importer.v1 import importer_pb2_grpc
from muster.notifier.v1 import messages_pb2_grpc
from muster.runtime import client

from cli.errors import CommandError, NoInstallationError

INSTALLATION_FILE = "muster.json"


@dataclass(frozen=True)
class Addresses:
    """Where to and as whom; each comes from MUSTER_<NAME> in the environment, else from DIR/muster.json."""

    environ: Mapping[str, str]
    data: Path

    def __getitem__(self, name: str) -> str:
        """Look one of directory, importer, notifier and token up; `NoInstallationError` when it is nowhere."""
        value = self.environ.get(f"MUSTER_{name.upper()}") or self._installation.get(name)
        if not isinstance(value, str) or not value:
            raise NoInstallationError(name, str(self.data))
        return value

    @property
    def _installation(self) -> Mapping[str, object]:
        path = self.data / INSTALLATION_FILE
        try:
            document = json.loads(path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise CommandError(f"cannot read {path} ({error}); run `muster --data {self.data} up` again") from error
        return document if isinstance(document, dict) else {}


@dataclass
class Muster:
    """Every service of one installation, each channel opened when it is first used."""

    addresses: Addresses
    _channels: dict[str, grpc.Channel] = field(default_factory=dict)

    @classmethod
    def find(cls, data: Path, environ: Mapping[str, str]) -> Self:
        """Take the environment's addresses, else those in `data`; nothing is read before the first call."""
        return cls(Addresses(environ, data))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()

    @cached_property
    def tenants(self) -> tenants_pb2_grpc.TenantServiceStub:
        """Tenants."""
        return tenants_pb2_grpc.TenantServiceStub(self._channel("directory"))

    @cached_property
    def accounts(self) -> accounts_pb2_grpc.AccountServiceStub:
        """Accounts."""
        return accounts_pb2_grpc.AccountServiceStub(self._channel("directory"))

    @cached_property
    def groups(self) -> groups_pb2_grpc.GroupServiceStub:
        """Groups and their members."""
        return groups_pb2_grpc.GroupServiceStub(self._channel("directory"))

    @cached_property
    def users(self) -> users_pb2_grpc.UserServiceStub:
        """Users."""
        return users_pb2_grpc.UserServiceStub(self._channel("directory"))

    @cached_property
    def licenses(self) -> licenses_pb2_grpc.LicenseServiceStub:
        """Seats."""
        return licenses_pb2_grpc.LicenseServiceStub(self._channel("directory"))

    @cached_property
    def sources(self) -> sources_pb2_grpc.SourceServiceStub:
        """Sources."""
        return sources_pb2_grpc.SourceServiceStub(self._channel("directory"))

    @cached_property
    def api_keys(self) -> api_keys_pb2_grpc.ApiKeyServiceStub:
        """Keys of SCIM sources."""
        return api_keys_pb2_grpc.ApiKeyServiceStub(self._channel("directory"))

    @cached_property
    def activity(self) -> scim_activity_pb2_grpc.ScimActivityServiceStub:
        """What identity providers asked."""
        return scim_activity_pb2_grpc.ScimActivityServiceStub(self._channel("directory"))

    @cached_property
    def administrators(self) -> administrators_pb2_grpc.AdministratorServiceStub:
        """Administrators."""
        return administrators_pb2_grpc.AdministratorServiceStub(self._channel("directory"))

    @cached_property
    def imports(self) -> imports_pb2_grpc.ImportServiceStub:
        """Import runs."""
        return imports_pb2_grpc.ImportServiceStub(self._channel("directory"))

    @cached_property
    def invitations(self) -> invitations_pb2_grpc.InvitationServiceStub:
        """Invitations."""
        return invitations_pb2_grpc.InvitationServiceStub(self._channel("directory"))

    @cached_property
    def events(self) -> events_pb2_grpc.EventServiceStub:
        """The event log."""
        return events_pb2_grpc.EventServiceStub(self._channel("directory"))

    @cached_property
    def operations(self) -> operations_pb2_grpc.OperationsServiceStub:
        """The upkeep of the register."""
        return operations_pb2_grpc.OperationsServiceStub(self._channel("directory"))

    @cached_property
    def importer(self) -> importer_pb2_grpc.ImporterServiceStub:
        """The importer's own door."""
        return importer_pb2_grpc.ImporterServiceStub(self._channel("importer"))

    @cached_property
    def messages(self) -> messages_pb2_grpc.MessageServiceStub:
        """What was mailed."""
        return messages_pb2_grpc.MessageServiceStub(self._channel("notifier"))

    def _channel(self, service: str) -> grpc.Channel:
        if service not in self._channels:
            self._channels[service] = client.open_channel(self.addresses[service], self.addresses["token"])
        return self._channels[service]
