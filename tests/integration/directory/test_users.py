"""Users made by hand: checked, seated, placed, and read with few statements."""

from __future__ import annotations

import pytest
from google.protobuf.json_format import MessageToDict
from muster.directory.v1 import users_pb2

from services.directory.rules import names
from services.directory.store import ids
from services.directory.store.tables import Claim, Source, User, UserState
from tests.integration.directory.serving import START, Caller, Office, counted_statements, fields_of, groups_in, refused


def row_id(user):
    return names.parse(names.USER, user.name, field="name")


def row_of(session, user):
    return session.get(User, row_id(user))


def listed(office: Office, **fields):
    request = users_pb2.ListUsersRequest(tenant=office.name, **fields)
    return [user.name for user in office.support.users.ListUsers(request).users]


def test_a_user_is_kept_in_canonical_form_and_takes_a_seat(office: Office):
    user = office.user(
        " Ann.EXAMPLE@Bücher.Example ",
        display_name=" Ann \t Example ",
        title="Head\nteacher",
        phone="0046 70-123 45 67",
        secondary_phone="+46 8 123 456",
    )
    assert user.display_name == "Ann Example"
    assert user.email == "ann.example@xn--bcher-kva.example"
    assert user.title == "Head teacher"
    assert (user.phone, user.secondary_phone) == ("+46701234567", "+468123456")
    assert (user.owner, user.external_id, user.state) == ("", "", users_pb2.USER_STATE_ACTIVE)
    assert user.create_time.ToDatetime().replace(tzinfo=START.tzinfo) == START
    assert office.seats().seats_used == 1
    assert office.support.users.GetUser(users_pb2.GetUserRequest(name=user.name)).user == user


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"email": "ann"}, ["email"]),
        ({"email": "Ann <ann@example.org>"}, ["email"]),
        ({"email": "a@example.org, b@example.org"}, ["email"]),
        ({"display_name": ""}, ["display_name"]),
        ({"phone": "070-123 45 67"}, ["phone"]),
        ({"phone": "+46701234567 ext. 5"}, ["phone"]),
        ({"title": "x" * 257, "secondary_phone": "none"}, ["title", "secondary_phone"]),
    ],
)
def test_a_user_is_refused_with_all_that_is_wrong(office: Office, fields, wrong):
    with refused("INVALID_ARGUMENT") as told:
        office.user(**fields)
    assert fields_of(told) == wrong
    assert office.seats().seats_used == 0


def test_a_mail_address_is_one_active_users_in_a_tenant(office: Office, support: Caller):
    office.user("ann@example.org")
    with refused("EMAIL_TAKEN") as told:
        office.user("ANN@example.org")
    assert "ann" not in told["failure"].message
    assert office.seats().seats_used == 1
    Office(support).user("ann@example.org")


def test_a_deleted_users_mail_is_free(office: Office, store):
    user = office.user("ann@example.org")
    with store.write(office.tenant_id) as session:
        row_of(session, user).state = UserState.DELETED
    again = office.user("ann@example.org")
    assert listed(office) == [again.name]
    assert listed(office, show_deleted=True) == [user.name, again.name]
    assert listed(office, email="Ann@Example.org ", show_deleted=True) == [user.name, again.name]
    assert listed(office, email="bob@example.org") == []


def test_joining_a_group_of_another_account_also_joins_that_account(office: Office):
    school = office.account("School")
    choir, staff = office.group("Choir", school.name), office.group("Staff", school.name, "G-1")
    user = office.user(groups=[staff.name, choir.name])
    assert list(user.groups) == [choir.name, staff.name]
    assert list(user.group_display_names) == ["Choir", "Staff"]
    assert list(user.accounts) == [office.main_account, school.name]
    assert list(user.account_display_names) == [office.tenant.display_name, "School"]
    assert office.members(school.main_group) == [user.name]


def test_an_unknown_account_or_group_is_not_found_and_takes_no_seat(office: Office, support: Caller):
    other = Office(support)
    with refused("NOT_FOUND"):
        office.user(groups=[other.group().name])
    assert office.seats().seats_used == 0


def test_a_creation_is_two_events_with_what_was_given(office: Office):
    group = office.group()
    user = office.user("ann@example.org", groups=[group.name], phone="+46701234567")
    created, joined = office.events("user.*") + office.events("membership.*")
    assert (created.kind, created.resource) == ("user.created", user.name)
    assert MessageToDict(created.after) == {
        "display_name": "Ann Example",
        "email": "ann@example.org",
        "phone": "+46701234567",
    }
    main_group, other_group = groups_in(joined.after)
    assert joined.kind == "membership.added"
    assert joined.resource == user.name
    assert other_group == group.name
    assert office.members(main_group) == [user.name]


def test_an_owned_user_shows_its_owner_and_that_owners_key(office: Office, store):
    user = office.user()
    with store.write(office.tenant_id) as session:
        row = row_of(session, user)
        sources = {"Payroll": ids.next_id(session, "source"), "Other": ids.next_id(session, "source")}
        for name, source_id in sources.items():
            session.add(Source(tenant_id=row.tenant_id, id=source_id, display_name=name, limits={}, create_time=START))
        session.flush()
        for name, source_id in sources.items():
            session.add(Claim(tenant_id=row.tenant_id, source_id=source_id, external_id=f"{name}-1", user_id=row.id))
        row.owner_source_id = sources["Payroll"]
    shown = office.support.users.GetUser(users_pb2.GetUserRequest(name=user.name)).user
    assert shown.owner == names.SOURCE.format(row_id(user)[0], sources["Payroll"])
    assert (shown.owner_display_name, shown.external_id) == ("Payroll", "Payroll-1")


def test_a_page_of_users_costs_as_many_statements_as_one_user(support: Caller, store):
    office = Office(support, seats=100)
    group = office.group(account=office.account().name)
    office.user(groups=[group.name])
    with counted_statements(store) as for_one:
        listed(office)
    for _ in range(30):
        office.user(groups=[group.name])
    with counted_statements(store) as for_many:
        assert len(listed(office)) == 31
    assert len(for_many) == len(for_one)


def test_a_batch_is_read_in_the_order_asked_for(office: Office):
    users = [office.user() for _ in range(3)]
    asked = [users[2].name, users[0].name, users[2].name]
    request = users_pb2.BatchGetUsersRequest(tenant=office.name, names=asked)
    assert [user.name for user in office.support.users.BatchGetUsers(request).users] == asked


def test_a_batch_with_a_missing_user_is_refused_and_names_it(office: Office, support: Caller):
    stranger = Office(support).user().name
    with refused("NOT_FOUND") as told:
        office.support.users.BatchGetUsers(users_pb2.BatchGetUsersRequest(tenant=office.name, names=[stranger]))
    assert told["failure"].metadata["resource"] == stranger
    with refused("INVALID_ARGUMENT"):
        names = [office.user().name] * 1001
        office.support.users.BatchGetUsers(users_pb2.BatchGetUsersRequest(tenant=office.name, names=names))
