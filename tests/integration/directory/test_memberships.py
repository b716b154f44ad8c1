"""Memberships by hand: all or none, at the cost of the change, and never a source's own (R38)."""

from __future__ import annotations

import pytest
from muster.directory.v1 import accounts_pb2, groups_pb2

from services.directory.rules import names
from services.directory.store import ids
from services.directory.store.tables import Membership, Source
from tests.integration.directory.serving import START, Caller, Office, counted_statements, fields_of, groups_in, refused


def ids_of(name):
    return names.parse(names.USER if "/users/" in name else names.GROUP, name, field="name")


@pytest.fixture
def put_by_source(store):
    """Put a user into groups as an import does."""

    def put(user, *groups):
        tenant_id, user_id = ids_of(user)
        with store.write(tenant_id) as session:
            source_id = ids.next_id(session, "source")
            session.add(Source(tenant_id=tenant_id, id=source_id, display_name="Payroll", limits={}, create_time=START))
            session.flush()
            for group in groups:
                row = Membership(
                    tenant_id=tenant_id, group_id=ids_of(group)[1], user_id=user_id, origin_source_id=source_id
                )
                session.add(row)
        return names.SOURCE.format(tenant_id, source_id)

    return put


def test_people_are_added_and_removed_in_one_call(office: Office):
    group = office.group()
    ann, bob = office.user(groups=[group.name]), office.user()
    answer = office.change_members(group.name, add=[bob.name], remove=[ann.name])
    assert (answer.added, answer.removed) == (1, 1)
    assert office.members(group.name) == [bob.name]


def test_the_same_change_again_changes_nothing(office: Office):
    group, ann = office.group(), office.user()
    office.change_members(group.name, add=[ann.name])
    before = len(office.events())
    answer = office.change_members(group.name, add=[ann.name])
    assert (answer.added, answer.removed) == (0, 0)
    assert len(office.events()) == before


def test_one_unknown_user_refuses_the_whole_change(office: Office, support: Caller):
    group, ann, stranger = office.group(), office.user(), Office(support).user()
    with refused("NOT_FOUND"):
        office.change_members(group.name, add=[ann.name, stranger.name])
    assert office.members(group.name) == []


def test_who_is_out_cannot_be_put_into_a_group(office: Office):
    group, ann, bob = office.group(), office.user(), office.user()
    office.delete_user(bob.name)
    with refused("USER_STATE") as told:
        office.change_members(group.name, add=[ann.name, bob.name])
    assert "restore the user first" in told["failure"].message
    whole = [groups_pb2.ReplaceMembershipsRequest(group=group.name, users=[ann.name, bob.name])]
    with refused("USER_STATE"):
        office.support.groups.ReplaceMemberships(iter(whole))
    assert office.members(group.name) == []


def test_a_user_cannot_be_added_and_removed_at_once(office: Office):
    group, ann = office.group(), office.user()
    with refused("INVALID_ARGUMENT") as told:
        office.change_members(group.name, add=[ann.name], remove=[ann.name])
    assert fields_of(told) == ["remove"]


def test_leaving_an_account_by_hand_leaves_its_groups_but_not_those_of_others(office: Office):
    school = office.account("School")
    choir, staff = office.group("Choir", school.name), office.group("Staff", school.name, "G-1")
    elsewhere = office.group("Elsewhere")
    ann = office.user(groups=[choir.name, staff.name, elsewhere.name])
    answer = office.change_members(school.main_group, remove=[ann.name])
    assert answer.removed == 1
    assert office.members(choir.name) == office.members(staff.name) == office.members(school.main_group) == []
    assert office.members(elsewhere.name) == [ann.name]
    (left,) = office.events("membership.removed")
    assert set(groups_in(left.before)) == {school.main_group, choir.name, staff.name}


def test_r38_a_membership_that_a_source_made_stays_when_someone_is_removed_by_hand(office: Office, put_by_source):
    group, ann = office.group(group_id="G-1"), office.user()
    source = put_by_source(ann.name, group.name)
    answer = office.change_members(group.name, remove=[ann.name])
    assert answer.removed == 0
    (listed,) = office.support.groups.ListMemberships(groups_pb2.ListMembershipsRequest(group=group.name)).memberships
    assert (listed.user, listed.source, listed.is_by_hand) == (ann.name, source, False)


def test_a_person_put_in_by_hand_and_by_a_source_is_one_member(office: Office, put_by_source):
    group, ann = office.group(group_id="G-1"), office.user()
    first = put_by_source(ann.name, group.name, office_main_group(office))
    second = put_by_source(ann.name, group.name)
    assert office.change_members(group.name, add=[ann.name]).added == 1
    (listed,) = office.support.groups.ListMemberships(groups_pb2.ListMembershipsRequest(group=group.name)).memberships
    assert (listed.source, list(listed.sources), listed.is_by_hand) == (second, [first, second], True)
    shown = office.support.groups.GetGroup(groups_pb2.GetGroupRequest(name=group.name)).group
    assert shown.member_count == 1
    request = accounts_pb2.GetAccountRequest(name=office.main_account)
    assert office.support.accounts.GetAccount(request).account.user_count == 1


def office_main_group(office: Office) -> str:
    request = accounts_pb2.GetAccountRequest(name=office.main_account)
    return office.support.accounts.GetAccount(request).account.main_group


def test_a_change_of_many_costs_as_many_statements_as_a_change_of_one(support: Caller, store):
    office = Office(support, seats=100)
    group = office.group()
    users = [office.user().name for _ in range(40)]
    with counted_statements(store) as for_one:
        office.change_members(group.name, add=users[:1])
    with counted_statements(store) as for_many:
        assert office.change_members(group.name, add=users[1:]).added == 39
    assert len(for_many) == len(for_one)
    with counted_statements(store) as for_removal:
        assert office.change_members(group.name, remove=users).removed == 40
    assert len(for_removal) <= len(for_one)
    assert len(office.events("membership.removed")) == 40
