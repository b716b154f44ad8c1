"""Groups and their members as an identity provider says, as deltas (S3, S8, S9, S10, S14)."""

from __future__ import annotations

import json
import uuid

import pytest
from muster.directory.v1 import groups_pb2, licenses_pb2, provisioning_pb2, sources_pb2, users_pb2

from tests.integration.directory.connection import Connection, connect, group_facts, outcomes_at_once
from tests.integration.directory.serving import counted_statements, fields_of, groups_in, refused


@pytest.fixture
def connection(directory, office) -> Connection:
    return connect(directory, office)


def name_of(office, user):
    return f"{office.name}/users/{user.id if hasattr(user, 'id') else user}"


def id_of(name: str):
    return name.rpartition("/")[2]


def registered(office, group):
    name = f"{office.name}/groups/{group.id}"
    return office.support.groups.GetGroup(groups_pb2.GetGroupRequest(name=name)).group


def user_of(office, user):
    return office.support.users.GetUser(users_pb2.GetUserRequest(name=name_of(office, user))).user


def test_an_unknown_group_is_created_in_the_connections_account(directory, office):
    school = office.account("School")
    connection = connect(directory, office, account=school.name)
    group = connection.create_group("Crisis team", "CRISIS")
    kept = registered(office, group)
    assert (kept.display_name, kept.group_external_id, kept.account) == ("Crisis team", "CRISIS", school.name)
    assert (kept.owner, kept.kind) == (connection.source, groups_pb2.GROUP_KIND_SYNCED)
    assert json.loads(connection.group(group.id).attributes) == {"displayName": "Crisis team", "externalId": "CRISIS"}
    assert [event.resource for event in office.events("group.created")] == [kept.name]


def test_a_display_name_is_optional_and_so_is_a_group_id(connection, office):
    assert registered(office, connection.create_group("", "CRISIS")).display_name == "CRISIS"
    unnumbered = registered(office, connection.create_group("Pushed"))
    assert (unnumbered.group_external_id, unnumbered.kind) == ("", groups_pb2.GROUP_KIND_SYNCED)


def test_an_administrators_group_is_adopted_with_who_is_in_it(connection, office):
    made = office.group("Crisis", group_id="CRISIS")
    ben = office.user("ben@example.org", groups=[made.name])
    ann = connection.create("ann@example.org")
    group = connection.create_group("Crisis team", "CRISIS", members=[ann.id])
    assert f"{office.name}/groups/{group.id}" == made.name
    kept = registered(office, group)
    assert (kept.owner, kept.display_name) == (connection.source, "Crisis team")
    assert set(office.members(made.name)) == {ben.name, name_of(office, ann)}
    assert connection.members(group.id) == [ann.id]


def test_a_group_id_is_taken_once(connection):
    connection.create_group("Crisis", "CRISIS")
    with refused("GROUP_ID_TAKEN"):
        connection.create_group("Crisis again", "CRISIS")
    other = connection.create_group("Other", "OTHER")
    with refused("GROUP_ID_TAKEN"):
        connection.change_group(other.id, facts=group_facts("Other", "CRISIS"))


def test_a_group_of_another_connection_is_refused(connection, directory, office):
    connection.create_group("Crisis", "CRISIS")
    with refused("GROUP_SYNCED_ELSEWHERE"):
        connect(directory, office).create_group("Crisis", "CRISIS")


def test_a_connection_that_creates_no_groups_adopts_only(directory, office):
    connection = connect(directory, office, unknown_groups=sources_pb2.UNKNOWN_GROUPS_IGNORE)
    office.group("Crisis", group_id="CRISIS")
    connection.create_group("Crisis", "CRISIS")
    with refused("GROUP_UNKNOWN"):
        connection.create_group("Other", "OTHER")
    with refused("GROUP_UNKNOWN"):
        connection.create_group("Pushed")


def test_a_group_is_renamed_and_told_so(connection, office):
    group = connection.create_group("Crisis", "CRISIS")
    renamed = connection.change_group(group.id, facts=group_facts("Crisis team", "CRISIS-2"), etag=group.etag).group
    assert renamed.etag != group.etag
    kept = registered(office, group)
    assert (kept.display_name, kept.group_external_id) == ("Crisis team", "CRISIS-2")
    (event,) = office.events("group.updated")
    assert (event.before["display_name"], event.after["display_name"]) == ("Crisis", "Crisis team")
    same = connection.change_group(group.id, facts=group_facts("Crisis team", "CRISIS-2")).group
    assert same.etag == renamed.etag
    with refused("STALE_ETAG"):
        connection.change_group(group.id, facts=group_facts("Crisis"), etag=group.etag)


def test_members_come_and_go_as_deltas(connection, office):
    ann, ben, eve = (connection.create() for _ in range(3))
    group = connection.create_group("Crisis", "CRISIS", members=[ann.id])
    changed = connection.change_group(group.id, add=[ben.id, eve.id, ann.id], remove=[])
    assert (changed.added, changed.removed) == (2, 0)
    assert changed.group.etag != group.etag
    changed = connection.change_group(group.id, remove=[ann.id, ann.id, "usr_nonsense", "whoever"])
    assert (changed.added, changed.removed) == (0, 1)
    assert connection.members(group.id) == [ben.id, eve.id]
    removed = [event for event in office.events("membership.removed") if event.resource == name_of(office, ann)]
    assert [groups_in(event.before) for event in removed] == [[f"{office.name}/groups/{group.id}"]]


def test_nothing_changed_is_no_new_version(connection):
    ann = connection.create()
    group = connection.create_group("Crisis", "CRISIS", members=[ann.id])
    assert connection.change_group(group.id, add=[ann.id]).group.etag == group.etag
    assert connection.change_group(group.id, remove=[]).group.etag == group.etag


def test_who_is_removed_and_added_at_once_is_in(connection):
    ann = connection.create()
    group = connection.create_group("Crisis", "CRISIS", members=[ann.id])
    changed = connection.change_group(group.id, add=[ann.id], remove=[ann.id])
    assert (changed.added, changed.removed) == (0, 0)
    assert connection.members(group.id) == [ann.id]


def test_replace_keeps_the_added_and_removes_the_rest_but_never_manual_users(connection, office):
    ann, ben = connection.create(), connection.create()
    manual = office.user("manual@example.org")
    group = connection.create_group("Crisis", "CRISIS", members=[ann.id])
    group_name = f"{office.name}/groups/{group.id}"
    office.change_members(group_name, add=[manual.name])
    changed = connection.change_group(group.id, add=[ben.id], replace=True)
    assert (changed.added, changed.removed) == (1, 1)
    assert set(office.members(group_name)) == {manual.name, name_of(office, ben)}
    assert connection.change_group(group.id, replace=True).removed == 1
    assert office.members(group_name) == [manual.name]


def test_replace_does_not_touch_who_stays(connection, office):
    ann, ben, eve = (connection.create() for _ in range(3))
    group = connection.create_group("Crisis", "CRISIS", members=[ann.id, ben.id])
    changed = connection.change_group(group.id, add=[ben.id, eve.id], replace=True)
    assert (changed.added, changed.removed) == (1, 1)
    assert connection.members(group.id) == [ben.id, eve.id]
    assert [event.resource for event in office.events("membership.removed")] == [name_of(office, ann)]
    same = connection.change_group(group.id, add=[ben.id, eve.id], replace=True)
    assert (same.added, same.removed, same.group.etag) == (0, 0, changed.group.etag)


def test_an_own_user_put_in_by_hand_goes_when_the_provider_says(connection, office):
    ann = connection.create()
    group = connection.create_group("Crisis", "CRISIS")
    office.change_members(f"{office.name}/groups/{group.id}", add=[name_of(office, ann)])
    assert connection.members(group.id) == [ann.id]
    assert connection.change_group(group.id, remove=[ann.id]).removed == 1
    assert office.members(f"{office.name}/groups/{group.id}") == []


def test_a_manual_user_whom_the_sync_adds_is_taken_over(connection, office):
    manual = office.user("manual@example.org", title="Cook")
    group = connection.create_group("Crisis", "CRISIS", members=[id_of(manual.name)])
    kept = user_of(office, id_of(manual.name))
    assert (kept.owner, kept.title) == (connection.source, "Cook")
    assert connection.members(group.id) == [id_of(manual.name)]
    assert connection.get(id_of(manual.name)).management == provisioning_pb2.USER_MANAGEMENT_OWN


def test_unknown_members_are_named_and_nothing_is_half_done(connection, office):
    ann = connection.create()
    gone = connection.create()
    connection.delete(gone.id)
    with refused("UNKNOWN_MEMBERS") as told:
        connection.create_group("Crisis", "CRISIS", members=[ann.id, gone.id])
    assert fields_of(told) == ["members"]
    assert gone.id in told["failure"].message
    assert office.events("group.created") == []
    group = connection.create_group("Crisis", "CRISIS")
    with refused("UNKNOWN_MEMBERS"):
        connection.change_group(group.id, add=[ann.id, "whoever"], facts=group_facts("Renamed", "CRISIS"))
    assert connection.members(group.id) == []
    assert registered(office, group).display_name == "Crisis"


def test_a_member_joins_the_groups_account_and_leaves_it_with_its_last_group(connection, office):
    school = office.account("School")
    for group_id in ("A", "B"):
        office.group(f"Group {group_id}", account=school.name, group_id=group_id)
    ann = connection.create()
    connection.create_group("Everybody", "ALL", members=[ann.id])
    a, b = (connection.create_group(f"Group {group_id}", group_id, members=[ann.id]) for group_id in ("A", "B"))
    assert set(user_of(office, ann).accounts) == {office.main_account, school.name}
    connection.change_group(a.id, remove=[ann.id])
    assert school.name in user_of(office, ann).accounts
    connection.change_group(b.id, remove=[ann.id])
    assert list(user_of(office, ann).accounts) == [office.main_account]


def test_who_is_in_another_group_there_by_hand_stays_by_hand_alone(connection, office):
    school = office.account("School")
    choir = office.group("Choir", account=school.name)
    office.group("Crisis", account=school.name, group_id="CRISIS")
    ann = connection.create()
    connection.create_group("Everybody", "ALL", members=[ann.id])
    crisis = connection.create_group("Crisis", "CRISIS", members=[ann.id])
    user = f"{office.name}/users/{ann.id}"
    office.change_members(choir.name, add=[user])
    connection.change_group(crisis.id, remove=[ann.id])
    assert school.name in user_of(office, ann).accounts
    office.change_members(school.main_group, remove=[user])  # which the connection does not undo
    assert list(user_of(office, ann).accounts) == [office.main_account]
    assert office.members(choir.name) == []


def test_a_users_groups_are_the_connections_own(connection, office):
    club = office.group("Book club")
    ann = connection.create()
    group = connection.create_group("Crisis", "CRISIS", members=[ann.id])
    office.change_members(club.name, add=[name_of(office, ann)])
    assert [(each.id, each.display_name) for each in connection.get(ann.id).groups] == [(group.id, "Crisis")]


def test_a_deleted_group_leaves_people_who_are_in_another(connection, office):
    school = office.account("School")
    office.group("Crisis", account=school.name, group_id="CRISIS")
    ann = connection.create()
    connection.create_group("Everybody", "ALL", members=[ann.id])
    group = connection.create_group("Crisis", "CRISIS", members=[ann.id])
    connection.delete_group(group.id)
    with refused("NOT_FOUND"):
        connection.group(group.id)
    with refused("NOT_FOUND"):
        connection.delete_group(group.id)
    kept = user_of(office, ann)
    assert (kept.state, list(kept.accounts)) == (users_pb2.USER_STATE_ACTIVE, [office.main_account])
    assert [event.before["group_external_id"] for event in office.events("group.deleted")] == ["CRISIS"]


def test_a_membership_change_costs_the_same_number_of_statements_in_any_group(connection, store, office, support):
    support.licenses.UpdateLicense(licenses_pb2.UpdateLicenseRequest(name=office.license, seats_total=300))
    people = [connection.create().id for _ in range(120)]
    small = connection.create_group("Small", "SMALL", members=people[:2])
    large = connection.create_group("Large", "LARGE", members=people[:110])
    counts = []
    for group in (small, large):
        with counted_statements(store) as statements:
            connection.change_group(group.id, add=[people[-1]])
        counts.append(len(statements))
    assert counts[0] == counts[1]


def test_two_who_change_a_group_at_once_both_win(connection, directory):
    people = [connection.create().id for _ in range(8)]
    group = connection.create_group("Crisis", "CRISIS")
    requests = [provisioning_pb2.UpdateProvisionedGroupRequest(id=group.id, add=[user]) for user in people]
    outcomes = outcomes_at_once(
        *(lambda request=request: connection.stub.UpdateProvisionedGroup(request) for request in requests)
    )
    assert outcomes == ["OK"] * 8
    assert sorted(connection.members(group.id)) == sorted(people)


def test_who_is_put_to_sleep_while_joining_is_never_a_dormant_member(connection, office):
    """A dormant user is in no group (S6), whichever of two calls comes first."""
    for _ in range(5):
        ann = connection.create()
        group = connection.create_group("Crisis")
        outcomes = outcomes_at_once(
            lambda ann=ann: connection.set_active(ann, active=False),
            lambda ann=ann, group=group: connection.change_group(group.id, add=[ann.id]),
        )
        assert outcomes == ["OK"] * 2
        assert office.members(f"{office.name}/groups/{group.id}") == []
        assert connection.members(group.id) == [ann.id]


def test_a_group_without_group_id_that_is_posted_again_is_there_once(connection, directory, office):
    ann, asleep = connection.create(), connection.create(active=False)
    for members in ([], [ann.id, asleep.id]):
        name = f"Pushed to {len(members)}"
        made = connection.create_group(name, members=members)
        directory.clock.pass_minutes(19)
        assert connection.create_group(name, members=members[::-1]) == made
    assert len(office.events("group.created")) == 2


def test_two_groups_of_one_name_are_two_where_they_are_meant(connection, directory):
    """Whoever has done something to the first knows of it; after an hour, of others, or in a Bulk it is no retry."""
    ann = connection.create()
    made = [connection.create_group("Pushed").id]
    connection.change_group(made[0], add=[ann.id])
    made.append(connection.create_group("Pushed").id)
    made.append(connection.create_group("pushed").id)
    made.append(connection.create_group("Pushed", members=[ann.id]).id)
    assert connection.create_group("Pushed").id == made[1]
    directory.clock.pass_hours(1)
    made.append(connection.create_group("Pushed").id)
    unit = str(uuid.uuid4())
    made += [connection.create_group("Pushed", unit=unit).id for _ in range(2)]
    made.append(connect(directory, connection.office).create_group("Pushed").id)
    assert len(set(made)) == 8


def test_a_group_without_group_id_that_is_posted_twice_at_one_moment_is_there_once(connection, office):
    assert set(outcomes_at_once(*[lambda: connection.create_group("Pushed")] * 4)) == {"OK"}
    assert len(office.events("group.created")) == 1
