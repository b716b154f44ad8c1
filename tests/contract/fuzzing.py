"""Requests that no provider should send: those of the recordings, with everything that can be wrong with one.

The same seed gives the same requests, but for the ids in them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

from tests.contract.direct import Request

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
_RECORDINGS = Path(__file__).parent / "recordings"
_PLACE = re.compile(r"\{[a-z]+\}")

NAMES = (
    *("userName", "externalId", "id", "active", "title", "displayName", "name", "name.givenName", "name.formatted"),
    *("emails", "emails.value", 'emails[type eq "work"].value', "emails[primary eq true]", "phoneNumbers", "roles"),
    *('phoneNumbers[type eq "mobile"].value', "addresses", 'addresses[type eq "work"].streetAddress', "photos.value"),
    *("members", "members.value", 'members[value eq "usr_1"]', "groups", "groups.value", "meta", "meta.created"),
    *("meta.lastModified", "meta.resourceType", "schemas", "password", "x509Certificates", "x509Certificates.value"),
    *("manager", f"{ENTERPRISE}:manager", f"{ENTERPRISE}:manager.value", f"{ENTERPRISE}:department", ENTERPRISE),
    *(f"{USER}:userName", f"{USER}:name.familyName", USER, "urn:x:y", "nothing", "a.b.c", "", "USERNAME", "Operations"),
)
TEXTS = (
    *("", " ", "a", "True", "false", "null", "usr_1", "grp_1", "work", "ann@example.org", "+46701234567", "0"),
    *("\x00", "a\x00b", "\ud800", "a\udfffb", "\ufffe", "\u202egnp", "İ", "ß", "ﬃ", "é", "e\u0301" * 40, "👩‍👩‍👧"),
    *("'; DROP TABLE users; --", '"', "\\", "%", "_", "%s%n", "{}", "{0}", "${jndi}", "../../etc/passwd", "=cmd()"),
    *("2024-01-01T00:00:00Z", "9999-12-31T23:59:59+14:00", "0000-00-00", "1e999", "NaN", "bulkId:a", "bulkId:"),
    *("x" * 300, "y" * 70_000, "å" * 5_000, "\n\r\t", "\x1b[31m", "\u2028", "members[value eq", "((((", '{"value":1}'),
)
NUMBERS = (0, -1, 1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**40, 1.5, -0.0, 1e308)
OPERATORS = ("eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le", "EQ", "re", "pr", "")
CONTENT_TYPES = (
    *("application/json", "application/scim+json", "application/scim+json; charset=utf-16", "text/html", ""),
    *("application/scim+json;charset=\xff", "application/xml", "multipart/form-data; boundary=x", "a" * 5_000),
)
TAGS = ("*", "", '"', 'W/"1"', 'W/"', '"1", "2"', "W/", "\xff", '"' * 1_000, 'W/"99999999999999999999999"', ",,,")
SCRATCHES = (b"", b"\xff", b"\x00", b"\xed\xa0\x80", b'"', b"}", b"[" * 2_000, b"\\ud800", b"1e999")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get", "FOO")
PATHS = (
    *("/Users", "/Groups", "/", "", "/Bulk", "/Me", "/.search", "/Users/.search", "/Groups/.search", "/Schemas"),
    *("/ResourceTypes", "/ResourceTypes/User", "/ServiceProviderConfig", f"/Schemas/{USER}", "/Users/Users", "/Me/x"),
    *("/Users/%00", "/Users/%ff%fe", "/Users/%ED%A0%80", "/Users/..%2f..%2f", "//Users//", "/Users/" + "a" * 5_000),
    *("/Users/usr_1;x=y", "/users", "/Bulk/x", "/Users/%25", "/Users/%", "/Groups/grp_" + "z" * 24, "/Users/1/2/3"),
    *("/Users/usr_%F0%9F%91%A9", "/%2e%2e/%2e%2e", "/Users/-1", "/Users/" + "9" * 30, "/Schemas/%00", "/.search/x"),
)


class Fuzzer:
    """Makes requests; learns ids from what they gave."""

    def __init__(self, seed: int, headers: dict[str, str]):
        self.users, self.groups, self.cursors = ["usr_1"], ["grp_1"], ["x"]
        self._random = Random(seed)
        self._headers = headers
        self._recorded = _recorded()

    def request(self) -> Request:
        """Make the next request."""
        pick = self._random.random()
        if pick < 0.25:
            method, target, body = self._search()
        elif pick < 0.35:
            method, target, body = "POST", "/Bulk", self._bulk()
        else:
            method, target, body = self._filled(self._random.choice(self._recorded))
            target = self._with_query(target) if self._chance(0.1) else target
            if body is not None:
                for _ in range(self._random.randint(0, 3)):
                    body = self._changed(body)
        if self._chance(0.03):
            method = self._random.choice(METHODS)
        if self._chance(0.04):
            target = self._random.choice(PATHS)
        return Request(method, _printable(target), self._written(body), self._heading())

    def _search(self) -> tuple[str, str, Any]:
        kind = self._random.choice(["/Users", "/Users", "/Groups", ""])
        if self._chance(0.6):
            return "GET", self._with_query(kind or "/"), None
        body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], **self._parameters()}
        return "POST", f"{kind}/.search", self._changed(body) if self._chance(0.5) else body

    def _with_query(self, target: str) -> str:
        said = "&".join(f"{name}={_escaped(text)}" for name, text in self._parameters().items())
        return f"{target}{'&' if '?' in target else '?'}{said}"

    def _parameters(self) -> dict[str, Any]:
        pool: dict[str, Callable[[], Any]] = {
            "filter": self._filter,
            "sortBy": lambda: self._random.choice(NAMES),
            "sortOrder": lambda: self._random.choice(["ascending", "descending", "sideways", ""]),
            "startIndex": self._number,
            "count": self._number,
            "cursor": self._cursor,
            "attributes": self._names,
            "excludedAttributes": self._names,
        }
        return {name: pool[name]() for name in self._random.sample(list(pool), self._random.randint(1, 3))}

    def _number(self) -> Any:
        return self._random.choice([*NUMBERS, 1, 2, 3, 5, "abc", "", "٣", " 1 ", "1_000", "+1"])

    def _names(self) -> Any:
        return ",".join(self._random.choice(NAMES) for _ in range(self._random.randint(1, 4)))

    def _cursor(self) -> str:
        return self._scratched(self._random.choice(self.cursors)) if self._chance(0.5) else self.cursors[-1]

    def _filter(self) -> str:
        text = self._tree(self._random.randint(0, 3))
        return self._scratched(text) if self._chance(0.3) else text

    def _tree(self, depth: int) -> str:
        name = self._random.choice(NAMES)
        if depth and self._chance(0.5):
            one, other = self._tree(depth - 1), self._tree(depth - 1)
            forms = ["{} and {}", "{} or {}", "not ({})", "({})", name + "[{}]", name + "[{}].value"]
            return self._random.choice(forms).format(one, other)
        operator = self._random.choice(OPERATORS)
        if operator == "pr":
            return f"{name} pr"
        return f"{name} {operator} {json.dumps(self._value(), ensure_ascii=self._chance(0.5))}"

    def _bulk(self) -> Any:
        operations = []
        for _ in range(self._random.randint(0, 4)):
            method, target, data = self._filled(self._random.choice(self._recorded))
            operation = {"method": method, "path": target, "bulkId": self._random.choice("abc"), "data": data}
            if self._chance(0.3):
                operation["path"] = self._random.choice(["/Users/bulkId:a", "/Groups/bulkId:b", "/Bulk", "/Me", *PATHS])
            operations.append(self._changed(operation) if self._chance(0.5) else operation)
        body: Any = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations}
        if self._chance(0.2):
            body["failOnErrors"] = self._value()
        return self._changed(body) if self._chance(0.3) else body

    def _filled(self, recorded: tuple[str, str, Any]) -> tuple[str, str, Any]:
        """Put ids that are known where a recording has a place for one."""
        method, target, body = recorded

        def known(match: re.Match[str]) -> str:
            near = self.groups if match[0] == "{group}" else self.users
            return self._random.choice(near)

        filled = json.loads(_PLACE.sub(known, json.dumps(body)))
        return method, _PLACE.sub(known, target), filled

    def _changed(self, body: Any) -> Any:
        """Do one thing to one place of a body."""
        places = list(_places(body))
        if not places:
            return self._value()
        holder, key = self._random.choice(places)
        if isinstance(holder, dict) and self._chance(0.25):
            name = self._random.choice([*NAMES, *TEXTS, key.upper(), f"{USER}:{key}"])
            holder[name] = holder.pop(key) if self._chance(0.5) else holder[key]
        elif self._chance(0.15):
            del holder[key]
        elif self._chance(0.2):
            was = holder[key]
            holder[key] = self._random.choice([[was], {"value": was}, [was] * 3, str(was)])
        else:
            holder[key] = self._value()
        return body

    def _value(self) -> Any:
        pick = self._random.random()
        if pick < 0.45:
            return self._random.choice(TEXTS)
        if pick < 0.6:
            return self._random.choice(NUMBERS)
        if pick < 0.75:
            return self._random.choice([None, True, False, [], {}, [[]], [None], {"": ""}, [{}]])
        if pick < 0.8:
            return _nested(
                self._random.choice([list, dict]), self._random.choice([5, 60, 450])
            )  # twice in one body is as deep as json writes
        if pick < 0.9:
            return self._random.choice(NAMES)
        name, text = self._random.choice(NAMES), self._random.choice(TEXTS)
        return {name: text, "value": self._random.choice([*TEXTS, *NUMBERS])}

    def _written(self, body: Any) -> bytes:
        """Write a body, now and then in bytes that are wrong."""
        if body is None:
            return b"" if self._chance(0.9) else self._random.choice([b"{}", b"null", b"[]", b"\xff"])
        text = json.dumps(body, ensure_ascii=self._chance(0.7))
        if self._chance(0.05):
            text = text.replace("{", '{"op": "add", "userName": "twice", "userName": 2, ', 1)
        if self._chance(0.02):
            return text.encode(self._random.choice(["utf-16", "utf-8-sig", "utf-32", "cp1252"]), "replace")
        written = text.encode("utf-8", "surrogatepass")
        if self._chance(0.12):
            at = self._random.randrange(len(written) + 1)
            put = self._random.choice(SCRATCHES)
            written = written[:at] + put + written[at + self._random.randint(0, 3) :]
        return written

    def _scratched(self, text: str) -> str:
        at = self._random.randrange(len(text) + 1)
        put = self._random.choice(["", "(", ")", "[", "]", '"', "\\", ".", " ", ":", "\x00", "é", "not ", *OPERATORS])
        return text[:at] + put + text[at + self._random.randint(0, 2) :]

    def _heading(self) -> dict[str, str]:
        headers = dict(self._headers)
        if self._chance(0.03):
            headers["Content-Type"] = self._random.choice(CONTENT_TYPES)
        if self._chance(0.05):
            headers[self._random.choice(["If-Match", "If-None-Match"])] = self._random.choice(TAGS)
        if self._chance(0.02):
            headers["Accept"] = self._random.choice(["text/html", "*/*", "", "application/xml"])
        return headers

    def _chance(self, share: float) -> bool:
        return self._random.random() < share


def _recorded() -> list[tuple[str, str, Any]]:
    """Every request of the recordings: method, target, body."""
    steps = (step for path in sorted(_RECORDINGS.rglob("*.json")) for step in json.loads(path.read_text())["steps"])
    return [(*step["request"].split(" ", 1), step.get("body")) for step in steps]


def _places(value: Any) -> Any:
    """Every place of a tree, however deep: what holds it, and its key there."""
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        if isinstance(holder, dict | list):
            for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
                yield holder, key
                waiting.append(holder[key])


def _nested(kind: type, depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind is list else {"value": value}
    return value


def _escaped(value: Any) -> str:
    return quote(str(value).encode("utf-8", "surrogatepass"))


def _printable(target: str) -> str:
    """A target as a server takes it: nothing but ASCII."""
    return quote(target.encode("utf-8", "surrogatepass"), safe="/?&=%:;,.+-_~!$'()*@")
