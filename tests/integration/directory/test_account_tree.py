"""Accounts are a tree with the main account on top: renamed, moved and deleted by hand."""

from __future__ import annotations

import pytest
from muster.directory.v1 import accounts_pb2, administrators_pb2, administrators_pb2_grpc, groups_pb2, users_pb2

from tests.integration.directory.connection import outcomes_at_once
from tests.integration.directory.serving import Office, fields_of, groups_in, refused


@pytest.fixture
def school(office):
    return office.account("School")


def update(office: Office, account: str, name: str, etag: str = ""):
    request = accounts_pb2.UpdateAccountRequest(
        account=accounts_pb2.Account(name=account, display_name=name, etag=etag)
    )
    request.update_mask.paths.append("display_name")
    return office.support.accounts.UpdateAccount(request).account


def move(office: Office, account: str, parent: str, **request):
    return office.support.accounts.MoveAccount(
        accounts_pb2.MoveAccountRequest(name=account, parent=parent, **request)
    ).account


def delete(office: Office, account: str, **request):
    return office.support.accounts.DeleteAccount(accounts_pb2.DeleteAccountRequest(name=account, **request))


def below(office: Office, account: str) -> list[str]:
    request = accounts_pb2.ListAccountsRequest(tenant=office.name, parent=account)
    return [found.display_name for found in office.support.accounts.ListAccounts(request).accounts]


def why(told):
    return told["failure"].metadata["why"]


def sides(event):
    return dict(event.before.items()), dict(event.after.items())


def test_an_account_is_renamed_with_its_main_group(office, school):
    renamed = update(office, school.name, " Elm  School ", school.etag)
    assert (renamed.display_name, renamed.main_group) == ("Elm School", school.main_group)
    group = office.support.groups.GetGroup(groups_pb2.GetGroupRequest(name=school.main_group)).group
    assert group.display_name == "Elm School"
    assert update(office, school.name, "Elm School").etag == renamed.etag
    (event,) = office.events("account.updated")
    assert sides(event) == ({"display_name": "School"}, {"display_name": "Elm School"})
    with refused("STALE_ETAG"):
        update(office, school.name, "Oak School", school.etag)
    with refused("INVALID_ARGUMENT") as told:
        update(office, school.name, "")
    assert fields_of(told) == ["account.display_name"]
    assert update(office, office.main_account, "City").display_name == "City"


def test_an_account_moves_with_all_below_it(office, school):
    hall, room = office.account("Hall"), office.account("Room", parent=school.name)
    assert below(office, office.main_account) == ["School", "Hall"]
    moved = move(office, school.name, hall.name, etag=school.etag)
    assert (moved.parent, below(office, hall.name), below(office, school.name)) == (hall.name, ["School"], ["Room"])
    (event,) = office.events("account.moved")
    assert sides(event) == ({"parent": office.main_account}, {"parent": hall.name})
    assert move(office, school.name, hall.name).etag == moved.etag
    for parent in (school, room):
        with refused("FAILED_PRECONDITION") as told:
            move(office, school.name, parent.name)
        assert why(told) == "below_itself"
    with refused("FAILED_PRECONDITION") as told:
        move(office, office.main_account, hall.name)
    assert why(told) == "main_account"
    with refused("NOT_FOUND"):
        move(office, school.name, Office(office.support).main_account)
    assert move(office, room.name, "").parent == office.main_account
    with refused("STALE_ETAG"):
        move(office, school.name, "", etag=school.etag)


def test_two_moves_at_once_make_no_circle(office):
    east, west = office.account("East"), office.account("West")
    outcomes = outcomes_at_once(lambda: move(office, east.name, west.name), lambda: move(office, west.name, east.name))
    assert sorted(outcomes) == ["FAILED_PRECONDITION", "OK"]


def test_an_account_is_deleted_when_only_people_are_in_it(office, school):
    ann = office.user(account=school.name)
    delete(office, school.name, etag=school.etag)
    with refused("NOT_FOUND"):
        office.support.accounts.GetAccount(accounts_pb2.GetAccountRequest(name=school.name))
    with refused("NOT_FOUND"):
        office.members(school.main_group)
    kept = office.support.users.GetUser(users_pb2.GetUserRequest(name=ann.name)).user
    assert (kept.state, list(kept.account_display_names)) == (users_pb2.USER_STATE_ACTIVE, [])
    left, deleted = office.events()[-2:]
    assert (left.kind, left.resource, groups_in(left.before)) == ("membership.removed", ann.name, [school.main_group])
    assert (deleted.kind, deleted.resource) == ("account.deleted", school.name)
    assert sides(deleted) == ({"display_name": "School", "parent": office.main_account}, {})
    for late in (lambda: office.group(account=school.name), lambda: office.account(parent=school.name)):
        with refused("NOT_FOUND"):
            late()


def test_what_is_in_the_way_of_a_deletion_is_said(office, school):
    def refusal(account=school.name):
        with refused("FAILED_PRECONDITION") as told:
            delete(office, account)
        return why(told)

    assert refusal(office.main_account) == "main_account"
    room = office.account("Room", parent=school.name)
    assert refusal() == "has_accounts"
    delete(office, room.name)
    group = office.group(account=school.name)
    assert refusal() == "has_groups"
    office.support.groups.DeleteGroup(groups_pb2.DeleteGroupRequest(name=group.name))
    administrators = administrators_pb2_grpc.AdministratorServiceStub(office.support.channel)
    request = administrators_pb2.CreateAdministratorRequest(
        parent=school.name,
        email=f"head-{office.tenant_id}@example.org",
        role=administrators_pb2.ADMINISTRATOR_ROLE_ACCOUNT,
    )
    head = administrators.CreateAdministrator(request).administrator
    assert refusal() == "has_administrators"
    administrators.DeleteAdministrator(administrators_pb2.DeleteAdministratorRequest(name=head.name))
    office.scim_source(account=school.name)
    assert refusal() == "has_sources"
    with refused("STALE_ETAG"):
        delete(office, school.name, etag="0")
