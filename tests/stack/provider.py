"""An identity provider of one tenant, calling the running gateway over HTTP as providers do."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from muster.directory.v1 import api_keys_pb2, sources_pb2

from tests.stack.customer import Customer

_PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
_CORE = "urn:ietf:params:scim:schemas:core:2.0"


@dataclass(frozen=True)
class Answer:
    """What the gateway said; `status` 0 when nobody answered."""

    status: int
    body: Any = None
    retry_after: str | None = None


class Provider:
    """A SCIM connection of the customer's tenant, with a key."""

    def __init__(self, customer: Customer) -> None:
        self.customer = customer
        system = customer.system
        source = sources_pb2.Source(
            display_name="Identity provider", kind=sources_pb2.SOURCE_KIND_SCIM, account=customer.main_account
        )
        request = sources_pb2.CreateSourceRequest(tenant=customer.tenant, source=source)
        self.source: str = system.sources.CreateSource(request).source.name
        made = system.api_keys.CreateApiKey(api_keys_pb2.CreateApiKeyRequest(source=self.source))
        self.key: str = made.secret
        self.key_name: str = made.api_key.name

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Call with the key."""
        request = urllib.request.Request(
            self.customer.system.scim_url + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/scim+json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return _answer(answer.status, answer)
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error)
        except OSError:
            return Answer(0)

    def create_user(self, user_name: str, **attributes: Any) -> Answer:
        """POST a user."""
        body = {"schemas": [f"{_CORE}:User"], "userName": user_name, "active": True, **attributes}
        return self.call("POST", "/Users", body)

    def create_group(self, name: str, members: list[str]) -> Answer:
        """POST a group."""
        listed = [{"value": member} for member in members]
        body = {"schemas": [f"{_CORE}:Group"], "displayName": name, "externalId": name, "members": listed}
        return self.call("POST", "/Groups", body)

    def patch(self, path: str, *operations: Mapping[str, Any]) -> Answer:
        """PATCH a resource."""
        return self.call("PATCH", path, {"schemas": [_PATCH], "Operations": list(operations)})

    def user_names(self) -> list[str]:
        """Everybody whom the connection sees, by userName."""
        names: list[str] = []
        while True:
            page = self.call("GET", f"/Users?startIndex={len(names) + 1}&count=100").body
            names += [user["userName"] for user in page["Resources"]]
            if len(names) >= page["totalResults"]:
                return names


def _answer(status: int, response: Any) -> Answer:
    text = response.read()
    return Answer(status, json.loads(text) if text else None, response.headers.get("Retry-After"))
