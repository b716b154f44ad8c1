"""Whatever comes, and thousands of it: no fault of ours, always SCIM, never what is inside."""

from __future__ import annotations

import json

import pytest
import structlog.testing
from muster.directory.v1 import operations_pb2, sources_pb2

from tests.contract.direct import Request, Response, direct
from tests.contract.fuzzing import Fuzzer
from tests.integration.directory.serving import Office

ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
LONGEST_S = 20.0


def wrong(request: Request, response: Response) -> str:
    """Say what is wrong with an answer; nothing if all is well."""
    if response.seconds > LONGEST_S:
        return f"took {response.seconds:.1f} s"
    if response.status >= 500 and not (response.status == 501 and request.target.startswith("/Me")):
        return "a fault"
    if any(sign in response.body for sign in (b"Traceback", b'File "', b"sqlalchemy", b"psycopg", b"grpc.")):
        return "shows what is inside"
    return "" if is_scim(response) else "is not SCIM"


def is_scim(response: Response) -> bool:
    """Tell whether an answer has the form that a provider reads."""
    if response.status in {204, 304}:
        return not response.body
    if not response.headers.get("content-type", "").startswith("application/scim+json"):
        return False
    body = json.loads(response.body)
    if response.status < 400:
        return bool(body["schemas"])
    return body["schemas"] == [ERROR] and body["status"] == str(response.status) and len(body["detail"]) > 10


def learn(fuzzer: Fuzzer, response: Response) -> None:
    """Keep the ids and cursors of an answer for later requests."""
    if response.status not in {200, 201} or len(response.body) > 100_000:
        return
    body = json.loads(response.body)
    known = {"User": fuzzer.users, "Group": fuzzer.groups}.get(body.get("meta", {}).get("resourceType"))
    if known is not None and response.status == 201:
        known.append(body["id"])
        del known[:-12]
    if "nextCursor" in body:
        fuzzer.cursors.append(body["nextCursor"])


def run(directory, support, *, seed: int, requests: int) -> dict[int, int]:
    """Send so many requests as a connection of its own; gives how many were answered with which status."""
    office = Office(support, seats=300)
    source = office.scim_source(guard=sources_pb2.GUARD_OFF)
    key = office.api_key(source.name).secret
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/scim+json", "Host": "scim.example.org"}
    fuzzer, statuses = Fuzzer(seed, headers), dict[int, int]()
    with structlog.testing.capture_logs() as logs, direct(directory.target) as gateway:
        for number in range(requests):
            request = fuzzer.request()
            response = gateway.ask(request)
            fault = wrong(request, response)
            assert not fault, f"seed {seed}, request {number}: {fault}: {request} gave {response} {logs[-3:]}"
            statuses[response.status] = statuses.get(response.status, 0) + 1
            learn(fuzzer, response)
        everybody = gateway.ask(Request("GET", "/?count=1000", headers=headers))
        assert everybody.status == 200, everybody
    assert [each for each in logs if each["log_level"] == "error" or each["event"].startswith("activity.")] == []
    check = operations_pb2.CheckIntegrityRequest(tenant=office.name)
    assert [answer.problem for answer in support.operations.CheckIntegrity(check)] == []
    return statuses


@pytest.mark.mostly("postgresql")
def test_wrong_requests_are_answered_or_refused(directory, support):
    statuses = run(directory, support, seed=0, requests=50)
    assert {200, 201, 400, 404} <= statuses.keys()


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(1, 11))
def test_a_hundred_thousand_wrong_requests_are_answered_or_refused(directory, support, seed):
    """Ten shards of 5,000, on each database."""
    run(directory, support, seed=seed, requests=5_000)
