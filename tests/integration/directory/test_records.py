"""Tenants, accounts and groups: made, read, listed and refused."""

from __future__ import annotations

import pytest
from muster.directory.v1 import accounts_pb2, groups_pb2, tenants_pb2

from tests.integration.directory.serving import Caller, Office, fields_of, refused


def test_a_tenant_comes_with_its_main_account_its_main_group_and_its_license(support: Caller):
    request = tenants_pb2.CreateTenantRequest(display_name="  Springfield \n City ", seats_total=7, language="sv")
    tenant = support.tenants.CreateTenant(request).tenant
    assert (tenant.display_name, tenant.language) == ("Springfield City", "sv")
    assert support.tenants.GetTenant(tenants_pb2.GetTenantRequest(name=tenant.name)).tenant == tenant
    account = support.accounts.GetAccount(accounts_pb2.GetAccountRequest(name=tenant.main_account)).account
    assert (account.display_name, account.parent, account.user_count) == ("Springfield City", "", 0)
    group = support.groups.GetGroup(groups_pb2.GetGroupRequest(name=account.main_group)).group
    assert (group.kind, group.account) == (groups_pb2.GROUP_KIND_MAIN, account.name)


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"display_name": " \u200b "}, ["display_name"]),
        ({"display_name": "x" * 257}, ["display_name"]),
        ({"display_name": "a\x07b"}, ["display_name"]),
        ({"display_name": "a", "seats_total": -1}, ["seats_total"]),
        ({"display_name": "a", "accept_url": "javascript:alert(1)", "language": "de"}, ["accept_url", "language"]),
    ],
)
def test_a_tenant_is_refused_with_all_that_is_wrong(support: Caller, fields, wrong):
    with refused("INVALID_ARGUMENT") as told:
        support.tenants.CreateTenant(tenants_pb2.CreateTenantRequest(**fields))
    assert fields_of(told) == wrong


def test_a_sub_account_lies_below_the_main_account_unless_it_says_otherwise(office: Office):
    school = office.account("School")
    classroom = office.account("Class 1", parent=school.name)
    assert (school.parent, classroom.parent) == (office.main_account, school.name)
    request = accounts_pb2.ListAccountsRequest(tenant=office.name)
    listed = office.support.accounts.ListAccounts(request).accounts
    assert [account.name for account in listed] == [office.main_account, school.name, classroom.name]


def test_another_tenants_account_is_no_parent(office: Office, support: Caller):
    with refused("NOT_FOUND"):
        office.account(parent=Office(support).main_account)


def test_a_group_id_makes_a_group_synced(office: Office):
    assert office.group("Hand-made").kind == groups_pb2.GROUP_KIND_MANUAL
    synced = office.group("Synced", group_id=" G-1 ")
    assert (synced.kind, synced.group_external_id, synced.owner) == (groups_pb2.GROUP_KIND_SYNCED, "G-1", "")


def test_a_group_id_is_unique_in_its_tenant_only(office: Office, support: Caller):
    office.group(group_id="G-1")
    with refused("GROUP_ID_TAKEN"):
        office.group(group_id="G-1")
    office.group(group_id="g-1")
    Office(support).group(group_id="G-1")


def test_what_does_not_exist_is_not_found(office: Office):
    school = office.account("School")
    missing = school.name.replace("/accounts/", "/groups/").replace("acc_", "grp_")
    with refused("INVALID_ARGUMENT"):  # the check character is another kind's
        office.support.groups.GetGroup(groups_pb2.GetGroupRequest(name=missing))
    group = office.group()
    user = group.name.replace("/groups/", "/users/").replace("grp_", "usr_")
    with refused("INVALID_ARGUMENT"):
        office.change_members(group.name, add=[user])


def test_creations_are_events_that_name_the_caller(office: Office):
    school = office.account("School")
    group = office.group("Teachers", school.name, "G-1")
    tenant_created, account_created, group_created = office.events()
    assert tenant_created.kind == "tenant.created"
    assert tenant_created.resource == office.name
    assert tenant_created.after["seats_total"] == 10
    assert (account_created.kind, account_created.resource) == ("account.created", school.name)
    assert account_created.after["parent"] == office.main_account
    assert (group_created.kind, group_created.resource) == ("group.created", group.name)
    assert dict(group_created.after.items()) == {
        "display_name": "Teachers",
        "group_external_id": "G-1",
        "account": school.name,
    }
    assert {event.actor.split("/")[1] for event in office.events()} == {"support"}
