"""Tenants take turns at the directory: a flood of one keeps no other waiting, and a lone one has no cap (S13)."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from services.scim_gateway import turns as turns_of
from services.scim_gateway.errors import TryLaterException
from services.scim_gateway.turns import ASSURED_PER_S, MOST_WAITING, MOST_WAITING_IN_ALL, Turns


class Flood:
    """Requests that hold their turns until they are let go, in the order in which they got them."""

    def __init__(self, *, at_once: int = 1):
        self.now = 0.0
        self.turns = Turns(lambda: self.now, at_once=at_once)
        self.served: list[str] = []
        self.refused: list[TryLaterException] = []
        self._gates: list[asyncio.Event] = []

    async def ask(self, tenant: str) -> None:
        try:
            async with self.turns.turn("", tenant):
                self.served.append(tenant)
                gate = asyncio.Event()
                self._gates.append(gate)
                await gate.wait()
        except TryLaterException as error:
            self.refused.append(error)

    async def let_go(self, count: int) -> None:
        for _ in range(count):
            self._gates.pop(0).set()
            await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def flooded(story, **how):
    """Run a story in which requests are begun as tasks."""

    async def run():
        flood = Flood(**how)
        async with AsyncExitStack() as stack:
            tasks: list[asyncio.Task] = []
            stack.push_async_callback(lambda: asyncio.gather(*tasks, return_exceptions=True))
            stack.callback(lambda: [task.cancel() for task in tasks])

            async def ask(tenant, times=1):
                tasks.extend(asyncio.create_task(flood.ask(tenant)) for _ in range(times))
                await settle()
                return tasks[-1]

            await story(flood, ask)

    asyncio.run(run())


def test_who_asks_little_is_next_however_much_another_one_asks():
    async def story(flood, ask):
        await ask("big", 50)
        await ask("small", 2)
        await flood.let_go(4)
        assert flood.served[:5] == ["big", "big", "small", "big", "small"]

    flooded(story)


def test_a_lone_tenant_is_refused_only_when_nothing_more_can_wait():
    async def story(flood, ask):
        await ask("big", MOST_WAITING_IN_ALL)
        assert flood.refused == []
        await ask("big", 20)
        assert {(error.status, error.retry_after) for error in flood.refused} == {(429, "1")}

    flooded(story, at_once=2)


def test_with_others_there_a_tenant_is_told_to_slow_down_beyond_what_it_is_assured_of():
    async def story(flood, ask):
        await ask("other")
        await ask("big", MOST_WAITING + 10)
        assert len(flood.refused) == 10
        flood.now += 1
        await ask("big", int(ASSURED_PER_S) + 1)
        assert len(flood.refused) == 11

    flooded(story)


def test_twenty_five_requests_a_second_are_never_refused():
    async def story(flood, ask):
        await ask("other", MOST_WAITING_IN_ALL + 20)
        refused = len(flood.refused)
        await ask("small", int(ASSURED_PER_S))
        assert len(flood.refused) == refused

    flooded(story)


def test_who_gives_up_waiting_leaves_no_turn_behind():
    async def story(flood, ask):
        await ask("first")
        waiting = await ask("second")
        waiting.cancel()
        await settle()
        await ask("third")
        await flood.let_go(2)
        await ask("fourth")
        assert flood.served == ["first", "third", "fourth"]

    flooded(story)


def test_who_waits_too_long_is_told_to_come_back(monkeypatch):
    monkeypatch.setattr(turns_of, "LONGEST_WAIT_S", 0.0)

    async def story(flood, ask):
        await ask("first")
        await (await ask("second"))
        assert [(error.status, error.retry_after) for error in flood.refused] == [(503, "1")]
        await flood.let_go(1)
        await ask("third")
        assert flood.served == ["first", "third"]

    flooded(story)


def test_a_long_request_lets_others_go_first_between_its_parts():
    async def run():
        turns = Turns(lambda: 0.0, at_once=1)
        order: list[str] = []

        async def short():
            async with turns.turn("", "short"):
                order.append("short")

        async with turns.turn("", "long") as turn:
            await turn.pass_on()
            order.append("part 1")
            waiting = asyncio.create_task(short())
            await settle()
            await turn.pass_on()
            order.append("part 2")
        await waiting
        async with turns.turn("", "after"):
            order.append("after")
        assert order == ["part 1", "short", "part 2", "after"]

    asyncio.run(run())


def test_the_keys_of_one_tenant_have_one_share_and_unknown_ones_that_of_their_address():
    async def run():
        turns = Turns(lambda: 0.0)
        for key in ("k1", "k2"):
            turns.learn(key, "tenants/a")
        named = []
        for key, address in (("k1", "192.0.2.1"), ("k2", "192.0.2.2"), ("k3", "192.0.2.1")):
            async with turns.turn(key, address) as turn:
                named.append(turn.name)
        assert named == ["tenants/a", "tenants/a", "192.0.2.1"]

    asyncio.run(run())


@pytest.mark.parametrize("at_once", [1, 3])
def test_turns_come_back_whatever_happens_inside(at_once):
    async def run():
        turns = Turns(lambda: 0.0, at_once=at_once)
        for _ in range(10):
            with pytest.raises(ValueError, match="inside"):
                async with turns.turn("", "a"):
                    raise ValueError("inside")
        assert turns._free == at_once

    asyncio.run(run())
