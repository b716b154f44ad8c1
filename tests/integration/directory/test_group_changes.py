"""Groups changed by hand: Group IDs set and removed (R42), moves (R43, S11), deletion (S8) and whole memberships."""

from __future__ import annotations

import uuid

import pytest
from muster.directory.v1 import accounts_pb2, groups_pb2, users_pb2

from services.directory.rules.grants import Grant
from tests.integration.directory.connection import connect, group_facts
from tests.integration.directory.serving import Office, counted_statements, fields_of, groups_in, refused

pytestmark = pytest.mark.mostly("postgresql")

ADD, REMOVE = groups_pb2.MOVED_MEMBERS_ADD, groups_pb2.MOVED_MEMBERS_REMOVE


@pytest.fixture
def connection(directory, office):
    return connect(directory, office)


def update(office: Office, group, request_id: str = "", etag: str = "", **fields):
    request = groups_pb2.UpdateGroupRequest(group=groups_pb2.Group(name=group, etag=etag, **fields))
    request.update_mask.paths.extend(fields)
    request.request_id = request_id
    return office.support.groups.UpdateGroup(request).group


def delete(office: Office, group: str, **request):
    return office.support.groups.DeleteGroup(groups_pb2.DeleteGroupRequest(name=group, **request))


def move(office: Office, group: str, account: str, members=ADD, **request):
    return office.support.groups.MoveGroup(
        groups_pb2.MoveGroupRequest(name=group, account=account, members=members, **request)
    )


def release(office: Office, group_id: str):
    request = groups_pb2.ReleaseGroupIdRequest(tenant=office.name, group_external_id=group_id)
    office.support.groups.ReleaseGroupId(request)


def replace(office: Office, group: str, users, *, size: int = 1000, **first):
    parts = [users[start : start + size] for start in range(0, len(users), size)]
    messages = [groups_pb2.ReplaceMembershipsRequest(users=part) for part in parts]
    head = groups_pb2.ReplaceMembershipsRequest(group=group, **first)
    return office.support.groups.ReplaceMemberships(iter([head, *messages]))


def reserved(office: Office):
    request = groups_pb2.ListReservedGroupIdsRequest(tenant=office.name)
    return office.support.groups.ListReservedGroupIds(request).reserved_group_ids


def read(office: Office, group: str):
    return office.support.groups.GetGroup(groups_pb2.GetGroupRequest(name=group)).group


def origins(office: Office, group: str) -> dict[str, str]:
    """Who is in a group, and which source put each there."""
    answer = office.support.groups.ListMemberships(groups_pb2.ListMembershipsRequest(group=group))
    return {member.user: member.source for member in answer.memberships}


def main_group(office: Office, account: str) -> str:
    return office.support.accounts.GetAccount(accounts_pb2.GetAccountRequest(name=account)).account.main_group


def state_of(office: Office, user: str):
    return office.support.users.GetUser(users_pb2.GetUserRequest(name=user)).user.state


def user_name(office: Office, user) -> str:
    return f"{office.name}/users/{user.id}"


def group_name(office: Office, group) -> str:
    return f"{office.name}/groups/{group.id}"


def sides(event):
    return dict(event.before.items()), dict(event.after.items())


def test_a_group_is_renamed_and_gets_a_group_id_with_an_event_that_tells_what_changed(office):
    made = office.group("Choir")
    changed = update(office, made.name, etag=made.etag, display_name="  Crew ", group_external_id=" CREW ")
    assert (changed.display_name, changed.group_external_id) == ("Crew", "CREW")
    assert changed.kind == groups_pb2.GROUP_KIND_SYNCED
    assert update(office, made.name, display_name="Crew").etag == changed.etag != made.etag
    (event,) = office.events("group.updated")
    assert event.resource == made.name
    assert sides(event) == ({"display_name": "Choir"}, {"display_name": "Crew", "group_external_id": "CREW"})
    with refused("STALE_ETAG"):
        update(office, made.name, etag=made.etag, display_name="Other")


def test_what_cannot_be_changed_of_a_group_is_refused(office, connection):
    office.group("Choir", group_id="TAKEN")
    group = office.group("Crew")
    with refused("GROUP_ID_TAKEN"):
        update(office, group.name, group_external_id="TAKEN")
    with refused("INVALID_ARGUMENT") as told:
        update(office, group.name, display_name=" ", group_external_id="a\x07")
    assert fields_of(told) == ["group.display_name", "group.group_external_id"]
    for mask in ({}, {"account": office.main_account}):
        with refused("INVALID_ARGUMENT") as told:
            update(office, group.name, **mask)
        assert fields_of(told) == ["update_mask"]
    main = main_group(office, office.main_account)
    for change in (lambda: update(office, main, display_name="Us"), lambda: delete(office, main)):
        with refused("FAILED_PRECONDITION") as told:
            change()
        assert told["failure"].metadata["why"] == "main_group"
    pushed = connection.create_group("Pushed", "PUSHED")
    with refused("FAILED_PRECONDITION") as told:
        update(office, group_name(office, pushed), group_external_id="MINE")
    assert told["failure"].metadata["why"] == "synced_by_connection"


def test_r42_without_its_group_id_a_connections_group_and_its_members_are_manual(office, connection):
    ann, ben, eve = connection.create(), connection.create(), connection.create()
    pushed = connection.create_group("Crew", "CREW", members=[ann.id, ben.id, eve.id])
    connection.set_active(eve, active=False)
    group = group_name(office, pushed)
    office.change_members(group, add=[user_name(office, ben)])
    freed = update(office, group, group_external_id="")
    assert (freed.kind, freed.owner, freed.member_count) == (groups_pb2.GROUP_KIND_MANUAL, "", 2)
    assert origins(office, group) == {user_name(office, ann): "", user_name(office, ben): ""}
    for call in (lambda: connection.group(pushed.id), lambda: connection.change_group(pushed.id, remove=[ann.id])):
        with refused("NOT_FOUND"):
            call()
    event = office.events("group.updated")[-1]
    assert sides(event) == ({"group_external_id": "CREW", "owner": "Identity provider"}, {})
    connection.set_active(eve, active=True)
    assert set(origins(office, group)) == {user_name(office, ann), user_name(office, ben)}
    assert connection.create_group("Crew", "CREW").id != pushed.id
    assert office.members(group)


def test_r39_members_of_a_group_that_became_manual_stay_in_its_account_whatever_the_connection_does(directory, office):
    connection = connect(directory, office, account=office.account("School").name)
    for group_id in ("CREW", "STAFF"):
        office.group(group_id, group_id=group_id)
    ann = connection.create()
    crew, staff, _ = (connection.create_group(name, name, members=[ann.id]) for name in ("CREW", "STAFF", "OTHERS"))
    update(office, group_name(office, crew), group_external_id="")
    connection.change_group(staff.id, remove=[ann.id])
    assert office.main_account in office.read_user(user_name(office, ann)).accounts
    assert office.members(group_name(office, crew)) == [user_name(office, ann)]


def test_s8_a_connections_group_deleted_by_hand_leaves_its_people_in_the_account(directory, office):
    school = office.account("School")
    connection = connect(directory, office)
    group = office.group("Crew", school.name, "CREW")
    ann, ben = connection.create(), connection.create()
    pushed = connection.create_group("Crew", "CREW", members=[ann.id, ben.id])
    connection.set_active(ben, active=False)
    delete(office, group.name, etag=read(office, group.name).etag)
    with refused("NOT_FOUND"):
        read(office, group.name)
    person = user_name(office, ann)
    assert origins(office, school.main_group) == {person: ""}
    assert state_of(office, person) == users_pb2.USER_STATE_ACTIVE
    connection.set_active(ben, active=True)
    with refused("NOT_FOUND"):
        connection.change_group(pushed.id, remove=[ann.id])
    with refused("GROUP_ID_RESERVED") as told:
        connection.create_group("Crew", "CREW")
    assert told["failure"].metadata == {"group_id": "CREW"}
    deleted = office.events("group.deleted")[0]
    assert sides(deleted)[0] == {
        "display_name": "Crew",
        "group_external_id": "CREW",
        "owner": "Identity provider",
        "account": school.name,
    }
    assert groups_in(office.events("membership.removed")[-1].before) == [group.name]
    assert office.change_members(school.main_group, remove=[person]).removed == 1
    assert office.members(school.main_group) == [user_name(office, ben)]


def test_s8_a_reserved_group_id_is_no_groups_until_it_is_released(office, connection):
    group, other = office.group("Crew", group_id="CREW"), office.group("Choir")
    delete(office, group.name)
    (kept,) = reserved(office)
    assert (kept.group_external_id, kept.group, kept.source) == ("CREW", group.name, "")
    pushed = connection.create_group("Pushed", "PUSHED")
    for call in (
        lambda: office.group("Crew", group_id="CREW"),
        lambda: update(office, other.name, group_external_id="CREW"),
        lambda: connection.change_group(pushed.id, facts=group_facts("Pushed", "CREW")),
    ):
        with refused("GROUP_ID_RESERVED"):
            call()
    with refused("NOT_FOUND"):
        release(office, "crew")
    release(office, " CREW ")
    (event,) = office.events("group.released")
    assert (event.resource, sides(event)) == (group.name, ({"group_external_id": "CREW"}, {}))
    assert not reserved(office)
    assert connection.create_group("Crew", "CREW")


def test_a_manual_group_is_gone_and_reserves_nothing(office):
    group, ann = office.group(), office.user()
    office.change_members(group.name, add=[ann.name])
    delete(office, group.name)
    assert not reserved(office)
    assert office.members(main_group(office, office.main_account)) == [ann.name]
    with refused("NOT_FOUND"):
        delete(office, group.name)


def test_r43_a_group_moves_with_its_people_whom_the_old_account_keeps_by_hand(directory, office):
    school, hall = office.account("School"), office.account("Hall")
    connection = connect(directory, office)
    group = office.group("Crew", school.name, "CREW")
    ann, eve, hans = connection.create(), connection.create(), office.user(groups=[group.name])
    pushed = connection.create_group("Crew", "CREW", members=[ann.id])
    connection.create_group("Choir", "CHOIR", members=[ann.id])  # or leaving the crew would make her dormant (S7)
    moved = move(office, group.name, hall.name, ADD, etag=read(office, group.name).etag)
    assert (moved.group.account, moved.added, moved.left) == (hall.name, 2, 0)
    person = user_name(office, ann)
    assert origins(office, hall.main_group) == {person: connection.source, hans.name: ""}
    assert origins(office, school.main_group) == {person: "", hans.name: ""}
    (event,) = office.events("group.moved")
    assert sides(event) == ({"account": school.name}, {"account": hall.name, "members": "add"})
    told = {event.resource: groups_in(event.after) for event in office.events("membership.added")[-2:]}
    assert told == {person: [hall.main_group], hans.name: [hall.main_group]}
    # Later adds go to the new account, and leaving does not touch the old one (S11).
    connection.change_group(pushed.id, add=[eve.id], remove=[ann.id])
    assert user_name(office, eve) in office.members(hall.main_group)
    assert set(office.members(school.main_group)) == {person, hans.name}
    assert office.change_members(school.main_group, remove=[person]).removed == 1


def test_r43_a_group_moves_without_its_people_and_nobody_becomes_dormant(directory, office):
    school, hall = office.account("School"), office.account("Hall")
    connection = connect(directory, office)
    group = office.group("Crew", school.name, "CREW")
    ann = connection.create()
    pushed = connection.create_group("Crew", "CREW", members=[ann.id])
    moved = move(office, group.name, hall.name, REMOVE)
    assert (moved.group.account, moved.group.member_count, moved.added, moved.left) == (hall.name, 0, 0, 1)
    person = user_name(office, ann)
    assert origins(office, school.main_group) == {person: ""}
    assert office.members(hall.main_group) == connection.members(pushed.id) == []
    assert state_of(office, person) == users_pb2.USER_STATE_ACTIVE
    assert groups_in(office.events("membership.removed")[-1].before) == [group.name]


def test_a_move_that_is_none_is_refused(office, support):
    group = office.group()
    with refused("FAILED_PRECONDITION") as told:
        move(office, group.name, office.main_account)
    assert told["failure"].metadata["why"] == "same_account"
    with refused("INVALID_ARGUMENT") as told:
        move(office, group.name, office.account().name, groups_pb2.MOVED_MEMBERS_UNSPECIFIED)
    assert fields_of(told) == ["members"]
    with refused("NOT_FOUND"):
        move(office, group.name, Office(support).main_account)


def test_members_are_replaced_at_the_cost_of_what_differs(support, store):
    office = Office(support, seats=60)
    group = office.group()
    users = [office.user().name for _ in range(30)]
    office.change_members(group.name, add=users[:20])
    told = len(office.events())
    with counted_statements(store) as many:
        answer = replace(office, group.name, users[5:], size=7)
    assert (answer.added, answer.removed) == (10, 5)
    assert office.members(group.name) == users[5:]
    with counted_statements(store) as none:
        answer = replace(office, group.name, users[5:])
    assert (answer.added, answer.removed) == (0, 0)
    assert not any(statement.startswith(("INSERT", "DELETE")) for statement in none)
    assert len(many) < 25
    assert len(office.events()) == told + 15
    assert replace(office, group.name, []).removed == 25
    assert office.members(group.name) == []


def test_members_are_replaced_all_or_none_and_once(office, support):
    group, ann, request_id = office.group(), office.user(), str(uuid.uuid4())
    stranger = Office(support).user()
    missing = stranger.name.replace(stranger.name.split("/users/")[0], office.name)
    with refused("NOT_FOUND"):
        replace(office, group.name, [ann.name, missing])
    with refused("NOT_FOUND"):
        replace(office, group.name, [stranger.name])
    assert office.members(group.name) == []
    first = replace(office, group.name, [ann.name], request_id=request_id)
    office.change_members(group.name, remove=[ann.name])
    assert replace(office, group.name, [ann.name], request_id=request_id) == first
    assert office.members(group.name) == []
    with refused("REQUEST_ID_REUSED"):
        replace(office, group.name, [], request_id=request_id)
    with refused("INVALID_ARGUMENT") as told:
        replace(office, group.name, [ann.name] * 1001, size=1001)
    assert fields_of(told) == ["users"]


def test_who_leaves_the_last_account_by_hand_is_named(office):
    school = office.account("School")
    ann, ben = office.user(account=school.name), office.user(account=school.name)
    office.change_members(main_group(office, office.main_account), add=[ben.name])
    answer = office.change_members(school.main_group, remove=[ann.name, ben.name])
    assert (answer.removed, list(answer.left_users)) == (2, [ann.name])


def test_a_tenants_caller_changes_groups_of_its_own_tenant_only(directory, office, support):
    theirs = directory.caller(Grant.TENANT, office.name)
    request = groups_pb2.DeleteGroupRequest(name=Office(support).group().name)
    with refused("PERMISSION_DENIED"):
        theirs.groups.DeleteGroup(request)
    theirs.groups.DeleteGroup(groups_pb2.DeleteGroupRequest(name=office.group().name))
