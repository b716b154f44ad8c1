"""An administrator of an account reaches that account and those below it: each method within, and refused outside."""

from __future__ import annotations

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from muster.directory.v1 import (
    accounts_pb2,
    administrators_pb2,
    api_keys_pb2,
    events_pb2,
    groups_pb2,
    imports_pb2,
    invitations_pb2,
    licenses_pb2,
    sources_pb2,
    tenants_pb2,
    users_pb2,
)

from services.directory.rules import names
from services.directory.rules.account_reach import REACHES
from tests.integration.directory.serving import (
    Caller,
    Office,
    ServedDirectory,
    make_administrator,
    refused,
    sign_in,
)

NAMED = FieldMask(paths=["display_name"])


class Place:
    """An account with one below it, a group, two people, and an invitation of one of them."""

    def __init__(self, office: Office):
        self.account = office.account("School").name
        self.below = office.account("Branch", self.account).name
        self.leaf = office.account("Leaf", self.below).name
        self.group = office.group("Teachers", self.below).name
        self.user = office.user(account=self.below).name
        self.other = office.user(account=self.account).name
        request = invitations_pb2.CreateInvitationRequest(user=self.user)
        self.invitation = office.support.invitations.CreateInvitation(request).invitation.name


@pytest.fixture(scope="module")
def office(support: Caller) -> Office:
    return Office(support, seats=100, accept_url="https://log-in.example/accept")


@pytest.fixture(scope="module")
def within(office: Office) -> Place:
    return Place(office)


@pytest.fixture(scope="module")
def outside(office: Office) -> Place:
    return Place(office)


@pytest.fixture(scope="module")
def headmaster(directory: ServedDirectory, support: Caller, within: Place) -> Caller:
    made = make_administrator(support, within.account)
    return directory.caller_with(sign_in(support, made.administrator.email, made.password).token)


CALLS = {
    "AccountService/CreateAccount": lambda at, tenant: accounts_pb2.CreateAccountRequest(
        tenant=tenant, display_name="New", parent=at.below
    ),
    "AccountService/GetAccount": lambda at, _: accounts_pb2.GetAccountRequest(name=at.below),
    "AccountService/UpdateAccount": lambda at, _: accounts_pb2.UpdateAccountRequest(
        account=accounts_pb2.Account(name=at.below, display_name="Renamed"), update_mask=NAMED
    ),
    "AccountService/MoveAccount": lambda at, _: accounts_pb2.MoveAccountRequest(name=at.leaf, parent=at.account),
    "AccountService/DeleteAccount": lambda at, _: accounts_pb2.DeleteAccountRequest(name=at.leaf),
    "GroupService/CreateGroup": lambda at, _: groups_pb2.CreateGroupRequest(account=at.below, display_name="Choir"),
    "GroupService/GetGroup": lambda at, _: groups_pb2.GetGroupRequest(name=at.group),
    "GroupService/ListMemberships": lambda at, _: groups_pb2.ListMembershipsRequest(group=at.group),
    "GroupService/ModifyMemberships": lambda at, _: groups_pb2.ModifyMembershipsRequest(
        group=at.group, add=[at.user, at.other]
    ),
    "GroupService/UpdateGroup": lambda at, _: groups_pb2.UpdateGroupRequest(
        group=groups_pb2.Group(name=at.group, display_name="Staff"), update_mask=NAMED
    ),
    "GroupService/MoveGroup": lambda at, _: groups_pb2.MoveGroupRequest(
        name=at.group, account=at.account, members=groups_pb2.MOVED_MEMBERS_ADD
    ),
    "GroupService/DeleteGroup": lambda at, _: groups_pb2.DeleteGroupRequest(name=at.group),
    "UserService/CreateUser": lambda at, _: users_pb2.CreateUserRequest(
        account=at.below, display_name="Bo", email=f"bo.{at.below[-5:].strip('~')}@example.org"
    ),
    "UserService/GetUser": lambda at, _: users_pb2.GetUserRequest(name=at.user),
    "UserService/BatchGetUsers": lambda at, tenant: users_pb2.BatchGetUsersRequest(
        tenant=tenant, names=[at.user, at.other]
    ),
    "UserService/UpdateUser": lambda at, _: users_pb2.UpdateUserRequest(
        user=users_pb2.User(name=at.user, display_name="Anna"), update_mask=NAMED
    ),
    "InvitationService/CreateInvitation": lambda at, _: invitations_pb2.CreateInvitationRequest(user=at.user),
    "InvitationService/BatchCreateInvitations": lambda at, tenant: invitations_pb2.BatchCreateInvitationsRequest(
        tenant=tenant, users=[at.user]
    ),
    "InvitationService/GetInvitation": lambda at, _: invitations_pb2.GetInvitationRequest(name=at.invitation),
    "InvitationService/RevokeInvitation": lambda at, _: invitations_pb2.RevokeInvitationRequest(name=at.invitation),
    "UserService/DeleteUser": lambda at, _: users_pb2.DeleteUserRequest(name=at.other),
}
"""One request of each method that names something, in an order in which each works."""

LISTS = {"AccountService/ListAccounts", "GroupService/ListGroups", "UserService/ListUsers"}
LISTS |= {"InvitationService/ListInvitations"}


def call(caller: Caller, method: str, request):
    service, _, name = method.partition("/")
    stubs = {"AccountService": caller.accounts, "GroupService": caller.groups, "UserService": caller.users}
    return getattr((stubs | {"InvitationService": caller.invitations})[service], name)(request)


def test_every_method_that_is_reached_is_tried_here():
    assert {f"/muster.directory.v1.{method}" for method in {*CALLS, *LISTS}} == set(REACHES)


def test_lists_hold_what_is_within_and_nothing_else(headmaster: Caller, office: Office, within: Place, outside: Place):
    accounts = headmaster.accounts.ListAccounts(accounts_pb2.ListAccountsRequest(tenant=office.name)).accounts
    assert {account.name for account in accounts} == {within.account, within.below, within.leaf}
    groups = headmaster.groups.ListGroups(groups_pb2.ListGroupsRequest(tenant=office.name)).groups
    assert {group.account for group in groups} == {within.account, within.below, within.leaf}
    users = headmaster.users.ListUsers(users_pb2.ListUsersRequest(tenant=office.name, show_deleted=True)).users
    assert {user.name for user in users} == {within.user, within.other}
    invitations = headmaster.invitations.ListInvitations(
        invitations_pb2.ListInvitationsRequest(tenant=office.name)
    ).invitations
    assert {invitation.name for invitation in invitations} == {within.invitation}
    for narrowed in (
        users_pb2.ListUsersRequest(tenant=office.name, account=outside.account),
        users_pb2.ListUsersRequest(tenant=office.name, group=outside.group),
    ):
        with refused("PERMISSION_DENIED"):
            headmaster.users.ListUsers(narrowed)


def test_each_method_works_within_and_is_refused_outside(headmaster, office, within, outside):
    for method, request in CALLS.items():
        with refused("PERMISSION_DENIED"):
            call(headmaster, method, request(outside, office.name))
        call(headmaster, method, request(within, office.name))


@pytest.mark.parametrize(
    "ask",
    [
        lambda caller, at, to, _: caller.accounts.MoveAccount(
            accounts_pb2.MoveAccountRequest(name=at.below, parent=to.account)
        ),
        lambda caller, at, _, tenant: caller.accounts.CreateAccount(
            accounts_pb2.CreateAccountRequest(tenant=tenant, display_name="New")
        ),
        lambda caller, at, _, tenant: caller.accounts.DeleteAccount(accounts_pb2.DeleteAccountRequest(name=at.account)),
        lambda caller, at, to, _: caller.groups.ModifyMemberships(
            groups_pb2.ModifyMembershipsRequest(group=at.group, add=[to.user])
        ),
        lambda caller, at, to, _: caller.users.CreateUser(
            users_pb2.CreateUserRequest(account=at.account, groups=[to.group], display_name="x", email="x@example.org")
        ),
        lambda caller, at, _, tenant: caller.users.GetUser(
            users_pb2.GetUserRequest(name=names.USER.format(1_000_000, 1))
        ),
        lambda caller, at, _, tenant: caller.users.GetUser(
            users_pb2.GetUserRequest(name=names.USER.format(names.parse_tenant(tenant, field="tenant"), 1_000_000))
        ),
    ],
    ids=[
        "an account moved out",
        "an account under the main one",
        "the own account",
        "somebody from outside",
        "a group outside",
        "another tenant",
        "nobody",
    ],
)
def test_nothing_is_reached_around_the_corner(headmaster, office, within, outside, ask):
    with refused("PERMISSION_DENIED"):
        ask(headmaster, within, outside, office.name)


def test_everything_else_of_the_tenant_is_closed(headmaster: Caller, office: Office):
    source = office.scim_source().name
    for ask in (
        lambda: headmaster.tenants.GetTenant(tenants_pb2.GetTenantRequest(name=office.name)),
        lambda: headmaster.licenses.GetLicense(licenses_pb2.GetLicenseRequest(name=office.license)),
        lambda: headmaster.sources.ListSources(sources_pb2.ListSourcesRequest(tenant=office.name)),
        lambda: headmaster.api_keys.ListApiKeys(api_keys_pb2.ListApiKeysRequest(source=source)),
        lambda: headmaster.imports.ListImportRuns(imports_pb2.ListImportRunsRequest(source=source)),
        lambda: headmaster.events.ListEvents(events_pb2.ListEventsRequest(tenant=office.name)),
        lambda: headmaster.administrators.ListAdministrators(
            administrators_pb2.ListAdministratorsRequest(parent=office.name)
        ),
    ):
        with refused("PERMISSION_DENIED"):
            ask()


def test_what_it_does_is_done_in_its_name(headmaster: Caller, office: Office, within: Place):
    name = headmaster.administrators.GetSession(administrators_pb2.GetSessionRequest()).administrator.name
    made = headmaster.groups.CreateGroup(groups_pb2.CreateGroupRequest(account=within.account, display_name="Choir"))
    (event,) = [event for event in office.events("group.created") if event.resource == made.group.name]
    assert event.actor == name
