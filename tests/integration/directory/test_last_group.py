"""Who leaves the last SCIM group leaves, and comes back with the next one (S7, S8)."""

from __future__ import annotations

import json

import pytest
from muster.directory.v1 import groups_pb2, licenses_pb2, users_pb2

from tests.integration.directory.connection import Connection, connect, group_facts, outcomes_at_once
from tests.integration.directory.serving import Office, refused

ACTIVE, DORMANT, DELETED = (
    users_pb2.USER_STATE_ACTIVE,
    users_pb2.USER_STATE_DORMANT,
    users_pb2.USER_STATE_DELETED,
)


@pytest.fixture
def connection(directory, office) -> Connection:
    return connect(directory, office)


def user_of(office, user):
    return office.read_user(f"{office.name}/users/{user.id}")


def group_name(office, group) -> str:
    return f"{office.name}/groups/{group.id}"


def test_who_is_removed_from_the_last_group_is_out_and_can_still_be_read(connection, office):
    ann = connection.create("ann@example.org")
    club = office.group("Book club")
    first, last = (connection.create_group(name, members=[ann.id]) for name in ("First", "Last"))
    office.change_members(club.name, add=[user_of(office, ann).name])
    connection.change_group(first.id, remove=[ann.id])
    kept = user_of(office, ann)
    assert (kept.state, set(kept.group_display_names)) == (ACTIVE, {"Last", "Book club"})
    connection.change_group(last.id, remove=[ann.id])
    gone = user_of(office, ann)
    assert (gone.state, list(gone.groups), list(gone.accounts)) == (DORMANT, [], [])
    assert office.seats().seats_used == 0
    assert connection.get(ann.id).active
    assert connection.find("userName", "ann@example.org") == [ann.id]
    assert connection.members(last.id) == []
    told = [event.kind for event in office.events() if event.resource == gone.name]
    assert told[-2:] == ["membership.removed", "user.dormant"]


@pytest.mark.parametrize(("hours", "groups"), [(23, {"Crisis", "Book club"}), (24, {"Crisis"})])
def test_the_next_group_brings_back_within_a_day_with_the_manual_groups(directory, connection, office, hours, groups):
    ann = connection.create("ann@example.org")
    club = office.group("Book club")
    crisis = connection.create_group("Crisis", members=[ann.id])
    office.change_members(club.name, add=[user_of(office, ann).name])
    connection.change_group(crisis.id, remove=[ann.id])
    directory.clock.pass_hours(hours)
    connection.change_group(crisis.id, add=[ann.id])
    back = user_of(office, ann)
    assert (back.state, set(back.group_display_names), list(back.accounts)) == (ACTIVE, groups, [office.main_account])
    assert not back.HasField("leave_time")
    assert connection.members(crisis.id) == [ann.id]
    assert office.seats().seats_used == 1


def test_one_change_is_judged_by_its_end(connection, office):
    ann = connection.create()
    crisis = connection.create_group("Crisis", members=[ann.id])
    connection.change_group(crisis.id, add=[ann.id], remove=[ann.id])
    connection.change_group(crisis.id, add=[ann.id], replace=True)
    assert user_of(office, ann).state == ACTIVE
    assert office.events("user.dormant") == []


def test_a_seat_that_a_change_frees_is_there_for_whom_it_brings_back(directory, support):
    office = Office(support, seats=1)
    connection = connect(directory, office)
    ann = connection.create()
    crisis = connection.create_group("Crisis", members=[ann.id])
    connection.change_group(crisis.id, remove=[ann.id])
    ben = connection.create()
    connection.change_group(crisis.id, add=[ben.id])
    connection.change_group(crisis.id, add=[ann.id], replace=True)
    assert [user_of(office, each).state for each in (ann, ben)] == [ACTIVE, DORMANT]
    assert office.seats().seats_used == 1


def test_who_cannot_be_given_a_seat_lets_the_whole_change_fail(directory, support):
    office = Office(support, seats=2)
    connection = connect(directory, office)
    ann, ben = connection.create(), connection.create()
    crisis = connection.create_group("Crisis", members=[ann.id])
    connection.change_group(crisis.id, remove=[ann.id])
    connection.create()
    with refused("LICENSE_LIMIT_REACHED"):
        connection.change_group(crisis.id, add=[ann.id, ben.id], facts=group_facts("Renamed"))
    assert connection.members(crisis.id) == []
    assert user_of(office, ann).state == DORMANT
    assert json.loads(connection.group(crisis.id).attributes)["displayName"] == "Crisis"
    assert refusals(office) == [(user_name_of(ann), 1)]
    with refused("LICENSE_LIMIT_REACHED"):
        connection.change_group(crisis.id, add=[ann.id])
    assert refusals(office) == [(user_name_of(ann), 2)]
    assert len(office.events("license.refused")) == 1
    connection.delete(ben.id)
    connection.change_group(crisis.id, add=[ann.id])
    assert refusals(office) == []


def refusals(office):
    found = office.support.licenses.ListRefusals(licenses_pb2.ListRefusalsRequest(license=office.license)).refusals
    return [(refusal.user_name, refusal.attempts) for refusal in found]


def user_name_of(user):
    return json.loads(user.attributes)["userName"]


def test_who_was_never_in_a_group_stays(connection, office):
    ann = connection.create()
    crisis = connection.create_group("Crisis")
    connection.change_group(crisis.id, remove=[ann.id])
    connection.change_group(crisis.id, replace=True)
    connection.delete_group(crisis.id)
    assert user_of(office, ann).state == ACTIVE


def test_what_an_administrator_does_by_hand_lets_nobody_go(connection, office):
    ann = connection.create()
    crisis = connection.create_group("Crisis", "CRISIS")
    name = group_name(office, crisis)
    office.change_members(name, add=[user_of(office, ann).name])
    office.change_members(name, remove=[user_of(office, ann).name])
    connection.change_group(crisis.id, remove=[ann.id])
    assert user_of(office, ann).state == ACTIVE
    connection.change_group(crisis.id, add=[ann.id])
    office.support.groups.DeleteGroup(groups_pb2.DeleteGroupRequest(name=name))
    assert user_of(office, ann).state == ACTIVE


def test_a_deleted_group_lets_those_go_who_had_no_other(connection, office):
    ann, ben = connection.create(), connection.create()
    crisis = connection.create_group("Crisis", members=[ann.id, ben.id])
    connection.create_group("Other", members=[ben.id])
    connection.delete_group(crisis.id)
    assert [user_of(office, each).state for each in (ann, ben)] == [DORMANT, ACTIVE]
    told = [event.kind for event in office.events() if event.kind in {"group.deleted", "user.dormant"}]
    assert told == ["group.deleted", "user.dormant"]


def test_who_was_deactivated_meanwhile_waits_for_active_and_not_for_a_group(connection, office):
    ann = connection.create("ann@example.org")
    club = office.group("Book club")
    crisis = connection.create_group("Crisis", members=[ann.id])
    office.change_members(club.name, add=[user_of(office, ann).name])
    connection.change_group(crisis.id, remove=[ann.id])
    connection.set_active(ann, active=False)
    connection.change_group(crisis.id, add=[ann.id])
    assert user_of(office, ann).state == DORMANT
    connection.set_active(ann, active=True)
    back = user_of(office, ann)
    assert (back.state, list(back.group_display_names)) == (ACTIVE, ["Crisis"])


def test_active_alone_does_not_bring_back_who_waits_for_a_group(connection, office):
    ann = connection.create("ann@example.org")
    crisis = connection.create_group("Crisis", members=[ann.id])
    connection.change_group(crisis.id, remove=[ann.id])
    connection.update(ann.id, "ann@example.org", title="Teacher", active=True)
    kept = user_of(office, ann)
    assert (kept.state, kept.title) == (DORMANT, "Teacher")


def test_who_leaves_two_last_groups_at_once_is_out(connection, office):
    """Of two calls at the same time the second must see what the first has taken away."""
    for _ in range(3):
        ann = connection.create()
        groups = [connection.create_group(name, members=[ann.id]) for name in ("One", "Two")]
        outcomes = outcomes_at_once(
            *(lambda group=group, ann=ann: connection.change_group(group.id, remove=[ann.id]) for group in groups)
        )
        assert outcomes == ["OK", "OK"]
        assert user_of(office, ann).state == DORMANT
