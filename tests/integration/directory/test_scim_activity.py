"""What identity providers ask of a connection is kept for a while, without values; that it fails is told of."""

from __future__ import annotations

import uuid
import zlib
from datetime import timedelta

import pytest
from muster.directory.v1 import api_keys_pb2, events_pb2, operations_pb2, provisioning_pb2
from muster.directory.v1 import scim_activity_pb2 as pb
from muster.runtime.effects import effects_of

from tests.integration.directory.connection import Connection, connect, group_facts, user_facts
from tests.integration.directory.serving import Office, fields_of, refused

FULL = {
    "status": 403,
    "problem": "license_limit_reached",
    "detail": "The license is full.",
    "cure": "Add seats.",
}


@pytest.fixture
def nobody(directory):
    return directory.caller_with("")


@pytest.fixture
def connection(directory, office: Office) -> Connection:
    return connect(directory, office)


def asked(directory, *, ago_s: float = 0, **said) -> pb.ScimRequest:
    request = pb.ScimRequest(
        **{"request_id": uuid.uuid4().hex, "method": "GET", "path": "/Users", "status": 200, **said}
    )
    if not request.HasField("time"):
        request.time.FromDatetime(directory.clock() - timedelta(seconds=ago_s))
    return request


def record(connection: Connection, *requests: pb.ScimRequest, credential: str = "", dropped: int = 0) -> int:
    request = pb.RecordActivityRequest(credential=credential or connection.key, requests=requests, dropped=dropped)
    return connection.directory.caller_with("").activity.RecordActivity(request).recorded


def listed(connection: Connection, **wanted) -> list[pb.ScimRequest]:
    request = pb.ListActivityRequest(source=connection.source, **wanted)
    return list(connection.office.support.activity.ListActivity(request).requests)


def summary(connection: Connection) -> pb.GetActivitySummaryResponse:
    request = pb.GetActivitySummaryRequest(source=connection.source)
    return connection.office.support.activity.GetActivitySummary(request)


def told(connection: Connection) -> list[events_pb2.Event]:
    request = events_pb2.ListEventsRequest(tenant=connection.office.name, kind="connection.*")
    return list(connection.office.support.events.ListEvents(request).events)


def revoke(connection: Connection) -> None:
    keys = connection.office.support.api_keys
    key = keys.ListApiKeys(api_keys_pb2.ListApiKeysRequest(source=connection.source)).api_keys[0]
    keys.RevokeApiKey(api_keys_pb2.RevokeApiKeyRequest(name=key.name))


def test_a_request_is_read_back_as_it_was_kept_the_last_first(directory, connection):
    quirks = [pb.ScimQuirk(name="op_case", cure="Add ?aadOptscim062020.")]
    effects = [pb.ScimEffect(kind="user.dormant", count=1), pb.ScimEffect(kind="membership.removed", count=3)]
    first = asked(directory, method="PATCH", path="/Users/usr_1", shape="replace active", ago_s=5, duration_ms=41)
    first.quirks.extend(quirks)
    first.effects.extend(effects)
    second = asked(directory, **FULL)
    assert record(connection, second, first) == 2
    newest, oldest = listed(connection)
    assert oldest.key_id == newest.key_id != ""
    first.key_id = second.key_id = oldest.key_id
    first.quirks[0].ClearField("cure")
    assert [newest, oldest] == [second, first]


def test_a_batch_that_is_sent_again_counts_once(directory, connection):
    request = asked(directory, **FULL)
    request.quirks.add(name="op_case", cure="…")
    assert [record(connection, request, request), record(connection, request)] == [1, 0]
    assert len(listed(connection)) == 1
    assert (summary(connection).requests, summary(connection).quirks[0].count) == (1, 1)


def test_lists_are_cut_into_pages_and_narrowed_by_status_and_time(directory, connection):
    statuses = [200, 404, 503, 201, 409]
    record(connection, *(asked(directory, status=status, ago_s=60 - place) for place, status in enumerate(statuses)))
    found = lambda **wanted: [each.status for each in listed(connection, **wanted)]  # noqa: E731
    assert found() == [409, 201, 503, 404, 200]
    assert found(status=pb.ACTIVITY_STATUS_ERROR) == [409, 503, 404]
    assert found(status=pb.ACTIVITY_STATUS_UNSERVED) == [503]
    since = listed(connection)[1].time
    assert found(since=since) == [409, 201]
    support, request = connection.office.support, pb.ListActivityRequest(source=connection.source, page_size=3)
    page = support.activity.ListActivity(request)
    request.page_token = page.next_page_token
    rest = support.activity.ListActivity(request)
    assert [each.status for each in (*page.requests, *rest.requests)] == found()
    assert rest.next_page_token == ""


def test_quirks_are_counted_per_connection_with_their_cure(directory, connection):
    requests = [asked(directory, ago_s=9 - place) for place in range(3)]
    for request, names in zip(requests, (["op_case", "dotted_keys"], ["op_case"], []), strict=True):
        request.quirks.extend(pb.ScimQuirk(name=name, cure=f"Cure of {name}.") for name in names)
    record(connection, *requests, dropped=7)
    found = summary(connection)
    assert [(each.quirk.name, each.count, each.quirk.cure) for each in found.quirks] == [
        ("op_case", 2, "Cure of op_case."),
        ("dotted_keys", 1, "Cure of dotted_keys."),
    ]
    assert (found.quirks[0].first_time, found.quirks[0].last_time) == (requests[0].time, requests[1].time)
    assert found.dropped == 7


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("path", "/Users/anna@example.org"),
        ("path", '/Users?filter=userName eq "anna"'),
        ("shape", "replace +46701740605"),
        ("detail", "anna@example.org is taken"),
        ("problem", "two words"),
        ("scim_type", "<b>"),
        ("method", "get it"),
        ("request_id", "a\nb"),
        ("status", 42),
    ],
)
@pytest.mark.mostly("sqlite")
def test_what_has_the_form_of_a_value_is_refused_and_not_repeated(directory, connection, field, value):
    with refused("INVALID_ARGUMENT") as said:
        record(connection, asked(directory, **{field: value}))
    assert fields_of(said) == [f"requests[0].{field}"]
    assert str(value) not in str(said["failure"].violations)
    assert listed(connection) == []


def test_a_key_that_opens_no_more_still_says_whose_requests_were_refused_and_why(directory, connection):
    revoke(connection)
    record(connection, asked(directory, status=401, problem="key_refused", detail="No key."))
    [kept] = listed(connection)
    assert (kept.problem, kept.detail) == ("key_revoked", "The key was revoked.")
    assert "scim-key create" in kept.cure


def test_whoever_knows_but_the_id_of_a_key_plants_nothing_and_alarms_nobody(directory, office, connection):
    record(connection, asked(directory, ago_s=900))
    other = connect(directory, office)
    head = connection.key[: len("mst_scim_") + 12]
    text = f"{head}_{'0' * 64}"
    forged = f"{text}{zlib.crc32(text.encode()):08x}"
    requests = [asked(directory, status=200), *(asked(directory, status=401) for _ in range(30))]
    assert record(connection, *requests, credential=forged) == 20
    assert record(connection, asked(directory, status=401), credential=forged) == 0
    kept = listed(connection, status=pb.ACTIVITY_STATUS_ERROR)
    assert {each.problem for each in kept} == {"key_wrong"}
    assert len(kept) == 20
    assert summary(connection).failures == 0
    assert (told(connection), listed(other)) == ([], [])


@pytest.mark.mostly("sqlite")
def test_a_credential_of_no_connection_records_nothing(directory, connection):
    for credential in ("", "mst_scim_nothing", "Bearer x"):
        with refused("UNAUTHENTICATED"):
            connection.directory.caller_with("").activity.RecordActivity(
                pb.RecordActivityRequest(credential=credential, requests=[asked(directory)])
            )


def test_a_connection_whose_requests_keep_failing_is_told_of_once_and_once_when_it_works_again(directory, connection):
    record(connection, *(asked(directory) for _ in range(15)), *(asked(directory, **FULL) for _ in range(19)))
    assert told(connection) == []
    record(connection, asked(directory, **FULL), asked(directory, status=404), asked(directory, status=429))
    record(connection, asked(directory, status=500, problem="fault"))
    [failing] = told(connection)
    assert failing.kind == "connection.failing"
    assert failing.resource == connection.source
    assert (failing.after["requests"], failing.after["failures"]) == (35, 20)
    assert [dict(each) for each in failing.after["problems"]] == [{**FULL, "count": 20}]
    assert not failing.after["locked_out"]
    assert summary(connection).failing_since == failing.time
    record(connection, *(asked(directory) for _ in range(20)))
    assert len(told(connection)) == 1
    record(connection, *(asked(directory) for _ in range(60)))
    assert [event.kind for event in told(connection)] == ["connection.failing", "connection.recovered"]
    assert not summary(connection).HasField("failing_since")
    record(connection, asked(directory, **FULL))
    assert len(told(connection)) == 2, "what was before it recovered is held against it no more"


def test_a_connection_that_worked_and_whose_key_opens_no_more_is_told_of(directory, office, connection):
    never_used = connect(directory, office)
    record(connection, asked(directory, ago_s=600))
    for each in (connection, never_used):
        revoke(each)
        record(each, *(asked(directory, status=401) for _ in range(3)))
    [failing] = told(connection)
    assert failing.resource == connection.source
    assert [dict(each)["problem"] for each in failing.after["problems"]] == ["key_revoked"]
    assert failing.after["locked_out"]
    renewed = office.api_key(connection.source).secret
    record(connection, asked(directory), credential=renewed)
    assert [event.kind for event in told(connection)][1:] == ["connection.recovered"]


def test_requests_are_kept_for_thirty_days(directory, support, connection):
    old = asked(directory, status=201)
    old.quirks.add(name="op_case", cure="…")
    record(connection, old)
    directory.clock.pass_hours(24 * 30)
    record(connection, asked(directory))
    purge = lambda: support.operations.PurgeExpired(operations_pb2.PurgeExpiredRequest())  # noqa: E731
    purge()
    assert len(listed(connection)) == 2
    directory.clock.pass_hours(1)
    assert purge().connection_requests_deleted >= 1
    assert [each.status for each in listed(connection)] == [200]
    assert not summary(connection).quirks


def test_each_call_of_a_connection_says_what_it_changed(connection):
    stub = connection.stub

    def effects(method, request):
        _, call = method.with_call(request)
        return effects_of(call.trailing_metadata())

    facts = user_facts("ann@example.org")
    made = provisioning_pb2.CreateProvisionedUserRequest(facts=facts)
    assert effects(stub.CreateProvisionedUser, made) == {"user.created": 1, "membership.added": 1}
    [ann] = connection.find("userName", "ann@example.org")
    group = provisioning_pb2.CreateProvisionedGroupRequest(facts=group_facts("Crisis"), members=[ann])
    assert effects(stub.CreateProvisionedGroup, group) == {"group.created": 1, "membership.added": 1}
    again = provisioning_pb2.UpdateProvisionedUserRequest(id=ann, facts=facts)
    assert effects(stub.UpdateProvisionedUser, again) == {}
    again.facts.active = False
    assert effects(stub.UpdateProvisionedUser, again)["user.dormant"] == 1
