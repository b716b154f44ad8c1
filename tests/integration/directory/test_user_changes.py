"""Users changed, deleted, restored and found by hand; and what their sources make of it."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from muster.directory.v1 import filters_pb2, users_pb2
from muster.runtime.errors import failure_of
from sqlmodel import select

from services.directory.operations.user_updates import delete_user, update_user
from services.directory.operations.users import get_user
from services.directory.store.tables import Claim, RunStatus, UserState
from tests.integration.directory.connection import (
    Connection,
    any_of,
    comparison,
    connect,
    negation,
    outcomes_at_once,
    present,
)
from tests.integration.directory.nights import SOMEBODY
from tests.integration.directory.serving import Office, fields_of, refused

pytestmark = pytest.mark.mostly("postgresql")

ACTIVE, DORMANT, DELETED = (
    users_pb2.USER_STATE_ACTIVE,
    users_pb2.USER_STATE_DORMANT,
    users_pb2.USER_STATE_DELETED,
)


@pytest.fixture
def connection(directory, office) -> Connection:
    return connect(directory, office)


def name_of(office, user) -> str:
    return f"{office.name}/users/{user.id}"


# --- Changes ---


def test_a_change_writes_the_fields_of_its_mask_and_tells_both_values(office):
    ann = office.user("ann@example.org", title="Cook")
    changed = office.update_user(ann.name, etag=ann.etag, display_name=" Ann  Berg ", email="Ann.Berg@Example.org")
    assert (changed.display_name, changed.email, changed.title) == ("Ann Berg", "ann.berg@example.org", "Cook")
    assert changed.etag != ann.etag
    [event] = office.events("user.updated")
    assert MessageToDict(event.before) == {"display_name": "Ann Example", "email": "ann@example.org"}
    assert MessageToDict(event.after) == {"display_name": "Ann Berg", "email": "ann.berg@example.org"}


def test_nothing_new_is_no_change(office):
    ann = office.user("ann@example.org", title="Cook")
    assert office.update_user(ann.name, title="Cook", email="ANN@example.org").etag == ann.etag
    assert office.events("user.updated") == []


def test_what_is_wrong_is_named_all_at_once_and_changes_nothing(office):
    ann = office.user(title="Cook")
    with refused("INVALID_ARGUMENT") as told:
        office.update_user(ann.name, title="Teacher", email="nobody", phone="call me", display_name="")
    assert set(fields_of(told)) == {"user.email", "user.phone", "user.display_name"}
    for fields in ({}, {"owner": "me"}):
        with refused("INVALID_ARGUMENT") as told:
            office.update_user(ann.name, **fields)
        assert fields_of(told) == ["update_mask"]
    with refused("STALE_ETAG"):
        office.update_user(ann.name, etag="old", title="Teacher")
    with refused("NOT_FOUND"):
        office.update_user(f"{office.name}/users/{Office(office.support).user().name.rpartition('/')[2]}", title="x")
    assert office.read_user(ann.name).title == "Cook"


def test_a_mail_that_somebody_has_is_taken_unless_it_is_a_dormant_users(connection, office):
    ann, ben = office.user("ann@example.org"), office.user("ben@example.org")
    with refused("EMAIL_TAKEN"):
        office.update_user(ann.name, email="Ben@example.org")
    asleep = connection.create("cia@example.org", active=False)
    assert office.update_user(name_of(office, asleep), email="ben@example.org").state == DORMANT
    office.delete_user(ben.name)
    assert office.update_user(ann.name, email="ben@example.org").email == "ben@example.org"


def test_two_who_want_one_mail_at_once_do_not_both_get_it(office):
    people = [office.user() for _ in range(4)]
    outcomes = outcomes_at_once(
        *(lambda ann=ann: office.update_user(ann.name, email="new@example.org") for ann in people)
    )
    assert sorted(outcomes) == ["EMAIL_TAKEN"] * 3 + ["OK"]


def test_a_connection_writes_over_what_was_changed_by_hand(connection, office):
    user = connection.create("ann@example.org", title="Cook")
    assert office.update_user(name_of(office, user), title="Teacher").title == "Teacher"
    connection.update(user.id, "ann@example.org", title="Cook")
    assert office.read_user(name_of(office, user)).title == "Cook"


def by_hand(night, work, name="anna"):
    """Do something to a person of the file by hand; gives the person's id."""
    with night.store.write(night.tenant_id) as session:
        user_id = session.exec(
            select(Claim.user_id).where(Claim.tenant_id == night.tenant_id, Claim.external_id == f"EMPLOYEE-{name}")
        ).one()
        work(session, night.tenant_id, user_id, etag="", actor=SOMEBODY, now=night.imports.clock())
    return user_id


def user_in(night, user_id):
    with night.store.read(night.tenant_id) as session:
        view = get_user(session, night.tenant_id, user_id)
        session.expunge_all()
        return view


def test_the_next_night_writes_over_what_was_changed_by_hand_in_a_settled_row(night):
    night.apply(night.plan("anna", "bo"))
    user_id = by_hand(night, lambda *person, **how: update_user(*person, {"display_name": "Somebody"}, **how))
    run = night.open()
    assert len(night.settled_hashes(run)) == 1  # bo's alone
    planned = night.plan_again(run, "anna", "bo", settled=["bo"])
    assert (planned.plan["updated"], planned.plan["unchanged"]) == (1, 1)
    assert night.apply(planned).status == RunStatus.APPLIED
    assert user_in(night, user_id).user.display_name == "anna"


# --- Leaving and coming back ---


def test_a_deleted_user_is_out_at_once_and_listed_with_its_times(office):
    club = office.group("Book club")
    ann = office.user("ann@example.org", groups=[club.name], title="Cook")
    with refused("STALE_ETAG"):
        office.delete_user(ann.name, etag="old")
    gone = office.delete_user(ann.name, etag=ann.etag)
    assert (gone.state, list(gone.groups), list(gone.accounts), gone.title) == (DELETED, [], [], "Cook")
    assert gone.erase_due_time.seconds - gone.leave_time.seconds == 90 * 24 * 3600
    assert not gone.HasField("erase_time")
    assert office.seats().seats_used == 0
    assert office.members(club.name) == []
    [event] = office.events("user.deleted")
    assert (event.before["email"], len(event.before["groups"])) == ("ann@example.org", 2)
    for again in (office.delete_user, lambda name: office.update_user(name, title="Teacher")):
        with refused("USER_STATE") as told:
            again(ann.name)
        assert told["failure"].metadata["state"] == "deleted"


def test_a_restored_user_has_a_seat_the_main_account_and_no_groups(directory, office):
    school = office.account("School")
    club = office.group("Book club", account=school.name)
    ann = office.user("ann@example.org", account=school.name, groups=[club.name])
    with refused("USER_STATE"):
        office.restore_user(ann.name)
    office.delete_user(ann.name)
    directory.clock.pass_hours(90 * 24 - 1)
    back = office.restore_user(ann.name)
    assert (back.state, list(back.groups), list(back.accounts)) == (ACTIVE, [], [office.main_account])
    assert not back.HasField("leave_time")
    assert not back.HasField("erase_due_time")
    assert office.seats().seats_used == 1
    office.delete_user(ann.name)
    directory.clock.pass_hours(90 * 24)
    with refused("USER_STATE") as told:
        office.restore_user(ann.name)
    assert told["failure"].metadata["state"] == "erased"


def test_nobody_is_restored_without_a_seat_or_with_a_mail_that_is_taken(support):
    office = Office(support, seats=1)
    ann = office.user("ann@example.org")
    office.delete_user(ann.name)
    ben = office.user("ann@example.org")
    with refused("EMAIL_TAKEN"):
        office.restore_user(ann.name)
    office.update_user(ben.name, email="ben@example.org")
    with refused("LICENSE_LIMIT_REACHED"):
        office.restore_user(ann.name)
    assert office.read_user(ann.name).state == DELETED
    office.delete_user(ben.name)
    assert office.restore_user(ann.name).state == ACTIVE


def test_who_is_deleted_by_hand_is_gone_for_its_connection_which_may_create_it_again(connection, office):
    user = connection.create("ann@example.org", external_id="ext-1")
    crisis = connection.create_group("Crisis", members=[user.id])
    office.delete_user(name_of(office, user))
    with refused("NOT_FOUND"):
        connection.get(user.id)
    assert (connection.find("userName", "ann@example.org"), connection.members(crisis.id)) == ([], [])
    again = connection.create("ann@example.org", external_id="ext-1")
    assert again.id == user.id
    assert office.read_user(name_of(office, user)).state == ACTIVE


def test_a_restored_user_belongs_to_its_connection_again_unless_somebody_else_has_the_name(connection, office):
    user = connection.create("ann@example.org", external_id="ext-1")
    connection.delete(user.id)
    back = office.restore_user(name_of(office, user))
    assert (back.owner, back.external_id, list(back.accounts)) == (connection.source, "ext-1", [office.main_account])
    assert connection.get(user.id).active
    connection.delete(user.id)
    connection.create("ann@example.org", email="other@example.org", external_id="ext-2")
    back = office.restore_user(name_of(office, user))
    assert (back.owner, back.external_id) == ("", "")


def test_who_is_deleted_by_hand_is_restored_by_the_next_night(night):
    night.apply(night.plan("anna", "bo"))
    user_id = by_hand(night, delete_user)
    assert user_in(night, user_id).user.state == UserState.DELETED
    run = night.apply(night.plan("anna", "bo"))
    assert (run.counts["updated"], run.counts["restored"], run.counts["created"]) == (1, 1, 0)
    back = user_in(night, user_id)
    assert (back.user.state, back.external_id, [place.id for place in back.accounts]) == (
        UserState.ACTIVE,
        "EMPLOYEE-anna",
        [night.account_id],
    )


# --- Reading ---


def test_a_connections_user_shows_all_that_was_said_of_it(connection, office):
    user = connection.create("ann@example.org", document={"nickName": "Annie", "name": {"familyName": "Berg"}})
    said = MessageToDict(office.read_user(name_of(office, user)).scim_attributes)
    assert (said["nickName"], said["name"]) == ("Annie", {"familyName": "Berg"})
    assert not office.user().HasField("scim_attributes")


@pytest.fixture(scope="module")
def village(directory, support):
    """A tenant to search in; the names of its people begin their mails."""
    office = Office(support, seats=100)
    connection = connect(directory, office)
    office.source = connection.source
    school = office.account("School")
    office.club = office.group("Book club", account=school.name)
    people = {"Ann": "Teacher", "Örn": "lärare", "örjan": "LÄRARE", "ben": "", "Cia": "Cook"}
    for number, (name, title) in enumerate(people.items()):
        place = {"account": school.name, "groups": [office.club.name]} if name == "Cia" else {}
        office.user(f"p{number}@example.org", display_name=name, title=title, **place)
        directory.clock.pass_hours(1)
    connection.create("eve@example.org", display_name="Eve", external_id="EXT-1", phone="+46701234567")
    connection.create("finn@example.org", display_name="Finn", active=False)
    office.delete_user(office.user("gun@example.org", display_name="Gun").name)
    return office


def listed(office, **request) -> list[str]:
    answer = office.support.users.ListUsers(users_pb2.ListUsersRequest(tenant=office.name, **request))
    return [user.display_name for user in answer.users]


def fits(tree: str):
    """Write the filters of the table below: `title eq Teacher`, `title pr`, `not …`, `… or …`."""
    if " or " in tree:
        return any_of(*map(fits, tree.split(" or ")))
    if tree.startswith("not "):
        return negation(fits(tree.removeprefix("not ")))
    name, word, *value = tree.split(" ", 2)
    if word == "pr":
        return present(name)
    is_exact = word.endswith("!")
    operator = filters_pb2.ComparisonOperator.Value(f"COMPARISON_OPERATOR_{word.rstrip('!').upper()}")
    return comparison(name, value[0] if value else None, operator, case_exact=is_exact)


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        ("title eq LÄRARE", ["Örn", "örjan"]),
        ("title eq! LÄRARE", ["örjan"]),
        ("title ne teacher", ["Örn", "örjan", "ben", "Cia", "Eve"]),
        ("title eq", ["ben", "Eve"]),
        ("title pr", ["Ann", "Örn", "örjan", "Cia"]),
        ("not title pr", ["ben", "Eve"]),
        ("display_name sw ör", ["Örn", "örjan"]),
        ("display_name co JA", ["örjan"]),
        ("display_name ew N", ["Ann", "Örn", "örjan", "ben"]),
        ("display_name gt cia", ["Örn", "örjan", "Eve"]),
        ("title lt cook or title ge teacher", ["Ann"]),
        ("email eq P1@example.org", ["Örn"]),
        ("phone sw +46", ["Eve"]),
        ("external_id eq ext-1", ["Eve"]),
        ("external_id eq! ext-1", []),
        ("owner eq manual", ["Ann", "Örn", "örjan", "ben", "Cia"]),
        ("owner ne manual", ["Eve"]),
        ("owner eq tenants/x", []),
        ("state eq active or state eq deleted", ["Ann", "Örn", "örjan", "ben", "Cia", "Eve"]),
        ("create_time lt 2001-01-01T00:00:00Z", []),
        ("update_time ge 2001-01-01T00:00:00+01:00", ["Ann", "Örn", "örjan", "ben", "Cia", "Eve"]),
    ],
)
def test_users_are_found_by_a_filter(village, tree, names):
    assert listed(village, filter=fits(tree)) == names


def test_users_are_found_by_state_account_and_group(village):
    assert listed(village, states=[DORMANT, DELETED]) == ["Finn", "Gun"]
    assert listed(village, show_deleted=True)[-2:] == ["Finn", "Gun"]
    assert listed(village, group=village.club.name) == listed(village, account=village.club.account) == ["Cia"]
    with refused("NOT_FOUND"):
        listed(village, group=Office(village.support).group().name)


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("", ["Ann", "Örn", "örjan", "ben", "Cia", "Eve"]),
        ("display_name", ["Ann", "ben", "Cia", "Eve", "örjan", "Örn"]),
        ("title desc", ["Ann", "Örn", "örjan", "Cia", "ben", "Eve"]),
        ("create_time desc", ["Eve", "Cia", "ben", "örjan", "Örn", "Ann"]),
        ("external_id desc", ["Eve", "Ann", "Örn", "örjan", "ben", "Cia"]),
    ],
)
@pytest.mark.parametrize("size", [1, 4])
def test_pages_in_any_order_hold_everybody_once(village, order, names, size):
    found, token = [], ""
    while True:
        request = users_pb2.ListUsersRequest(tenant=village.name, order_by=order, page_size=size, page_token=token)
        answer = village.support.users.ListUsers(request)
        found += [user.display_name for user in answer.users]
        token = answer.next_page_token
        if not token:
            break
    assert found == names


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"order_by": "owner"}, "INVALID_ARGUMENT"),
        ({"order_by": "title up"}, "INVALID_ARGUMENT"),
        ({"states": [99]}, "INVALID_ARGUMENT"),
        ({"filter": fits("password pr")}, "INVALID_FILTER"),
        ({"filter": fits("create_time eq yesterday")}, "INVALID_FILTER"),
        ({"filter": fits("create_time sw 2024-01-01T00:00:00Z")}, "INVALID_FILTER"),
        ({"filter": fits("title gt")}, "INVALID_FILTER"),
    ],
)
def test_what_cannot_be_asked_is_said(village, request_, reason):
    with pytest.raises(grpc.RpcError) as caught:
        listed(village, **request_)
    assert failure_of(caught.value).reason == reason
