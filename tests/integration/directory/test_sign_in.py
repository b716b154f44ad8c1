"""Signing in: what is right, what is wrong and not told, what locks, codes of an app, and when sessions end."""

from __future__ import annotations

from datetime import timedelta

import grpc
import pyotp
import pytest
from argon2 import PasswordHasher
from muster.directory.v1 import administrators_pb2 as pb
from muster.runtime.errors import failure_of

from services.directory.operations.sign_in import SignIns
from services.directory.rules.grants import Grant
from services.directory.rules.passwords import Passwords
from services.directory.store.administrator_tables import Administrator
from services.directory.store.seal import Seal
from tests.integration.directory.serving import (
    PEPPER,
    SEAL_KEY,
    START,
    Caller,
    ServedDirectory,
    fields_of,
    make_administrator,
    refused,
    sign_in,
)

NEW = "a better password"


@pytest.fixture(autouse=True)
def _from_the_start(directory: ServedDirectory):
    directory.clock.now = START


@pytest.fixture(scope="module")
def panel(directory: ServedDirectory) -> Caller:
    return directory.caller(Grant.PANEL)


class Person:
    """An administrator who signs in."""

    def __init__(self, directory: ServedDirectory, support: Caller, panel: Caller, parent: str = ""):
        self.directory, self.panel = directory, panel
        made = make_administrator(support, parent)
        self.name, self.email, self.password = made.administrator.name, made.administrator.email, made.password

    def sign_in(self, password: str = "", code: str = "", email: str = "") -> Caller:
        answer = sign_in(self.panel, email or self.email, password or self.password, code)
        return self.directory.caller_with(answer.token)

    def fail(self, times: int, **how) -> None:
        for _ in range(times):
            with refused("WRONG_PASSWORD"):
                self.sign_in(**{"password": "wrong", **how})


@pytest.fixture
def ann(directory: ServedDirectory, support: Caller, panel: Caller, office) -> Person:
    return Person(directory, support, panel, office.name)


def is_in(caller: Caller) -> bool:
    try:
        caller.administrators.GetSession(pb.GetSessionRequest())
    except grpc.RpcError as error:
        return failure_of(error).reason != "UNAUTHENTICATED"
    return True


def test_a_mail_is_taken_in_whatever_case_and_every_wrong_try_is_told_the_same(ann):
    assert is_in(ann.sign_in(email=f" {ann.email.upper()} "))
    told = []
    for email, password in (
        (ann.email, "wrong"),
        ("nobody@example.org", ann.password),
        ("no mail", ""),
        (ann.email, ""),
    ):
        with refused("WRONG_PASSWORD") as failure:
            sign_in(ann.panel, email, password)
        told.append((failure["failure"].message, failure["failure"].metadata))
    assert len({str(one) for one in told}) == 1


@pytest.mark.parametrize("is_known", [True, False], ids=["a known mail", "an unknown one"])
def test_five_wrong_tries_in_a_row_lock_and_the_right_password_has_to_wait_too(directory, ann, is_known):
    email = ann.email if is_known else f"nobody.{ann.email}"
    ann.fail(5, email=email)
    for password in ("wrong", ann.password):
        with refused("SIGN_IN_LOCKED") as told:
            ann.sign_in(password, email=email)
        assert told["failure"].retry_after_s == 60
    directory.clock.now += timedelta(seconds=60)
    ann.fail(1, email=email)
    with refused("SIGN_IN_LOCKED") as told:
        ann.sign_in(email=email)
    assert told["failure"].retry_after_s == 120


def test_a_right_password_forgets_the_wrong_ones_before(directory, ann):
    ann.fail(5)
    directory.clock.now += timedelta(seconds=60)
    ann.sign_in()
    ann.fail(4)
    assert is_in(ann.sign_in())


def test_a_session_ends_after_twelve_hours_or_when_its_owner_signs_out(directory, ann):
    one, other = ann.sign_in(), ann.sign_in()
    one.administrators.SignOut(pb.SignOutRequest())
    assert (is_in(one), is_in(other)) == (False, True)
    directory.clock.pass_hours(12)
    assert not is_in(other)


def test_changing_the_password_ends_every_session(directory, ann, office):
    one, other = ann.sign_in(), ann.sign_in()
    with refused("WRONG_PASSWORD"):
        one.administrators.ChangePassword(pb.ChangePasswordRequest(old_password="wrong", new_password=NEW))
    for unfit in ("short", ann.email.upper()):
        with refused("INVALID_ARGUMENT") as told:
            one.administrators.ChangePassword(pb.ChangePasswordRequest(old_password=ann.password, new_password=unfit))
        assert fields_of(told) == ["new_password"]
    one.administrators.ChangePassword(pb.ChangePasswordRequest(old_password=ann.password, new_password=NEW))
    assert (is_in(one), is_in(other)) == (False, False)
    ann.fail(1, password=ann.password)
    assert is_in(ann.sign_in(NEW))
    (event,) = office.events("administrator.updated")
    assert (event.actor, dict(event.after)) == (ann.name, {"password": "changed"})


def with_app(ann: Person) -> str:
    """Turn codes on; gives the app's secret."""
    caller = ann.sign_in()
    begun = caller.administrators.BeginTotp(pb.BeginTotpRequest())
    assert begun.secret in begun.otpauth_uri
    with refused("INVALID_ARGUMENT"):
        caller.administrators.ConfirmTotp(pb.ConfirmTotpRequest(code="12345x"))
    confirmed = caller.administrators.ConfirmTotp(pb.ConfirmTotpRequest(code=code_of(ann, begun.secret)))
    assert confirmed.administrator.totp
    return begun.secret


def code_of(ann: Person, secret: str) -> str:
    return pyotp.TOTP(secret).at(ann.directory.clock.now)


def test_with_an_app_a_code_is_needed_too_and_each_opens_once(directory, ann):
    secret = with_app(ann)
    with refused("TOTP_REQUIRED"):
        ann.sign_in()
    ann.fail(1)  # a wrong password is not told about codes
    with refused("WRONG_PASSWORD"):
        ann.sign_in(code=code_of(ann, secret))  # it has confirmed
    directory.clock.now += timedelta(seconds=30)
    assert is_in(ann.sign_in(code=code_of(ann, secret)))
    with refused("WRONG_PASSWORD"):
        ann.sign_in(code=code_of(ann, secret))


def test_whoever_knows_the_password_cannot_guess_codes_for_ever(ann):
    with_app(ann)
    for _ in range(4):
        ann.fail(1, password=ann.password, code="000000x")
        with refused("TOTP_REQUIRED"):
            ann.sign_in()
    ann.fail(1, password=ann.password, code="000000x")
    with refused("SIGN_IN_LOCKED"):
        ann.sign_in()


def test_an_app_is_taken_off_with_the_password(directory, ann):
    secret = with_app(ann)
    directory.clock.now += timedelta(seconds=30)
    caller = ann.sign_in(code=code_of(ann, secret))
    with refused("TOTP_STATE") as told:
        caller.administrators.BeginTotp(pb.BeginTotpRequest())
    assert told["failure"].metadata["state"] == "on"
    with refused("WRONG_PASSWORD"):
        caller.administrators.EndTotp(pb.EndTotpRequest(password="wrong"))
    assert not caller.administrators.EndTotp(pb.EndTotpRequest(password=ann.password)).administrator.totp
    assert is_in(ann.sign_in())
    with refused("TOTP_STATE"):
        caller.administrators.ConfirmTotp(pb.ConfirmTotpRequest(code=code_of(ann, secret)))


def test_the_apps_secret_is_sealed(directory, ann):
    secret = with_app(ann)
    assert secret.encode() not in kept(directory, ann).sealed_totp_secret


def test_a_password_is_kept_at_todays_cost_when_it_is_used(directory, ann):
    dearer = Passwords(PasswordHasher(time_cost=2, memory_cost=8, parallelism=1))
    sign_ins = SignIns(directory.store, dearer, Seal(SEAL_KEY), PEPPER)
    before = kept(directory, ann).password_hash
    sign_ins.sign_in(ann.email, ann.password, "", now=directory.clock())
    after = kept(directory, ann).password_hash
    assert ("t=2" in before, "t=2" in after) == (False, True)
    assert is_in(ann.sign_in())


def test_sessions_that_have_ended_are_forgotten(directory, ann):
    ann.sign_in()
    directory.clock.pass_hours(12)
    ann.sign_in()
    with directory.store.read(None) as session:
        number = kept(directory, ann).id
        found = session.connection().exec_driver_sql(
            f"SELECT count(*) FROM administrator_sessions WHERE administrator_id = {number}"
        )
        assert found.scalar_one() == 1


def kept(directory: ServedDirectory, person: Person):
    with directory.store.read(None) as session:
        found = session.connection().exec_driver_sql(
            f"SELECT tenant_id, id FROM administrators WHERE email = '{person.email}'"
        )
        administrator = session.get(Administrator, tuple(found.one()))
        session.expunge(administrator)
        return administrator
