"""What other servers got wrong before identity providers: members lost, filters that lie, people whom nobody finds."""

from __future__ import annotations

import http.client
import json
from urllib.parse import quote, urlsplit

import pytest
from muster.directory.v1 import licenses_pb2
from sqlalchemy import text

from services.directory.rules import names
from tests.integration.directory.connection import Connection, settle_in

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
NOBODY = "5b3a9fb5-6cf2-4ee0-9d0c-7d6d1d1b8a01"


def named(people):
    return [{"value": each} for each in people]


def settled(provider, directory, people):
    """Let the connection have so many active people; gives their ids."""
    return settle_in(Connection(directory, provider.office, provider.source.name, provider.key), people)


def test_of_thousands_of_members_whoever_is_not_named_stays(provider, directory):
    people = settled(provider, directory, 3_600)
    group = provider.a_group(*people[:1_800])["id"]
    path = f"/Groups/{group}"

    def stay(members):
        assert provider.members(group) == members

    assert provider.patch(path, {"op": "Add", "path": "members", "value": named(people[1_800:-1])}).status == 204
    stay(people[:-1])
    assert provider.patch(path, {"op": "add", "path": "members", "value": named(people[-1:])}).status == 204
    stay(people)
    assert provider.patch(path, {"op": "Remove", "path": "members", "value": named(people[:1])}).status == 204
    assert provider.patch(path, {"op": "remove", "path": f'members[value eq "{people[1]}"]'}).status == 204
    stay(people[2:])
    two = f'members[value eq "{people[2]}" or value eq "{people[3]}"]'
    assert provider.patch(path, {"op": "remove", "path": two}).status == 204
    assert provider.patch(path, {"op": "Remove", "path": "members", "value": named(people[4:6])}).status == 204
    stay(people[6:])
    assert provider.patch(path, {"op": "replace", "path": "members", "value": named(people[7:])}).status == 204
    stay(people[7:])
    assert provider.put(path, {"schemas": [GROUP], "displayName": "All", "members": named(people[8:])}).status == 200
    stay(people[8:])
    assert provider.put(path, {"schemas": [GROUP], "displayName": "Everybody"}).status == 200
    assert provider.patch(path, {"op": "Remove", "path": "members", "value": []}).status == 200
    stay(people[8:])


def test_a_list_is_whole_and_says_how_many_there_are(provider, directory):
    people = settled(provider, directory, 1_050)
    for question in ("", f"filter={quote('not (title pr)')}&"):
        seen = []
        for start, size in ((1, 1_000), (1_001, 50)):
            page = provider.get(f"/Users?{question}startIndex={start}").body
            assert (page["totalResults"], page["startIndex"], page["itemsPerPage"]) == (1_050, start, size)
            seen += [each["id"] for each in page["Resources"]]
        assert seen == people
        short = provider.get(f"/Users?{question}count=100").body
        assert (short["totalResults"], short["itemsPerPage"], len(short["Resources"])) == (1_050, 100, 100)


@pytest.mark.parametrize(
    ("kind", "question"),
    [
        ("Users", 'userName eq "{userName}"'),
        ("Users", 'externalId eq "{externalId}"'),
        ("Users", 'emails[type eq "work"].value eq "{email}"'),
        ("Users", 'emails.value eq "{email}"'),
        ("Users", 'id eq "{user}" and manager eq "{boss}"'),
        ("Users", f'id eq "{{user}}" and {ENTERPRISE}:manager.value eq "{{boss}}"'),
        ("Groups", 'displayName eq "{displayName}"'),
        ("Groups", 'externalId eq "{groupId}"'),
        ("Groups", 'id eq "{group}" and members eq "{user}"'),
        ("Groups", 'id eq "{group}" and members[value eq "{user}"]'),
        ("Groups", 'members.value eq "{user}"'),
    ],
)
def test_a_filter_finds_who_is_meant_and_nobody_instead(provider, kind, question):
    boss = provider.a_user(emails=[{"type": "home", "value": "boss@example.org"}])
    user = provider.a_user(
        schemas=[USER, ENTERPRISE],
        emails=[{"type": "work", "value": "ann.work@example.org"}],
        **{ENTERPRISE: {"manager": {"value": boss["id"]}}},
    )
    group, other = provider.a_group(user["id"]), provider.a_group(boss["id"])
    known = {"email": "ann.work@example.org", "user": user["id"], "boss": boss["id"], "group": group["id"]}
    known |= {"userName": user["userName"], "externalId": user["externalId"]}
    known |= {"displayName": group["displayName"], "groupId": group["externalId"]}
    meant = {"Users": user["id"], "Groups": group["id"]}[kind]

    def found(values):
        asked = question
        for name, value in values.items():
            asked = asked.replace(f"{{{name}}}", value)
        answer = provider.get(f"/{kind}?excludedAttributes=members&filter={quote(asked)}")
        assert (answer.status, answer.body["totalResults"]) == (200, len(answer.body["Resources"])), answer
        return [each["id"] for each in answer.body["Resources"]]

    assert found(known) == [meant]
    for name in known:
        if f"{{{name}}}" in question:
            assert found({**known, name: NOBODY}) == []
    assert found({**known, "group": other["id"]}) == ([] if "{group}" in question else [meant])


def owned_by_another(provider, store):
    user = provider.office.user("elsewhere@example.org")
    tenant, user_id = names.parse(names.USER, user.name, field="name")
    _, source = names.parse(names.SOURCE, provider.office.scim_source("Another").name, field="name")
    with store.writing(tenant).begin() as connection:
        owned = "UPDATE users SET owner_source_id = :s WHERE tenant_id = :t AND id = :u"
        connection.execute(text(owned), {"s": source, "t": tenant, "u": user_id})
    return {"userName": "elsewhere@example.org", "id": user.name.rpartition("/")[2]}


def switched_off(provider, _):
    user = provider.a_user()
    assert provider.patch(f"/Users/{user['id']}", {"op": "replace", "path": "active", "value": False}).status == 200
    return user


def out_of_the_last_group(provider, _):
    user = provider.a_user()
    group = provider.a_group(user["id"])["id"]
    assert provider.patch(f"/Groups/{group}", {"op": "replace", "path": "members", "value": []}).status == 200
    return user


@pytest.mark.parametrize(
    "somebody", [lambda provider, _: provider.a_user(), switched_off, out_of_the_last_group, owned_by_another]
)
def test_whoever_keeps_a_new_user_out_is_found_by_name(provider, store, somebody):
    there = somebody(provider, store)
    refused = provider.post("/Users", {"schemas": [USER], "userName": there["userName"].upper()})
    assert (refused.status, refused.body["scimType"]) == (409, "uniqueness")
    by_name = quote(f'userName eq "{there["userName"].upper()}"')
    assert [each["id"] for each in provider.get(f"/Users?filter={by_name}").body["Resources"]] == [there["id"]]
    assert provider.get(f"/Users/{there['id']}").status == 200


def test_whoever_is_deleted_and_made_anew_is_pushed_into_groups_again(provider):
    user, stays = provider.a_user(), provider.a_user()["id"]
    group = provider.a_group(user["id"], stays)["id"]
    assert provider.delete(f"/Users/{user['id']}").status == 204
    body = {"schemas": [USER], "userName": user["userName"], "externalId": user["externalId"], "active": True}
    again = provider.post("/Users", body)
    assert again.status == 201
    assert provider.members(group) == [stays]
    pushed = {"op": "replace", "path": "members", "value": named([stays, again.body["id"]])}
    assert provider.patch(f"/Groups/{group}", pushed).status == 204
    assert set(provider.members(group)) == {stays, again.body["id"]}


def test_whoever_cannot_have_a_seat_is_refused_with_the_reason_by_whatever_way_and_comes_when_there_is_one(a_provider):
    provider = a_provider(1)
    asleep = provider.a_user()
    group = provider.a_group(asleep["id"])["id"]
    assert provider.patch(f"/Groups/{group}", {"op": "replace", "path": "members", "value": []}).status == 200
    provider.a_user()
    put_in = {"op": "Add", "path": "members", "value": named([asleep["id"]])}
    new = {"schemas": [USER], "userName": "third@example.org"}
    bulk = {"method": "POST", "path": "/Users", "bulkId": "1", "data": new}
    whole = {"schemas": [GROUP], "displayName": "All", "members": named([asleep["id"]])}

    def ways():
        schemas = ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"]
        (in_bulk,) = provider.post("/Bulk", {"schemas": schemas, "Operations": [bulk]}).body["Operations"]
        yield int(in_bulk["status"]), in_bulk.get("response")
        for answer in (provider.patch(f"/Groups/{group}", put_in), provider.put(f"/Groups/{group}", whole)):
            yield answer.status, answer.body

    for status, body in ways():
        assert (status, body["status"]) == (403, "403")
        assert "1 of 1 seats are taken" in body["detail"]
        assert "Add seats" in body["detail"]
    assert (provider.members(group), provider.office.seats().seats_used) == ([], 1)
    more = licenses_pb2.UpdateLicenseRequest(name=provider.office.license, seats_total=3)
    provider.support.licenses.UpdateLicense(more)
    assert [status for status, _ in ways()] == [201, 204, 200]
    assert (provider.members(group), provider.office.seats().seats_used) == ([asleep["id"]], 3)


def test_a_user_who_is_put_without_groups_stays_in_them(provider):
    user = provider.a_user()
    group = provider.a_group(user["id"])["id"]
    said = provider.put(f"/Users/{user['id']}", {**user, "title": "Nurse", "groups": []}).body
    assert (said["title"], [each["value"] for each in said["groups"]]) == ("Nurse", [group])
    assert provider.members(group) == [user["id"]]
    assert provider.office.read_user(f"{provider.office.name}/users/{user['id']}").groups


def test_who_does_not_say_what_it_is_called_is_served(provider):
    """Entra ID often sends no User-Agent, and may leave out Accept."""
    body = json.dumps({"schemas": [USER], "userName": "unnamed@example.org"}).encode()
    nobody = quote(f'userName eq "{NOBODY}"')
    for method, path, sent, status in (
        ("GET", f"/Users?filter={nobody}", b"", 200),
        ("POST", "/Users?aadOptscim062020", body, 201),
    ):
        connection = http.client.HTTPConnection(urlsplit(provider.gateway.origin).netloc, timeout=30)
        connection.putrequest(method, f"/scim/v2{path}", skip_accept_encoding=True)
        connection.putheader("Authorization", f"Bearer {provider.key}")
        if sent:
            connection.putheader("Content-Type", "application/scim+json; charset=utf-8")
            connection.putheader("Content-Length", str(len(sent)))
        connection.endheaders(sent)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["content-type"]) == (status, "application/scim+json")
        connection.close()
