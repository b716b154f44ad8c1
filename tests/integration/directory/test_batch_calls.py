"""Several calls in one: each is what it is by itself, all or nothing, and fails by itself (docs/adr/0029)."""

from __future__ import annotations

import queue
import time
import uuid

import pytest
from muster.directory.v1 import api_keys_pb2
from muster.directory.v1 import provisioning_pb2 as pb
from muster.runtime import identity
from muster.runtime.effects import effects_of
from muster.runtime.errors import failure_in

from services.directory.api import batches
from services.directory.rules import names
from services.directory.store.session import WRITER_WAIT_S, Lock
from tests.integration.directory.connection import USER, Connection, comparison, connect, user_facts
from tests.integration.directory.serving import Office, fields_of, refused


@pytest.fixture
def connection(directory, support) -> Connection:
    return connect(directory, Office(support, seats=100))


def batch(connection: Connection, *calls: pb.ProvisioningCall):
    return list(connection.stub.BatchCall(pb.BatchCallRequest(calls=calls)).answers)


def new_user(user_name: str, **facts) -> pb.ProvisioningCall:
    request = pb.CreateProvisionedUserRequest(facts=user_facts(user_name, **facts), request_id=str(uuid.uuid4()))
    return pb.ProvisioningCall(create_user=request)


def reason_of(answer: pb.ProvisioningAnswer) -> str:
    return failure_in(answer.failure).reason if answer.WhichOneof("answer") == "failure" else "OK"


def test_each_call_is_answered_as_by_itself_and_says_what_it_changed(connection):
    ann, group = connection.create("ann@example.org"), connection.create_group("Crisis")
    bob, found, read, head, changed, put = batch(
        connection,
        new_user("bob@example.org"),
        pb.ProvisioningCall(
            search=pb.SearchProvisionedRequest(
                kinds=[USER], user_filter=comparison("userName", "ann@example.org"), with_groups=True
            )
        ),
        pb.ProvisioningCall(get_user=pb.GetProvisionedUserRequest(id=ann.id, with_groups=True)),
        pb.ProvisioningCall(get_group=pb.GetProvisionedGroupRequest(id=group.id)),
        pb.ProvisioningCall(update_group=pb.UpdateProvisionedGroupRequest(id=group.id, add=[ann.id])),
        pb.ProvisioningCall(
            update_user=pb.UpdateProvisionedUserRequest(id=ann.id, facts=user_facts("ann@example.org", title="Cook"))
        ),
    )
    assert bob.create_user.user == connection.get(bob.create_user.user.id)
    assert [each.user.id for each in found.search.resources] == [ann.id]
    assert (read.get_user.user, head.get_group.group) == (ann, group)
    assert (changed.update_group.added, connection.members(group.id)) == (1, [ann.id])
    assert put.update_user.user == connection.get(ann.id)
    told = [effects_of([("muster-effects", each.effects)]) for each in (bob, found, changed, put)]
    assert told == [{"user.created": 1, "membership.added": 1}, {}, {"membership.added": 1}, {"user.updated": 1}]


def test_one_that_is_refused_leaves_nothing_and_the_others_as_they_are(connection):
    first = new_user("ann@example.org", external_id="1")
    taken = new_user("Ann@example.org", external_id="2")
    unknown = pb.ProvisioningCall(get_user=pb.GetProvisionedUserRequest(id="usr_0000000000000"))
    last = new_user("cid@example.org")
    answers = batch(connection, first, taken, unknown, last)
    assert [reason_of(each) for each in answers] == ["OK", "USER_NAME_TAKEN", "NOT_FOUND", "OK"]
    kept = {each.user.id for each in connection.search().resources}
    assert kept == {answers[0].create_user.user.id, answers[3].create_user.user.id}


def test_a_batch_that_is_sent_again_is_answered_with_what_the_first_one_made(connection):
    calls = [new_user("ann@example.org"), new_user("bob@example.org")]
    first, again = ([answer.create_user for answer in batch(connection, *calls)] for _ in range(2))
    assert first == again
    assert connection.search().total == 2


def test_a_batch_has_one_to_64_calls_that_each_say_what_is_called(connection):
    read = pb.ProvisioningCall(get_user=pb.GetProvisionedUserRequest(id=connection.create("ann@example.org").id))
    assert {reason_of(each) for each in batch(connection, *[read] * 64)} == {"OK"}
    for calls in ([], [read] * 65, [read, pb.ProvisioningCall()]):
        with refused("INVALID_ARGUMENT") as told:
            batch(connection, *calls)
        assert fields_of(told) == ["calls"]


def test_members_are_not_read_in_a_batch(connection):
    group = connection.create_group("Crisis").id
    (answer,) = batch(
        connection, pb.ProvisioningCall(get_group=pb.GetProvisionedGroupRequest(id=group, with_members=True))
    )
    assert reason_of(answer) == "INVALID_ARGUMENT"


def test_calls_of_a_batch_wait_for_a_busy_tenant_together(connection, directory, monkeypatch):
    """Each alone would wait as long as the first."""
    monkeypatch.setattr(batches, "WRITER_WAIT_S", 0.3)
    calls = [new_user(f"p{number}@example.org") for number in range(4)]
    tenant_id = names.parse_tenant(connection.office.name, field="tenant")
    with directory.store.write(tenant_id, lock=Lock.EXCLUSIVE):
        started = time.monotonic()
        reasons = {reason_of(each) for each in batch(connection, *calls)}
        assert time.monotonic() - started < WRITER_WAIT_S
    assert reasons == {"TENANT_BUSY"}
    assert connection.search().total == 0


def stream(connection: Connection, *batches: pb.StreamBatchesRequest):
    return connection.stub.StreamBatches(iter(batches))


def reads(*users: str) -> pb.StreamBatchesRequest:
    calls = [pb.ProvisioningCall(get_user=pb.GetProvisionedUserRequest(id=user)) for user in users]
    return pb.StreamBatchesRequest(calls=calls)


def test_batches_of_a_stream_are_answered_in_their_order_and_say_whose_they_are(connection):
    ann = connection.create("ann@example.org")
    made = pb.StreamBatchesRequest(calls=[new_user("bob@example.org"), new_user("cid@example.org")])
    answers = stream(connection, reads(ann.id, ann.id), made, made, reads(ann.id))
    first, second, again, last = answers
    assert [each.get_user.user.id for each in (*first.answers, *last.answers)] == [ann.id] * 3
    assert [each.create_user for each in second.answers] == [each.create_user for each in again.answers]
    assert identity.tenant_of(answers.initial_metadata()) == connection.office.name
    assert connection.search().total == 3


@pytest.mark.parametrize("calls", [[], [pb.ProvisioningCall()]])
def test_a_stream_ends_at_a_batch_that_is_none(connection, calls):
    ann = connection.create("ann@example.org").id
    answers = stream(connection, reads(ann), pb.StreamBatchesRequest(calls=calls), reads(ann))
    assert next(answers).answers[0].get_user.user.id == ann
    with refused("INVALID_ARGUMENT"):
        next(answers)


def test_a_streams_key_is_looked_up_for_each_batch(connection):
    ann = connection.create("ann@example.org").id
    asked: queue.Queue[pb.StreamBatchesRequest] = queue.Queue()
    answers = connection.stub.StreamBatches(iter(asked.get, None))
    asked.put(reads(ann))
    assert next(answers).answers[0].get_user.user.id == ann
    api_keys = connection.office.support.api_keys
    (key,) = api_keys.ListApiKeys(api_keys_pb2.ListApiKeysRequest(source=connection.source)).api_keys
    api_keys.RevokeApiKey(api_keys_pb2.RevokeApiKeyRequest(name=key.name))
    asked.put(reads(ann))
    with refused("UNAUTHENTICATED"):
        next(answers)
    asked.put(None)


def test_a_batch_of_a_stream_waits_for_a_busy_tenant_as_long_as_it_says(connection, directory):
    waits = pb.StreamBatchesRequest(calls=[new_user("ann@example.org")])
    waits.timeout.FromMilliseconds(100)
    tenant_id = names.parse_tenant(connection.office.name, field="tenant")
    with directory.store.write(tenant_id, lock=Lock.EXCLUSIVE):
        started = time.monotonic()
        (answer,) = stream(connection, waits)
        assert time.monotonic() - started < WRITER_WAIT_S
    assert reason_of(answer.answers[0]) == "TENANT_BUSY"


def test_there_are_only_so_many_streams_at_once(connection, directory):
    ann = connection.create("ann@example.org").id
    with directory.all_batch_streams_taken(), refused("TOO_MANY_WATCHERS"):
        next(stream(connection, reads(ann)))
    assert next(stream(connection, reads(ann))).answers[0].get_user.user.id == ann
