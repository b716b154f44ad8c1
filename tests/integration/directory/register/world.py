"""One tenant of a served directory in the model's words, and the model of it as it is at the beginning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import grpc
from muster.directory.v1 import groups_pb2, sources_pb2, tenants_pb2, users_pb2
from muster.runtime.errors import failure_of

from tests.integration.directory.register.files import Files
from tests.integration.directory.register.hands import Hands
from tests.integration.directory.register.names import Names
from tests.integration.directory.register.provider import Provider
from tests.integration.directory.serving import Caller, Office, ServedDirectory
from tests.reference.register import Account, Tenant
from tests.reference.values import Group, Limit, Limits, Source

MAIN, NORTH, SOUTH = "main", "north", "south"
PAYROLL, PROVIDER = "payroll", "provider"
SEATS = 5
"""As many as there are people on the first day."""
LIMITS = replace(Limits(*[Limit(1_000_000, 100)] * 7), delete=Limit(1, 20))
"""Two deletions hold a file, so that there is something to decide; nothing else does."""


class World:
    """The tenant, with an account in an account in its main account, a file and a connection."""

    def __init__(self, directory: ServedDirectory, support: Caller, *, creates_groups: bool, grace_nights: int) -> None:
        self.directory, self.support = directory, support
        self.began = self.now
        self.office = Office(support, seats=SEATS)
        self.users, self.groups, self.accounts, self.sources = Names(), Names(), Names(), Names()
        self.payroll = Source(
            account=MAIN, creates_unknown_groups=creates_groups, grace_nights=grace_nights, limits=LIMITS
        )
        self._make_accounts()
        self.make_payroll()
        self.make_provider()
        self.hands, self.files, self.provider = Hands(self), Files(self, PAYROLL), Provider(self, PROVIDER)

    @property
    def now(self) -> datetime:
        """The directory's time."""
        now: datetime = self.directory.clock.now
        return now

    def model(self) -> Tenant:
        """The tenant as it is now, at the beginning."""
        return Tenant(
            accounts={MAIN: Account(MAIN), NORTH: Account(NORTH, MAIN), SOUTH: Account(SOUTH, NORTH)},
            groups={name: Group(name, is_main=True) for name in (MAIN, NORTH, SOUTH)},
            sources={
                PAYROLL: self.payroll,
                PROVIDER: Source(account=NORTH, is_scim=True, creates_unknown_groups=True),
            },
            seats_total=SEATS,
        )

    @staticmethod
    def outcome(call: Callable[[], Any]) -> tuple[str, Any]:
        """OK and the answer, or the reason of the refusal."""
        try:
            return "OK", call()
        except grpc.RpcError as error:
            return failure_of(error).reason, None

    def find_newcomers(self, model: Tenant) -> None:
        """Note whom and what a night has made: people by their mails, groups by their Group IDs."""
        request = users_pb2.ListUsersRequest(tenant=self.office.name, page_size=1000)
        by_mail = {user.email: user.name for user in self.support.users.ListUsers(request).users}
        for name in model.active():
            if name not in self.users and model.users[name].email in by_mail:
                self.users.put(name, by_mail[model.users[name].email])
        by_group_id = {group.group_external_id: group.name for group in self._groups() if group.group_external_id}
        for name, group in model.groups.items():
            if name not in self.groups and group.group_external_id in by_group_id:
                self.groups.put(name, by_group_id[group.group_external_id])

    def end(self) -> None:
        """Delete the tenant, which the upkeep of later runs then has no work with."""
        self.support.tenants.DeleteTenant(tenants_pb2.DeleteTenantRequest(name=self.office.name))

    def _make_accounts(self) -> None:
        north = self.office.account(NORTH)
        south = self.office.account(SOUTH, north.name)
        names = {self.office.main_account: MAIN, north.name: NORTH, south.name: SOUTH}
        for resource, name in names.items():
            self.accounts.put(name, resource)
        for group in self._groups():
            self.groups.put(names[group.account], group.name)

    def make_payroll(self) -> None:
        """Create the file, of which nights come at once."""
        limits = sources_pb2.Limits()
        for name, limit in vars(self.payroll.limits).items():
            getattr(limits, name).MergeFrom(sources_pb2.Limit(percent=limit.percent, floor=limit.floor))
        creates = self.payroll.creates_unknown_groups
        source = sources_pb2.Source(
            display_name=PAYROLL,
            account=self.accounts.resource(MAIN),
            limits=limits,
            grace_nights=self.payroll.grace_nights,
            unknown_groups=sources_pb2.UNKNOWN_GROUPS_CREATE if creates else sources_pb2.UNKNOWN_GROUPS_IGNORE,
        )
        request = sources_pb2.CreateSourceRequest(tenant=self.office.name, source=source)
        made = self.support.sources.CreateSource(request).source
        self.support.sources.EnableSource(sources_pb2.EnableSourceRequest(name=made.name))
        self.sources.put(PAYROLL, made.name)

    def make_provider(self) -> None:
        """Create the connection."""
        north = self.accounts.resource(NORTH)
        creates_all = sources_pb2.UNKNOWN_GROUPS_CREATE
        self.sources.put(PROVIDER, self.office.scim_source(PROVIDER, account=north, unknown_groups=creates_all).name)

    def begin_anew(self, source: str) -> None:
        """Put a new source of the same settings in the place of one that was detached."""
        request = sources_pb2.DeleteSourceRequest(name=self.sources.resource(source))
        self.support.sources.DeleteSource(request)
        if source == PAYROLL:
            self.make_payroll()
        else:
            self.make_provider()

    def _groups(self) -> list[groups_pb2.Group]:
        request = groups_pb2.ListGroupsRequest(tenant=self.office.name, page_size=1000)
        return list(self.support.groups.ListGroups(request).groups)
