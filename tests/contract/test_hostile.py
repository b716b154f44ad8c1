"""Whatever comes, the answer is SCIM and no fault of ours, and the register stays whole."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

pytestmark = pytest.mark.mostly("postgresql")

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
DEEP = 5_000

FILTERS = [
    "(" * DEEP + 'title eq "a"' + ")" * DEEP,
    "not (" * DEEP + "title pr" + ")" * DEEP,
    " or ".join(['title eq "a"'] * 1_000),
    'title eq "' + "a" * 20_000 + '"',
    'title eq "\\u0000"',
    'title eq "\\ud800"',
    '\ud800 eq "a"',
    'title \ud800 "a"',
    'title eq "\' OR 1=1 --"',
    'title co "%_\\\\"',
    'emails[type eq "a" and emails[type eq "b"]]',
    "emails[" * 50 + "type pr" + "]" * 50,
    'meta.created gt "9999-12-31T23:59:59+14:00"',
    'meta.created gt "0001-01-01T00:00:00+14:00"',
    "active eq 5",
    "title eq 1e999",
]


@pytest.mark.parametrize("text", FILTERS, ids=range(len(FILTERS)))
def test_a_filter_is_answered_or_refused(provider, text):
    provider.a_user(title="plain")
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": text}
    answer = provider.post("/Users/.search", body)
    assert answer.status in {200, 400}, answer
    if answer.status == 400:
        assert answer.body["scimType"] in {"invalidFilter", "invalidValue", "invalidSyntax"}
    else:
        assert answer.body["totalResults"] == 0


@pytest.mark.parametrize("text", ["(" * DEEP + "title pr" + ")" * DEEP, "not (" * DEEP + "title pr" + ")" * DEEP])
def test_a_filter_that_takes_long_to_read_is_not_read(provider, text):
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": text}
    for answer in (provider.post("/Users/.search", body), provider.get(f"/Users?filter={quote(text)}")):
        assert (answer.status, answer.body["scimType"]) == (400, "invalidFilter")
        assert "at most 200" in answer.body["detail"]


def test_a_path_that_takes_long_to_read_is_not_read(provider):
    path = f"emails[{' or '.join(['type pr'] * DEEP)}].value"
    answer = provider.patch(f"/Users/{provider.a_user()['id']}", {"op": "remove", "path": path})
    assert (answer.status, answer.body["scimType"]) == (400, "invalidPath")


def test_more_operations_than_are_read_at_once_are_refused(provider):
    user, group = provider.a_user()["id"], provider.a_group()["id"]
    titled = {"op": "replace", "path": "title", "value": "x"}
    assert provider.patch(f"/Users/{user}", *[titled] * 201).status == 413
    gone = {"op": "remove", "path": 'members[value eq "usr_none"]'}
    assert provider.patch(f"/Groups/{group}", *[gone] * 1_000).status == 204


VALUES = [
    "a\x00b",
    "\ud800",
    "a" * 70_000,
    "\u202egnp.exe",
    "👩‍👩‍👧",
    "'; DROP TABLE users; --",
    "\n\t",
    "=cmd()",
    "ﷺ" * 200,
]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
@pytest.mark.parametrize("name", ["userName", "displayName", "title", "nickName", "externalId"])
def test_a_value_is_kept_as_it_is_or_refused(provider, name, value):
    body = {"schemas": [USER], "userName": "ann@example.org", name: value}
    answer = provider.call("POST", "/Users", json.dumps(body).encode())
    assert answer.status in {201, 400}, answer
    if answer.status == 201:
        assert provider.get(f"/Users/{answer.body['id']}").body[name] == value.replace("\x00", "")
    else:
        assert provider.get("/Users").body["totalResults"] == 0


BODIES = [
    b"[" * 100_000,
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    b'{"Operations": [{"op": "add", "path": "displayName", "value": ' + b"[" * 300 + b"]" * 300 + b"}]}",
    b'{"Operations": [{"op": "Add", "path": "displayName", "value": ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}]}",
    b'{"Operations": {"op": "add"}}',
    b'{"Operations": [{"op": ["replace"], "value": {"displayName": "x"}}]}',
    b'{"Operations": [[]]}',
    b'{"Operations": [{"op": 5, "path": [], "value": {}}]}',
    b'{"Operations": [{"op": "add", "path": "members[", "value": 1}]}',
    b'{"Operations": [{"op": "replace", "path": "' + b"(" * 5_000 + b'", "value": 1}]}',
    b'{"Operations": [{"op": "remove", "path": "members[' + b"(" * 5_000 + b"value pr" + b")" * 5_000 + b']"}]}',
    b'{"Operations": [{"op": "replace", "value": {"schemas": 5, "meta": 5, "id": 5, "members": 5}}]}',
    b'{"Operations": [{"op": "replace", "value": {"": 1, "a.b.c": 2, "emails[": 3}}]}',
    b'{"Operations": [{"op": "add", "path": "id", "value": "usr_1"}]}',
    b'{"Operations": [{"op": "add", "path": "emails", "value": [1, null, "x", {"value": {}}]}]}',
    b'{"Operations": [{"op": "replace", "path": "active", "value": 123456789012345678901234567890}]}',
    b'{"Operations": [{"op": "\\ud800", "path": "\\ud800", "value": "\\ud800"}]}',
    b'{"Operations": null}',
    b"null",
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
@pytest.mark.parametrize("kind", ["Users", "Groups"])
def test_a_patch_is_applied_or_refused(provider, kind, body):
    made = provider.a_user() if kind == "Users" else provider.a_group()
    answer = provider.call("PATCH", f"/{kind}/{made['id']}", body)
    assert answer.status in {200, 204, 400}, answer
    assert provider.get(f"/{kind}/{made['id']}").status == 200


QUERIES = [
    "count=abc",
    "count=-5",
    "count=99999999999999999999",
    "startIndex=99999999999999999999",
    "startIndex=-1",
    "sortBy=" + quote("emails[type pr]"),
    "sortBy=nothing",
    "sortOrder=sideways&sortBy=title",
    "attributes=title&excludedAttributes=title",
    "attributes=" + "a," * 5_000,
    "attributes=((",
    "cursor=x&startIndex=1",
    "filter=",
    "cursor=%FF",
]


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_is_answered_or_refused(provider, query):
    answer = provider.get(f"/Users?{query}")
    assert answer.status in {200, 400}, answer
