"""Groups with members are written as their members come: never as a whole in memory, and never half without a sign."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import pytest
import structlog.testing

from services.directory.operations.provisioning import reads
from services.scim_gateway import storage, streams
from tests.contract.serving import Provider
from tests.integration.directory.serving import Office, counted_statements

PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
PEOPLE = 7


@pytest.fixture
def in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let chunks hold two members, pieces one, and nothing be short."""
    monkeypatch.setattr(reads, "MEMBERS_A_CHUNK", 2)
    monkeypatch.setattr(storage, "A_CHUNK", 2)
    monkeypatch.setattr(streams, "_A_PIECE", 1)
    monkeypatch.setattr(streams, "MOST_KEPT_BYTES", 0)


@pytest.fixture(scope="module")
def filled(gateway, support):
    """A connection with a group of seven, one of two and one of nobody."""
    provider = Provider(gateway, Office(support, seats=20))
    people = [provider.a_user()["id"] for _ in range(PEOPLE)]
    groups = [provider.a_group(*some)["id"] for some in (people, people[:2], ())]
    return provider, people, groups


READS = [
    "/Groups/{0}",
    "/Groups/{1}",
    "/Groups/{2}",
    "/Groups/{0}?attributes=members.value",
    "/Groups/{0}?attributes=members.display",
    "/Groups/{0}?excludedAttributes=members.$ref,displayName",
    "/Groups",
    "/Groups?count=0",
    "/Groups?attributes=members&count=2",
    "/?count=100",
]


def raw(provider, path, method="GET"):
    """Ask, and read to the end of what comes. Errors: IncompleteRead when the connection ends before the answer."""
    connection = http.client.HTTPConnection(urlsplit(provider.gateway.origin).netloc, timeout=30)
    connection.request(method, f"/scim/v2{path}", headers={"Authorization": f"Bearer {provider.key}"})
    answer = connection.getresponse()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    try:
        return answer.status, headers, answer.read()
    finally:
        connection.close()


def test_what_comes_piece_by_piece_is_what_comes_as_one(filled, request):
    provider, people, groups = filled
    paths = [path.format(*groups) for path in READS]
    whole = [raw(provider, path) for path in paths]
    assert all("content-length" in headers for _, headers, _ in whole)

    request.getfixturevalue("in_small_pieces")
    streamed = [raw(provider, path) for path in paths]

    assert [(status, body) for status, _, body in streamed] == [(status, body) for status, _, body in whole]
    assert [each["value"] for each in json.loads(streamed[0][2])["members"]] == people
    assert streamed[0][1]["transfer-encoding"] == "chunked"
    assert streamed[0][1]["etag"] == whole[0][1]["etag"]
    assert raw(provider, paths[0], "HEAD")[::2] == (200, b"")


@pytest.mark.usefixtures("in_small_pieces")
@pytest.mark.parametrize("path", ["/Groups/{0}", "/Groups"])
def test_an_answer_whose_rest_cannot_be_had_is_broken_off_and_said_so(filled, path, monkeypatch):
    provider, people, groups = filled
    read = reads.members

    def failing(call, group_id, *, after=0):
        if after:
            raise RuntimeError("the disk is gone")
        return read(call, group_id, after=after)

    monkeypatch.setattr(reads, "members", failing)
    with structlog.testing.capture_logs() as lines, pytest.raises(http.client.IncompleteRead) as broken:
        raw(provider, path.format(*groups))

    with pytest.raises(json.JSONDecodeError):
        json.loads(broken.value.partial)
    assert people[0].encode() in broken.value.partial
    # The line of an answer that came before, as a stream, may be written only now.
    said = [line["status"] for line in lines if line["event"] == "scim" and line.get("broken_off")]
    assert said == [500]


@pytest.mark.usefixtures("in_small_pieces")
def test_a_group_that_cannot_be_read_at_all_is_refused_as_ever(filled):
    provider, _, _ = filled
    assert provider.get("/Groups/grp_0000zz").status == 404


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("GET", "/Groups/{0}?excludedAttributes=members", None),
        ("GET", "/Groups/{0}?attributes=displayName", None),
        ("GET", "/Groups?excludedAttributes=members", None),
        ("GET", "/Groups?attributes=displayName&sortBy=displayName", None),
        ("PATCH", "/Groups/{0}", {"op": "replace", "path": "displayName", "value": "New"}),
        ("PATCH", "/Groups/{0}?excludedAttributes=members", {"op": "replace", "value": {"displayName": "Newer"}}),
    ],
)
def test_what_shows_no_members_reads_no_membership(filled, store, method, path, operation):
    provider, _, groups = filled
    body = operation and {"schemas": [PATCH], "Operations": [operation]}
    with counted_statements(store) as statements:
        answer = provider.call(method, path.format(*groups), body)

    assert answer.status in {200, 204}
    assert statements
    assert not [each for each in statements if "memberships" in each and "SELECT EXISTS" not in each]
