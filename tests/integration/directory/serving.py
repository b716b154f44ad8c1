"""Serve the directory from the test's process, and call it as one of its callers."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from argon2 import PasswordHasher
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from muster.directory.v1 import (
    accounts_pb2,
    accounts_pb2_grpc,
    administrators_pb2,
    administrators_pb2_grpc,
    api_keys_pb2,
    api_keys_pb2_grpc,
    credentials_pb2_grpc,
    events_pb2,
    events_pb2_grpc,
    groups_pb2,
    groups_pb2_grpc,
    imports_pb2_grpc,
    invitations_pb2_grpc,
    licenses_pb2,
    licenses_pb2_grpc,
    operations_pb2_grpc,
    provisioning_pb2_grpc,
    scim_activity_pb2_grpc,
    sources_pb2,
    sources_pb2_grpc,
    tenants_pb2,
    tenants_pb2_grpc,
    users_pb2,
    users_pb2_grpc,
)
from muster.runtime import client
from muster.runtime.errors import Failure, failure_of
from sqlalchemy import event

from services.directory.api.servicer import MOST_WATCHERS, Resources
from services.directory.app import Directory
from services.directory.operations.source_secrets import HostedDrop
from services.directory.operations.tokens import create_token
from services.directory.rules import names
from services.directory.rules.grants import Grant
from services.directory.rules.passwords import Passwords
from services.directory.store.seal import Seal

PEPPER = b"a pepper of the tests only"
SEAL_KEY = bytes(range(32))
START = datetime(2024, 3, 4, 2, 0, tzinfo=UTC)
DROP = HostedDrop("drop.example.org", 2222, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==")
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""Passwords at next to no cost."""

_numbers = itertools.count(1)


class Clock:
    """The time, which moves when a test says so."""

    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now

    def pass_hours(self, hours):
        self.now += timedelta(hours=hours)

    def pass_minutes(self, minutes):
        self.now += timedelta(minutes=minutes)


class ServedDirectory:
    """A whole directory on a loopback port."""

    def __init__(self, store, stages: Path):
        self.store = store
        self.clock = Clock()
        self.stages = stages
        self._resources = Resources(
            store=store,
            seal=Seal(SEAL_KEY),
            clock=self.clock,
            stages=stages,
            pepper=PEPPER,
            drop=DROP,
            passwords=Passwords(QUICK),
        )
        self._directory = Directory(self._resources, "127.0.0.1:0")
        self._directory.start()
        self.target = f"127.0.0.1:{self._directory.port}"
        self._callers: list[Caller] = []

    @contextmanager
    def all_batch_streams_taken(self) -> Iterator[None]:
        """There is no place for one more stream of batches inside."""
        with ExitStack() as held:
            for _ in range(MOST_WATCHERS):
                held.enter_context(self._resources.batch_streams.take())
            yield

    def caller(self, grant: Grant, tenant: str = "") -> Caller:
        """A caller with a new token of this grant."""
        return self.caller_with(self.token(grant, tenant))

    def token(self, grant: Grant, tenant: str = "") -> str:
        tenant_id = names.parse_tenant(tenant, field="tenant") if tenant else 0
        with self.store.write(None) as session:
            return create_token(session, grant, tenant_id, pepper=PEPPER, now=self.clock())

    def caller_with(self, token: str) -> Caller:
        caller = Caller(self.target, token)
        self._callers.append(caller)
        return caller

    def stop(self):
        for caller in self._callers:
            caller.channel.close()
        self._directory.stop()


class Caller:
    """One channel with one token, and a stub of each service."""

    def __init__(self, target: str, token: str):
        self.channel = client.open_channel(target, token)
        self.tenants = tenants_pb2_grpc.TenantServiceStub(self.channel)
        self.accounts = accounts_pb2_grpc.AccountServiceStub(self.channel)
        self.groups = groups_pb2_grpc.GroupServiceStub(self.channel)
        self.users = users_pb2_grpc.UserServiceStub(self.channel)
        self.licenses = licenses_pb2_grpc.LicenseServiceStub(self.channel)
        self.sources = sources_pb2_grpc.SourceServiceStub(self.channel)
        self.imports = imports_pb2_grpc.ImportServiceStub(self.channel)
        self.invitations = invitations_pb2_grpc.InvitationServiceStub(self.channel)
        self.events = events_pb2_grpc.EventServiceStub(self.channel)
        self.operations = operations_pb2_grpc.OperationsServiceStub(self.channel)
        self.api_keys = api_keys_pb2_grpc.ApiKeyServiceStub(self.channel)
        self.administrators = administrators_pb2_grpc.AdministratorServiceStub(self.channel)
        self.credentials = credentials_pb2_grpc.CredentialServiceStub(self.channel)
        self.provisioning = provisioning_pb2_grpc.ProvisioningServiceStub(self.channel)
        self.activity = scim_activity_pb2_grpc.ScimActivityServiceStub(self.channel)


class Office:
    """A tenant of its own, and short ways to fill it."""

    def __init__(self, support: Caller, *, seats: int = 10, accept_url: str = ""):
        self.support = support
        request = tenants_pb2.CreateTenantRequest(
            display_name=f"Office {next(_numbers)}", seats_total=seats, accept_url=accept_url
        )
        self.tenant = support.tenants.CreateTenant(request).tenant
        self.name = self.tenant.name
        self.tenant_id = names.parse_tenant(self.name, field="tenant")
        self.main_account = self.tenant.main_account
        self.license = f"{self.name}/license"

    def account(self, name: str = "School", parent: str = "") -> accounts_pb2.Account:
        request = accounts_pb2.CreateAccountRequest(tenant=self.name, display_name=name, parent=parent)
        return self.support.accounts.CreateAccount(request).account

    def group(self, name: str = "Teachers", account: str = "", group_id: str = "") -> groups_pb2.Group:
        request = groups_pb2.CreateGroupRequest(
            account=account or self.main_account, display_name=name, group_external_id=group_id
        )
        return self.support.groups.CreateGroup(request).group

    def user(self, email: str = "", account: str = "", groups=(), **fields) -> users_pb2.User:
        return self.support.users.CreateUser(self.user_request(email, account, groups, **fields)).user

    def read_user(self, name: str) -> users_pb2.User:
        return self.support.users.GetUser(users_pb2.GetUserRequest(name=name)).user

    def update_user(self, name: str, *, etag: str = "", **fields) -> users_pb2.User:
        request = users_pb2.UpdateUserRequest(user=users_pb2.User(name=name, etag=etag, **fields))
        request.update_mask.paths.extend(fields)
        return self.support.users.UpdateUser(request).user

    def delete_user(self, name: str, *, etag: str = "") -> users_pb2.User:
        return self.support.users.DeleteUser(users_pb2.DeleteUserRequest(name=name, etag=etag)).user

    def restore_user(self, name: str) -> users_pb2.User:
        return self.support.users.UndeleteUser(users_pb2.UndeleteUserRequest(name=name)).user

    def user_request(self, email: str = "", account: str = "", groups=(), **fields) -> users_pb2.CreateUserRequest:
        return users_pb2.CreateUserRequest(
            account=account or self.main_account,
            display_name=fields.pop("display_name", "Ann Example"),
            email=email or f"ann{next(_numbers)}@example.org",
            groups=groups,
            **fields,
        )

    def scim_source(self, name: str = "Identity provider", **settings) -> sources_pb2.Source:
        source = sources_pb2.Source(
            **{"display_name": name, "kind": sources_pb2.SOURCE_KIND_SCIM, "account": self.main_account, **settings}
        )
        return self.support.sources.CreateSource(
            sources_pb2.CreateSourceRequest(tenant=self.name, source=source)
        ).source

    def disable(self, source: str) -> None:
        self.support.sources.DisableSource(sources_pb2.DisableSourceRequest(name=source))

    def api_key(self, source: str, *, expires_days: int = 0) -> api_keys_pb2.CreateApiKeyResponse:
        request = api_keys_pb2.CreateApiKeyRequest(source=source, expires_days=expires_days)
        return self.support.api_keys.CreateApiKey(request)

    def change_members(self, group: str, *, add=(), remove=(), request_id: str = ""):
        request = groups_pb2.ModifyMembershipsRequest(group=group, add=add, remove=remove, request_id=request_id)
        return self.support.groups.ModifyMemberships(request)

    def members(self, group: str) -> list[str]:
        answer = self.support.groups.ListMemberships(groups_pb2.ListMembershipsRequest(group=group))
        return [membership.user for membership in answer.memberships]

    def seats(self) -> licenses_pb2.License:
        return self.support.licenses.GetLicense(licenses_pb2.GetLicenseRequest(name=self.license)).license

    def events(self, kind: str = "") -> list[events_pb2.Event]:
        return list(self.support.events.ListEvents(events_pb2.ListEventsRequest(tenant=self.name, kind=kind)).events)


def make_administrator(caller: Caller, parent: str = "") -> administrators_pb2.CreateAdministratorResponse:
    """A new administrator with a mail of its own."""
    request = administrators_pb2.CreateAdministratorRequest(
        parent=parent, email=f"admin{next(_numbers)}@example.org", display_name="Ann Admin"
    )
    return caller.administrators.CreateAdministrator(request)


def sign_in(caller: Caller, email: str, password: str, code: str = "") -> administrators_pb2.SignInResponse:
    request = administrators_pb2.SignInRequest(email=email, password=password, totp_code=code)
    return caller.administrators.SignIn(request)


def groups_in(values: Struct) -> list[str]:
    """The names of groups that an event's side holds."""
    return list(MessageToDict(values)["groups"])


@contextmanager
def refused(reason: str):
    """Expect a call to be refused for this reason; gives what the error said, afterwards."""
    told: dict[str, Failure] = {}
    with pytest.raises(grpc.RpcError) as caught:
        yield told
    failure = failure_of(caught.value)
    assert failure.reason == reason, failure
    told["failure"] = failure


def fields_of(told) -> list[str]:
    return [field for field, _ in told["failure"].violations]


@contextmanager
def counted_statements(store, *, thread="rpc"):
    """Count the statements that calls send to the database; those of the workers beside them do not count."""
    statements = []

    def note(_connection, _cursor, statement, *_rest):
        if threading.current_thread().name.startswith(thread):
            statements.append(statement)

    for engine in store.engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        for engine in store.engines:
            event.remove(engine, "before_cursor_execute", note)
