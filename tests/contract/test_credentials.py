"""Client credentials (OAuth 2.0), challenges, and failed attempts, over HTTP (S13)."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from muster.directory.v1 import api_keys_pb2

from services.scim_gateway.slowing import STEP_S

DATABASES = ["sqlite"]


class Client:
    """A client of the provider's connection."""

    def __init__(self, provider):
        self.provider = provider
        self._keys = provider.support.api_keys
        made = self.another_secret()
        self.client_id, self.secret, self.key = made.client_id, made.secret, made.api_key.name

    def another_secret(self):
        request = api_keys_pb2.CreateApiKeyRequest(
            source=self.provider.source.name, kind=api_keys_pb2.API_KEY_KIND_CLIENT_SECRET
        )
        return self._keys.CreateApiKey(request)

    def revoke(self):
        self._keys.RevokeApiKey(api_keys_pb2.RevokeApiKeyRequest(name=self.key))

    def basic(self, secret: str = ""):
        quoted = ":".join(urllib.parse.quote_plus(each) for each in (self.client_id, secret or self.secret))
        return {"Authorization": f"Basic {base64.b64encode(quoted.encode()).decode()}"}

    def ask(self, *, headers=(), **form):
        """Ask for a token, with the client_credentials grant unless said."""
        said = {"grant_type": "client_credentials", **form}
        body = urllib.parse.urlencode({name: value for name, value in said.items() if value is not None})
        return ask(self.provider.gateway.origin + "/oauth2/token", body.encode(), dict(headers))

    def get(self, token: str):
        return self.provider.get("/Users?count=1", Authorization=f"Bearer {token}")


def ask(url: str, body: bytes | None = None, headers=None):
    usual = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
    request = urllib.request.Request(url, data=body, headers=usual | (headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.headers, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, json.loads(error.read())


@pytest.fixture
def client(provider) -> Client:
    return Client(provider)


def test_a_client_gets_a_token_by_either_way_and_works_with_it(client):
    in_form = {"client_id": client.client_id, "client_secret": client.secret}
    for answer in (client.ask(headers=client.basic()), client.ask(**in_form)):
        status, headers, body = answer
        assert (status, body["token_type"], body["expires_in"]) == (200, "Bearer", 3600)
        assert (headers["Cache-Control"], headers["Pragma"]) == ("no-store", "no-cache")
        assert client.get(body["access_token"]).status == 200


def test_several_secrets_live_side_by_side_and_a_revoked_one_ends_its_tokens_at_once(client):
    token = client.ask(headers=client.basic())[2]["access_token"]
    other = client.ask(headers=client.basic(client.another_secret().secret))[2]["access_token"]
    client.revoke()
    refused = client.get(token)
    assert (refused.status, client.get(other).status) == (401, 200)
    assert 'error="invalid_token"' in refused.headers["www-authenticate"]
    assert client.ask(headers=client.basic())[0] == 401


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_secret": "there, too"}, "invalid_request"),
        ({"client_id": "src_000000"}, "invalid_request"),
    ],
)
def test_a_malformed_request_is_told_what_is_wrong(client, said, error):
    status, _, body = client.ask(headers=client.basic(), **said)
    assert (status, body["error"]) == (400, error)


@pytest.mark.parametrize("said", [{}, {"client_id": "src_1"}, {"client_id": "a", "client_secret": "b\u0000"}])
def test_who_shows_no_credentials_is_challenged(client, said):
    status, headers, body = client.ask(**said)
    assert (status, body["error"], headers["WWW-Authenticate"]) == (401, "invalid_client", 'Basic realm="SCIM"')


def test_other_forms_of_requests_are_refused(client):
    url = client.provider.gateway.origin + "/oauth2/token"
    for body, headers in (
        (b"{}", {"Content-Type": "application/json"}),
        (b"grant_type=client_credentials&grant_type=client_credentials", {}),
        (b"x=" + b"y" * 10_000, {}),
        (b"\xff", {}),
    ):
        status, _, answer = ask(url, body, headers)
        assert (status, answer["error"]) == (400, "invalid_request"), body
    assert ask(url, b"", {"Authorization": "Basic ???"})[0] == 401


def test_where_tokens_are_given_is_said(client):
    status, _, body = ask(client.provider.gateway.origin + "/.well-known/oauth-authorization-server")
    assert (status, body["issuer"]) == (200, client.provider.gateway.origin)
    assert body["token_endpoint"] == client.provider.gateway.origin + "/oauth2/token"
    assert body["grant_types_supported"] == ["client_credentials"]


def test_failed_attempts_are_slowed_and_a_right_key_from_the_same_place_is_not(client):
    """The last of this module: what the gateway remembers of this address stays."""
    wrong = client.provider.key[:-9] + "0" * 9
    answers = [client.get(wrong) for _ in range(11)]
    assert {(answer.status, "www-authenticate" in answer.headers) for answer in answers} == {(401, True)}
    assert answers[-1].headers["retry-after"] == "1"
    started = time.monotonic()
    assert client.provider.get("/Users").status == 200
    status, _, body = client.ask(headers=client.basic())
    assert (status, client.get(body["access_token"]).status) == (200, 200)
    assert time.monotonic() - started < STEP_S
