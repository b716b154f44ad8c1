"""Invitations: made by hand or by a source, mailed by one-time links, accepted once (R36)."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from google.protobuf.json_format import MessageToDict
from muster.directory.v1 import invitations_pb2 as pb
from muster.directory.v1 import users_pb2
from sqlmodel import col, select

from services.directory.api.events import event_message
from services.directory.operations.users import NewUser, create_user
from services.directory.rules import names
from services.directory.rules.grants import Grant
from services.directory.rules.passwords import Passwords
from services.directory.rules.tokens import INVITATION_LINK
from services.directory.store.people_tables import Credential, Invitation, InvitationState
from services.directory.store.tables import Event, Source, Tenant, User
from tests.integration.directory.nights import SOMEBODY
from tests.integration.directory.serving import (
    PEPPER,
    QUICK,
    START,
    Caller,
    Office,
    ServedDirectory,
    counted_statements,
    fields_of,
    refused,
)

pytestmark = pytest.mark.mostly("postgresql")

PAGE = "https://log-in.example/accept?lang=sv"
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _from_the_start(directory: ServedDirectory):
    directory.clock.now = START


@pytest.fixture(scope="module")
def notifier(directory: ServedDirectory) -> Caller:
    return directory.caller(Grant.NOTIFIER)


@pytest.fixture(scope="module")
def login(directory: ServedDirectory) -> Caller:
    return directory.caller(Grant.LOGIN)


@pytest.fixture
def office(support: Caller) -> Office:
    return Office(support, seats=100, accept_url=PAGE)


def invite(office: Office, *users: str, **request):
    if len(users) == 1:
        return office.support.invitations.CreateInvitation(
            pb.CreateInvitationRequest(user=users[0], **request)
        ).invitation
    batch = pb.BatchCreateInvitationsRequest(tenant=office.name, users=users, **request)
    return office.support.invitations.BatchCreateInvitations(batch).invitations


def mint(notifier: Caller, invitation: pb.Invitation) -> pb.MintInvitationLinkResponse:
    return notifier.invitations.MintInvitationLink(pb.MintInvitationLinkRequest(name=invitation.name))


def accept(login: Caller, token: str, password: str = PASSWORD, **request) -> users_pb2.User:
    acceptance = pb.AcceptInvitationRequest(token=token, password=password, **request)
    return login.invitations.AcceptInvitation(acceptance).user


def revoke(office: Office, invitation: pb.Invitation, **request) -> pb.Invitation:
    named = pb.RevokeInvitationRequest(name=invitation.name, **request)
    return office.support.invitations.RevokeInvitation(named).invitation


def listed(office: Office, *states: str, **request) -> dict[str, str]:
    """Users and where their invitations are."""
    wanted = [users_pb2.InvitationState.Value(f"INVITATION_STATE_{state}") for state in states]
    answer = office.support.invitations.ListInvitations(
        pb.ListInvitationsRequest(tenant=office.name, states=wanted, **request)
    )
    return {invitation.user: word(invitation.state) for invitation in answer.invitations}


def word(state) -> str:
    return users_pb2.InvitationState.Name(state).removeprefix("INVITATION_STATE_")


def told(office: Office) -> list[str]:
    return [event.kind.removeprefix("invitation.") for event in office.events("invitation.*")]


def delete(office: Office, user: str) -> None:
    office.support.users.DeleteUser(users_pb2.DeleteUserRequest(name=user))


def test_an_invitation_is_made_mailed_and_accepted(directory, office, notifier, login):
    ann = office.user("ann@example.org")
    made = invite(office, ann.name)
    assert (made.user, made.email, word(made.state)) == (ann.name, "ann@example.org", "PENDING")
    assert made.expire_time.ToDatetime(UTC) == START + timedelta(days=30)
    directory.clock.pass_hours(1)
    link = mint(notifier, made)
    assert link.url.startswith("https://log-in.example/accept?lang=sv&")
    assert parse_qs(urlsplit(link.url).query) == {"lang": ["sv"], "token": [link.token]}
    assert link.expire_time == made.expire_time
    assert listed(office) == {ann.name: "SENT"}
    assert accept(login, link.token).name == ann.name
    kept = office.support.invitations.GetInvitation(pb.GetInvitationRequest(name=made.name)).invitation
    assert word(kept.state) == "ACCEPTED"
    assert kept.sent_time.ToDatetime(UTC) == kept.end_time.ToDatetime(UTC) == START + timedelta(hours=1)
    with directory.store.read(office.tenant_id) as session:
        credential = session.get(Credential, (office.tenant_id, names.parse(names.USER, ann.name, field="user")[1]))
    assert Passwords(QUICK).is_right(credential.password_hash, PASSWORD)
    assert told(office) == ["created", "sent", "accepted"]
    event = office.events("invitation.sent")[0]
    assert (event.resource, MessageToDict(event.after)) == (made.name, {"user": ann.name, "state": "sent"})
    assert link.token not in str(office.events()) + str(kept)


def test_inviting_again_makes_new_days_and_ends_older_links(directory, office, notifier, login):
    ann = office.user().name
    first = invite(office, ann)
    old = mint(notifier, first)
    directory.clock.pass_hours(24 * 29)
    again = invite(office, ann)
    assert (again.name, word(again.state), again.HasField("sent_time")) == (first.name, "PENDING", False)
    assert again.expire_time.ToDatetime(UTC) == directory.clock() + timedelta(days=30)
    assert again.etag != first.etag
    with refused("LINK_INVALID"):
        accept(login, old.token)
    new = mint(notifier, again)
    assert new.token != old.token
    assert accept(login, new.token).name == ann
    assert told(office) == ["created", "sent", "resent", "sent", "accepted"]


def test_a_link_is_the_same_each_time_until_it_is_made_anew(office, notifier):
    made = invite(office, office.user().name)
    assert mint(notifier, made) == mint(notifier, made)
    assert told(office) == ["created", "sent"]


def test_after_thirty_days_an_invitation_has_expired_and_can_be_made_again(directory, office, notifier, login):
    ann, bo = office.user().name, office.user().name
    made, _ = invite(office, ann, bo)
    link = mint(notifier, made)
    directory.clock.pass_hours(24 * 30 - 0.1)
    assert listed(office, "SENT") == {ann: "SENT"}
    assert listed(office, "PENDING") == {bo: "PENDING"}
    assert listed(office, "EXPIRED") == {}
    directory.clock.pass_hours(0.1)
    assert listed(office, "PENDING", "SENT") == {}
    assert listed(office, "EXPIRED") == {ann: "EXPIRED", bo: "EXPIRED"}
    with refused("INVITATION_STATE") as error:
        mint(notifier, made)
    assert error["failure"].metadata["state"] == "expired"
    with refused("LINK_INVALID"):
        accept(login, link.token)
    assert word(invite(office, ann).state) == "PENDING"


def test_a_revoked_invitation_is_dead_and_makes_room_for_a_new_one(office, notifier, login):
    ann = office.user().name
    made = invite(office, ann)
    link = mint(notifier, made)
    with refused("STALE_ETAG"):
        revoke(office, made, etag=made.etag)
    gone = revoke(office, made)
    assert word(gone.state) == "REVOKED"
    assert gone.HasField("end_time")
    assert revoke(office, made) == gone
    with refused("INVITATION_STATE"):
        mint(notifier, made)
    with refused("LINK_INVALID"):
        accept(login, link.token)
    assert invite(office, ann).name != made.name
    assert told(office) == ["created", "sent", "revoked", "created"]


def test_what_was_accepted_stays_so(office, notifier, login):
    ann = office.user().name
    made = invite(office, ann)
    link = mint(notifier, made)
    request_id = str(uuid.uuid4())
    assert accept(login, link.token, request_id=request_id) == accept(login, link.token, request_id=request_id)
    for refused_call in (lambda: invite(office, ann), lambda: revoke(office, made), lambda: mint(notifier, made)):
        with refused("INVITATION_STATE") as error:
            refused_call()
        assert error["failure"].metadata["state"] == "accepted"
    with refused("LINK_INVALID"):
        accept(login, link.token)


def test_no_wrong_token_tells_why_or_whose(directory, office, notifier, login):
    """Forged ones, and those of nobody, are told the same as an old one; a weak password does not use one up."""
    made = invite(office, office.user("ann@example.org").name)
    token = mint(notifier, made).token
    number = names.parse(names.INVITATION, made.name, field="name")[1]
    wrong = [
        INVITATION_LINK.write(office.tenant_id, number, 1, pepper=b"another pepper of nobody"),
        INVITATION_LINK.write(office.tenant_id, number, 2, pepper=PEPPER),
        INVITATION_LINK.write(office.tenant_id, number + 1000, 1, pepper=PEPPER),
        INVITATION_LINK.write(10**9, number, 1, pepper=PEPPER),
        token[:-1],
        "",
    ]
    messages = set()
    for each in wrong:
        with refused("LINK_INVALID") as error:
            accept(login, each)
        messages.add(error["failure"].message)
    assert len(messages) == 1
    for weak in ("short", "ann@example.org"):
        with refused("INVALID_ARGUMENT") as error:
            accept(login, token, weak)
        assert fields_of(error) == ["password"]
    assert accept(login, token).email == "ann@example.org"


def test_who_leaves_is_not_invited_any_more(office, notifier, login):
    ann = office.user().name
    made = invite(office, ann)
    link = mint(notifier, made)
    delete(office, ann)
    assert listed(office) == {ann: "REVOKED"}
    with refused("LINK_INVALID"):
        accept(login, link.token)
    for refused_call in (lambda: invite(office, ann), lambda: mint(notifier, made)):
        with refused("USER_STATE") as error:
            refused_call()
        assert error["failure"].metadata["state"] == "deleted"


def test_without_a_page_to_accept_on_nobody_is_invited(support: Caller):
    office = Office(support)
    with refused("ACCEPT_URL_MISSING") as error:
        invite(office, office.user().name)
    assert "muster tenant update --accept-url" in error["failure"].message
    assert listed(office) == {}


def test_a_batch_is_all_or_nothing_in_the_order_asked_for(office, support):
    users = [office.user().name for _ in range(3)]
    other = Office(support, accept_url=PAGE).user().name
    for bad, reason in ((other, "NOT_FOUND"), (f"{office.name}/users/usr_1", "INVALID_ARGUMENT")):
        with refused(reason):
            invite(office, *users, bad)
    assert listed(office) == {}
    invite(office, users[1])
    asked = [users[2], users[1], users[0], users[2]]
    assert [invitation.user for invitation in invite(office, *asked)] == asked
    assert told(office) == ["created", "created", "created", "resent"]
    with refused("INVALID_ARGUMENT") as error:
        office.support.invitations.BatchCreateInvitations(pb.BatchCreateInvitationsRequest(tenant=office.name))
    assert fields_of(error) == ["users"]


def test_the_number_of_statements_does_not_grow_with_the_batch(store, office):
    users = [office.user().name for _ in range(12)]

    def statements_of(some):
        with counted_statements(store) as statements:
            invite(office, *some)
        return len(statements)

    assert statements_of(users[:4]) == statements_of(users[4:])
    assert statements_of(users[:4]) == statements_of(users)
    assert len(listed(office, "PENDING")) == 12


def test_several_at_once_make_one_invitation(office):
    ann = office.user().name
    with ThreadPoolExecutor(6) as callers:
        made = list(callers.map(lambda _: invite(office, ann).name, range(6)))
    assert len(set(made)) == 1
    assert sorted(told(office)) == ["created"] + ["resent"] * 5


def test_a_user_says_where_the_newest_invitation_is(directory, store, office, notifier, login):
    users = [office.user().name for _ in range(5)]
    first, second, _, fourth = invite(office, *users[:4])
    revoke(office, first)
    accept(login, mint(notifier, second).token)
    mint(notifier, fourth)

    def shown():
        with counted_statements(store) as statements:
            answer = office.support.users.ListUsers(users_pb2.ListUsersRequest(tenant=office.name))
        return [word(user.invitation) for user in answer.users], len(statements)

    before, count = shown()
    assert before == ["REVOKED", "ACCEPTED", "PENDING", "SENT", "UNSPECIFIED"]
    directory.clock.pass_hours(24 * 30)
    invite(office, users[0])
    assert shown() == (["PENDING", "ACCEPTED", "EXPIRED", "EXPIRED", "UNSPECIFIED"], count)
    request = users_pb2.GetUserRequest(name=users[2])
    assert word(office.support.users.GetUser(request).user.invitation) == "EXPIRED"


def test_invitations_are_listed_page_by_page(office):
    users = [office.user().name for _ in range(3)]
    invite(office, *users)
    request = pb.ListInvitationsRequest(tenant=office.name, page_size=2)
    first = office.support.invitations.ListInvitations(request)
    request.page_token = first.next_page_token
    second = office.support.invitations.ListInvitations(request)
    assert [invitation.user for invitation in [*first.invitations, *second.invitations]] == users
    assert second.next_page_token == ""
    with refused("INVALID_ARGUMENT") as error:
        office.support.invitations.ListInvitations(pb.ListInvitationsRequest(tenant=office.name, states=[9]))
    assert fields_of(error) == ["states"]


def test_links_are_minted_for_the_notifier_and_accepted_at_the_log_in_page(directory, office, notifier, login):
    made = invite(office, office.user().name)
    tenants_own = directory.caller(Grant.TENANT, office.name)
    with refused("PERMISSION_DENIED"):
        mint(tenants_own, made)
    token = mint(notifier, made).token
    for caller in (tenants_own, notifier):
        with refused("PERMISSION_DENIED"):
            accept(caller, token)
    assert accept(login, token).name == made.user


def with_invitations(night, *, accept_url: str = PAGE) -> None:
    """Let the night's source invite whom it creates."""
    with night.store.write(night.tenant_id) as session:
        session.get_one(Source, (night.tenant_id, night.source_id)).automatic_invitations = True
        session.get_one(Tenant, night.tenant_id).accept_url = accept_url


def invited(night) -> list[tuple[str, str, int]]:
    """Mail addresses, states and runs of all invitations of the night's tenant."""
    with night.store.read(night.tenant_id) as session:
        query = select(User.email, Invitation.state, Invitation.run_id).where(
            col(User.tenant_id) == col(Invitation.tenant_id), col(User.id) == col(Invitation.user_id)
        )
        found = session.exec(query.where(col(Invitation.tenant_id) == night.tenant_id).order_by(col(Invitation.id)))
        return [(email.partition("@")[0], InvitationState(state).name, run_id) for email, state, run_id in found]


def test_a_source_invites_whom_it_creates_and_nobody_else(night, clock):
    with_invitations(night)
    with night.store.write(night.tenant_id) as session:
        carl = NewUser(night.account_id, "Carl", "carl@example.org")
        create_user(session, night.tenant_id, carl, actor=SOMEBODY, now=clock())
    first = night.apply(night.plan("bo", "anna", "carl"))
    assert (first.counts["created"], first.counts["taken_over"]) == (2, 1)
    expected = [("bo", "PENDING", first.id), ("anna", "PENDING", first.id)]
    assert invited(night) == expected
    with night.store.read(night.tenant_id) as session:
        query = select(Event).where(col(Event.kind) == "invitation.created", col(Event.run_id) == first.id)
        events = [event_message(event) for event in session.exec(query.order_by(col(Event.position)))]
        made = select(Invitation.id, Invitation.user_id).where(col(Invitation.run_id) == first.id)
        ids = session.exec(made.order_by(col(Invitation.id))).all()
    told = [(event.resource, dict(event.after), event.actor) for event in events]
    actor = names.SOURCE.format(night.tenant_id, night.source_id)
    assert told == [
        (
            names.INVITATION.format(night.tenant_id, number),
            {"user": names.USER.format(night.tenant_id, user_id), "state": "pending"},
            actor,
        )
        for number, user_id in ids
    ]
    night.apply(night.plan("bo/Bo Ek", "carl"))
    back = night.apply(night.plan("bo", "anna", "carl"))
    assert back.counts["restored"] == 1
    assert invited(night) == [("bo", "PENDING", first.id), ("anna", "REVOKED", first.id)]


def test_a_source_invites_nobody_while_there_is_no_page_to_accept_on(night):
    with_invitations(night, accept_url="")
    assert night.apply(night.plan("anna")).counts["created"] == 1
    assert invited(night) == []
