"""`muster scim activity`: what an identity provider asked, why it was refused, what cures it, what changed."""

import pytest
from google.protobuf import timestamp_pb2
from muster.directory.v1 import scim_activity_pb2 as pb
from muster.runtime.errors import RpcError

from cli.commands import scim


class GoneError(RpcError):
    reason = "NOT_FOUND"


SOURCE = "tenants/ten_1/sources/src_1"


def a_request(number=1, **said):
    usual = {
        "request_id": f"r{number}",
        "method": "PATCH",
        "path": "/Users/usr_1",
        "status": 200,
        "time": timestamp_pb2.Timestamp(seconds=1_700_000_000 + number),
    }
    return pb.ScimRequest(**{**usual, **said})


DORMANT = a_request(
    shape="replace active",
    quirks=[pb.ScimQuirk(name="op_case")],
    effects=[pb.ScimEffect(kind="user.dormant", count=1), pb.ScimEffect(kind="membership.removed", count=3)],
    duration_ms=41,
    key_id="0123456789ab",
)
FULL = a_request(2, status=403, problem="license_limit_reached", detail="The license is full.", cure="Add seats.")
SUMMARY = pb.GetActivitySummaryResponse(
    requests=2,
    failures=1,
    failing_since=timestamp_pb2.Timestamp(seconds=1_700_000_000),
    quirks=[pb.QuirkCount(quirk=pb.ScimQuirk(name="op_case", cure="Add ?aadOptscim062020."), count=7)],
)


@pytest.fixture
def recorded(services):
    services.answer("GetActivitySummary", SUMMARY)
    services.answer("ListActivity", pb.ListActivityResponse(requests=[FULL, DORMANT]))


def test_each_request_is_shown_with_its_quirks_cure_and_effect(recorded, muster):
    document = muster("scim", "activity", "--source", SOURCE).document
    full, dormant = document["requests"]
    assert dormant == {
        "time": "2023-11-14T22:13:21Z",
        "method": "PATCH",
        "path": "/Users/usr_1",
        "shape": "replace active",
        "status": 200,
        "problem": None,
        "detail": None,
        "quirks": ["op_case"],
        "cure": "Add ?aadOptscim062020.",
        "effect": "user.dormant, membership.removed 3",
        "duration_ms": 41,
        "key_id": "0123456789ab",
        "request_id": "r1",
    }
    assert (full["problem"], full["cure"], full["effect"]) == ("license_limit_reached", "Add seats.", None)
    assert [(each["quirk"], each["count"]) for each in document["quirks"]] == [("op_case", 7)]
    assert document["health"]["failing_since"] == "2023-11-14T22:13:20Z"


def test_a_write_that_changed_nothing_says_so_and_a_read_has_no_effect(services, muster):
    services.answer("GetActivitySummary", SUMMARY)
    found = [a_request(1), a_request(2, method="GET"), a_request(3, method="POST", path="/Users/.search")]
    services.answer("ListActivity", pb.ListActivityResponse(requests=found))
    document = muster("scim", "activity", "--source", SOURCE).document
    assert [each["effect"] for each in document["requests"]] == ["unchanged", None, None]


def test_people_read_a_table_with_every_problem_and_quirk_explained_once(recorded, muster):
    shown = muster("scim", "activity", "--source", SOURCE, as_json=False).out
    explained = ("user.dormant, membership.removed 3", "The license is full.", "Add seats.", "op_case", "2023-11-14")
    for said in ("/Users/usr_1: replace active", *explained):
        assert said in shown


def test_the_list_is_narrowed_and_cut(services, muster):
    services.answer("GetActivitySummary", SUMMARY)
    services.answer("ListActivity", pb.ListActivityResponse(requests=[FULL, DORMANT], next_page_token="more"))
    narrowed = ("--errors", "--since", "2023-11-14T22:00:00", "--limit", "2")
    assert len(muster("scim", "activity", "--source", SOURCE, *narrowed).document["requests"]) == 2
    (request,) = services.requests("ListActivity")
    assert request.status == pb.ACTIVITY_STATUS_ERROR
    assert request.since.ToJsonString() == "2023-11-14T22:00:00Z"


def test_following_shows_each_request_once_the_oldest_first(recorded, services, muster, monkeypatch):
    monkeypatch.setattr(scim, "_LOOK_EVERY_S", 0)
    services.answer("ListActivity", pb.ListActivityResponse(requests=[a_request(3), FULL, DORMANT]))
    services.answer("ListActivity", GoneError("gone"))
    shown = muster("scim", "activity", "--source", SOURCE, "--follow", as_json=False)
    assert shown.status == 1
    assert [line[:20] for line in shown.out.splitlines()] == [f"2023-11-14T22:13:2{number}Z" for number in (1, 2, 3)]
    assert "user.dormant, membership.removed 3" in shown.out
    assert services.requests("ListActivity")[1].since.seconds == FULL.time.seconds - 60
