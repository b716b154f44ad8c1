"""Calls of a batch that are done as a set come to what they come to one by one (docs/adr/0030)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from muster.directory.v1 import licenses_pb2
from muster.directory.v1 import provisioning_pb2 as pb
from muster.runtime.effects import effects_of
from muster.runtime.errors import failure_in

from tests.integration.directory.connection import USER, Connection, comparison, connect, settle_in, user_facts
from tests.integration.directory.serving import Office, counted_statements

NOBODY = "usr_0000000000000"


@pytest.fixture
def connection(directory, support) -> Connection:
    return connect(directory, Office(support, seats=100))


def batch(connection: Connection, *calls: pb.ProvisioningCall) -> list[pb.ProvisioningAnswer]:
    return list(connection.stub.BatchCall(pb.BatchCallRequest(calls=calls)).answers)


def one_by_one(connection: Connection, *calls: pb.ProvisioningCall) -> list[pb.ProvisioningAnswer]:
    return [batch(connection, call)[0] for call in calls]


def new_user(user_name: str, **facts) -> pb.ProvisioningCall:
    request = pb.CreateProvisionedUserRequest(facts=user_facts(user_name, **facts), request_id=str(uuid.uuid4()))
    return pb.ProvisioningCall(create_user=request)


def move(group: str, *, add=(), remove=(), **more) -> pb.ProvisioningCall:
    request = pb.UpdateProvisionedGroupRequest(id=group, add=add, remove=remove, request_id=str(uuid.uuid4()), **more)
    return pb.ProvisioningCall(update_group=request)


def read(user: str, *, with_groups: bool = True) -> pb.ProvisioningCall:
    return pb.ProvisioningCall(get_user=pb.GetProvisionedUserRequest(id=user, with_groups=with_groups))


def find(path: str, value: str, **request) -> pb.ProvisioningCall:
    by = comparison(path, value, case_exact=path == "externalId")
    return pb.ProvisioningCall(
        search=pb.SearchProvisionedRequest(kinds=[USER], user_filter=by, **{"with_groups": True, **request})
    )


def reason_of(answer: pb.ProvisioningAnswer) -> str:
    return failure_in(answer.failure).reason if answer.WhichOneof("answer") == "failure" else "OK"


def effects(answer: pb.ProvisioningAnswer) -> dict[str, int]:
    return effects_of([("muster-effects", answer.effects)])


def seats_used(connection: Connection) -> int:
    request = licenses_pb2.GetLicenseRequest(name=connection.office.license)
    return connection.office.support.licenses.GetLicense(request).license.seats_used


KEYS = st.sampled_from(["", "k0", "k1", "k2"])
PERSON = st.integers(0, 7)
CREATE = st.tuples(st.just("create"), PERSON, KEYS, st.booleans())
MOVE = st.tuples(
    st.just("move"), st.integers(0, 1), st.sets(PERSON, max_size=3), st.sets(PERSON, max_size=3), st.booleans()
)
READ = (
    st.tuples(st.just("read"), PERSON, st.booleans())
    | st.tuples(st.just("head"), st.integers(0, 2))
    | st.tuples(st.just("name"), PERSON, st.integers(0, 3))
    | st.tuples(st.just("key"), KEYS, st.integers(0, 3))
)
DAY = st.lists(st.lists(CREATE | MOVE, min_size=2, max_size=8) | st.lists(READ, min_size=2, max_size=8), max_size=8)


@dataclass
class Told:
    """A tenant to which a day's batches are told, in one way or the other."""

    connection: Connection
    send: Callable[..., list[pb.ProvisioningAnswer]]
    people: dict[int, str] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.groups = [self.connection.create_group(f"Group {number}").id for number in range(2)]
        by_hand = self.connection.office.user("p6@example.org", title="By hand")
        self.people[6] = by_hand.name.rpartition("/")[2]

    def live(self, asked) -> list[object]:
        """Send a batch; gives what came of each call, in words that are the same in every tenant."""
        answers = self.send(self.connection, *(self._call(*each) for each in asked))
        for each, answer in zip(asked, answers, strict=True):
            if answer.WhichOneof("answer") == "create_user":
                self.people.setdefault(each[1], answer.create_user.user.id)
        return [(reason_of(answer), effects(answer), self._said(answer)) for answer in answers]

    def state(self) -> object:
        """All that is to be seen in the end."""
        found = [self._user(each.user) for each in self.connection.search(with_groups=True).resources]
        members = [sorted(map(self._name, self.connection.members(group))) for group in self.groups]
        log = sorted(
            (each.kind, self._name(each.resource.rpartition("/")[2])) for each in self.connection.office.events()
        )
        return sorted(found, key=str), members, seats_used(self.connection), log

    def _call(self, kind: str, *rest) -> pb.ProvisioningCall:
        if kind == "create":
            number, key, active = rest
            return new_user(f"p{number}@example.org", external_id=key, active=active)
        if kind == "move":
            group, add, remove, has_etag = rest
            etag = "stale" if has_etag and len(add) > 2 else ""
            return move(self.groups[group], add=self._ids(add), remove=self._ids(remove), etag=etag)
        if kind == "read":
            return read(self._ids([rest[0]])[0], with_groups=rest[1])
        if kind == "head":
            group = pb.GetProvisionedGroupRequest(id=[*self.groups, "grp_0000000000000"][rest[0]])
            return pb.ProvisioningCall(get_group=group)
        value = f"P{rest[0]}@example.org" if kind == "name" else rest[0] or "k9"
        return find("userName" if kind == "name" else "externalId", value, count=rest[1], with_groups=rest[1] != 2)

    def _ids(self, people) -> list[str]:
        return [self.people.get(number, NOBODY) for number in sorted(people)]

    def _name(self, name: str) -> str:
        own = {user: f"p{number}" for number, user in self.people.items()}
        return own.get(name, name.partition("_")[0])

    def _user(self, user: pb.ProvisionedUser) -> object:
        groups = sorted(each.display_name for each in user.groups)
        return json.loads(user.attributes), user.active, groups, user.management

    def _said(self, answer: pb.ProvisioningAnswer) -> object:
        match answer.WhichOneof("answer"):
            case "create_user":
                return self._user(answer.create_user.user)
            case "get_user":
                return self._user(answer.get_user.user)
            case "search":
                found = answer.search
                return found.total, [self._user(each.user) for each in found.resources]
            case "get_group":
                return answer.get_group.group.attributes
            case "update_group":
                return answer.update_group.added, answer.update_group.removed
        return None


@pytest.mark.timeout(1_800)  # of the long form
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(day=DAY)
def test_what_a_batch_comes_to_is_what_its_calls_come_to(directory, support, day):
    together = Told(connect(directory, Office(support, seats=100)), batch)
    apart = Told(connect(directory, Office(support, seats=100)), one_by_one)
    for asked in day:
        assert together.live(asked) == apart.live(asked), asked
    assert together.state() == apart.state()


@pytest.mark.parametrize("kind", ["read", "head", "find", "create", "move"])
def test_a_set_takes_as_many_statements_as_two_of_its_calls(connection, store, kind):
    users = [connection.create(f"p{number}@example.org", external_id=str(number)).id for number in range(12)]
    group = connection.create_group("Crisis").id
    calls = {
        "read": lambda n: read(users[n]),
        "head": lambda _: pb.ProvisioningCall(get_group=pb.GetProvisionedGroupRequest(id=group)),
        "find": lambda n: find(*(("userName", f"p{n}@example.org") if n % 2 else ("externalId", str(n)))),
        "create": lambda n: new_user(f"new{n}.{uuid.uuid4().hex}@example.org", external_id=uuid.uuid4().hex),
        "move": lambda n: move(group, add=[users[n]]),
    }
    counts = []
    for numbers in (range(2), range(2, 4), range(4, 12)):  # at first statements are prepared
        with counted_statements(store) as statements:
            assert {reason_of(each) for each in batch(connection, *map(calls[kind], numbers))} == {"OK"}
        counts.append(len(statements))
    assert counts[1] == counts[2]


def test_of_several_new_users_only_those_have_a_seat_for_whom_there_is_one(directory, support):
    connection = connect(directory, Office(support, seats=3))
    answers = batch(connection, *(new_user(f"p{number}@example.org") for number in range(5)))
    assert sorted(map(reason_of, answers)) == ["LICENSE_LIMIT_REACHED"] * 2 + ["OK"] * 3
    assert (seats_used(connection), connection.search().total) == (3, 3)


def test_what_was_done_before_is_answered_as_before_and_the_rest_is_done(connection):
    group = connection.create_group("Crisis").id
    ann, bob = (new_user(f"{name}@example.org") for name in ("ann", "bob"))
    (first,) = batch(connection, ann)
    again, second = batch(connection, ann, bob)
    assert first.create_user == again.create_user
    users = [answer.create_user.user.id for answer in (first, second)]
    moves = [move(group, add=[user]) for user in users]
    (came,) = batch(connection, moves[0])
    answers = batch(connection, *moves)
    assert (answers[0].update_group, answers[1].update_group.added) == (came.update_group, 1)
    assert connection.members(group) == users
    assert connection.search().total == 2


def test_a_request_id_that_another_call_had_is_refused_and_the_others_are_made(connection):
    ann, bob, cid = (new_user(f"{name}@example.org") for name in ("ann", "bob", "cid"))
    bob.create_user.request_id = ann.create_user.request_id
    batch(connection, ann)
    assert [reason_of(each) for each in batch(connection, bob, cid)] == ["REQUEST_ID_REUSED", "OK"]
    assert connection.search().total == 2


def test_two_calls_of_one_batch_with_one_request_id_are_one(connection):
    ann, bob = (new_user(f"{name}@example.org") for name in ("ann", "bob"))
    bob.create_user.request_id = ann.create_user.request_id
    answers = batch(connection, ann, ann, bob, new_user("cid@example.org"))
    assert [reason_of(each) for each in answers] == ["OK", "OK", "REQUEST_ID_REUSED", "OK"]
    assert answers[0].create_user == answers[1].create_user
    assert connection.search().total == 2


def test_calls_of_a_unit_of_work_wait_for_its_end_in_a_batch_too(connection):
    users = [connection.create(f"p{number}@example.org").id for number in range(2)]
    group = connection.create_group("Crisis", members=users).id
    moves = [move(group, remove=[user], unit_of_work="one") for user in users]
    assert {reason_of(each) for each in batch(connection, *moves)} == {"OK"}
    assert [connection.get(user).active for user in users] == [True, True]
    assert connection.judge("one") == 2


def test_s13_those_who_pass_the_guards_line_are_refused_and_those_before_it_are_gone(connection):
    people = settle_in(connection, 200)
    group = connection.create_group("Crisis", members=people).id
    connection.change_group(group, remove=people[:95])
    answers = batch(connection, *(move(group, remove=[each]) for each in people[95:105]))
    assert [reason_of(each) for each in answers] == ["OK"] * 5 + ["GUARD_TRIPPED"] * 5
    assert connection.office.events("source.paused")
