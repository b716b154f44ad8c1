"""Call SCIM as an identity provider does: over HTTP, with a key, and seen by whoever follows the story."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from cli.demo.stage import Stage, StepBrokenError

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Id of the resource that came back."""
        return str(self.body.get("id", ""))


@dataclass(frozen=True)
class IdentityProvider:
    """One identity provider's connection: where to, and its key."""

    stage: Stage
    base_url: str
    key: str = field(repr=False)
    called: str = ""
    """What to call it where the story has two."""

    def with_key(self, key: str, *, called: str) -> IdentityProvider:
        """Go on with this key, and say so with each call."""
        return replace(self, key=key, called=called)

    def find(self, user_name: str) -> Answer:
        """Look a user up by userName."""
        query = urllib.parse.urlencode({"filter": f'userName eq "{user_name}"'})
        return self._call("GET", f"/Users?{query}")

    def create_user(self, user_name: str, name: str, title: str) -> Answer:
        """Create an active user."""
        body = {"schemas": [USER], "userName": user_name, "displayName": name, "title": title, "active": True}
        return self._call("POST", "/Users", body)

    def set_active(self, user_id: str, *, active: bool) -> Answer:
        """Deactivate a user, or activate it again."""
        operation = {"op": "replace", "path": "active", "value": active}
        return self._call("PATCH", f"/Users/{user_id}", {"schemas": [PATCH], "Operations": [operation]})

    def create_group(self, group_id: str, name: str, members: list[str]) -> Answer:
        """Create a group under its Group ID."""
        people = [{"value": member} for member in members]
        body = {"schemas": [GROUP], "externalId": group_id, "displayName": name, "members": people}
        return self._call("POST", "/Groups", body)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        url = urllib.parse.urlsplit(self.base_url)
        shown = f"{method} {urllib.parse.unquote_plus(path)}"
        if body is not None:
            told = {name: value for name, value in body.items() if name != "schemas"}
            shown += f" {json.dumps(told, ensure_ascii=False)}"
        self.stage.show_command(f"{shown}  ({self.called})" if self.called else shown)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/scim+json"}
        try:
            with closing(http.client.HTTPConnection(str(url.hostname), url.port, timeout=_TIMEOUT_S)) as connection:
                content = None if body is None else json.dumps(body)
                connection.request(method, url.path + path, content, headers)
                response = connection.getresponse()
                text = response.read()
            answer = Answer(response.status, json.loads(text) if text else {})
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise StepBrokenError(self.stage.name, f"{method} {path}", str(error) or type(error).__name__) from error
        said = answer.body.get("detail", "")
        self.stage.say(f"{answer.status} {response.reason}{f': {said}' if said else ''}")
        return answer
