"""People over SCIM: pages, versions, concurrent changes, and whom a connection may touch."""

from __future__ import annotations

import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import pytest
import structlog.testing
from muster.directory.v1 import users_pb2
from sqlalchemy import text

from services.directory.rules import names
from tests.integration.directory.connection import Connection, settle_in

SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"


def found(provider, scim_filter):
    answer = provider.get(f"/Users?filter={urllib.parse.quote(scim_filter)}")
    assert answer.status == 200, answer
    return [each["id"] for each in answer.body["Resources"]]


def test_patches_of_one_user_at_one_time_all_count(provider):
    user = provider.a_user()["id"]
    names_of = ["title", "nickName", "locale", "timezone", "userType", "preferredLanguage"]

    def change(name):
        return provider.patch(f"/Users/{user}", {"op": "replace", "path": name, "value": f"new {name}"}).status

    with ThreadPoolExecutor(len(names_of)) as pool:
        assert set(pool.map(change, names_of)) == {200}
    body = provider.get(f"/Users/{user}").body
    assert {name: body[name] for name in names_of} == {name: f"new {name}" for name in names_of}


def test_a_version_guards_a_change(provider):
    user = provider.a_user()
    path, version = f"/Users/{user['id']}", {"If-Match": user["meta"]["version"]}
    operation = {"Operations": [{"op": "replace", "path": "title", "value": "one"}]}
    first = provider.call("PATCH", path, operation, headers=version)
    assert first.status == 200
    assert first.headers["etag"] == first.body["meta"]["version"] != user["meta"]["version"]
    stale = provider.call("PATCH", path, operation, headers=version)
    assert (stale.status, "Read it again" in stale.body["detail"]) == (412, True)
    assert provider.call("PUT", path, {**user, "title": "two"}, headers=version).status == 412
    assert provider.call("DELETE", path, headers=version).status == 412
    assert provider.get(path).body["title"] == "one"
    assert provider.get(path, **{"If-None-Match": first.headers["etag"]}).status == 304
    assert provider.call("DELETE", path, headers={"If-Match": first.headers["etag"]}).status == 204


def test_pages_by_cursor_hold_everybody_once(provider):
    people = [provider.a_user()["id"] for _ in range(7)]
    query, seen = "/Users?count=3&sortBy=userName&cursor=", []
    page = provider.get(query)
    while True:
        seen += [each["id"] for each in page.body["Resources"]]
        assert page.body["totalResults"] == 7
        if "nextCursor" not in page.body:
            break
        page = provider.get(query + page.body["nextCursor"])
        assert page.status == 200
    assert sorted(seen) == sorted(people)
    again = provider.get(query + page.body["previousCursor"])
    assert [each["id"] for each in again.body["Resources"]] == seen[3:6]


@pytest.mark.parametrize("order", ["", "&sortBy=displayName", "&sortBy=displayName&sortOrder=descending"])
def test_pages_by_cursor_hold_whoever_stays_once_while_others_come_and_go(provider, order):
    people = [provider.a_user(displayName=f"Name {number}")["id"] for number in range(6)]
    seen, cursor = [], ""
    for number in range(20):
        page = provider.get(f"/Users?count=2{order}&cursor={cursor}").body
        seen += [each["id"] for each in page["Resources"]]
        if number == 0:
            gone = [seen[0], next(each for each in people[1:5] if each not in seen)]
            assert [provider.delete(f"/Users/{each}").status for each in gone] == [204, 204]
        if number < 3:
            provider.a_user(displayName=f"Name {number}a")
        if not (cursor := page.get("nextCursor", "")):
            break
    stayed = [each for each in people if each not in gone]
    assert [seen.count(each) for each in stayed] == [1] * len(stayed)
    assert not cursor


def test_a_cursor_serves_the_query_it_was_given_for(provider):
    for _ in range(3):
        provider.a_user()
    cursor = provider.get("/Users?count=1&cursor=").body["nextCursor"]
    assert provider.get(f"/Users?count=2&cursor={cursor}").body["scimType"] == "invalidCount"
    assert provider.get(f"/Users?count=1&filter=title%20pr&cursor={cursor}").body["scimType"] == "invalidCursor"
    assert provider.get(f"/Groups?count=1&cursor={cursor}").body["scimType"] == "invalidCursor"
    assert provider.get("/Users?count=1&cursor=abc").body["scimType"] == "invalidCursor"


def test_a_search_may_come_as_a_body_and_over_both_kinds(provider):
    user, group = provider.a_user(displayName="Alpha")["id"], provider.a_group(displayName="Alpha")["id"]
    provider.a_user(displayName="Beta")
    body = {"schemas": [SEARCH], "filter": 'displayName eq "alpha"', "attributes": ["displayName"]}
    everywhere = provider.post("/.search", body).body
    assert sorted(each["id"] for each in everywhere["Resources"]) == sorted([user, group])
    assert all(each.keys() == {"schemas", "id", "displayName"} for each in everywhere["Resources"])
    assert [each["id"] for each in provider.post("/Users/.search", body).body["Resources"]] == [user]


def test_a_users_groups_are_shown_and_can_be_asked_for(provider):
    user = provider.a_user()["id"]
    group = provider.a_group(user)["id"]
    shown = provider.get(f"/Users/{user}").body["groups"]
    assert [(each["value"], each["$ref"]) for each in shown] == [(group, f"{provider.gateway.url}/Groups/{group}")]
    assert "groups" not in provider.get(f"/Users/{user}?excludedAttributes=groups").body
    assert found(provider, f'groups.value eq "{group}"') == [user]


def test_a_bulk_request_makes_people_and_puts_them_into_groups(provider):
    group = {"schemas": [GROUP], "displayName": "Bulk", "members": [{"value": "bulkId:u"}]}
    asleep = {"op": "Replace", "path": "active", "value": "False"}
    titled = {"op": "Add", "path": "title", "value": "Boss"}
    removed = {"op": "Remove", "path": "members", "value": [{"value": "bulkId:u"}]}
    operations = [
        {"method": "POST", "path": "/Groups", "bulkId": "g", "data": group},
        {"method": "POST", "path": "/Users", "bulkId": "u", "data": {"schemas": [USER], "userName": "b@example.org"}},
        {"method": "PATCH", "path": "/Users/bulkId:u", "data": {"schemas": [PATCH], "Operations": [asleep, titled]}},
        {"method": "POST", "path": "/Users", "bulkId": "v", "data": {"schemas": [USER], "userName": "B@example.org"}},
        {"method": "PATCH", "path": "/Groups/bulkId:g", "data": {"schemas": [PATCH], "Operations": [removed]}},
        {"method": "PUT", "path": "/Groups/bulkId:g", "data": {"schemas": [GROUP], "displayName": "Bulk 2"}},
        {"method": "DELETE", "path": "/Groups/bulkId:g"},
    ]
    answer = provider.post("/Bulk", {"schemas": [BULK], "Operations": operations})
    assert answer.status == 200, answer
    assert [each["status"] for each in answer.body["Operations"]] == ["201", "201", "200", "409", "200", "200", "204"]
    (user,) = provider.get("/Users").body["Resources"]
    assert (user["active"], user["title"]) == (False, "Boss")
    assert provider.get("/Groups").body["totalResults"] == 0


@pytest.mark.parametrize(
    "selection",
    [
        'value eq "bulkId:{who}"',
        'value eq "bulkId:{who}" and type eq "User"',
        'type eq "User" and (value eq "bulkId:{who}" or value eq "of-elsewhere")',
        'not (value ne "bulkId:{who}")',
    ],
)
@pytest.mark.parametrize("members", ["members", f"{GROUP}:members"])
def test_a_bulk_request_takes_out_by_path_whom_it_makes_and_not_whom_it_could_not_make(provider, members, selection):
    group = {"schemas": [GROUP], "displayName": "Bulk", "members": [{"value": "bulkId:u"}, {"value": "bulkId:v"}]}
    people = {each: {"schemas": [USER], "userName": f"{each}@example.org"} for each in "uv"}
    operations = [
        {"method": "POST", "path": "/Groups", "bulkId": "g", "data": group},
        *({"method": "POST", "path": "/Users", "bulkId": each, "data": people[each]} for each in "uv"),
        {"method": "POST", "path": "/Users", "bulkId": "w", "data": people["u"]},
    ]
    for each in "uw":
        removed = {"op": "remove", "path": f"{members}[{selection.replace('{who}', each)}]"}
        data = {"schemas": [PATCH], "Operations": [removed]}
        operations.append({"method": "PATCH", "path": "/Groups/bulkId:g", "data": data})
    answer = provider.post("/Bulk", {"schemas": [BULK], "Operations": operations})
    assert [each["status"] for each in answer.body["Operations"]] == ["201", "201", "201", "409", "200", "409"]
    made, _, kept = (each["location"].rpartition("/")[2] for each in answer.body["Operations"][:3])
    assert provider.members(made) == [kept]


def test_a_bulk_request_first_makes_whom_an_earlier_path_names(provider):
    user = provider.a_user(roles=[{"value": "bulkId:u"}, {"value": "the bulkId:u"}])["id"]
    paths = ['roles[value eq "bulkId:u"]', 'roles[value eq "the bulkId:u"]', 'roles[value eq "\\"bulkId:u\\""]']
    for path, status in zip(paths, ["409", "200", "200"], strict=True):
        operation = {"op": "remove", "path": path}
        patch = {"method": "PATCH", "path": f"/Users/{user}", "data": {"schemas": [PATCH], "Operations": [operation]}}
        (said,) = provider.post("/Bulk", {"schemas": [BULK], "Operations": [patch]}).body["Operations"]
        assert said["status"] == status, path
    group = provider.a_group()["id"]
    add = {"op": "add", "path": "members", "value": [{"value": user}]}
    take_out = {"op": "remove", "path": 'members[value ne "bulkId:u"]'}
    operations = [
        {"method": "PATCH", "path": f"/Groups/{group}", "data": {"schemas": [PATCH], "Operations": [add, take_out]}},
        {"method": "POST", "path": "/Users", "bulkId": "u", "data": {"schemas": [USER], "userName": "u@example.org"}},
    ]
    answer = provider.post("/Bulk", {"schemas": [BULK], "Operations": operations})
    assert [each["status"] for each in answer.body["Operations"]] == ["200", "201"]
    assert provider.members(group) == []


def test_a_bulk_request_has_a_limit_that_is_published(provider):
    most = provider.get("/ServiceProviderConfig").body["bulk"]["maxOperations"]
    operation = {"method": "DELETE", "path": "/Users/usr_none"}
    assert provider.post("/Bulk", {"schemas": [BULK], "Operations": [operation] * (most + 1)}).status == 413
    stopped = provider.post("/Bulk", {"schemas": [BULK], "failOnErrors": 2, "Operations": [operation] * 5})
    assert [each["status"] for each in stopped.body["Operations"]] == ["404", "404"]


def test_a_manual_user_is_taken_over_when_its_mail_is_provisioned(provider):
    manual = provider.office.user("manual@example.org", title="Kept")
    short = manual.name.rpartition("/")[2]
    assert provider.get("/Users").body["totalResults"] == 0
    assert found(provider, 'userName eq "manual@example.org"') == [short]
    body = {"schemas": [USER], "userName": "manual@example.org", "displayName": "From the provider"}
    answer = provider.post("/Users", body)
    assert (answer.status, answer.body["id"]) == (201, short)
    assert provider.get("/Users").body["totalResults"] == 1
    read = provider.support.users.GetUser(users_pb2.GetUserRequest(name=manual.name)).user
    assert read.display_name == "From the provider"


def test_a_manual_user_is_taken_over_by_a_put_that_changes_nothing(provider):
    manual = provider.office.user("same@example.org")
    path = "/Users/" + manual.name.rpartition("/")[2]
    assert provider.put(path, provider.get(path).body).status == 200
    assert provider.get("/Users").body["totalResults"] == 1


def test_a_user_of_another_source_can_be_seen_and_not_changed(provider, store):
    other = provider.office.scim_source("Another")
    user = provider.office.user("elsewhere@example.org", title="Real")
    tenant, user_id = names.parse(names.USER, user.name, field="name")
    _, source = names.parse(names.SOURCE, other.name, field="name")
    with store.writing(tenant).begin() as connection:
        owned = "UPDATE users SET owner_source_id = :s WHERE tenant_id = :t AND id = :u"
        connection.execute(text(owned), {"s": source, "t": tenant, "u": user_id})
    path = "/Users/" + user.name.rpartition("/")[2]
    body = provider.get(path).body
    for answer in (
        provider.put(path, {**body, "title": "Other"}),
        provider.patch(path, {"op": "replace", "path": "title", "value": "Other"}),
    ):
        assert (answer.status, answer.body["title"]) == (200, "Real")
    taken = provider.post("/Users", {"schemas": [USER], "userName": "elsewhere@example.org"})
    assert (taken.status, taken.body["scimType"]) == (409, "uniqueness")
    assert "another source" in taken.body["detail"]


def test_a_request_about_a_user_of_another_source_says_so_in_the_log(provider, store):
    with structlog.testing.capture_logs() as lines:
        test_a_user_of_another_source_can_be_seen_and_not_changed(provider, store)
    said = [line.get("owned_by_file", False) for line in lines if line["event"] == "scim" and line["method"] != "GET"]
    assert said == [True, True, False]


def test_a_key_that_selects_among_values_is_a_path(provider):
    user = provider.a_user(emails=[{"type": "work", "value": "old@example.org"}])["id"]
    said = {
        "displayName": "Ann",
        'emails[type eq "work"].value': "new@example.org",
        'phoneNumbers[type eq "mobile"].value': "+46701234567",
    }
    answer = provider.patch(f"/Users/{user}", {"op": "replace", "value": said})
    assert answer.status == 200
    assert answer.body["displayName"] == "Ann"
    assert [each["value"] for each in answer.body["emails"]] == ["new@example.org"]
    assert answer.body["phoneNumbers"] == [{"type": "mobile", "value": "+46701234567"}]


def test_a_value_of_the_wrong_kind_is_told_in_words_of_scim(provider):
    user = provider.a_user()["id"]
    answer = provider.patch(f"/Users/{user}", {"op": "replace", "path": "displayName", "value": 7})
    assert answer.status == 400
    assert answer.body["detail"].startswith("displayName: ")
    assert "pydantic" not in answer.body["detail"]


def test_a_bulk_request_is_judged_by_what_it_comes_to(provider):
    moved, removed = provider.a_user(), provider.a_user()
    first, second = provider.a_group(moved["id"], removed["id"]), provider.a_group()
    empty = {"op": "replace", "path": "members", "value": []}
    put = {"op": "add", "path": "members", "value": [{"value": moved["id"]}]}
    operations = [
        {"method": "PATCH", "path": f"/Groups/{first['id']}", "data": {"schemas": [PATCH], "Operations": [empty]}},
        {"method": "PATCH", "path": f"/Groups/{second['id']}", "data": {"schemas": [PATCH], "Operations": [put]}},
    ]
    answer = provider.post("/Bulk", {"schemas": [BULK], "Operations": operations})
    assert [each["status"] for each in answer.body["Operations"]] == ["200", "200"]
    told = [event.resource.rpartition("/")[2] for event in provider.office.events("user.dormant")]
    assert told == [removed["id"]]


def test_a_bulk_request_that_the_guard_is_against_is_refused_whole(directory, provider):
    connection = Connection(directory, provider.office, provider.source.name, provider.key)
    people = settle_in(connection, 101)
    group = provider.a_group(*people)
    operation = {"method": "DELETE", "path": f"/Groups/{group['id']}"}
    answer = provider.post("/Bulk", {"schemas": [BULK], "Operations": [operation]})
    assert (answer.status, answer.headers["retry-after"]) == (429, "1800")
    assert "101 of 101" in answer.body["detail"]
    assert provider.get("/Users?count=1").status == 429
    assert provider.office.seats().seats_used == 101


def test_a_post_whose_answer_was_lost_is_answered_with_the_same_user(provider):
    body = {"schemas": [USER], "userName": "lost@example.org", "externalId": "lost-1", "title": "Nurse"}
    first, again = provider.post("/Users", body), provider.post("/Users", body)
    assert (first.status, again.status) == (201, 201)
    assert first.body == again.body
    assert provider.post("/Users", {**body, "title": "Doctor"}).status == 409


def test_an_entry_whose_value_is_cleared_by_null_leaves_no_labels_behind(provider):
    path = f"/Users/{provider.a_user(emails=[{'type': 'work', 'value': 'a@example.org', 'primary': True}])['id']}"
    cleared = provider.patch(path, {"op": "replace", "path": 'emails[type eq "work"].value', "value": None})
    assert (cleared.status, "emails" in cleared.body) == (200, False)
