"""Keyset pages: whole, in order, and with tokens that only their own list accepts."""

from __future__ import annotations

from typing import Any

import pytest
from muster.directory.v1 import accounts_pb2, events_pb2, groups_pb2, sources_pb2, tenants_pb2, users_pb2

from tests.integration.directory.serving import Caller, Office, fields_of, refused


def pages(method, request, field):
    """Read a list to its end."""
    found = []
    while True:
        answer = method(request)
        items = getattr(answer, field)
        assert len(items) <= request.page_size
        found.append(list(items))
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


def test_every_list_is_whole_and_in_order_however_it_is_cut(support: Caller):
    office = Office(support, seats=20)
    group = office.group()
    for number in range(6):
        office.user(groups=[group.name])
        office.account(f"School {number}")
        source = sources_pb2.Source(display_name=f"File {number}")
        support.sources.CreateSource(sources_pb2.CreateSourceRequest(tenant=office.name, source=source))
    lists: list[tuple[Any, Any, str, int]] = [
        (support.users.ListUsers, users_pb2.ListUsersRequest(tenant=office.name), "users", 6),
        (support.accounts.ListAccounts, accounts_pb2.ListAccountsRequest(tenant=office.name), "accounts", 7),
        (support.groups.ListGroups, groups_pb2.ListGroupsRequest(tenant=office.name), "groups", 8),
        (support.groups.ListMemberships, groups_pb2.ListMembershipsRequest(group=group.name), "memberships", 6),
        (support.sources.ListSources, sources_pb2.ListSourcesRequest(tenant=office.name), "sources", 6),
        (support.events.ListEvents, events_pb2.ListEventsRequest(tenant=office.name), "events", 26),
    ]
    for method, request, field, total in lists:
        request.page_size = 1000
        (whole,) = pages(method, request, field)
        assert len(whole) == total, field
        request.page_size, request.page_token = 4, ""
        cut = pages(method, request, field)
        assert [item for page in cut for item in page] == whole
        assert len(cut) == -(-total // 4)


def test_tenants_and_drop_logins_are_listed_across_tenants(support: Caller):
    offices = [Office(support) for _ in range(3)]
    for office in offices:
        source = sources_pb2.Source(display_name="Drop")
        support.sources.CreateSource(sources_pb2.CreateSourceRequest(tenant=office.name, source=source))
    tenants = [
        tenant.name
        for page in pages(support.tenants.ListTenants, tenants_pb2.ListTenantsRequest(page_size=2), "tenants")
        for tenant in page
    ]
    assert tenants[-3:] == [office.name for office in offices]
    request = sources_pb2.ListDropLoginsRequest(page_size=2)
    logins = [login for page in pages(support.sources.ListDropLogins, request, "logins") for login in page]
    assert [login.source.rpartition("/sources/")[0] for login in logins[-3:]] == tenants[-3:]


def test_a_page_size_over_1000_is_cut_and_one_below_0_is_refused(office: Office):
    list_users = office.support.users.ListUsers
    list_users(users_pb2.ListUsersRequest(tenant=office.name, page_size=5000))
    with refused("INVALID_ARGUMENT") as told:
        list_users(users_pb2.ListUsersRequest(tenant=office.name, page_size=-1))
    assert fields_of(told) == ["page_size"]


@pytest.fixture
def token(office: Office):
    for _ in range(3):
        office.user()
    request = users_pb2.ListUsersRequest(tenant=office.name, page_size=2)
    return office.support.users.ListUsers(request).next_page_token


def test_a_page_token_goes_on_with_another_page_size(office: Office, token):
    request = users_pb2.ListUsersRequest(tenant=office.name, page_size=50, page_token=token)
    assert len(office.support.users.ListUsers(request).users) == 1


def test_a_page_token_of_another_request_is_refused(office: Office, support: Caller, token):
    others = [
        users_pb2.ListUsersRequest(tenant=office.name, show_deleted=True, page_token=token),
        users_pb2.ListUsersRequest(tenant=office.name, email="a@example.org", page_token=token),
        users_pb2.ListUsersRequest(tenant=Office(support).name, page_token=token),
    ]
    for request in others:
        with refused("INVALID_PAGE_TOKEN"):
            support.users.ListUsers(request)
    with refused("INVALID_PAGE_TOKEN"):
        support.groups.ListGroups(groups_pb2.ListGroupsRequest(tenant=office.name, page_token=token))


@pytest.mark.parametrize(
    "damage", [lambda t: t[:-3], lambda t: "!" + t, lambda _: "e30", lambda _: "W10", lambda _: "é"]
)
def test_a_damaged_page_token_is_refused(office: Office, token, damage):
    request = users_pb2.ListUsersRequest(tenant=office.name, page_token=damage(token))
    with refused("INVALID_PAGE_TOKEN") as told:
        office.support.users.ListUsers(request)
    assert fields_of(told) == ["page_token"]
