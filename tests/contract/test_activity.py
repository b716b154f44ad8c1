"""Each request of a connection is explained: what was asked and tolerated, why it failed, what it changed (S13)."""

from __future__ import annotations

import asyncio

from muster.directory.v1 import api_keys_pb2, licenses_pb2
from muster.directory.v1 import scim_activity_pb2 as pb
from muster.runtime.client import open_aio_channel

from services.scim_gateway import activity
from services.scim_gateway.activity import ActivityLog
from services.scim_gateway.quirks import QUIRKS
from tests.contract.serving import Provider
from tests.stack.waiting import wait_until

DATABASES = ("sqlite",)
NAME, MAIL = "Åsa Hemlig", "asa.hemlig@example.org"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"


def recorded(provider: Provider, number: int) -> list[pb.ScimRequest]:
    """The connection's requests once so many are recorded, the first first."""
    found: list[pb.ScimRequest] = []

    def are_there() -> bool:
        request = pb.ListActivityRequest(source=provider.source.name)
        found[:] = reversed(provider.support.activity.ListActivity(request).requests)
        return len(found) >= number

    wait_until(are_there)
    assert len(found) == number
    return found


def effects(request: pb.ScimRequest) -> dict[str, int]:
    return {each.kind: each.count for each in request.effects}


def test_what_an_identity_provider_does_is_told_step_by_step_without_a_word_of_whom(provider):
    emails = [{"value": MAIL, "type": "work"}]
    body = {"schemas": [USER], "userName": MAIL, "externalId": "ext-1", "displayName": NAME, "emails": emails}
    provider.get(f"/Users?filter=userName%20eq%20%22{MAIL}%22")
    user = provider.post("/Users", body).body
    group = provider.a_group(displayName=NAME)
    member = {"op": "Add", "path": "members", "value": [{"value": user["id"]}]}
    provider.patch(f"/Groups/{group['id']}", member)
    last = provider.patch(f"/Users/{user['id']}", {"op": "Replace", "path": "active", "value": "False"})
    provider.get(f"/Users/{MAIL}")
    found = recorded(provider, 6)
    assert [(each.method, each.path, each.shape, each.status) for each in found] == [
        ("GET", "/Users?filter=userName eq ?", "", 200),
        ("POST", "/Users", "userName, externalId, displayName, emails x1", 201),
        ("POST", "/Groups", "displayName, externalId, members x0", 201),
        ("PATCH", f"/Groups/{group['id']}", "add members x1", 204),
        ("PATCH", f"/Users/{user['id']}", "replace active", 200),
        ("GET", "/Users/?", "", 404),
    ]
    assert [effects(each) for each in found] == [
        {},
        {"user.created": 1, "membership.added": 1},
        {"group.created": 1},
        {"membership.added": 1},
        {"user.dormant": 1},
        {},
    ]
    assert [[quirk.name for quirk in each.quirks] for each in found[3:5]] == [
        ["op_case"],
        ["op_case", "boolean_as_text"],
    ]
    assert found[4].request_id == last.headers["x-request-id"]
    assert found[5].problem == "not_found"
    summary = provider.support.activity.GetActivitySummary(pb.GetActivitySummaryRequest(source=provider.source.name))
    assert {each.quirk.name: (each.count, each.quirk.cure) for each in summary.quirks} == {
        "op_case": (2, QUIRKS["op_case"]),
        "boolean_as_text": (1, QUIRKS["boolean_as_text"]),
    }
    kept = "".join(map(str, found)).lower()
    assert not any(word in kept for word in ("hemlig", "sa.", "@", provider.key.lower()))


def test_refusals_say_why_and_what_to_do(a_provider):
    provider = a_provider(seats=1)
    provider.a_user()
    provider.post("/Users", {"userName": MAIL})
    provider.get("/Users?filter=nonsense")
    provider.call("PATCH", "/Users/usr_000000", b"no json")
    provider.support.licenses.UpdateLicense(
        licenses_pb2.UpdateLicenseRequest(name=provider.office.license, seats_total=5)
    )
    provider.office.disable(provider.source.name)
    provider.get("/Users")
    key = provider.support.api_keys.ListApiKeys(api_keys_pb2.ListApiKeysRequest(source=provider.source.name)).api_keys[
        0
    ]
    provider.support.api_keys.RevokeApiKey(api_keys_pb2.RevokeApiKeyRequest(name=key.name))
    provider.get("/Users")
    found = recorded(provider, 6)[1:]
    assert [(each.status, each.problem) for each in found] == [
        (403, "license_limit_reached"),
        (400, "invalid_filter"),
        (400, "invalid_syntax"),
        (403, "connection_disabled"),
        (401, "key_revoked"),
    ]
    assert all(each.detail and each.cure for each in found)
    assert {each.key_id for each in found} == {key.key_id}


def test_a_bulk_request_tells_why_its_first_failed_operation_failed(provider):
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": "a", "data": {"userName": MAIL}},
        {"method": "POST", "path": "/Users", "bulkId": "b", "data": {"userName": MAIL.upper()}},
    ]
    schema = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
    provider.post("/Bulk", {"schemas": [schema], "Operations": operations})
    [bulk] = recorded(provider, 1)
    assert (bulk.status, bulk.shape, bulk.problem) == (200, "POST Users x2", "user_name_taken")
    assert effects(bulk) == {"user.created": 1, "membership.added": 1}


def test_what_there_is_no_room_for_is_counted(provider, directory, monkeypatch):
    monkeypatch.setattr(activity, "MOST_WAITING", 3)

    async def note_five() -> None:
        async with open_aio_channel(directory.target) as channel:
            waiting = ActivityLog(channel)
            for number in range(5):
                waiting.note(provider.key, pb.ScimRequest(request_id=str(number), method="GET", path="/", status=200))
            await waiting.flush(within_s=10)

    asyncio.run(note_five())
    assert [each.request_id for each in recorded(provider, 3)] == ["0", "1", "2"]
    summary = provider.support.activity.GetActivitySummary(pb.GetActivitySummaryRequest(source=provider.source.name))
    assert summary.dropped == 2


def test_whoever_tries_keys_makes_the_directory_look_up_few_of_them(directory, provider, monkeypatch):
    sent = []
    stub = activity.scim_activity_pb2_grpc.ScimActivityServiceStub

    class Counting(stub):
        def __init__(self, channel):
            super().__init__(channel)
            record = self.RecordActivity
            self.RecordActivity = lambda request, **options: (sent.append(request), record(request, **options))[1]

    monkeypatch.setattr(activity.scim_activity_pb2_grpc, "ScimActivityServiceStub", Counting)

    async def try_many() -> None:
        async with open_aio_channel(directory.target) as channel:
            waiting = ActivityLog(channel)
            refused = pb.ScimRequest(request_id="r", method="GET", path="/", status=401)
            for number in range(100):
                waiting.note(f"mst_scim_{number}", refused)
            waiting.note(provider.key, pb.ScimRequest(request_id="mine", method="GET", path="/", status=200))
            await waiting.flush(within_s=10)

    asyncio.run(try_many())
    assert len(sent) == activity.MOST_STRANGERS + 1
    assert [each.request_id for each in recorded(provider, 1)] == ["mine"]


def test_without_the_directory_requests_wait_and_nobody_is_held_up():
    async def note_and_end() -> float:
        async with open_aio_channel("127.0.0.1:1") as channel:
            waiting = ActivityLog(channel)
            started = asyncio.get_running_loop().time()
            waiting.note("mst_scim_x", pb.ScimRequest(request_id="r", method="GET", path="/", status=200))
            await waiting.flush(within_s=0.2)
            return asyncio.get_running_loop().time() - started

    assert asyncio.run(note_and_end()) < 2
