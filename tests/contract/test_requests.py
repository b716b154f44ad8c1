"""Keys, paths, bodies and errors: every answer is SCIM, whatever is asked."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.parse
import urllib.request

import pytest
from muster.directory.v1 import api_keys_pb2

from tests.contract.serving import Provider, ServedGateway

DATABASES = ("sqlite",)
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"


def is_error(answer, status, scim_type=None):
    """Check that an answer is a SCIM error that an administrator can read; gives its detail."""
    assert answer.status == status, answer
    assert answer.headers["content-type"].startswith("application/scim+json"), answer
    assert answer.body["schemas"] == [ERROR]
    assert answer.body["status"] == str(status)
    assert answer.body.get("scimType") == scim_type, answer
    assert len(answer.body["detail"]) > 10
    return answer.body["detail"]


@pytest.mark.parametrize("path", ["/ServiceProviderConfig", "/ResourceTypes", "/Schemas", f"/Schemas/{USER}"])
def test_discovery_needs_no_key(provider, path):
    assert provider.get(path, Authorization="").status == 200


@pytest.mark.parametrize("authorization", ["", "Basic YTpi", "Bearer", "Bearer mst_scim_none_such", "Bearer ä"])
@pytest.mark.parametrize("path", ["/Users", "/Users/usr_1", "/Groups", "/"])
def test_everything_else_needs_a_key_that_opens(provider, authorization, path):
    answer = provider.get(path, Authorization=authorization.encode("latin-1").decode("latin-1"))
    is_error(answer, 401)
    challenge, _, error = answer.headers["www-authenticate"].partition(", ")
    assert (challenge, "invalid_token" in error) == ('Bearer realm="SCIM"', "mst_" in authorization)


def test_a_revoked_key_does_not_open_any_more(provider):
    other = provider.office.api_key(provider.source.name)
    assert provider.get("/Users", Authorization=f"Bearer {other.secret}").status == 200
    provider.support.api_keys.RevokeApiKey(api_keys_pb2.RevokeApiKeyRequest(name=other.api_key.name))
    is_error(provider.get("/Users", Authorization=f"Bearer {other.secret}"), 401)
    assert provider.get("/Users").status == 200


def test_a_bulk_request_with_a_refused_key_is_refused_whole(provider):
    operation = {
        "method": "POST",
        "path": "/Users",
        "bulkId": "1",
        "data": {"schemas": [USER], "userName": "a@example.org"},
    }
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": [operation]}
    headers = {"Authorization": "Bearer mst_scim_none_such"}
    is_error(provider.call("POST", "/Bulk", body, headers=headers), 401)


def test_one_tenants_key_shows_nothing_of_another(a_provider):
    one, other = a_provider(), a_provider()
    user, group = one.a_user()["id"], one.a_group()["id"]
    assert other.get("/Users").body["totalResults"] == 0
    for path in (f"/Users/{user}", f"/Groups/{group}"):
        is_error(other.get(path), 404)
        is_error(other.delete(path), 404)
        is_error(other.patch(path, {"op": "replace", "path": "displayName", "value": "x"}), 404)
    is_error(other.post("/Groups", {"displayName": "x", "members": [{"value": user}]}), 400, "invalidValue")
    assert one.get(f"/Users/{user}").status == 200


@pytest.mark.parametrize(
    "path", ["/Nothing", "/Users/a/b/c", "/Users/usr_1", "/Groups/7", "/Users/%00", "/Schemas/none"]
)
def test_what_is_not_there_is_404_in_scim(provider, path):
    is_error(provider.get(path), 404)


@pytest.mark.parametrize("path", ["/", "/scim", "/Users", "/scim/v3/Users", "/scim/v2x"])
def test_outside_of_the_base_url_is_404_in_scim(gateway, path):
    with pytest.raises(urllib.request.HTTPError) as caught:
        urllib.request.urlopen(gateway.origin + path, timeout=10)
    with caught.value as answer:
        assert (answer.code, answer.headers["content-type"]) == (404, "application/scim+json")
        assert "/scim/v2" in json.loads(answer.read())["detail"]


def test_a_trailing_slash_is_no_other_path(provider):
    assert provider.get("/Users/").status == 200


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/Users"), ("POST", "/Users/usr_1"), ("PUT", "/Groups")])
def test_a_method_that_is_not_offered_is_a_fault_of_the_request_and_not_of_the_connector(provider, method, path):
    answer = provider.call(method, path, {})
    assert "GET" in is_error(answer, 400)
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize("method", ["PURGEALL", "get", "Get", "ÄNDERN"])
def test_what_is_no_method_of_http_is_refused_in_scim_too(gateway, method):
    host, port = urllib.parse.urlsplit(gateway.origin).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"{method} /scim/v2/Users HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        body = json.loads(answer.read())
    assert (answer.status, answer.headers["content-type"]) == (400, "application/scim+json")
    assert (body["schemas"], body["status"]) == ([ERROR], "400")
    assert "Check the base URL" in body["detail"]


def test_discovery_can_only_be_read(provider):
    is_error(provider.post("/Schemas", {}), 405)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_me_is_nobody_since_a_key_is_a_connections(provider, method):
    assert "not to a person" in is_error(provider.call(method, "/Me", None if method == "GET" else {}), 501)


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "PUT"])
def test_what_is_served_nowhere_is_not_found_whatever_the_method(provider, method):
    detail = is_error(provider.call(method, "/Devices", {}), 404)
    assert detail == "Nothing is served at /Devices. Check the base URL, which ends with /scim/v2."


@pytest.mark.parametrize("path", ["/Users", "/ServiceProviderConfig"])
def test_head_is_get_without_a_body(provider, path):
    head, get = provider.call("HEAD", path), provider.get(path)
    assert (head.status, head.body) == (200, None)
    assert head.headers["content-length"] == get.headers["content-length"]


@pytest.mark.parametrize("path", ["/ServiceProviderConfig", "/Schemas", "/ResourceTypes/User"])
def test_discovery_is_not_filtered(provider, path):
    for key in ({}, {"Authorization": ""}):
        is_error(provider.get(f"{path}?filter=id%20pr", **key), 403)


@pytest.mark.parametrize(
    ("body", "scim_type"),
    [
        (b"{", "invalidSyntax"),
        (b"[]", "invalidSyntax"),
        (b"", "invalidSyntax"),
        (b"\xff\xfe", "invalidSyntax"),
        (b'{"schemas": []}', None),
        (f'{{"schemas": ["{USER}"]}}'.encode(), "invalidValue"),
        (f'{{"schemas": ["{USER}"], "userName": 7}}'.encode(), "invalidValue"),
        (f'{{"schemas": ["{USER}"], "userName": "a@example.org", "active": "perhaps"}}'.encode(), "invalidValue"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(provider, body, scim_type):
    answer = provider.call("POST", "/Users", body)
    is_error(answer, 400, scim_type or answer.body.get("scimType"))
    assert provider.get("/Users").body["totalResults"] == 0


@pytest.mark.parametrize(
    ("method", "path", "body", "detail"),
    [
        ("POST", "/Users", b"{", "The body is no JSON: EOF while parsing an object at line 1 column 1."),
        ("POST", "/.search", b"[]", "The body must be a JSON object."),
        ("POST", "/Users", b"{}", "userName: is required, and missing, null or empty."),
        ("POST", "/Bulk", b"{}", "Operations: is required, and missing, null or empty."),
        ("POST", "/Users", b'{"userName": ["a"]}', "userName: must be a valid string."),
        ("GET", "/Users?count=many", None, "count: must be a whole number."),
        ("GET", "/Users?filter=title%20eq%20x", None, "The filter cannot be answered: invalid syntax at column 10."),
        (
            *("GET", "/Users?filter=colour%20pr", None),
            "No attribute of this kind of resource is called colour: correct the attribute mapping.",
        ),
    ],
)
def test_an_error_is_told_in_words_of_the_attribute_mapping(provider, method, path, body, detail):
    assert provider.call(method, path, body).body["detail"] == detail


def test_a_link_that_is_none_keeps_nobody_out(provider):
    user = provider.a_user(profileUrl="see the intranet", photos=[{"value": "", "type": "photo"}, {"value": "ann.png"}])
    assert user["profileUrl"] == "see the intranet"
    assert [each["value"] for each in user["photos"] if "value" in each] == ["ann.png"]


def test_another_content_type_is_refused(provider):
    is_error(provider.call("POST", "/Users", b"<user/>", headers={"Content-Type": "application/xml"}), 415)


def test_a_user_of_more_than_a_mebibyte_is_refused(provider):
    is_error(provider.call("POST", "/Users", b" " * (1024 * 1024 + 1)), 413)


def test_a_group_may_be_larger_but_not_without_end(provider):
    group = provider.a_group()["id"]
    body = {"Operations": [{"op": "remove", "path": "members", "value": [{"value": "usr_none"}] * 100_000}]}
    assert len(json.dumps(body)) > 2 * 1024 * 1024
    assert provider.call("PATCH", f"/Groups/{group}", body).status == 204
    is_error(provider.call("PATCH", f"/Groups/{group}", b" " * (16 * 1024 * 1024 + 1)), 413)


@pytest.mark.parametrize(
    "text", ["userName eq", 'nothing eq "a"', 'name eq "a"', "active gt true", "((((", 'title re "x"']
)
def test_a_filter_that_cannot_be_answered_is_refused(provider, text):
    is_error(provider.get(f"/Users?filter={urllib.parse.quote(text)}"), 400, "invalidFilter")


def test_unknown_query_parameters_are_ignored(provider):
    assert provider.get("/Users?aadOptscim062020&AzureAdScimPatch2017=&x=y").status == 200


def test_a_full_license_is_a_403_that_says_what_to_do(a_provider):
    provider = a_provider(1)
    provider.a_user()
    body = {"schemas": [USER], "userName": "second@example.org"}
    detail = is_error(provider.post("/Users", body), 403)
    assert "1 of 1 seats" in detail
    assert "Add seats" in detail
    sleeping = provider.a_user(active=False)["id"]
    is_error(provider.patch(f"/Users/{sleeping}", {"op": "replace", "path": "active", "value": True}), 403)
    assert provider.get(f"/Users/{sleeping}").body["active"] is False


def test_a_directory_that_is_down_is_a_503_with_whole_seconds(provider):
    alone = ServedGateway("127.0.0.1:1")
    try:
        cut_off = Provider.__new__(Provider)
        cut_off.__dict__ = provider.__dict__ | {"gateway": alone}
        answer = cut_off.get("/Users")
        is_error(answer, 503)
        assert answer.headers["retry-after"].isdigit()
        assert cut_off.get("/ServiceProviderConfig").status == 200
    finally:
        alone.stop()


def test_each_answer_has_an_id_to_ask_about(provider):
    first, second = (provider.get("/Users").headers["x-request-id"] for _ in range(2))
    assert first != second
