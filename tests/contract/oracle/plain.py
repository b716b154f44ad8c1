"""The oracle: scim2-server with everything in memory, the gateway's schemas and policy, and Muster's own rules.

Where the product says more than SCIM does, it says so here, in RULES, and nowhere else.
"""

from __future__ import annotations

import copy
import enum
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from scim2_server.handler import ScimHandler
from scim2_server.memory import InMemoryStorage
from scim2_server.requests import ScimRequest
from scim2_server.service import ScimService

from services.scim_gateway.schemas import provider

BASE = "http://scim.example.org/scim/v2"
RULES = {
    "empties": "An empty text, list or object, and null, say no value (RFC 7643 §2.5) and read back as absent.",
    "active": "A POST that does not say whether a user is active means that it is; a PUT keeps it (S6).",
    "groups": "A user's groups are shown; who is deleted is in none (S6).",
    "members": "A member is a user whom the connection sees, else nothing is changed (400 invalidValue).",
    "group_id": "A group's externalId is its Group ID, and no other group's (409, S3).",
    "kept_members": "A PUT of a group that does not speak of members keeps them (RFC 7644 §3.5.1 lets it).",
    "seats": "Nobody is made, activated or brought back without a free seat (403, S5).",
    "last_group": "Who loses the last group gives the seat back, and takes one with the next group (S7, S8).",
    "retry": "The same POST again, with an externalId or of a group as it was made, gives what it made (S13).",
    "references": "Groups of a user and members of a group are compared with eq and ne alone (else 400 invalidFilter).",
}
_LABELS = frozenset({"type", "primary"})

Json = dict[str, Any]


class Memory(InMemoryStorage):
    """Gives resources the ids that the gateway gave them."""

    def __init__(self) -> None:
        super().__init__()
        self.next_id = ""

    def generate_id(self, resource_type: Any, resource: Any) -> str:
        return self.next_id

    def create(self, resource_type: Any, resource: Any) -> Any:
        return super().create(resource_type, _without_empties(resource))

    def update(self, resource_type: Any, resource: Any, *, expected_version: str | None = None) -> Any:
        return super().update(resource_type, _without_empties(resource), expected_version=expected_version)


class State(enum.Enum):
    """How a user stands to the register."""

    AWAKE = enum.auto()
    DEACTIVATED = enum.auto()
    GONE = enum.auto()
    """Out of the last group, and waiting for another one."""


class Oracle:
    """What a tenant's users and groups must be, over SCIM."""

    def __init__(self) -> None:
        self._states: dict[str, State] = {}
        self._storage = Memory()
        self._service = ScimService(provider(), secret="of the oracle")
        self._handler = ScimHandler(self._service, self._storage)

    def ask(self, method: str, target: str, body: Any = None, *, new_id: str = "") -> tuple[int, Any]:
        """Serve one request; gives status and body."""
        self._storage.next_id = new_id
        path, _, query = target.partition("?")
        parameters = dict(part.partition("=")[::2] for part in query.split("&")) if query else {}
        request = ScimRequest(method, BASE, path, parameters, body=b"" if body is None else json.dumps(body).encode())
        before = self.groups_by_user()
        try:
            response = self._handler.handle(request)
        except Exception as error:  # noqa: BLE001 - as scim2-server's own applications do
            response = self._service.error_response(error)
        if method != "GET" and response.status < 400:
            self._follow(before)
        return int(response.status), json.loads(json.dumps(response.body, default=str)) if response.body else None

    @property
    def seats_used(self) -> int:
        """How many users have a seat."""
        return sum(state is State.AWAKE for state in self._states.values())

    def users(self) -> list[Json]:
        """Every user, as told."""
        return self._all("Users")

    def groups(self) -> list[Json]:
        """Every group, as told."""
        return self._all("Groups")

    def user(self, user_id: str) -> Json:
        """One user; nothing where there is none."""
        return next((each for each in self.users() if each["id"] == user_id), {})

    def group(self, group_id: str) -> Json:
        """One group; nothing where there is none."""
        return next((each for each in self.groups() if each["id"] == group_id), {})

    def groups_by_user(self) -> dict[str, set[str]]:
        """Ids of the groups that each user is in."""
        found: dict[str, set[str]] = {each["id"]: set() for each in self.users()}
        for group in self.groups():
            for member in group.get("members", ()):
                found.setdefault(member["value"], set()).add(group["id"])
        return found

    @contextmanager
    def tried(self) -> Iterator[None]:
        """Undo all that is done inside."""
        kept, states = copy.deepcopy(self._storage.resources), dict(self._states)
        try:
            yield
        finally:
            self._storage.resources, self._states = kept, states

    def _all(self, kind: str) -> list[Json]:
        with self._service.provider:
            request = ScimRequest("GET", BASE, f"/{kind}", {"count": "1000"})
            body = json.loads(json.dumps(self._handler.handle(request).body, default=str))
        return list(body["Resources"])

    def _follow(self, before: dict[str, set[str]]) -> None:
        """Let what follows from a change follow: rules `groups`, `seats` and `last_group`."""
        stored: dict[str, Any] = {str(each.id): each for each in self._storage.resources}
        people = {key: each for key, each in stored.items() if each.meta.resource_type == "User"}
        for group in stored.values():
            if group.meta.resource_type == "Group" and group.members:
                group.members = [each for each in group.members if each.value in people]
        after = self.groups_by_user()
        for user_id, user in people.items():
            self._states[user_id] = self._state(user_id, before.get(user_id, set()), after[user_id], active=user.active)
            shown = [
                {"value": each, "$ref": f"{BASE}/Groups/{each}", "type": "direct"} for each in sorted(after[user_id])
            ]
            with self._service.provider:
                user.groups = type(user).model_validate({**user.model_dump(), "groups": shown}).groups
        self._states = {key: state for key, state in self._states.items() if key in people}
        self._storage.resources = list(stored.values())

    def _state(self, user_id: str, before: set[str], after: set[str], *, active: bool | None) -> State:
        was = self._states.get(user_id, State.DEACTIVATED)
        if not active:
            return State.DEACTIVATED
        if was is State.AWAKE and before and not after:
            return State.GONE
        return State.GONE if was is State.GONE and not after - before else State.AWAKE


def _without_empties(resource: Any) -> Any:
    """Rule `empties`; an entry of which no more than its labels is left has no value either."""
    return type(resource).model_validate(_cleared(resource.model_dump()))


def _cleared(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _cleared(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, "", [], {})}
    if isinstance(value, list):
        entries = [(each, _cleared(each)) for each in value]
        return [
            kept
            for each, kept in entries
            if kept not in (None, "", {})
            and not (isinstance(kept, dict) and len(kept) < len(each) and kept.keys() <= _LABELS)
        ]
    return value
