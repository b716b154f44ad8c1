"""What the API's lists and the events say of a tenant, beside what the model says."""

from __future__ import annotations

from typing import Any

from muster.directory.v1 import accounts_pb2, events_pb2, groups_pb2, operations_pb2, users_pb2

from services.directory.api.servicer import Resources
from tests.integration.directory.register.world import World
from tests.reference.register import State, Tenant

_STATES = {
    users_pb2.USER_STATE_ACTIVE: State.ACTIVE,
    users_pb2.USER_STATE_DELETED: State.DELETED,
    users_pb2.USER_STATE_DORMANT: State.DORMANT,
}
_STATE_AFTER = {
    "user.created": State.ACTIVE,
    "user.restored": State.ACTIVE,
    "user.dormant": State.DORMANT,
    "user.deleted": State.DELETED,
}


def check_lists(tenant: Tenant, world: World) -> None:
    """Users, groups, accounts and seats as a caller lists them; and the promises that hold whatever happened."""
    _check_users(tenant, world)
    _check_places(tenant, world)
    license_ = world.office.seats()
    assert (license_.seats_total, license_.seats_used) == (tenant.seats_total, len(tenant.active()))
    check = operations_pb2.CheckIntegrityRequest(tenant=world.office.name)
    problems = [answer.problem for answer in world.support.operations.CheckIntegrity(check)]
    assert problems == []
    mails = [tenant.users[name].email for name in tenant.active()]
    assert len(mails) == len(set(mails))
    assert {entry.user for entry in tenant.memberships} <= set(tenant.active())
    for entry in tenant.memberships:
        main_group = tenant.accounts[tenant.groups[entry.group].account].main_group
        assert main_group in tenant.groups_of(entry.user), f"{entry.user} is in {entry.group} but not in its account"


def _check_users(tenant: Tenant, world: World) -> None:
    listed = _all(
        lambda token: world.support.users.ListUsers(
            users_pb2.ListUsersRequest(tenant=world.office.name, show_deleted=True, page_size=7, page_token=token)
        ),
        "users",
    )
    expected = {}
    for name, person in tenant.users.items():
        groups = {tenant_name for tenant_name in tenant.groups_of(name) if not tenant.groups[tenant_name].is_main}
        accounts = {tenant.groups[group].account for group in tenant.groups_of(name) if tenant.groups[group].is_main}
        expected[world.users.resource(name)] = (
            person.email,
            person.display_name,
            person.state,
            {world.groups.resource(group) for group in groups},
            {world.accounts.resource(account) for account in accounts},
        )
    assert {
        user.name: (user.email, user.display_name, _STATES[user.state], set(user.groups), set(user.accounts))
        for user in listed
    } == expected


def _check_places(tenant: Tenant, world: World) -> None:
    groups = _all(
        lambda token: world.support.groups.ListGroups(
            groups_pb2.ListGroupsRequest(tenant=world.office.name, page_size=4, page_token=token)
        ),
        "groups",
    )
    members = {name: {e.user for e in tenant.memberships if e.group == name} for name in tenant.groups}
    assert {group.name: (group.group_external_id, group.member_count) for group in groups} == {
        world.groups.resource(name): (group.group_external_id or "", len(members[name]))
        for name, group in tenant.groups.items()
    }
    accounts = world.support.accounts.ListAccounts(accounts_pb2.ListAccountsRequest(tenant=world.office.name)).accounts
    assert {account.name: account.user_count for account in accounts} == {
        world.accounts.resource(name): len(members[account.main_group]) for name, account in tenant.accounts.items()
    }


def check_events(tenant: Tenant, world: World) -> None:
    """The events alone tell who is active; after two years the oldest are in the archive."""
    events = _all(
        lambda token: world.support.events.ListEvents(
            events_pb2.ListEventsRequest(tenant=world.office.name, page_size=1000, page_token=token)
        ),
        "events",
    )
    told: dict[str, State] = {}
    for event in events:
        if event.kind in _STATE_AFTER:
            told[event.resource] = _STATE_AFTER[event.kind]
    states = {world.users.resource(name): person.state for name, person in tenant.users.items()}
    if world.now - world.began < Resources.event_retention:
        assert told == states
    else:
        assert told.items() <= states.items()


def _all(page_of: Any, field: str) -> list[Any]:
    """Every page of a list."""
    found, token = [], ""
    while True:
        page = page_of(token)
        found += getattr(page, field)
        token = page.next_page_token
        if not token:
            return found
