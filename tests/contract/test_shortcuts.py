"""What is answered by a short way is answered by the long one byte for byte, and left to it where it might not be."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.error
import urllib.request
from urllib.parse import quote, unquote

import pytest
import structlog.testing
from muster.directory.v1 import api_keys_pb2
from muster.runtime.client import open_aio_channel
from scim2_server.requests import ScimRequest

from services.scim_gateway.service import GatewayService
from services.scim_gateway.shortcuts import short_answer
from services.scim_gateway.storage import DirectoryStorage
from tests.contract.serving import Provider, ServedGateway
from tests.integration.directory.serving import Office

PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
ANN = {
    "active": True,
    "emails": [{"primary": True, "type": "work", "value": "ann@example.org"}, {"value": "ann@home.example"}],
    "phoneNumbers": [{"type": "work", "value": "+46 8 123 456 78"}],
    "name": {"givenName": "Ann", "familyName": "Öst", "formatted": "Ann Öst"},
    "displayName": "Ann \u2603 \\ Öst",
    "title": "Chief",
    "externalId": "E-1",
    "userName": "Ann@Example.org",
    "schemas": [CORE],
}
BEN = {"schemas": [CORE], "userName": "ben"}


def eq(name: str, value: str) -> str:
    return f"/Users?filter={quote(f'{name} eq {json.dumps(value, ensure_ascii=False)}')}"


def patch(*operations):
    return {"schemas": [PATCH], "Operations": list(operations)}


def adding(*members):
    return {"op": "add", "path": "members", "value": [{"value": member} for member in members]}


def removing(member):
    return {"op": "remove", "path": f'members[value eq "{member}"]'}


ENTRA = [
    {"op": "Add", "path": "members", "value": [{"$ref": None, "value": "{ann}"}]},
    {"op": "Remove", "path": "members", "value": [{"$ref": None, "value": "{ann}"}]},
    {"op": "Add", "path": "members", "value": [{"value": "{ann}"}]},
    {"op": "remove", "path": "members", "value": [{"value": "{ann}"}]},  # JumpCloud
    {"op": "Remove", "path": 'members[value eq "{ann}"]'},
]
SHORT = [
    ("POST", "/Users", ANN),
    ("POST", "/Users", ANN),  # a retry
    ("POST", "/Users", {**ANN, "title": "Another"}),  # 409
    ("POST", "/Users", BEN),
    ("POST", "/Users", {**BEN, "userName": "cleo", "active": False}),
    ("GET", "/Users/{ann}", None),
    ("GET", "/Users/{ann}?aadOptscim062020", None),
    ("GET", "/Users/usr_0000zz", None),
    ("PATCH", "/Groups/{group}", patch(adding("{ann}"))),
    ("PATCH", "/Groups/{group}", patch(adding("{ann}"))),
    ("GET", "/Users/{ann}", None),
    ("GET", eq("userName", "ANN@example.ORG"), None),
    ("GET", eq("userName", "ben") + "&startIndex=1&count=100", None),
    ("GET", eq("userName", "nobody@example.org"), None),
    ("GET", eq("userName", "hand@example.org"), None),  # a manual user, by mail (S14)
    ("GET", eq("externalId", "E-1"), None),
    ("GET", eq("externalId", "e-1"), None),
    ("GET", "/Groups/{group}?excludedAttributes=members", None),
    ("PATCH", "/Groups/{group}", patch(removing("{ann}"))),
    ("PATCH", "/Groups/{group}", patch(removing("{ann}"))),
    *(("PATCH", "/Groups/{group}", patch(said)) for said in ENTRA),
    ("PATCH", "/Groups/{group}", patch(adding("usr_0000zz"))),
    ("PATCH", "/Groups/grp_0000zz", patch(adding("{ann}"))),
    ("GET", "/Users/{ann}", None),
]
LONG = [
    ("POST", "/Users", {**BEN, "username": "x"}),
    ("POST", "/Users", {**BEN, "active": "True"}),
    ("POST", "/Users", {**BEN, "nickName": "B"}),
    ("POST", "/Users", {**BEN, "userName": " ben "}),
    ("POST", "/Users", {**BEN, "emails": [{"type": "work"}]}),
    ("POST", "/Users?attributes=userName", BEN),
    ("GET", "/Users/{ann}?attributes=userName", None),
    ("GET", "/Users/{ann}/", None),
    ("GET", eq("userName", "ben") + "&count=0", None),
    ("GET", eq("userName", "ben") + "&startIndex=2", None),
    ("GET", eq("userName", "ben") + "&sortBy=userName", None),
    ("GET", "/Users?filter=username%20eq%20%22ben%22", None),
    ("GET", "/Users?filter=userName%20eq%20ben", None),
    ("GET", "/Groups/{group}", None),
    ("PATCH", "/Groups/{group}", patch(adding("{ann}", "{ben}"))),
    ("PATCH", "/Groups/{group}", patch({**adding("{ann}"), "op": "ADD"})),
    ("PATCH", "/Groups/{group}", patch({"op": "Add", "path": "members", "value": [{"$ref": "x", "value": "{ann}"}]})),
    ("PATCH", "/Groups/{group}", patch(removing("{ann}"), removing("{ben}"))),
    ("PATCH", "/Groups/{group}", patch(adding("Ann"))),
    ("PATCH", "/Groups/{group}?attributes=members", patch(adding("{ann}"))),
]
OWN = re.compile(rb'usr_\w+|grp_\w+|W/\\?"[^"]+"|\d{4}-\d\d-\d\dT[\d:.]+Z?|127\.0\.0\.1:\d+')


class World:
    """A tenant with a connection, a manual user and a group, behind one of the gateways."""

    def __init__(self, gateway: ServedGateway, support):
        office = Office(support, seats=20)
        office.user("hand@example.org")
        self.provider = Provider(gateway, office)
        self.named = {"group": self.provider.a_group(externalId="G", displayName="G")["id"]}

    def filled(self, text: str) -> str:
        return re.sub(r"\{(ann|ben|group)\}", lambda found: self.named.get(found[1], found[0]), text)

    def ask(self, method: str, path: str, body):
        """Ask; gives status, the headers that a client reads and the body, without what is each world's own."""
        data = None if body is None else self.filled(json.dumps(body, ensure_ascii=False)).encode()
        request = urllib.request.Request(self.provider.gateway.url + self.filled(path), data=data, method=method)
        request.add_header("Authorization", f"Bearer {self.provider.key}")
        request.add_header("Content-Type", "application/scim+json; charset=utf-8")
        try:
            answer = urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            said = answer.read()
        if method == "POST" and answer.status == 201:
            made = json.loads(said)
            self.named.setdefault(made["userName"].partition("@")[0].lower(), made["id"])
        kept = ("content-type", "content-length", "etag", "location", "content-location", "cache-control")
        headers = {name: OWN.sub(b"_", answer.headers.get(name, "").encode()) for name in kept}
        return answer.status, headers, OWN.sub(b"_", said)


@pytest.fixture(scope="module")
def worlds(directory, gateway, support):
    long_way = ServedGateway(directory.target, with_shortcuts=False)
    yield World(gateway, support), World(long_way, support)
    long_way.stop()


def test_each_answer_is_that_of_the_long_way(worlds):
    short, long = worlds
    for asked in [*SHORT, *LONG, *SHORT[5:]]:
        with structlog.testing.capture_logs() as lines:
            assert short.ask(*asked) == long.ask(*asked), asked
        said = [
            {name: value for name, value in line.items() if name not in {"ms", "key_id"}}
            for line in lines
            if line["event"] == "scim"
        ]
        assert said[0] == said[1], asked


def test_what_is_plain_goes_the_short_way_and_nothing_else_does(worlds, directory):
    world = worlds[0]
    world.ask("POST", "/Users", ANN)
    world.ask("POST", "/Users", BEN)

    async def is_short(method: str, path: str, body) -> bool:
        path, _, query = world.filled(path).partition("?")
        parameters = dict(part.partition("=")[::2] for part in query.split("&") if part)
        request = ScimRequest(
            method,
            "http://x",
            path,
            {name: unquote(value) for name, value in parameters.items()},
            [("content-type", "application/scim+json")],
            world.filled(json.dumps(body)).encode(),
        )
        async with open_aio_channel(directory.target) as channel:
            storage = DirectoryStorage(channel, world.provider.key)
            return await short_answer(GatewayService(), storage, request, lambda _: None) is not None

    reads = [asked for asked in SHORT if asked[0] == "GET" and "0000zz" not in asked[1]]
    changes = [asked for asked in SHORT if asked[0] == "PATCH" and "0000zz" not in json.dumps(asked)]
    for asked in [*reads, *changes, ("POST", "/Users", {**BEN, "userName": "dan"})]:
        assert asyncio.run(is_short(*asked)), asked
    for asked in LONG:
        assert not asyncio.run(is_short(*asked)), asked


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
def test_conditions_go_the_long_way(worlds, header):
    provider = worlds[0].provider
    user = provider.a_user()
    answer = provider.get(f"/Users/{user['id']}", **{header: user["meta"]["version"]})

    assert answer.status == (200 if header == "If-Match" else 304)


def test_a_revoked_key_opens_the_short_way_no_more(worlds):
    provider = worlds[0].provider
    key = provider.office.api_key(provider.source.name)
    user = provider.a_user()
    shown = {"Authorization": f"Bearer {key.secret}"}
    assert provider.get(f"/Users/{user['id']}", **shown).status == 200

    provider.support.api_keys.RevokeApiKey(api_keys_pb2.RevokeApiKeyRequest(name=key.api_key.name))

    assert provider.get(f"/Users/{user['id']}", **shown).status == 401
