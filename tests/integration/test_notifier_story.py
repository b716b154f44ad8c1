"""Notifier and directory together: what happens to people and connections is mailed, with links that open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from muster.directory.v1 import credentials_pb2, invitations_pb2, sources_pb2, tenants_pb2, users_pb2

from services.directory.rules.grants import Grant
from services.directory.store.session import Store
from services.notifier.messages import MessageKind, MessageState
from services.notifier.smtp import SmtpTransport
from tests.integration.directory.serving import START, Office, ServedDirectory
from tests.integration.test_notifier_notices import _do_chores
from tests.stack.smtp import SmtpSink
from tests.unit.notifier.running import Notifier, smtp_settings

PAGE = "https://log-in.example/accept?lang=sv"
REPORT_TO = "it@ingleby.example"


@dataclass
class Served:
    """The real directory, as the notifier reaches it."""

    directory: ServedDirectory
    token: str

    @property
    def address(self) -> str:
        return self.directory.target


@pytest.fixture(scope="module")
def served(databases, tmp_path_factory) -> Iterator[Served]:
    url = databases.make("sqlite")
    store = Store(url)
    directory = ServedDirectory(store, tmp_path_factory.mktemp("stages"))
    yield Served(directory, directory.token(Grant.NOTIFIER))
    directory.stop()
    store.close()
    databases.drop(url)


@pytest.fixture
def sink():
    with SmtpSink() as server:
        yield server


@pytest.fixture
def office(served):
    served.directory.clock.now = START
    return Office(served.directory.caller(Grant.SUPPORT), seats=20, accept_url=PAGE)


class _Story:
    """A notifier that knows one office, and what it mails."""

    def __init__(self, notifier, office, sink):
        self.notifier, self.office, self.sink = notifier, office, sink

    def hears(self, count):
        """Follow until the office has so many messages, and give them."""
        self.notifier.follow_until(lambda: len(self.notifier.messages(self.office.name)) >= count)
        return self.notifier.messages(self.office.name)

    def sends(self, to):
        """Send what is due, and give what has come for this address."""
        self.notifier.drain()
        return list(self.sink.mails(to))


@pytest.fixture
def story(served, office, sink, tmp_path):
    transport = SmtpTransport(smtp_settings(sink.host, sink.port))
    notifier = Notifier(f"sqlite:///{tmp_path}/notifier.db", served, transport)
    notifier.clock.time = START
    yield _Story(notifier, office, sink)
    notifier.store.close()


def _link(mail):
    (link,) = re.findall(r"https://log-in\.example/\S+", mail.text)
    assert link.replace("&", "&amp;") in mail.html
    return link


def _token(mail):
    return re.search(r"token=([^&\s]+)", _link(mail))[1]


def test_r36_who_is_invited_gets_a_link_that_opens_and_nothing_keeps_it(story, office, served):
    user = office.user("ada@x.example")
    office.support.invitations.CreateInvitation(invitations_pb2.CreateInvitationRequest(user=user.name))
    (message,) = story.hears(1)
    (mail,) = story.sends("ada@x.example")
    accept = invitations_pb2.AcceptInvitationRequest(token=_token(mail), password="correct horse battery")
    login = served.directory.caller(Grant.LOGIN)
    assert login.invitations.AcceptInvitation(accept).user.name == user.name
    kept = story.notifier.store.get(office.name, message.key)
    assert kept.state == MessageState.SENT
    assert _token(mail) not in f"{kept.text} {kept.html}"


def test_an_invitation_that_was_revoked_before_it_was_mailed_is_not_mailed(story, office):
    user = office.user("bo@x.example")
    made = office.support.invitations.CreateInvitation(invitations_pb2.CreateInvitationRequest(user=user.name))
    story.hears(1)
    revoke = invitations_pb2.RevokeInvitationRequest(name=made.invitation.name)
    office.support.invitations.RevokeInvitation(revoke)
    assert story.sends("bo@x.example") == []
    (message,) = story.notifier.messages(office.name)
    assert (message.state, message.last_error) == (MessageState.OBSOLETE, "the directory answered INVITATION_STATE")


def test_without_a_page_to_accept_at_an_invitation_fails_and_says_so(story, office):
    user = office.user("bo@x.example")
    office.support.invitations.CreateInvitation(invitations_pb2.CreateInvitationRequest(user=user.name))
    (message,) = story.hears(1)
    office.support.tenants.UpdateTenant(
        tenants_pb2.UpdateTenantRequest(
            tenant=tenants_pb2.Tenant(name=office.name), update_mask={"paths": ["accept_url"]}
        )
    )
    assert story.sends("bo@x.example") == []
    (message,) = story.notifier.messages(office.name)
    assert (message.state, message.last_error) == (MessageState.FAILED, "the directory answered ACCEPT_URL_MISSING")


def test_a_forgotten_password_is_mailed_a_link_that_sets_a_new_one(story, office, served):
    user = office.user("cia@x.example")
    login = served.directory.caller(Grant.LOGIN)
    asked = credentials_pb2.RequestPasswordResetRequest(tenant=office.name, email="cia@x.example")
    login.credentials.RequestPasswordReset(asked)
    story.hears(1)
    (mail,) = story.sends("cia@x.example")
    chosen = credentials_pb2.ResetPasswordRequest(token=_token(mail), new_password="correct horse battery")
    assert login.credentials.ResetPassword(chosen).user.name == user.name


def test_r36_both_addresses_hear_of_a_change_and_an_erased_person_leaves_none(story, office):
    user = office.user("dag@x.example", display_name="Dag Ek")
    office.update_user(user.name, email="ek@y.example")
    story.hears(2)
    assert len(story.sends("dag@x.example")) == len(story.sends("ek@y.example")) == 1
    office.support.users.EraseUser(users_pb2.EraseUserRequest(name=user.name))
    story.notifier.follow_until(lambda: {m.recipient for m in story.notifier.messages(office.name)} == {""})
    for message in story.notifier.messages(office.name):
        kept = story.notifier.store.get(office.name, message.key)
        assert (kept.state, kept.subject, kept.text, kept.html) == (MessageState.SENT, "", "", "")


def test_a_connection_is_told_of_when_it_pauses_its_key_ends_or_seats_run_out(story, office, served):
    source = office.scim_source(report_to=[REPORT_TO])
    for number in range(18):
        office.user(f"p{number}@x.example")
    office.support.sources.PauseSource(sources_pb2.PauseSourceRequest(name=source.name))
    seats, paused = story.hears(2)
    assert (seats.kind, paused.kind) == (MessageKind.LICENSE, MessageKind.CONNECTION)
    assert seats.subject.endswith("Seats are running out: 18 of 20 are taken")
    office.api_key(source.name, expires_days=20)
    story.notifier.clock.time += timedelta(days=10)
    _do_chores(story.notifier, served)
    key = story.notifier.messages(office.name)[-1]
    assert (key.kind, key.recipient) == (MessageKind.KEY, REPORT_TO)
    assert len(story.sends(REPORT_TO)) == 3
