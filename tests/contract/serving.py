"""Serve the gateway from the test's process, over a directory that it serves too, and call it as a provider does."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from muster.runtime.client import open_forwarding_channel

from services.scim_gateway.app import GatewayServer, listen_on, make_app
from tests.integration.directory.serving import Caller, Office

_numbers = itertools.count(1)


class ServedGateway:
    """The gateway on a loopback port, in a thread with an event loop of its own."""

    def __init__(self, directory: str, *, with_shortcuts: bool = True):
        self._directory = directory
        self._with_shortcuts = with_shortcuts
        self._listener = listen_on("127.0.0.1:0")
        self.origin: str = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.url: str = f"{self.origin}/scim/v2"
        self._serving = threading.Event()
        self._server: GatewayServer | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._serving.wait(30), "the gateway does not serve"

    async def _run(self):
        async with open_forwarding_channel(self._directory) as channel:
            app = make_app(channel, with_shortcuts=self._with_shortcuts)
            self._server = GatewayServer(app, ready=self._serving.set)
            await self._server.serve(sockets=[self._listener])

    def stop(self):
        assert self._server is not None
        self._server.should_exit = True
        self._thread.join(20)


@dataclass(frozen=True)
class Answer:
    """What the gateway said."""

    status: int
    headers: dict[str, str]
    body: Any


class Provider:
    """An identity provider with a connection and a key of its own."""

    def __init__(self, gateway: ServedGateway, office: Office):
        self.office = office
        self.gateway = gateway
        self.source = office.scim_source()
        self.key = office.api_key(self.source.name).secret

    @property
    def support(self) -> Caller:
        return self.office.support

    def call(self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None) -> Answer:
        """Call with the connection's key; headers given win over the usual ones."""
        usual = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/scim+json; charset=utf-8"}
        sent = {name: value for name, value in {**usual, **(headers or {})}.items() if value}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.gateway.url + path, data=data, method=method, headers=sent)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return _answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.headers, error.read())

    def get(self, path: str, **headers: str) -> Answer:
        return self.call("GET", path, headers=headers)

    def post(self, path: str, body: Any) -> Answer:
        return self.call("POST", path, body)

    def put(self, path: str, body: Any) -> Answer:
        return self.call("PUT", path, body)

    def patch(self, path: str, *operations: Any) -> Answer:
        schema = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
        return self.call("PATCH", path, {"schemas": [schema], "Operations": list(operations)})

    def delete(self, path: str) -> Answer:
        return self.call("DELETE", path)

    def a_user(self, **attributes: Any) -> dict[str, Any]:
        """Make a user; gives it as answered."""
        number = next(_numbers)
        body = {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": f"person{number}@example.org",
            "externalId": f"ext-{number}",
            **attributes,
        }
        answer = self.post("/Users", body)
        assert answer.status == 201, answer
        return dict(answer.body)

    def a_group(self, *members: str, **attributes: Any) -> dict[str, Any]:
        """Make a group; gives it as answered."""
        number = next(_numbers)
        body = {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": f"Group {number}",
            "externalId": f"group-{number}",
            "members": [{"value": member} for member in members],
            **attributes,
        }
        answer = self.post("/Groups", body)
        assert answer.status == 201, answer
        return dict(answer.body)

    def members(self, group: str) -> list[str]:
        """Ids of a group's members."""
        return [each["value"] for each in self.get(f"/Groups/{group}").body.get("members", [])]


def _answer(status: int, headers: Any, body: bytes) -> Answer:
    return Answer(status, {name.lower(): value for name, value in headers.items()}, json.loads(body) if body else None)
