"""Failed attempts are slowed, and a right key never is (S13)."""

from __future__ import annotations

import asyncio

import pytest
from scim2_models import UnauthorizedException

from services.scim_gateway.auth import SlowedKeyException
from services.scim_gateway.gate import Gate
from services.scim_gateway.slowing import FREE_FAILURES, Slowing, TooManyFailuresError
from services.scim_gateway.turns import Turns

NAMES = (("key", "k1"), ("address", "192.0.2.1"))


class Time:
    """A time that passes while somebody sleeps."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.now += seconds

    async def stand_still(self, seconds):
        """Sleepers of the same moment."""


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def slowing(time) -> Slowing:
    return Slowing(time, sleep=time.sleep, most=20)


def fail(slowing, times=1, names=NAMES, secret="wrong"):
    """Fail so often in a row; gives how often the answer was held back."""

    async def attempts():
        return sum([await slowing.failed(f"{secret} {number}", names) for number in range(times)])

    return asyncio.run(attempts())


def test_the_first_failures_are_answered_at_once_and_then_one_a_second(slowing, time):
    assert (fail(slowing, FREE_FAILURES), time.now) == (0, 1000.0)
    assert (fail(slowing, 7), time.now) == (7, 1007.0)


def test_who_fails_faster_than_that_can_be_slowed_is_sent_away(time):
    slowing = Slowing(time, sleep=time.stand_still)
    fail(slowing, FREE_FAILURES + 5)
    with pytest.raises(TooManyFailuresError) as error:
        fail(slowing)
    assert error.value.wait_s == 6.0
    time.now += 10
    assert fail(slowing) == 1


def test_an_address_and_a_key_are_slowed_each_for_itself(slowing):
    fail(slowing, FREE_FAILURES)
    assert fail(slowing, names=(("key", "k2"), ("address", "192.0.2.1"))) == 1
    assert fail(slowing, names=(("key", "k1"), ("address", "192.0.2.2"))) == 1
    assert fail(slowing, names=(("key", "k2"), ("address", "192.0.2.2"))) == 0


def test_only_what_was_wrong_a_moment_ago_is_not_asked_about_again(slowing, time):
    fail(slowing)
    assert not slowing.is_known_to_be_wrong("wrong 0", NAMES)
    fail(slowing, FREE_FAILURES)
    assert slowing.is_known_to_be_wrong("wrong 0", NAMES)
    assert not slowing.is_known_to_be_wrong("perhaps right", NAMES)
    time.now += 61
    assert not slowing.is_known_to_be_wrong("wrong 0", NAMES)


def test_a_right_key_forgets_its_own_failures(slowing):
    fail(slowing, FREE_FAILURES, names=(("key", "k1"),))
    slowing.passed(("key", "k1"))
    assert fail(slowing, names=(("key", "k1"),)) == 0


def test_failures_are_forgotten_after_a_while(slowing, time):
    fail(slowing, FREE_FAILURES)
    time.now += 1000
    assert fail(slowing) == 0


def test_what_is_remembered_is_bounded(slowing):
    for number in range(100):
        fail(slowing, names=(("address", number),), secret=f"wrong {number}")
    assert len(slowing._failures) == len(slowing._wrong) == 20


def test_a_right_key_is_let_in_at_once_whoever_fails_at_its_address(slowing, time):
    gate = Gate(Turns(time), slowing)

    async def attempt(key, *, is_right):
        async with gate.entered(key, "192.0.2.1"):
            if not is_right:
                raise UnauthorizedException(detail="wrong")

    async def attempts():
        for number in range(FREE_FAILURES + 2):
            told = UnauthorizedException if number < FREE_FAILURES else SlowedKeyException
            with pytest.raises(told):
                await attempt("mst_scim_k1_wrong", is_right=False)
        before = time.now
        await attempt("mst_scim_k2_right", is_right=True)
        await attempt("mst_scim_k1_right", is_right=True)
        assert time.now == before

    asyncio.run(attempts())
