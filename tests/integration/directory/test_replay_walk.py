"""Every mutation that has a request_id, sent twice, is done once; and no method falls over what it is sent."""

from __future__ import annotations

import random
import uuid

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass
from muster.directory.v1 import error_reason_pb2
from sqlalchemy import func, select
from sqlmodel import SQLModel

from services.directory.api import events
from services.directory.store.fence import tenant_columns
from tests.integration.directory.mutations import REQUESTS, Prepared
from tests.integration.directory.walking import all_methods, call, filled

ONCE = [method for method in all_methods() if "request_id" in method.input_type.fields_by_name]
WITHOUT_EVENT = {"ClaimDueSource", "DeleteSubscription", "ReleaseClaim"}
"""What is no part of the register: a place in the stream, and who has claimed a source."""
WORN_BY_USE = {"api_keys", "request_replays"}
"""Tables that change when somebody calls, whatever the call does."""


@pytest.fixture(autouse=True)
def _quick_checkpoints(monkeypatch):
    monkeypatch.setattr(events, "CHECKPOINT_S", 0.1)


def test_every_mutation_with_a_request_id_is_walked():
    assert {method.name for method in ONCE} == set(REQUESTS)


@pytest.mark.parametrize("method", ONCE, ids=lambda method: method.name)
def test_a_mutation_sent_twice_is_done_once(directory, support, method):
    prepared = Prepared(directory, support)
    first, other = REQUESTS[method.name](prepared)
    first.request_id = other.request_id = str(uuid.uuid4())
    by_connection = method.containing_service.name == "ProvisioningService"
    caller = directory.caller_with(prepared.connection.key) if by_connection else support
    before = rows_of(directory, prepared.office.tenant_id)
    answer = call(caller, method, first)
    assert answer.failure is None, answer.failure
    done = rows_of(directory, prepared.office.tenant_id)
    assert call(caller, method, first).answer == answer.answer
    assert rows_of(directory, prepared.office.tenant_id) == done
    assert (done["events in all"] > before["events in all"]) == (method.name not in WITHOUT_EVENT)
    assert call(caller, method, other).failure.reason == "REQUEST_ID_REUSED"
    assert rows_of(directory, prepared.office.tenant_id) == done


def rows_of(directory, tenant_id):
    """What is kept of a tenant, and how many events and tenants there are in all."""
    found = {}
    tables = SQLModel.metadata.tables
    with directory.store.read(tenant_id) as session:
        for name, column in tenant_columns().items():
            if name not in WORN_BY_USE:
                query = select(tables[name]).where(tables[name].c[column] == tenant_id)
                found[name] = sorted(map(repr, session.connection().execute(query)))
    with directory.store.read(None) as session:
        for name in ("events", "tenants", "subscriptions"):
            count = select(func.count()).select_from(tables[name])
            found[f"{name} in all"] = session.connection().execute(count).scalar_one()
    return found


REASONS = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()}  # noqa: SIM118
FAULTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED}
ABSURD = {
    "nothing": "",
    "300 kB": random.Random(1).randbytes(150_000).hex(),
    "1,024 characters": "".join(chr(random.Random(n).randrange(0x20000, 0x2A000)) for n in range(1024)),
    "no text": "../a\0b\ud7ff\U0010ffff\u202e",
    "a name of nothing": "tenants/ten_000001/users/usr_000001/users/usr_000001",
}


@pytest.fixture(scope="module")
def names_of(directory, support):
    """A caller of each kind, and the names of what is in its tenant."""
    prepared = Prepared(directory, support)
    names, key = prepared.names(), prepared.connected().key
    return {False: (support, names), True: (directory.caller_with(key), names)}


@pytest.mark.mostly("postgresql")
@pytest.mark.parametrize("absurdity", ABSURD)
def test_absurd_requests_are_refused_by_name(names_of, absurdity):
    """One text at a time is absurd, in requests that name what there is; nothing of it is a fault of ours."""
    wrong = []
    for method in all_methods():
        caller, names = names_of[method.containing_service.name == "ProvisioningService"]
        for field, request in absurd_requests(method, names, ABSURD[absurdity]):
            failure = call(caller, method, request).failure
            if failure is not None and (failure.reason not in REASONS or failure.code in FAULTS):
                wrong.append((method.full_name, field, failure))
    assert wrong == []


def absurd_requests(method, names, value):
    """The empty request, and one for each text that the method's request can hold."""
    yield "", GetMessageClass(method.input_type)()
    for path in text_fields(method.input_type):
        if (method.name, path, value) == ("CreateImportRun", ("claim",), ""):
            continue  # it is no claim: the run would wait for its turn
        request = filled(method, names)
        holder = request
        *parents, last = path
        for parent in parents:
            holder = getattr(holder, parent)
        if holder.DESCRIPTOR.fields_by_name[last].is_repeated:
            getattr(holder, last).append(value)
        else:
            setattr(holder, last, value)
        if parents and "update_mask" in request.DESCRIPTOR.fields_by_name:
            request.update_mask.paths.append(last)
        yield ".".join(path), request


def text_fields(message):
    """The paths of texts in a message, and in what it holds of people, groups and the like."""
    for field in message.fields:
        if field.type == field.TYPE_STRING:
            yield (field.name,)
        elif field.type == field.TYPE_MESSAGE and field.message_type.name in NESTED and not field.is_repeated:
            texts = [inner.name for inner in field.message_type.fields if inner.type == inner.TYPE_STRING]
            yield from ((field.name, name) for name in texts)


NESTED = {"Tenant", "Account", "Group", "User", "Source", "Administrator", "UserFacts", "GroupFacts"}
