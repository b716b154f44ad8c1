"""Users as an identity provider makes, changes, deactivates and deletes them (S2, S4 to S6, S9, S14)."""

from __future__ import annotations

import json

import pytest
from google.protobuf.json_format import MessageToJson
from muster.directory.v1 import groups_pb2, licenses_pb2, provisioning_pb2, users_pb2
from sqlmodel import select

from services.directory.operations.provisioning import users
from services.directory.rules import names
from services.directory.store.provisioning_tables import ProvisionedResource
from services.directory.store.tables import User
from tests.integration.directory.connection import Connection, connect, group_facts, outcomes_at_once, user_facts
from tests.integration.directory.serving import Office, fields_of, refused


@pytest.fixture
def connection(directory, office) -> Connection:
    return connect(directory, office)


def name_of(office, user):
    return f"{office.name}/users/{user.id}"


def registered(office, user):
    return office.support.users.GetUser(users_pb2.GetUserRequest(name=name_of(office, user))).user


def kinds_of_events(office, user) -> list[str]:
    return [event.kind for event in office.events() if event.resource == name_of(office, user)]


def test_a_created_user_is_in_the_register_active_with_a_seat_in_the_connections_account(connection, office):
    user = connection.create(
        "Ann@Example.org",
        external_id="ext-1",
        display_name="Ann  Example",
        title="Teacher",
        phone="+46 70 123 45 67",
        secondary_phone="0046701234568",
    )
    kept = registered(office, user)
    assert (kept.email, kept.display_name, kept.title) == ("ann@example.org", "Ann Example", "Teacher")
    assert (kept.phone, kept.secondary_phone) == ("+46701234567", "+46701234568")
    assert (kept.owner, kept.external_id, kept.state) == (connection.source, "ext-1", users_pb2.USER_STATE_ACTIVE)
    assert list(kept.accounts) == [office.main_account]
    assert office.seats().seats_used == 1
    assert kinds_of_events(office, user) == ["user.created", "membership.added"]
    assert all(event.actor == connection.source for event in office.events() if event.resource == name_of(office, user))


def test_what_was_said_reads_back_whole_without_what_is_no_value(connection):
    document = {
        "nickName": "Annie",
        "title": "",
        "locale": None,
        "addresses": [],
        "name": {"familyName": "Example", "givenName": ""},
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"manager": {"value": "42"}},
        "id": "usr_forged",
        "password": "secret",
    }
    user = connection.create("ann@example.org", document=document)
    said = json.loads(connection.get(user.id).attributes)
    assert said["nickName"] == "Annie"
    assert said["name"] == {"familyName": "Example"}
    assert said["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"] == {"manager": {"value": "42"}}
    assert not {"title", "locale", "addresses", "id", "password"} & set(said)


def test_a_user_name_that_is_no_mail_address_is_good_enough(connection, office):
    user = connection.create("bjensen")
    assert registered(office, user).email == "bjensen"


def test_a_phone_that_is_none_leaves_the_registers_and_a_region_reads_national_form(directory, office):
    connection = connect(directory, office, region="SE")
    user = connection.create("ann@example.org", phone="070-123 45 67")
    assert registered(office, user).phone == "+46701234567"
    connection.update(user.id, "ann@example.org", phone="call me")
    assert registered(office, user).phone == "+46701234567"
    connection.update(user.id, "ann@example.org")
    assert registered(office, user).phone == ""


def test_a_user_name_is_taken_whatever_its_case_and_so_is_a_mail(connection):
    connection.create("ann@example.org")
    with refused("USER_NAME_TAKEN"):
        connection.create("ANN@example.org", email="other@example.org")
    with refused("EMAIL_TAKEN"):
        connection.create("other@example.org", email="Ann@example.org")


def test_what_is_wrong_is_named_all_at_once(connection):
    with refused("INVALID_ARGUMENT") as told:
        connection.stub.CreateProvisionedUser(
            provisioning_pb2.CreateProvisionedUserRequest(
                facts=provisioning_pb2.UserFacts(user_name="", attributes=b"[")
            )
        )
    assert fields_of(told)[0] == "userName"
    assert "attributes" in fields_of(told)


def test_an_update_tells_what_changed_and_the_same_again_tells_nothing(connection, office):
    user = connection.create("ann@example.org", title="Cook")
    changed = connection.update(user.id, "ann@example.org", title="Teacher", etag=user.etag)
    assert changed.etag != user.etag
    (event,) = [event for event in office.events("user.updated") if event.resource == name_of(office, user)]
    assert (event.before["title"], event.after["title"]) == ("Cook", "Teacher")
    again = connection.update(user.id, "ann@example.org", title="Teacher")
    assert again.etag == changed.etag
    assert len(office.events("user.updated")) == 1


def test_a_stale_etag_changes_nothing(connection, office):
    user = connection.create("ann@example.org")
    connection.update(user.id, "ann@example.org", title="Cook")
    with refused("STALE_ETAG"):
        connection.update(user.id, "ann@example.org", title="Teacher", etag=user.etag)
    with refused("STALE_ETAG"):
        connection.delete(user.id, etag=user.etag)
    assert registered(office, user).title == "Cook"


def test_deactivated_is_out_at_once_and_still_there_to_read(connection, office):
    manual = office.group("Book club")
    user = connection.create("ann@example.org")
    crisis = connection.create_group("Crisis", "CRISIS", members=[user.id])
    office.change_members(manual.name, add=[name_of(office, user)])
    asleep = connection.set_active(user, active=False)
    assert not asleep.active
    kept = registered(office, user)
    assert kept.state == users_pb2.USER_STATE_DORMANT
    assert (list(kept.groups), list(kept.accounts)) == ([], [])
    assert office.seats().seats_used == 0
    assert connection.find("userName", "ann@example.org") == [user.id]
    assert connection.members(crisis.id) == [user.id]
    assert office.members(f"{office.name}/groups/{crisis.id}") == []
    assert kinds_of_events(office, user)[-1] == "user.dormant"


def test_reactivated_is_back_in_the_connections_groups_and_not_in_manual_ones(connection, office):
    manual = office.group("Book club")
    user = connection.create("ann@example.org")
    crisis = connection.create_group("Crisis", "CRISIS", members=[user.id])
    office.change_members(manual.name, add=[name_of(office, user)])
    connection.set_active(user, active=False)
    awake = connection.set_active(user, active=True)
    assert awake.active
    kept = registered(office, user)
    assert kept.state == users_pb2.USER_STATE_ACTIVE
    assert list(kept.group_display_names) == ["Crisis"]
    assert list(kept.accounts) == [office.main_account]
    assert office.members(f"{office.name}/groups/{crisis.id}") == [name_of(office, user)]
    assert office.seats().seats_used == 1
    assert kinds_of_events(office, user)[-1] == "user.restored"


def test_memberships_can_change_while_a_user_sleeps(connection, office):
    user = connection.create("ann@example.org")
    left = connection.create_group("Left", "LEFT", members=[user.id])
    joined = connection.create_group("Joined", "JOINED")
    connection.set_active(user, active=False)
    connection.change_group(left.id, remove=[user.id])
    connection.change_group(joined.id, add=[user.id])
    assert (connection.members(left.id), connection.members(joined.id)) == ([], [user.id])
    assert office.seats().seats_used == 0
    connection.set_active(user, active=True)
    assert list(registered(office, user).group_display_names) == ["Joined"]


def test_a_user_can_be_created_inactive_and_takes_a_seat_when_it_wakes(connection, office):
    user = connection.create("ann@example.org", active=False)
    assert registered(office, user).state == users_pb2.USER_STATE_DORMANT
    assert office.seats().seats_used == 0
    connection.set_active(user, active=True)
    assert office.seats().seats_used == 1
    assert list(registered(office, user).accounts) == [office.main_account]


def test_nobody_wakes_with_a_mail_that_somebody_else_has_by_now(connection):
    user = connection.create("ann@example.org")
    connection.set_active(user, active=False)
    connection.create("other", email="ann@example.org")
    with refused("EMAIL_TAKEN"):
        connection.set_active(user, active=True)


def test_whoever_is_deactivated_is_out_even_if_the_mail_said_with_it_is_somebody_elses(connection, office):
    user = connection.create("ann@example.org")
    office.user("ben@example.org")
    asleep = connection.update(user.id, "ann@example.org", email="ben@example.org", active=False)
    assert not asleep.active
    kept = registered(office, user)
    assert (kept.state, kept.email) == (users_pb2.USER_STATE_DORMANT, "ben@example.org")
    assert office.seats().seats_used == 1
    with refused("EMAIL_TAKEN"):
        connection.update(user.id, "ann@example.org", email="ben@example.org", active=True)


def test_whom_people_have_made_manual_is_not_the_connections_to_bring_back(connection, office):
    deleted = connection.create("ann3@example.org", external_id="ext-3")
    office.delete_user(name_of(office, deleted))
    connection.create("ann3@example.org", external_id="ext-4", email="third@example.org")
    office.restore_user(name_of(office, deleted))
    assert registered(office, deleted).owner == ""  # its userName is somebody else's by now
    office.delete_user(name_of(office, deleted))
    back = connection.create("ann5@example.org", external_id="ext-3")
    assert back.id != deleted.id
    assert registered(office, deleted).state == users_pb2.USER_STATE_DELETED


def test_deleted_is_gone_and_comes_back_as_the_same_person(connection, office):
    user = connection.create("ann@example.org", external_id="ext-1", title="Cook")
    crisis = connection.create_group("Crisis", "CRISIS", members=[user.id])
    connection.delete(user.id)
    with refused("NOT_FOUND"):
        connection.get(user.id)
    with refused("NOT_FOUND"):
        connection.delete(user.id)
    assert connection.find("userName", "ann@example.org") == []
    assert registered(office, user).state == users_pb2.USER_STATE_DELETED
    assert office.seats().seats_used == 0
    assert connection.members(crisis.id) == []
    back = connection.create("ann.new@example.org", external_id="ext-1", title="Teacher")
    assert back.id == user.id
    kept = registered(office, user)
    assert (kept.email, kept.title, kept.state) == ("ann.new@example.org", "Teacher", users_pb2.USER_STATE_ACTIVE)
    assert list(kept.groups) == []
    assert office.seats().seats_used == 1
    assert kinds_of_events(office, user)[-2:] == ["user.restored", "membership.added"]


def test_a_deleted_users_name_is_free_for_another(connection):
    user = connection.create("ann@example.org", external_id="ext-1")
    connection.delete(user.id)
    assert connection.create("ann@example.org", external_id="ext-2").id != user.id


def test_a_manual_user_is_taken_over_by_its_mail_with_password_and_manual_groups(connection, office):
    club = office.group("Book club")
    manual = office.user("ann@example.org", groups=[club.name], title="Cook")
    user = connection.create("ann.upn@example.org", email="Ann@example.org", external_id="ext-1", title="Teacher")
    assert name_of(office, user) == manual.name
    kept = registered(office, user)
    assert (kept.owner, kept.title, kept.password_reset_required) == (connection.source, "Teacher", False)
    assert list(kept.group_display_names) == ["Book club"]
    assert office.seats().seats_used == 1
    (event,) = office.events("user.taken_over")
    assert (event.before["title"], event.after["title"], event.after["external_id"]) == ("Cook", "Teacher", "ext-1")


def test_a_manual_user_is_seen_by_id_and_by_eq_but_not_in_a_list(connection, office):
    manual = office.user("ann@example.org", display_name="Ann Manual")
    own = connection.create("ben@example.org")
    manual_id = manual.name.rpartition("/")[2]
    assert connection.get(manual_id).management == provisioning_pb2.USER_MANAGEMENT_MANUAL
    assert connection.find("userName", "ANN@example.org") == [manual_id]
    assert connection.find("emails/value", "ann@example.org", multi_valued=True) == [manual_id]
    assert [found.user.id for found in connection.search().resources] == [own.id]
    assert connection.find("displayName", "Ann Manual") == []
    taken = connection.update(manual_id, "ann@example.org", title="Teacher")
    assert taken.management == provisioning_pb2.USER_MANAGEMENT_OWN
    assert registered(office, taken).title == "Teacher"


def test_a_manual_user_is_nobodys_to_delete(connection, office):
    manual = office.user("ann@example.org")
    with refused("NOT_FOUND"):
        connection.delete(manual.name.rpartition("/")[2])


def test_what_is_unknown_of_another_tenant_or_no_id_is_not_found(connection, directory, support):
    other = Office(support)
    stranger = connect(directory, other).create("eve@example.org")
    for user in (stranger.id, "usr_nonsense", "bjensen", ""):
        with refused("NOT_FOUND"):
            connection.get(user)
        with refused("NOT_FOUND"):
            connection.update(user, "eve@example.org")
        with refused("NOT_FOUND"):
            connection.delete(user)


def test_a_full_license_refuses_the_create_and_lists_whom(directory, support):
    office = Office(support, seats=1)
    connection = connect(directory, office)
    connection.create("ann@example.org")
    for _ in range(2):
        with refused("LICENSE_LIMIT_REACHED") as told:
            connection.create("Ben@example.org", external_id="ext-2")
    assert told["failure"].metadata == {"seats_total": "1", "seats_used": "1"}
    assert connection.find("userName", "ben@example.org") == []
    answer = support.licenses.ListRefusals(licenses_pb2.ListRefusalsRequest(license=office.license))
    assert [(each.user_name, each.external_id, each.attempts) for each in answer.refusals] == [
        ("Ben@example.org", "ext-2", 2)
    ]
    assert [(event.after["user_name"], event.after["refused"]) for event in office.events("license.refused")] == [
        ("Ben@example.org", 1)
    ]
    support.licenses.UpdateLicense(licenses_pb2.UpdateLicenseRequest(name=office.license, seats_total=2))
    by_hand = office.user("ben@example.org")  # who has a seat waits for none, whoever gave it
    answer = support.licenses.ListRefusals(licenses_pb2.ListRefusalsRequest(license=office.license))
    assert (list(answer.refusals), answer.total) == ([], 0)
    support.users.DeleteUser(users_pb2.DeleteUserRequest(name=by_hand.name))
    assert support.licenses.ListRefusals(licenses_pb2.ListRefusalsRequest(license=office.license)).total == 1
    connection.create("ben@example.org", external_id="ext-2")
    assert not support.licenses.ListRefusals(licenses_pb2.ListRefusalsRequest(license=office.license)).refusals


def test_a_full_license_refuses_to_wake_and_leaves_the_sleeper_as_it_was(directory, support):
    office = Office(support, seats=1)
    connection = connect(directory, office)
    sleeper = connection.create("ann@example.org")
    connection.set_active(sleeper, active=False)
    connection.create("ben@example.org")
    with refused("LICENSE_LIMIT_REACHED"):
        connection.update(sleeper.id, "ann@example.org", title="Teacher", active=True)
    kept = connection.get(sleeper.id)
    assert not kept.active
    assert "title" not in json.loads(kept.attributes)


def create_in(connection, user_name):
    """One POST, on a channel of its own."""
    request = provisioning_pb2.CreateProvisionedUserRequest(facts=user_facts(user_name))
    return lambda: connection.stub.CreateProvisionedUser(request)


def test_the_last_seats_go_to_exactly_as_many_as_there_are(directory, support):
    office = Office(support, seats=5)
    connection = connect(directory, office)
    outcomes = outcomes_at_once(*(create_in(connection, f"racer{number}@example.org") for number in range(16)))
    assert sorted(outcomes) == ["LICENSE_LIMIT_REACHED"] * 11 + ["OK"] * 5
    assert office.seats().seats_used == 5


def test_the_same_user_at_once_is_made_once(connection, office):
    outcomes = outcomes_at_once(*[create_in(connection, "ann@example.org")] * 8)
    assert outcomes.count("OK") == 1
    assert set(outcomes) <= {"OK", "USER_NAME_TAKEN", "EMAIL_TAKEN"}
    assert office.seats().seats_used == 1


def test_a_disabled_connection_is_told_so(connection, office):
    user = connection.create("ann@example.org")
    office.disable(connection.source)
    with refused("SOURCE_STATE"):
        connection.get(user.id)


def test_a_group_of_somebody_else_is_not_found(connection, office):
    manual = office.group("Book club").name.rpartition("/")[2]
    with refused("NOT_FOUND"):
        connection.group(manual)
    with refused("NOT_FOUND"):
        connection.change_group(manual, facts=group_facts("Mine"))
    listed = office.support.groups.ListGroups(groups_pb2.ListGroupsRequest(tenant=office.name)).groups
    assert "Mine" not in [group.display_name for group in listed]


def test_a_create_that_is_said_again_answers_with_the_same_user(connection, office):
    said = {"external_id": "e-1", "display_name": "Ann", "title": "Nurse"}
    ann = connection.create("ann@example.org", **said)
    assert connection.create("ann@example.org", **said) == ann
    assert office.seats().seats_used == 1
    for other in ({"title": "Doctor"}, {"external_id": "e-2"}, {"active": False}):
        with refused("USER_NAME_TAKEN"):
            connection.create("ann@example.org", **(said | other))


def test_without_an_external_id_a_second_create_is_a_second_user(connection):
    connection.create("ann@example.org")
    with refused("USER_NAME_TAKEN"):
        connection.create("ann@example.org")


def test_a_create_and_its_retry_at_one_time_make_one_user(connection):
    outcomes = outcomes_at_once(*[lambda: connection.create("ann@example.org", external_id="e-1")] * 4)
    assert outcomes == ["OK"] * 4


def test_a_user_whom_nobody_is_like_is_made_as_any_other_is(connection, office, store, monkeypatch):
    """The short way, by one look at who may be in the way, against the long one."""

    def make(name):
        made = connection.create(f"{name}@example.org", external_id=name, title="Teacher", phone="+46701234567")
        asleep = connection.create(f"{name}.asleep@example.org", active=False)
        told = [
            (event.kind, json.loads(MessageToJson(event.after).replace(name, "x")))
            for event in office.events()
            if event.resource in {name_of(office, made), name_of(office, asleep)}
        ]
        assert [connection.get(user.id) for user in (made, asleep)] == [made, asleep]
        kept = [_row(store, office, user, name) for user in (made, asleep)]
        return json.loads(made.attributes.decode().replace(name, "x")), told, kept

    short = make("short")
    monkeypatch.setattr(users, "_in_the_way", lambda *_: {0})
    assert make("lengthy") == short
    assert [kind for kind, _ in short[1]] == ["user.created", "membership.added", "user.created", "user.dormant"]


def _row(store, office, user, name):
    """What is kept of a user, whatever its name, its number and the time."""
    number = names.parse_id("usr", user.id)
    with store.read(office.tenant_id) as session:
        row = session.get_one(User, (office.tenant_id, number)).model_dump(exclude={"id", "email"})
        said = session.exec(select(ProvisionedResource).where(ProvisionedResource.resource_id == number)).one()
        told = said.model_dump(exclude={"resource_id"}) | {"folded": said.folded | {"id": ""}}
        return [row, json.loads(json.dumps(told).replace(name, "x"))]
