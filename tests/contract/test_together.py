"""Calls of one key that wait at the same moment go to the directory as one, and each is answered by itself."""

from __future__ import annotations

import asyncio
import socket
import uuid

import grpc
import pytest
from muster.directory.v1 import api_keys_pb2
from muster.directory.v1 import provisioning_pb2 as pb
from muster.runtime.client import open_forwarding_channel
from muster.runtime.errors import failure_of

from services.directory.rules import names
from services.directory.rules.tokens import API_KEY
from services.directory.store.session import Lock
from services.scim_gateway import together as together_module
from services.scim_gateway.lines import Line
from services.scim_gateway.together import RETURN_S, FailedCallError, Together
from tests.integration.directory.connection import user_facts

pytestmark = pytest.mark.mostly("sqlite")
NOBODY = "usr_0000000000000"


class Counted(Together):
    """Counts the calls that go by themselves, and those of each batch."""

    def __init__(self, channel: grpc.aio.Channel):
        super().__init__(channel)
        self.sent: list[int] = []
        self.lines: set[Line | None] = set()

    async def _single(self, *arguments, **named):
        self.sent.append(1)
        return await super()._single(*arguments, **named)

    async def _send_batch(self, lane, batch, line):
        self.sent.append(len(batch))
        self.lines.add(line)
        await super()._send_batch(lane, batch, line)


def read(together: Together, key: str, user: str, *, timeout_s: float = 30):
    request = pb.GetProvisionedUserRequest(id=user)
    return together.call("get_user", request, key=key, request_id=uuid.uuid4().hex, timeout_s=timeout_s)


async def ask_again_and_again(together: Together, key: str, users: list[str], *, times: int) -> list[list[str]]:
    """Let somebody read each of the users so many times, one after the other; gives whom they read."""

    async def ask(user: str) -> list[str]:
        return [(await read(together, key, user)).message.user.id for _ in range(times)]

    return await asyncio.gather(*map(ask, users))


def add(together: Together, key: str, group: str, user: str):
    request = pb.UpdateProvisionedGroupRequest(id=group, add=[user], request_id=str(uuid.uuid4()))
    return together.call("update_group", request, key=key, request_id=uuid.uuid4().hex, timeout_s=30)


def create(together: Together, key: str, user_name: str):
    request = pb.CreateProvisionedUserRequest(facts=user_facts(user_name), request_id=str(uuid.uuid4()))
    return together.call("create_user", request, key=key, request_id=uuid.uuid4().hex, timeout_s=30)


def revoke(provider):
    name = f"{provider.source.name}/apiKeys/{API_KEY.id_of(provider.key)}"
    provider.support.api_keys.RevokeApiKey(api_keys_pb2.RevokeApiKeyRequest(name=name))


def run(target: str, work):
    async def opened():
        async with open_forwarding_channel(target) as channel:
            return await work(Counted(channel))

    return asyncio.run(opened())


def test_those_who_come_while_one_is_under_way_go_as_one(provider, directory, monkeypatch):
    monkeypatch.setattr(together_module, "LINGER_S", RETURN_S)
    users = [provider.a_user()["id"] for _ in range(3)]

    async def work(together):
        asked = [read(together, provider.key, user) for user in [*users, NOBODY, *users]]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        await asyncio.sleep(4 * RETURN_S)  # until it is seen that nobody comes back
        assert not together._lanes
        return together, answers

    together, answers = run(directory.target, work)
    assert [getattr(each, "message", None) and each.message.user.id for each in answers] == [*users, None, *users]
    assert isinstance(answers[3], FailedCallError)
    assert answers[3].failure.reason == "NOT_FOUND"
    assert {each.tenant for each in answers if not isinstance(each, Exception)} == {provider.office.name}
    assert together.sent == [1, 6]


def test_who_is_answered_with_others_and_asks_again_at_once_goes_with_them_again(provider, directory, monkeypatch):
    monkeypatch.setattr(together_module, "PATIENCE_S", 10)
    monkeypatch.setattr(together_module, "RETURN_S", 1)
    users = [provider.a_user()["id"] for _ in range(3)]

    async def work(together):
        return together.sent, await ask_again_and_again(together, provider.key, users, times=4)

    sent, answers = run(directory.target, work)
    assert answers == [[user] * 4 for user in users]
    assert sent == [1, 3, 3, 3, 2]


def test_who_asks_once_more_after_a_while_goes_by_itself_at_once(provider, directory, monkeypatch):
    monkeypatch.setattr(together_module, "LINGER_S", RETURN_S)
    users = [provider.a_user()["id"] for _ in range(3)]

    async def work(together):
        await asyncio.gather(*(read(together, provider.key, user) for user in users))
        await asyncio.sleep(4 * RETURN_S)
        sent = len(together.sent)
        await read(together, provider.key, users[0])
        return together.sent[sent:], together._lanes

    assert run(directory.target, work) == ([1], {})


def test_while_many_ask_again_one_half_of_them_is_on_its_way_behind_the_other(provider, directory, monkeypatch):
    monkeypatch.setattr(together_module, "PATIENCE_S", 10)
    monkeypatch.setattr(together_module, "RETURN_S", 1)
    users = [provider.a_user()["id"] for _ in range(8)]

    async def work(together):
        answers = await ask_again_and_again(together, provider.key, users, times=10)
        return answers, together.sent, together.lines

    answers, sent, lines = run(directory.target, work)
    assert answers == [[user] * 10 for user in users]
    assert (sum(sent), max(sent[2:])) == (80, 4)
    assert len(lines) == 1
    assert None not in lines


def test_without_room_for_a_line_batches_go_by_themselves(provider, directory, monkeypatch):
    monkeypatch.setattr(together_module, "MOST_LINES", 0)
    assert _asked_by_four(provider, directory) == {None}


def test_a_line_that_the_directory_refuses_costs_nobody_an_answer(provider, directory):
    with directory.all_batch_streams_taken():
        lines = _asked_by_four(provider, directory)
    assert {each and each.is_refused for each in lines} == {True, None}
    assert {each and each.is_refused for each in _asked_by_four(provider, directory)} == {False}


def _asked_by_four(provider, directory) -> set[Line | None]:
    """The lines on which the batches went of four who ask ten times each."""
    users = [provider.a_user()["id"] for _ in range(4)]

    async def work(together):
        answers = await ask_again_and_again(together, provider.key, users, times=10)
        assert answers == [[user] * 10 for user in users]
        return together.lines

    lines: set[Line | None] = run(directory.target, work)
    return lines


def test_a_line_of_nobody_is_closed_for_another_key(a_provider, directory, monkeypatch):
    monkeypatch.setattr(together_module, "MOST_LINES", 1)
    first, second = a_provider(), a_provider()
    users = {each.key: each.a_user()["id"] for each in (first, second)}

    async def work(together):
        for key in (first.key, second.key):
            await asyncio.gather(*(read(together, key, users[key]) for _ in range(4)))
            await asyncio.sleep(2 * RETURN_S)
        return [lane.key for lane in together._lanes.values()], together.lines

    lanes, lines = run(directory.target, work)
    assert (lanes, len(lines)) == ([second.key], 2)
    assert None not in lines


def test_a_key_that_is_revoked_opens_nothing_more_on_its_line(provider, directory):
    user = provider.a_user()["id"]

    async def work(together):
        def ask():
            return asyncio.gather(*(read(together, provider.key, user) for _ in range(4)), return_exceptions=True)

        before = await ask()
        await asyncio.to_thread(revoke, provider)
        return before, await ask()

    before, after = run(directory.target, work)
    assert {each.message.user.id for each in before} == {user}
    assert {each.failure.reason for each in after} == {"UNAUTHENTICATED"}


def test_what_is_made_on_a_line_that_breaks_is_made_once(provider, directory, monkeypatch):
    """The answer is lost and the batch is sent anew by itself: its calls have been made, and are answered again."""
    answered = Line._read
    lost = []

    async def losing_one(self):
        lost.append(await self._call.read())
        self._call.cancel()
        await answered(self)

    monkeypatch.setattr(Line, "_read", losing_one)

    async def work(together):
        made = await asyncio.gather(*(create(together, provider.key, f"p{n}@example.org") for n in range(5)))
        return [each.message.user.id for each in made]

    made = run(directory.target, work)
    assert len(lost[0].answers) == 4
    assert sorted(made) == sorted(each["id"] for each in provider.get("/Users").body["Resources"])


def test_keys_do_not_go_together_and_a_wrong_one_fails_alone(provider, directory):
    user = provider.a_user()["id"]

    async def work(together):
        wrong = "mst_scim_1czaj2bn39ed_" + "0" * 72
        asked = [read(together, key, user) for key in (provider.key, wrong, provider.key, wrong)]
        return await asyncio.gather(*asked, return_exceptions=True)

    right, alone, also_right, waited = run(directory.target, work)
    assert right.message == also_right.message
    assert isinstance(alone, grpc.RpcError)
    assert {failure_of(alone).reason, waited.failure.reason} == {"UNAUTHENTICATED"}


def test_reading_does_not_wait_for_writing_and_none_waits_long_for_another(provider, directory):
    """While a writer is held up by an applying run, and those behind it, what is read is answered."""
    users = [provider.a_user()["id"] for _ in range(3)]
    group = provider.a_group()["id"]

    async def work(together):
        tenant_id = names.parse_tenant(provider.office.name, field="tenant")
        with directory.store.write(tenant_id, lock=Lock.EXCLUSIVE):
            writes = [asyncio.create_task(add(together, provider.key, group, user)) for user in users]
            read_meanwhile = [(await read(together, provider.key, user)).message.user.id for user in users]
            assert not any(each.done() for each in writes)
        return read_meanwhile, [(await each).message.added for each in writes]

    assert run(directory.target, work) == (users, [1, 1, 1])
    assert {each["value"] for each in provider.get(f"/Groups/{group}").body["members"]} == set(users)


def test_who_goes_away_while_waiting_is_not_called_for(provider, directory):
    user = provider.a_user()["id"]

    async def work(together):
        tasks = [asyncio.create_task(read(together, provider.key, user)) for _ in range(4)]
        await asyncio.sleep(0)
        tasks[2].cancel()
        await asyncio.wait(tasks)
        return together.sent

    assert run(directory.target, work) == [1, 2]


def test_nobody_waits_longer_than_asked_for_behind_a_call_that_is_not_answered():
    async def work(together):
        asked = [read(together, "key", NOBODY, timeout_s=0.3) for _ in range(3)]
        return await asyncio.gather(*asked, return_exceptions=True)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        answers = run("{}:{}".format(*silent.getsockname()), work)
    reasons = [
        each.failure.reason if isinstance(each, FailedCallError) else failure_of(each).reason for each in answers
    ]
    assert set(reasons) <= {"DEADLINE_EXCEEDED", "UNAVAILABLE"}
