"""Outboxes that wait at the same moment share a transaction, and what was sent is noted in the next one."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from services.notifier.deliver import Outbox
from services.notifier.messages import Bundle, Draft, MessageKind, MessageState, MessageStore, Priority
from services.notifier.turns import Turns
from tests.unit.notifier.running import SENDER, START

TENANT = "tenants/ten_000017"
LEASE = timedelta(minutes=5)


@pytest.fixture
def store(tmp_path):
    made = MessageStore(f"sqlite:///{tmp_path}/notifier.db")
    made.migrate()
    drafts = [
        Draft(f"p{number}@x.example", MessageKind.REPORT, f"<{number}>", "s", "text", "html", priority=priority)
        for number, priority in enumerate([Priority.INVITATION] * 7 + [Priority.REPORT])
    ]
    made.queue([Bundle(TENANT, "evt_1", "run", drafts)], now=START)
    yield made
    made.close()


@pytest.fixture
def commits(store):
    made = []
    sa.event.listen(store._engine, "commit", made.append)
    return made


def _turns(store):
    return Turns(store, now=lambda: START, lease=LEASE)


def _states(store):
    return [message.state for message in store.page(TENANT, before=None, limit=10)[::-1]]


def test_who_waits_at_the_same_moment_is_served_in_one_transaction(store, commits):
    async def ask():
        turns = _turns(store)
        first = await asyncio.gather(*(turns.next() for _ in range(4)))
        before = len(commits)
        second = await asyncio.gather(*(turns.next(sent=message.key) for message in first))
        return first, second, before

    first, second, before = asyncio.run(ask())
    assert (before, len(commits)) == (1, 2)
    assert first[0].recipient == "p7@x.example", "a report goes before invitations"
    assert len({message.key for message in (*first, *second)}) == 8
    assert _states(store) == [MessageState.SENT] * 3 + [MessageState.QUEUED] * 4 + [MessageState.SENT]


def test_what_was_sent_last_is_noted_though_nothing_waits(store):
    async def drain():
        turns = _turns(store)
        sent = []
        while message := await turns.next(sent=sent[-1] if sent else 0):
            sent.append(message.key)

    asyncio.run(drain())
    assert _states(store) == [MessageState.SENT] * 8


def test_an_outbox_that_is_told_to_end_gives_back_what_it_was_just_given(store):
    class Unused:
        async def hand_over(self, mail, *, recipient):
            raise AssertionError

        async def rest(self):
            pass

    class Late(Turns):
        async def next(self, *, sent=0):
            message = await super().next(sent=sent)
            outbox_task.cancel()
            await asyncio.sleep(0)
            return message

    async def begin():
        nonlocal outbox_task
        turns = Late(store, now=lambda: START, lease=LEASE)
        outbox_task = asyncio.create_task(Outbox(store, Unused(), sender=SENDER, now=lambda: START, turns=turns).run())
        await asyncio.wait({outbox_task})

    outbox_task = None
    asyncio.run(begin())
    again = next(iter(store.take_turns((), wanted=1, now=START, lease=LEASE)), None)
    assert (again.recipient, again.attempts, again.possible_repeats) == ("p7@x.example", 2, 0)


def test_a_store_that_fails_is_told_to_everyone_who_waits(store):
    async def ask():
        turns = _turns(store)
        return await asyncio.gather(turns.next(), turns.next(), return_exceptions=True)

    with store._engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE message RENAME TO gone")
    assert [type(answer) for answer in asyncio.run(ask())] == [sa.exc.OperationalError] * 2
