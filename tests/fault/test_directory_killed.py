"""SIGKILL of the directory in the middle of writes: each is whole or has not been, and a repeat makes it once."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from muster.directory.v1 import events_pb2, groups_pb2, operations_pb2, operations_pb2_grpc, users_pb2

from tests.stack.service import Service

pytestmark = pytest.mark.mostly("postgresql")

WRITES, WRITERS = 200, 6
KILL_AFTER = 60
"""Answers until the directory is killed; the writers go on meanwhile."""


@dataclass(frozen=True)
class Write:
    """One call, and what the register shows of its person when it has been done."""

    method: str
    request: Message
    email: str
    effect: str
    """An event of the person that it writes, once."""


class Writes:
    """Everybody's calls, each about a person of its own, so that each can be judged by itself."""

    def __init__(self, customer):
        self.customer, self.system = customer, customer.system
        self.first, self.second = (customer.group(name) for name in ("First", "Second"))
        with ThreadPoolExecutor(WRITERS) as threads:
            self.all = list(threads.map(self._write, range(WRITES)))

    def _write(self, number: int) -> Write:
        email, request_id = f"person{number}@example.org", str(uuid.uuid4())
        request: Any
        kind = number % 4
        if kind == 0:
            request = users_pb2.CreateUserRequest(
                account=self.customer.main_account,
                display_name="New",
                email=email,
                groups=[self.first],
                request_id=request_id,
            )
            return Write("users.CreateUser", request, email, "user.created")
        user = self.customer.user("Old", email, groups=[self.second])
        if kind == 1:
            request = users_pb2.UpdateUserRequest(
                user=users_pb2.User(name=user.name, title="New"), request_id=request_id
            )
            request.update_mask.paths.append("title")
            return Write("users.UpdateUser", request, email, "user.updated")
        if kind == 2:
            request = users_pb2.DeleteUserRequest(name=user.name, request_id=request_id)
            return Write("users.DeleteUser", request, email, "user.deleted")
        request = groups_pb2.ModifyMembershipsRequest(group=self.first, add=[user.name], request_id=request_id)
        return Write("groups.ModifyMemberships", request, email, "membership.added")

    def send(self, write: Write) -> Any:
        service, _, method = write.method.partition(".")
        return getattr(getattr(self.system, service), method)(write.request, timeout=10)

    def has_been_done(self, write: Write, register, events) -> bool:
        """Whether it shows; it must show whole, and once, or not at all."""
        user = register.get(write.email)
        if user is None:
            assert write.effect == "user.created"
            return False
        state = (user.display_name, user.title, user.state, sorted(user.group_display_names), len(user.accounts))
        active, gone = users_pb2.USER_STATE_ACTIVE, users_pb2.USER_STATE_DELETED
        before = ("Old", "", active, ["Second"], 1)
        after = {
            "user.created": ("New", "", active, ["First"], 1),
            "user.updated": ("Old", "New", active, ["Second"], 1),
            "user.deleted": ("Old", "", gone, [], 0),
            "membership.added": ("Old", "", active, ["First", "Second"], 1),
        }[write.effect]
        is_done = state == after
        assert is_done or state == before, f"half done: {write.effect} {state}"
        joined_at_birth = 1 if write.effect == "membership.added" else 0
        assert events[user.name, write.effect] == is_done + joined_at_birth
        return is_done

    def read(self):
        """Everybody by mail, gone or not, and how many events of each kind there are of each."""
        request = users_pb2.ListUsersRequest(tenant=self.customer.tenant, show_deleted=True, page_size=1000)
        users = {user.email: user for user in self.system.users.ListUsers(request).users}
        events: Counter[tuple[str, str]] = Counter()
        page = events_pb2.ListEventsRequest(tenant=self.customer.tenant, page_size=1000)
        while True:
            answer = self.system.events.ListEvents(page)
            events.update((event.resource, event.kind) for event in answer.events)
            if not answer.next_page_token:
                return users, events
            page.page_token = answer.next_page_token

    def problems(self):
        stub = operations_pb2_grpc.OperationsServiceStub(self.system.channel(Service.DIRECTORY))
        request = operations_pb2.CheckIntegrityRequest(tenant=self.customer.tenant)
        return [answer.problem for answer in stub.CheckIntegrity(request)]


@pytest.fixture
def writes(customer) -> Writes:
    return Writes(customer)


def test_a_directory_killed_while_it_writes_has_done_each_write_whole_or_not_at_all(writes: Writes, system):
    answers = {}
    enough, turn = threading.Event(), itertools.count()

    def work(_):
        while (number := next(turn)) < WRITES:
            try:
                answers[number] = writes.send(writes.all[number])
            except grpc.RpcError as error:
                return error.code()
            if len(answers) >= KILL_AFTER:
                enough.set()
        return None

    with ThreadPoolExecutor(WRITERS) as threads:
        working = [threads.submit(work, number) for number in range(WRITERS)]
        assert enough.wait(60)
        system.kill(Service.DIRECTORY)
        lost = {each.result(60) for each in working}
    assert lost <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
    assert KILL_AFTER <= len(answers) < WRITES
    system.start(Service.DIRECTORY)

    assert writes.problems() == []
    register, events = writes.read()
    done = {number for number, write in enumerate(writes.all) if writes.has_been_done(write, register, events)}
    assert set(answers) <= done
    assert len(done) <= len(answers) + WRITERS

    with ThreadPoolExecutor(WRITERS) as threads:
        repeated = list(threads.map(writes.send, writes.all))
    assert {number: repeated[number] for number in answers} == answers
    register, events = writes.read()
    assert all(writes.has_been_done(write, register, events) for write in writes.all)
    assert writes.problems() == []
    active = [user for user in register.values() if user.state == users_pb2.USER_STATE_ACTIVE]
    assert writes.customer.seats()[1] == len(active)
