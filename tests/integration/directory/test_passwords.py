"""People's passwords: chosen by links that end, compared by the log-in page, and no longer valid after a takeover."""

from __future__ import annotations

import uuid
from datetime import UTC, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from muster.directory.v1 import credentials_pb2 as pb
from muster.directory.v1 import users_pb2

from services.directory.rules import names
from services.directory.rules.grants import Grant
from services.directory.rules.tokens import PASSWORD_LINK
from services.directory.store.tables import User
from tests.integration.directory.serving import (
    PEPPER,
    START,
    Caller,
    Office,
    ServedDirectory,
    fields_of,
    refused,
)

PAGE = "https://log-in.example/choose"
ONE, OTHER = "correct horse", "battery staple"


@pytest.fixture(autouse=True)
def _from_the_start(directory: ServedDirectory):
    directory.clock.now = START


@pytest.fixture(scope="module")
def login(directory: ServedDirectory) -> Caller:
    return directory.caller(Grant.LOGIN)


@pytest.fixture(scope="module")
def notifier(directory: ServedDirectory) -> Caller:
    return directory.caller(Grant.NOTIFIER)


@pytest.fixture
def office(support: Caller) -> Office:
    return Office(support, seats=100, accept_url=PAGE)


class Person:
    """A user who has, or has forgotten, a password."""

    def __init__(self, office: Office, login: Caller, notifier: Caller):
        self.office, self.login, self.notifier = office, login, notifier
        self.user = office.user()
        self.email = self.user.email

    def forget(self, **request) -> None:
        asked = {"tenant": self.office.name, "email": self.email, **request}
        self.login.credentials.RequestPasswordReset(pb.RequestPasswordResetRequest(**asked))

    def mint(self) -> pb.MintPasswordResetLinkResponse:
        return self.notifier.credentials.MintPasswordResetLink(pb.MintPasswordResetLinkRequest(user=self.user.name))

    def link(self) -> str:
        """The token of the newest link."""
        (token,) = parse_qs(urlsplit(self.mint().url).query)["token"]
        return token

    def choose(self, token: str, password: str, **request) -> users_pb2.User:
        asked = pb.ResetPasswordRequest(token=token, new_password=password, **request)
        return self.login.credentials.ResetPassword(asked).user

    def log_in(self, password: str, email: str = "") -> users_pb2.User:
        asked = pb.VerifyPasswordRequest(tenant=self.office.name, email=email or self.email, password=password)
        return self.login.credentials.VerifyPassword(asked).user

    def fail(self, times: int = 1, email: str = "") -> None:
        for _ in range(times):
            with refused("WRONG_PASSWORD"):
                self.log_in("wrong", email)


@pytest.fixture
def ann(office: Office, login: Caller, notifier: Caller) -> Person:
    person = Person(office, login, notifier)
    person.choose(person.link(), ONE)
    return person


def test_who_forgot_a_password_chooses_another_by_a_link(ann, office):
    ann.forget(email=ann.email.upper())
    minted = ann.mint()
    assert minted.url.startswith(f"{PAGE}?token=mst_pwd_")
    assert minted.expire_time.ToDatetime(UTC) == START + timedelta(hours=24)
    assert ann.mint() == minted
    assert ann.choose(ann.link(), OTHER).name == ann.user.name
    assert ann.log_in(OTHER, ann.email.upper()).name == ann.user.name
    with refused("WRONG_PASSWORD"):
        ann.log_in(ONE)
    told = [event for event in office.events() if "password" in event.kind]
    kinds = ["user.password_set", "user.password_reset_requested", "user.password_set"]
    assert [event.kind for event in told] == kinds
    assert {event.resource for event in told} == {ann.user.name}
    assert not any(secret in str(told) for secret in (ONE, OTHER, "mst_pwd", "argon2"))


def test_a_link_works_once_within_its_time_and_until_a_newer_one(directory, ann):
    ann.forget()
    first = ann.link()
    ann.forget()
    second = ann.link()
    with refused("LINK_INVALID"):
        ann.choose(first, OTHER)
    ann.choose(second, OTHER)
    with refused("LINK_INVALID"):
        ann.choose(second, ONE)
    ann.forget()
    third = ann.link()
    directory.clock.pass_hours(24)
    for token in (third, "mst_pwd_1-1-1_x", PASSWORD_LINK.write(1, 1, 1, pepper=b"another pepper, not the server's")):
        with refused("LINK_INVALID"):
            ann.choose(token, ONE)
    assert ann.log_in(OTHER)


def test_a_retried_choice_is_answered_as_the_first(ann):
    ann.forget()
    token, request_id = ann.link(), str(uuid.uuid4())
    assert ann.choose(token, OTHER, request_id=request_id) == ann.choose(token, OTHER, request_id=request_id)


def test_a_link_needs_a_page_to_lead_to_and_an_active_user(support, login, notifier, ann):
    with refused("ACCEPT_URL_MISSING"):
        Person(Office(support), login, notifier).mint()
    token = ann.link()
    support.users.DeleteUser(users_pb2.DeleteUserRequest(name=ann.user.name))
    with refused("NOT_FOUND"):
        ann.mint()
    with refused("LINK_INVALID"):
        ann.choose(token, OTHER)
    ann.fail()


def test_whether_a_mail_is_known_is_not_told(directory, ann, office):
    asked = pb.RequestPasswordResetRequest(tenant=office.name, email="nobody@example.org")
    assert ann.login.credentials.RequestPasswordReset(asked) == pb.RequestPasswordResetResponse()
    assert not office.events("user.password_reset_requested")
    for email in (ann.email, "nobody@example.org", office.user().email):  # the last has no password yet
        ann.fail(5, email)
        with refused("SIGN_IN_LOCKED") as told:
            ann.log_in(ONE, email)
        assert told["failure"].retry_after_s == 60
    directory.clock.now += timedelta(minutes=1)
    assert ann.log_in(ONE)
    ann.fail(4)


def test_a_password_that_was_chosen_unlocks(ann):
    ann.fail(5)
    ann.choose(ann.link(), OTHER)
    assert ann.log_in(OTHER)


@pytest.mark.parametrize("unfit", ["too short", "x" * 257, "the mail"])
def test_an_unfit_password_is_refused_and_the_link_goes_on(ann, unfit):
    token = ann.link()
    with refused("INVALID_ARGUMENT") as told:
        ann.choose(token, ann.email.upper() if unfit == "the mail" else unfit)
    assert fields_of(told) == ["new_password"]
    assert ann.choose(token, OTHER)


def test_after_a_takeover_the_old_password_is_not_valid_until_an_undo_or_a_new_one(directory, ann, office):
    mark(directory, ann, True)
    with refused("PASSWORD_RESET_REQUIRED"):
        ann.log_in(ONE)
    ann.fail()  # nobody is told without the password
    mark(directory, ann, False)
    assert ann.log_in(ONE)
    mark(directory, ann, True)
    changed = ann.choose(ann.link(), OTHER)
    assert not changed.password_reset_required
    assert changed.etag != ann.user.etag
    assert ann.log_in(OTHER)


def mark(directory: ServedDirectory, ann: Person, required: bool) -> None:  # noqa: FBT001 - a value
    tenant_id, user_id = names.parse(names.USER, ann.user.name, field="user")
    with directory.store.write(tenant_id) as session:
        session.get(User, (tenant_id, user_id)).password_reset_required = required


def test_a_password_is_one_tenants(support, login, notifier, ann):
    other = Person(Office(support, accept_url=PAGE), login, notifier)
    other.choose(other.link(), OTHER)
    with refused("WRONG_PASSWORD"):
        ann.log_in(OTHER, other.email)
    assert PASSWORD_LINK.read(ann.link(), pepper=PEPPER).tenant_id == ann.office.tenant_id


def test_the_log_in_page_reaches_nothing_else_and_nobody_else_reaches_passwords(directory, login, office, ann):
    with refused("PERMISSION_DENIED"):
        login.users.GetUser(users_pb2.GetUserRequest(name=ann.user.name))
    with refused("PERMISSION_DENIED"):
        login.credentials.MintPasswordResetLink(pb.MintPasswordResetLinkRequest(user=ann.user.name))
    tenants_own = directory.caller(Grant.TENANT, office.name)
    with refused("PERMISSION_DENIED"):
        tenants_own.credentials.VerifyPassword(pb.VerifyPasswordRequest(tenant=office.name, email=ann.email))
