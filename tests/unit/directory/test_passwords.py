"""Passwords: which can be chosen, how many are computed at once, and how long wrong tries lock."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pyotp
import pytest
from argon2 import PasswordHasher

from services.directory.rules import links, totp
from services.directory.rules.errors import InvalidArgument, SignInLocked, TooManySignIns
from services.directory.rules.lockout import Guesses, Tries
from services.directory.rules.passwords import Passwords, random_password, refuse_mail_as_password

NOW = datetime(2024, 3, 4, 2, 0, tzinfo=UTC)
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.mark.parametrize(("length", "is_one"), [(9, False), (10, True), (256, True), (257, False)])
def test_a_password_has_10_to_256_characters(length, is_one):
    passwords = Passwords(QUICK)
    if is_one:
        assert passwords.choose("å" * length, field="password").hash.startswith("$argon2id$")
        return
    with pytest.raises(InvalidArgument) as caught:
        passwords.choose("å" * length, field="password")
    assert caught.value.fields == ("password",)


def test_a_password_is_not_the_mail_address():
    refuse_mail_as_password("ann@example.org!", "ann@example.org", field="password")
    with pytest.raises(InvalidArgument):
        refuse_mail_as_password("Ann@Example.org ", "ann@example.org", field="password")


def test_a_random_password_can_be_read_aloud_and_is_never_the_same():
    one, other = random_password(), random_password()
    assert [len(part) for part in one.split("-")] == [5, 5, 5, 5]
    assert one != other


def test_a_password_is_compared_and_nobodys_is_never_right():
    passwords = Passwords(QUICK)
    kept = passwords.choose("correct horse", field="password").hash
    assert passwords.is_right(kept, "correct horse")
    assert not passwords.is_right(kept, "Correct horse")
    assert not passwords.is_right("", "correct horse")


def test_a_password_is_kept_anew_when_the_cost_has_changed():
    kept = Passwords(QUICK).choose("correct horse", field="password").hash
    assert Passwords(QUICK).renewed(kept, "correct horse") == kept
    dearer = Passwords(PasswordHasher(time_cost=2, memory_cost=8, parallelism=1))
    assert "t=2" in dearer.renewed(kept, "correct horse")


class HeldHasher(PasswordHasher):
    """Computes nothing before it is let, and counts who is at it."""

    def __init__(self):
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.let_go = threading.Event()
        self.let_go.set()
        self.at_it = threading.Semaphore(0)
        self.count = 0

    def verify(self, *hash_and_password):
        self.count += 1
        self.at_it.release()
        self.let_go.wait(10)
        return super().verify(*hash_and_password)


def test_two_are_computed_at_once_eight_wait_and_more_are_sent_away():
    hasher = HeldHasher()
    passwords = Passwords(hasher)
    kept = passwords.choose("correct horse", field="password").hash
    hasher.let_go.clear()
    answers, sent_away = [], threading.Semaphore(0)

    def ask():
        try:
            answers.append(passwords.is_right(kept, "correct horse"))
        except TooManySignIns:
            sent_away.release()

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        hasher.at_it.acquire(timeout=10)
    for _ in range(2):
        sent_away.acquire(timeout=10)
    assert hasher.count == 2
    hasher.let_go.set()
    for thread in threads:
        thread.join(10)
    assert answers == [True] * 10


def test_the_fifth_wrong_try_in_a_row_locks_for_a_minute_and_each_further_one_for_twice_as_long_up_to_an_hour():
    tries, now, locks = Tries(), NOW, []
    for _ in range(13):
        tries = tries.and_another(now)
        locks.append(int((tries.locked_until - now).total_seconds() / 60) if tries.locked_until else 0)
        now = tries.locked_until or now
    assert locks == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_try_while_locked_is_told_to_wait_and_does_not_count():
    tries = Tries(4).and_another(NOW)
    with pytest.raises(SignInLocked) as caught:
        tries.and_another(NOW + timedelta(seconds=20))
    assert caught.value.retry_after_s == 40


def test_tries_at_names_that_nobody_has_are_remembered_up_to_a_number():
    guesses = Guesses(most=2)
    for _ in range(5):
        guesses.count("ann", NOW)
    with pytest.raises(SignInLocked):
        guesses.count("ann", NOW)
    for name in ("bob", "cy"):
        guesses.count(name, NOW)
    guesses.count("ann", NOW)


def test_a_code_is_taken_from_the_half_minutes_around_now_and_once():
    secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
    step = int(NOW.timestamp()) // totp.STEP_S
    codes = {at: pyotp.HOTP(secret).at(at) for at in range(step - 2, step + 3)}
    found = [totp.step_of(secret, codes[at], NOW, after=0) for at in sorted(codes)]
    assert found == [None, step - 1, step, step + 1, None]
    assert totp.step_of(secret, codes[step], NOW, after=step) is None
    assert totp.step_of(secret, f" {codes[step][:3]} {codes[step][3:]}", NOW, after=step - 1) == step


@pytest.mark.parametrize(
    ("accept_url", "link"),
    [
        ("https://vendor.example/welcome", "https://vendor.example/welcome?token=mst_x"),
        ("https://vendor.example/welcome?lang=sv#top", "https://vendor.example/welcome?lang=sv&token=mst_x#top"),
        ("https://vendor.example/?token=old", "https://vendor.example/?token=mst_x"),
    ],
)
def test_a_link_is_the_tenants_page_with_a_token(accept_url, link):
    assert links.with_token(accept_url, "mst_x") == link
