"""Traffic that also sends several operations as one Bulk request, whose operations the oracle is told one by one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.contract.direct import Request
from tests.contract.oracle import dialects
from tests.contract.oracle.comparing import kind_of
from tests.contract.oracle.dialects import Dialect
from tests.contract.oracle.machine import DIALECTS, NUMBERS, Traffic

BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
KINDS = ("user", "group", "add", "remove", "title", "drop user", "drop group")

Json = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One operation of a Bulk request: as it is said, and the single request that it stands for."""

    method: str
    path: str
    said: Json | None
    plain: Json | None
    bulk_id: str = ""

    def written(self) -> Json:
        """Write it as an operation."""
        written: Json = {"method": self.method, "path": self.path}
        written |= {"bulkId": self.bulk_id} if self.bulk_id else {}
        return written | ({"data": self.said} if self.said is not None else {})


class TrafficTogether(Traffic):
    """One tenant, whose provider sends some things in one request."""

    @rule(
        asked=st.lists(st.tuples(st.sampled_from(KINDS), DIALECTS, NUMBERS, NUMBERS), min_size=1, max_size=6),
        fail_on_errors=st.none() | st.integers(1, 2),
    )
    def send_together(self, asked: list[tuple[str, Dialect, int, int]], fail_on_errors: int | None) -> None:
        """Send operations together; some of them speak of what an earlier one makes."""
        parts: list[Part] = []
        for each in asked:
            parts.append(self._part(parts, *each))
        body: Json = {"schemas": [BULK], "Operations": [part.written() for part in parts]}
        if fail_on_errors is not None:
            body["failOnErrors"] = fail_on_errors
        status, answer = self.tenant.ask(Request("POST", "/Bulk", json.dumps(body).encode()))
        assert status == 200, f"{body} gave {answer}"
        self._compare(parts, answer["Operations"], fail_on_errors or len(parts) + 1, f"{body} gave {answer}")

    def _compare(self, parts: list[Part], results: list[Json], most_errors: int, told: str) -> None:
        """Tell the oracle what was done, in order, and that what follows too many errors was not."""
        made: dict[str, str] = {}
        errors = 0
        for part, result in zip(parts, results, strict=False):
            assert errors < most_errors, told
            assert (result["method"], result.get("bulkId", "")) == (part.method, part.bulk_id), told
            self._compare_one(part, result, made, f"{part}: {result}; {told}")
            errors += int(result["status"]) >= 400
        assert len(results) == len(parts) or errors == most_errors, told

    def _compare_one(self, part: Part, result: Json, made: dict[str, str], told: str) -> None:
        status = int(result["status"])
        if _unresolved(part, made):
            assert status >= 400, told
            return
        target, plain = (json.loads(_resolved(json.dumps(each), made)) for each in (part.path, part.plain))
        answer = result.get("response", {})
        if part.method == "POST" and status == 201:
            answer = {"id": result["location"].rpartition("/")[2]}
            made[part.bulk_id] = answer["id"]
        if plain and "members" in plain.get("remove", ()):
            plain = self._removal(target, plain["remove"]["members"])
        if plain and plain.get("Operations") == []:
            assert kind_of(status) == kind_of(self.oracle.ask("GET", target)[0]), told
        else:
            self._judge(part.method, target, (status, answer), plain, told, in_bulk=True)

    def _removal(self, target: str, members: list[str]) -> Json:
        """In plain SCIM only who is in can be taken out, which is known when it is this operation's turn."""
        present = {each["value"] for each in self.oracle.group(target.rpartition("/")[2]).get("members", ())}
        return dialects.patch(dialects.removing(Dialect.PLAIN, members, present)[1])

    def _part(self, before: list[Part], kind: str, dialect: Dialect, one: int, other: int) -> Part:
        users, groups = (
            [f"bulkId:{part.bulk_id}" for part in before if (part.method, part.path) == ("POST", path)]
            for path in ("/Users", "/Groups")
        )
        user = users[-1] if users and other % 2 else self._user(one)
        group = groups[-1] if groups and one % 2 else self._group(other)
        bulk_id = f"b{len(before)}"
        if kind == "user":
            said, plain = dialects.user_body(dialect, self._attributes(one, []))
            return Part("POST", "/Users", said, {"active": True, **plain}, bulk_id)
        if kind == "group":
            attributes = {"displayName": f"Group {one}", "members": [{"value": user}]}
            return Part("POST", "/Groups", *dialects.group_body(dialect, attributes), bulk_id)
        if kind == "add":
            said, plain = map(dialects.patch, dialects.adding(dialect, [user]))
            return Part("PATCH", f"/Groups/{group}", said, plain)
        if kind == "remove":
            said = dialects.patch(dialects.removing(dialect, [user], set())[0])
            return Part("PATCH", f"/Groups/{group}", said, {"remove": {"members": [user]}})
        if kind == "title":
            said, plain = map(dialects.patch, dialects.setting(dialect, {"title": f"Title {other}"}))
            return Part("PATCH", f"/Users/{user}", said, plain)
        return Part("DELETE", f"/Users/{user}" if kind == "drop user" else f"/Groups/{group}", None, None)


def _resolved(text: str, made: dict[str, str]) -> str:
    for bulk_id, resource_id in made.items():
        text = text.replace(f"bulkId:{bulk_id}", resource_id)
    return text


def _unresolved(part: Part, made: dict[str, str]) -> bool:
    return "bulkId:" in _resolved(json.dumps([part.path, part.plain]), made)
