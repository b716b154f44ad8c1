"""Random traffic of identity providers in all dialects, against the gateway and against the oracle."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.contract.direct import Request
from tests.contract.oracle import dialects
from tests.contract.oracle.comparing import bare, is_retry, kind_of, members_named, sort_value
from tests.contract.oracle.dialects import ENTERPRISE, Dialect
from tests.contract.oracle.filters import filters
from tests.contract.oracle.plain import Oracle
from tests.contract.oracle.tenant import Tenant

SEATS = 6
NUMBERS = st.integers(0, 7)
TEXTS = st.sampled_from(["Ann", "ann", "Åke Öberg", "ß", "%_", 'say "hi"', "Doctor", " two  words ", "é"])
SINGLE: tuple[str, ...] = (
    "displayName",
    "title",
    "nickName",
    "name.givenName",
    "name.familyName",
    "locale",
    "userType",
)
SINGLE += (f"{ENTERPRISE}:department", f"{ENTERPRISE}:employeeNumber")
SELECTED = ('emails[type eq "work"].value', 'phoneNumbers[type eq "fax"].value', 'ims[type eq "aim"].value')
DIALECTS = st.sampled_from(list(Dialect))
PROJECTIONS = st.sampled_from(
    [
        *("attributes=userName", "attributes=name.givenName,title", "attributes=emails.value", "attributes=id"),
        *(
            "excludedAttributes=name",
            "excludedAttributes=groups,emails.type",
            "attributes=groups",
            "attributes=members",
        ),
        *("excludedAttributes=members", "attributes=displayName,externalId", "excludedAttributes=userName,active"),
        *(f"attributes={ENTERPRISE}:department", f"attributes={ENTERPRISE}", f"excludedAttributes={ENTERPRISE}"),
        *("attributes=meta.resourceType", "attributes=nothing", "excludedAttributes=id", "attributes=schemas"),
    ]
)
SORTS = (
    "userName",
    "title",
    "name.familyName",
    "emails.value",
    "displayName",
    "id",
    f"{ENTERPRISE}:department",
    "active",
)


class Traffic(RuleBasedStateMachine):
    """One tenant, and whatever its provider sends."""

    make_tenant: Callable[..., Tenant]

    @initialize()
    def begin(self) -> None:
        """Begin with some people in two groups."""
        self.tenant, self.oracle, self.mails = self.make_tenant(seats=SEATS), Oracle(), 0
        self.untouched: set[str] = set()
        for number in range(4):
            self.create_user(Dialect.PLAIN, number, [("title", "Doctor")])
        self.create_group(Dialect.PLAIN, 1, [0, 1], named=True)
        self.create_group(Dialect.PLAIN, 2, [1, 2], named=False)

    @rule(dialect=DIALECTS, number=NUMBERS, attributes=st.lists(st.tuples(st.sampled_from(SINGLE), TEXTS), max_size=4))
    def create_user(self, dialect: Dialect, number: int, attributes: list[tuple[str, str]]) -> None:
        """Make a user, or find the name taken."""
        said, plain = dialects.user_body(dialect, self._attributes(number, attributes))
        self._write("POST", "/Users", said, {"active": True, **plain})

    @rule(
        dialect=DIALECTS, number=NUMBERS, picked=NUMBERS, attributes=st.lists(st.tuples(st.sampled_from(SINGLE), TEXTS))
    )
    def replace_user(self, dialect: Dialect, number: int, picked: int, attributes: list[tuple[str, str]]) -> None:
        """PUT a user, as Okta does for every change."""
        user = self._user(picked)
        said, plain = dialects.user_body(dialect, self._attributes(number, attributes))
        active = self.oracle.user(user).get("active", True)
        self._write("PUT", f"/Users/{user}", said, {"active": active, **plain})

    @rule(dialect=DIALECTS, picked=NUMBERS, active=st.booleans())
    def activate(self, dialect: Dialect, picked: int, *, active: bool) -> None:
        """Disable or enable a user."""
        self._patch(f"/Users/{self._user(picked)}", dialects.setting(dialect, {"active": active}))

    @rule(
        dialect=DIALECTS,
        picked=NUMBERS,
        attributes=st.dictionaries(st.sampled_from(SINGLE), TEXTS, min_size=1, max_size=3),
    )
    def set_attributes(self, dialect: Dialect, picked: int, attributes: dict[str, str]) -> None:
        """Change what a user is called."""
        self._patch(f"/Users/{self._user(picked)}", dialects.setting(dialect, attributes))

    @rule(dialect=DIALECTS, picked=NUMBERS, path=st.sampled_from(SELECTED))
    def set_selected(self, dialect: Dialect, picked: int, path: str) -> None:
        """Change one value of several, which need not be there."""
        self.mails += 1
        value = f"m{self.mails}@mail.example.org" if path.startswith("emails") else f"+4670{self.mails:07}"
        self._patch(f"/Users/{self._user(picked)}", dialects.setting(dialect, {path: value}))

    @rule(dialect=DIALECTS, picked=NUMBERS, path=st.sampled_from([*SINGLE, *SELECTED]))
    def clear(self, dialect: Dialect, picked: int, path: str) -> None:
        """Clear an attribute, which need not be there."""
        user = self._user(picked)
        is_there = dialects.holds(self.oracle.user(user), path)
        self._patch(f"/Users/{user}", dialects.clearing(dialect, path, is_there=is_there))

    @rule(dialect=DIALECTS, picked=NUMBERS, manager=NUMBERS, clears=st.booleans())
    def manage(self, dialect: Dialect, picked: int, manager: int, *, clears: bool) -> None:
        """Set, change or clear a manager."""
        self._patch(f"/Users/{self._user(picked)}", dialects.managing(dialect, "" if clears else self._user(manager)))

    @rule(picked=NUMBERS)
    def delete_user(self, picked: int) -> None:
        """Delete a user."""
        self._write("DELETE", f"/Users/{self._user(picked)}", None, None)

    @rule(dialect=DIALECTS, number=NUMBERS, members=st.lists(NUMBERS, max_size=3), named=st.booleans())
    def create_group(self, dialect: Dialect, number: int, members: list[int], *, named: bool) -> None:
        """Make a group, with a Group ID or without, or find the Group ID taken."""
        attributes: dict[str, Any] = {"displayName": f"Group {number}"}
        if named:
            attributes["externalId"] = f"group-{number}"
        if members:
            attributes["members"] = [{"value": each} for each in self._users(members)]
        said, plain = dialects.group_body(dialect, attributes)
        self._write("POST", "/Groups", said, plain)

    @rule(dialect=DIALECTS, picked=NUMBERS, members=st.lists(NUMBERS, min_size=1, max_size=3))
    def add_members(self, dialect: Dialect, picked: int, members: list[int]) -> None:
        """Put people into a group."""
        self._patch(f"/Groups/{self._group(picked)}", dialects.adding(dialect, self._users(members)))

    @rule(dialect=DIALECTS, picked=NUMBERS, members=st.lists(NUMBERS, min_size=1, max_size=3))
    def remove_members(self, dialect: Dialect, picked: int, members: list[int]) -> None:
        """Take people out of a group."""
        group = self._group(picked)
        present = {each["value"] for each in self.oracle.group(group).get("members", ())}
        self._patch(f"/Groups/{group}", dialects.removing(dialect, self._users(members), present))

    @rule(dialect=DIALECTS, picked=NUMBERS, members=st.lists(NUMBERS, max_size=3), name=TEXTS)
    def push_group(self, dialect: Dialect, picked: int, members: list[int], name: str) -> None:
        """Rename and replace members, in one PATCH or one PUT."""
        group, people = self._group(picked), [{"value": each} for each in self._users(members)]
        if dialect is Dialect.OKTA:
            attributes = {**self._kept(group), "displayName": name, "members": people}
            self._write("PUT", f"/Groups/{group}", *dialects.group_body(dialect, attributes))
            return
        operations: list[dict[str, Any]] = [
            {"op": "replace", "value": {"id": group, "displayName": name}},
            {"op": "replace", "path": "members", "value": people},
        ]
        plain = [{"op": "replace", "path": "displayName", "value": name}, operations[1]]
        self._patch(f"/Groups/{group}", (operations, plain))

    @rule(picked=NUMBERS, name=TEXTS)
    def put_group_without_members(self, picked: int, name: str) -> None:
        """Rename by PUT: who does not speak of members keeps them."""
        group = self._group(picked)
        body = {"schemas": [dialects.GROUP], **self._kept(group), "displayName": name}
        kept = {"members": self.oracle.group(group).get("members", [])}
        self._write("PUT", f"/Groups/{group}", body, {**body, **kept})

    @rule(picked=NUMBERS)
    def delete_group(self, picked: int) -> None:
        """Delete a group."""
        self._write("DELETE", f"/Groups/{self._group(picked)}", None, None)

    @rule(
        text=filters, kind=st.sampled_from(["Users", "Groups"]), sort=st.none() | st.sampled_from(SORTS), data=st.data()
    )
    def search(self, text: str, kind: str, sort: str | None, data: st.DataObject) -> None:
        """Search, sorted or not, a page of it."""
        if sort is None:
            self._read(
                f"/{kind}",
                {"filter": text, "startIndex": data.draw(st.integers(1, 3)), "count": data.draw(st.integers(0, 8))},
            )
            return
        order = data.draw(st.sampled_from(["ascending", "descending"]))
        self._read(f"/{kind}", {"filter": text, "sortBy": sort, "sortOrder": order}, sorted_by=sort)

    @rule(text=filters, count=st.integers(1, 3))
    def turn_pages(self, text: str, count: int) -> None:
        """Search by a body, cursor by cursor: everybody comes once."""
        body: dict[str, Any] = {"schemas": [dialects.SEARCH], "filter": text, "count": count, "cursor": ""}
        status, expected = self.oracle.ask("GET", f"/Users?filter={text}")
        seen = []
        while "cursor" in body:
            found, page = self.tenant.ask(Request("POST", "/Users/.search", json.dumps(body).encode()))
            assert found == status, f"{body} gave {page}; expected {expected}"
            seen += [each["id"] for each in page.get("Resources", ())]
            body["cursor"] = page.get("nextCursor")
            if body["cursor"] is None:
                break
        assert seen == [each["id"] for each in expected.get("Resources", ())], text

    @rule(picked=NUMBERS, title=TEXTS)
    def change_what_another_one_changed(self, picked: int, title: str) -> None:
        """Of two who change one version, the second is told so (412), and nothing is changed by it."""
        target = f"/Users/{self._user(picked)}"
        _, was = self.tenant.ask(Request("GET", target))
        version = {"If-Match": was.get("meta", {}).get("version", "none")}
        self._patch(target, dialects.setting(Dialect.PLAIN, {"title": f"{title} {was.get('title')}"}))
        body = json.dumps(dialects.patch([{"op": "remove", "path": "title"}])).encode()
        status, _ = self.tenant.ask(Request("PATCH", target, body, version))
        assert status == (412 if "meta" in was and self.oracle.user(was["id"]) else 404)

    @rule(picked=NUMBERS, kind=st.sampled_from(["Users", "Groups"]), projection=PROJECTIONS)
    def read(self, picked: int, kind: str, projection: str) -> None:
        """Read some attributes of one, and of all."""
        one = self._user(picked) if kind == "Users" else self._group(picked)
        name, _, value = projection.partition("=")
        self._read(f"/{kind}/{one}", {name: value})
        self._read(f"/{kind}", {name: value})

    @invariant()
    def everything_is_the_same(self) -> None:
        """Compare everybody, every group, and the seats that are taken."""
        if not hasattr(self, "tenant"):
            return
        for kind, expected in (("Users", self.oracle.users()), ("Groups", self.oracle.groups())):
            _, found = self.tenant.ask(Request("GET", f"/{kind}?count=1000"))
            shown, wanted = bare(found["Resources"]), bare(expected)
            assert shown == wanted, (
                f"{kind}: {[each for each in zip(shown, wanted, strict=False) if each[0] != each[1]]}"
            )
        assert self.tenant.seats_used() == self.oracle.seats_used <= SEATS

    def _write(self, method: str, target: str, said: Any, plain: Any) -> None:
        """Write to both, and compare what they say."""
        found = self.tenant.ask(Request(method, target, b"" if said is None else json.dumps(said).encode()))
        self._judge(method, target, found, plain, f"{method} {target} {said} gave {found}")

    def _judge(
        self, method: str, target: str, found: tuple[int, Any], plain: Any, told: str, *, in_bulk: bool = False
    ) -> None:
        """Write to the oracle what the gateway has been told, and compare with what it said."""
        status, body = found
        refusal = self._refusal(method, target, plain)
        made = self._made_lately(method, target, plain) if not in_bulk else set()
        before = bare(self.oracle.group(target.rpartition("/")[2]))
        if status == 403:
            with self.oracle.tried():
                assert self.oracle.ask(method, target, plain, new_id="usr_new")[0] < 400, told
                assert self.oracle.seats_used > SEATS, told
        elif (
            method == "POST"
            and status == 201
            and (there := self.oracle.user(body["id"]) or self.oracle.group(body["id"]))
        ):
            assert body["id"] in made or is_retry(plain, there), told
        elif refusal:
            assert (status, body.get("scimType")) == refusal, told
        else:
            assert not made, f"{told}; expected one of {made} again"
            new_id = body["id"] if status == 201 else "none"
            expected, answer = self.oracle.ask(method, target, plain, new_id=new_id)
            assert kind_of(status) == kind_of(expected), f"{told}; expected {expected} {answer}"
            if expected >= 400:
                assert body.get("scimType") == answer.get("scimType"), f"{told}; expected {answer}"
            self._remember(method, target, new_id, before)

    def _remember(self, method: str, target: str, new_id: str, before: Any) -> None:
        """Remember which groups are as they were made: what is done to their members elsewhere does not count."""
        if method == "POST" and target == "/Groups":
            self.untouched.add(new_id)
        elif bare(self.oracle.group(target.rpartition("/")[2])) != before:
            self.untouched.discard(target.rpartition("/")[2])

    def _made_lately(self, method: str, target: str, plain: Any) -> set[str]:
        """Rule `retry` of groups without externalId: who is as this makes it, and nothing was done to it."""
        if method != "POST" or target != "/Groups" or plain.get("externalId"):
            return set()
        wanted = bare({"members": [], **plain})
        groups = [bare({"members": [], **each}) for each in self.oracle.groups() if not each.get("externalId")]
        return {each["id"] for each in groups if each["id"] in self.untouched and {**wanted, "id": each["id"]} == each}

    def _patch(self, target: str, said: dialects.Said) -> None:
        operations, plain = said
        if plain:
            self._write("PATCH", target, dialects.patch(operations), dialects.patch(plain))
        elif operations:
            status, _ = self.tenant.ask(Request("PATCH", target, json.dumps(dialects.patch(operations)).encode()))
            assert kind_of(status) == kind_of(self.oracle.ask("GET", target)[0])

    def _refusal(self, method: str, target: str, plain: Any) -> tuple[int, str] | None:
        """Rules `members` and `group_id`: what the product refuses and the oracle would not."""
        if not target.startswith("/Groups") or (method != "POST" and not self.oracle.group(target.rpartition("/")[2])):
            return None
        written = plain if plain and "Operations" not in plain else {}
        others = [each for each in self.oracle.groups() if each["id"] != target.rpartition("/")[2]]
        if written.get("externalId") and written["externalId"] in {each.get("externalId") for each in others}:
            return 409, "uniqueness"
        named = set(members_named(plain or {}))
        return (400, "invalidValue") if named - {each["id"] for each in self.oracle.users()} else None

    def _read(self, target: str, query: dict[str, Any], *, sorted_by: str = "") -> None:
        said = "&".join(f"{name}={quote(str(value))}" for name, value in query.items())
        status, body = self.tenant.ask(Request("GET", f"{target}?{said}"))
        plain = "&".join(f"{name}={value}" for name, value in query.items())
        expected, answer = self.oracle.ask("GET", f"{target}?{plain}")
        told = f"GET {target} {query} gave {status} {body}; expected {expected} {answer}"
        assert status == expected, told
        if status >= 400:
            assert body.get("scimType") == answer.get("scimType"), told
        elif sorted_by:  # in which order those come who are equal is the server's choice
            orders = [[sort_value(each, sorted_by) for each in said["Resources"]] for said in (body, answer)]
            assert orders[0] == orders[1], told
            assert sorted(each["id"] for each in body["Resources"]) == sorted(
                each["id"] for each in answer["Resources"]
            )
        else:
            assert bare(body) == bare(answer), told

    def _attributes(self, number: int, attributes: list[tuple[str, str]]) -> dict[str, Any]:
        made: dict[str, Any] = {"userName": f"p{number}@example.org"}
        if number % 2:
            self.mails += 1
            mail = {"value": f"m{self.mails}@mail.example.org", "type": "work", "primary": True}
            made |= {"externalId": f"ext-{number}", "emails": [mail], "active": number % 3 > 0}
        for path, value in attributes:
            holder, _, name = path.rpartition(":") if ":" in path else path.rpartition(".")
            (made.setdefault(holder, {}) if holder else made)[name] = value
        return made

    def _kept(self, group: str) -> dict[str, Any]:
        external_id = self.oracle.group(group).get("externalId")
        return {"externalId": external_id} if external_id else {}

    def _user(self, number: int) -> str:
        users = self.oracle.users()
        return str(users[number % len(users)]["id"]) if users else "usr_00001r"

    def _users(self, numbers: list[int]) -> list[str]:
        return list(dict.fromkeys(self._user(number) for number in numbers))

    def _group(self, number: int) -> str:
        groups = self.oracle.groups()
        return str(groups[number % len(groups)]["id"]) if groups else "grp_00001r"
