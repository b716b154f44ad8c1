"""Groups over SCIM: members change by differences, never by reading them all."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from muster.runtime.client import open_aio_channel
from scim2_server.requests import ScimRequest

from services.scim_gateway.handler import GatewayHandler
from services.scim_gateway.notes import Notes
from services.scim_gateway.service import GatewayService
from services.scim_gateway.storage import DirectoryStorage

GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"


class Counted(DirectoryStorage):
    """Counts what it asks the directory."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.calls = []

    async def _call(self, method, request):
        self.calls.append(type(request).__name__)
        return await super()._call(method, request)

    async def _call_briefly(self, kind, request):
        self.calls.append(type(request).__name__)
        return await super()._call_briefly(kind, request)

    def _stream(self, request):
        self.calls.append(f"{type(request).__name__}{' with members' if request.with_members else ''}")
        return super()._stream(request)


def calls_of(provider, directory, method, path, body):
    """What one request asks the directory for."""

    async def served():
        async with open_aio_channel(directory.target) as channel:
            storage = Counted(channel, provider.key)
            request = ScimRequest(method, provider.gateway.url, path, body=json.dumps(body).encode())
            await GatewayHandler(GatewayService(), storage, Notes()).handle(request)
            return storage.calls

    return asyncio.run(served())


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": "members", "value": [{"value": "{user}"}]},
        {"op": "Remove", "path": "members", "value": [{"value": "{user}"}]},
        {"op": "remove", "path": 'members[value eq "{user}"]'},
        {"op": "replace", "path": "members", "value": [{"value": "{user}"}]},
        {"op": "remove", "path": "members"},
    ],
)
def test_a_change_of_members_is_one_call(provider, directory, operation):
    user = provider.a_user()["id"]
    group = provider.a_group(user)["id"]
    body = json.loads(json.dumps({"Operations": [operation]}).replace("{user}", user))
    assert calls_of(provider, directory, "PATCH", f"/Groups/{group}", body) == ["UpdateProvisionedGroupRequest"]


def test_a_rename_reads_the_head_and_not_the_members(provider, directory):
    group = provider.a_group(provider.a_user()["id"])["id"]
    body = {"Operations": [{"op": "replace", "value": {"id": group, "displayName": "New"}}]}
    calls = calls_of(provider, directory, "PATCH", f"/Groups/{group}", body)
    assert calls == ["GetProvisionedGroupRequest", "UpdateProvisionedGroupRequest"]


def test_a_deletion_is_one_call(provider, directory):
    group = provider.a_group()["id"]
    assert calls_of(provider, directory, "DELETE", f"/Groups/{group}", {}) == ["DeleteProvisionedGroupRequest"]


def test_members_are_selected_by_more_than_their_id(provider):
    one, other = provider.a_user()["id"], provider.a_user()["id"]
    group = provider.a_group(one, other)["id"]
    path = f'members[value ne "{one}" and type eq "User"]'
    assert provider.patch(f"/Groups/{group}", {"op": "remove", "path": path}).status == 204
    assert provider.members(group) == [one]


def test_a_removal_that_says_twice_who_goes_has_to_say_the_same_twice(provider):
    one, other = provider.a_user()["id"], provider.a_user()["id"]
    group = provider.a_group(one, other)["id"]
    operation = {"op": "Remove", "path": f'members[value eq "{one}"]', "value": [{"value": other}]}
    refused = provider.patch(f"/Groups/{group}", operation)
    assert (refused.status, refused.body["scimType"]) == (400, "invalidValue")
    assert "in its path alone" in refused.body["detail"]
    assert provider.members(group) == [one, other]
    assert provider.patch(f"/Groups/{group}", {**operation, "value": [{"value": one}]}).status == 204
    assert provider.members(group) == [other]


def test_the_end_state_of_a_request_counts(provider):
    one, other = provider.a_user()["id"], provider.a_user()["id"]
    group = provider.a_group(one)["id"]
    answer = provider.patch(
        f"/Groups/{group}",
        {"op": "remove", "path": "members"},
        {"op": "add", "path": "members", "value": [{"value": one}, {"value": other}]},
        {"op": "remove", "path": f'members[value eq "{other}"]'},
    )
    assert answer.status == 204
    assert provider.members(group) == [one]
    assert provider.get(f"/Users/{one}").body["active"] is True


def test_members_are_in_the_answer_when_they_are_asked_for(provider):
    user = provider.a_user(displayName="Ann")["id"]
    group = provider.a_group()["id"]
    path = f"/Groups/{group}?attributes=members,members.display"
    operation = {"op": "add", "path": "members", "value": [{"value": user}]}
    answer = provider.patch(path, operation)
    reference = f"{provider.gateway.url}/Users/{user}"
    assert answer.body["members"] == [{"value": user, "$ref": reference, "type": "User", "display": "Ann"}]
    assert "members" not in provider.patch(f"/Groups/{group}?excludedAttributes=members", operation).body


def test_a_list_of_groups_holds_members_unless_they_are_excluded(provider):
    user = provider.a_user()["id"]
    groups = {provider.a_group(user)["id"]: [user], provider.a_group()["id"]: []}
    listed = provider.get("/Groups").body["Resources"]
    assert {each["id"]: [member["value"] for member in each.get("members", [])] for each in listed} == groups
    assert not any("members" in each for each in provider.get("/Groups?excludedAttributes=members").body["Resources"])


def test_a_version_guards_members_too(provider):
    user = provider.a_user()["id"]
    group = provider.a_group()
    path, version = f"/Groups/{group['id']}", {"If-Match": group["meta"]["version"]}
    body = {"Operations": [{"op": "add", "path": "members", "value": [{"value": user}]}]}
    assert provider.call("PATCH", path, body, headers=version).status == 204
    assert provider.call("PATCH", path, body, headers=version).status == 412
    assert provider.call("PUT", path, {**group, "members": []}, headers=version).status == 412
    assert provider.call("DELETE", path, headers=version).status == 412
    assert provider.members(group["id"]) == [user]


def test_changes_of_one_group_at_one_time_all_count(provider):
    people = [provider.a_user()["id"] for _ in range(6)]
    group = provider.a_group()["id"]

    def change(number):
        added = {"op": "add", "path": "members", "value": [{"value": people[number]}]}
        named = {"op": "replace", "path": "displayName", "value": f"Name {number}"}
        return provider.patch(f"/Groups/{group}", added, *([named] if number % 2 else [])).status

    with ThreadPoolExecutor(len(people)) as pool:
        assert set(pool.map(change, range(len(people)))) == {204}
    assert sorted(provider.members(group)) == sorted(people)


def test_members_may_be_bare_ids_wherever_they_are_written(provider):
    one, other = provider.a_user()["id"], provider.a_user()["id"]
    body = {"schemas": [GROUP], "displayName": "Bare", "members": [one, {"value": other}]}
    group = provider.post("/Groups", body).body["id"]
    assert provider.members(group) == [one, other]
    assert provider.put(f"/Groups/{group}", {**body, "members": [other]}).status == 200
    assert provider.members(group) == [other]
    assert provider.patch(f"/Groups/{group}", {"op": "replace", "value": {"members": one}}).status == 204
    assert provider.members(group) == [one]
    for nobody in ("", {"value": ""}, {"display": "Ann"}):
        assert provider.put(f"/Groups/{group}", {**body, "members": [nobody]}).status == 400
    assert provider.members(group) == [one]


def test_a_group_may_have_its_group_id_alone(provider):
    body = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "externalId": "SCHOOL-01"}
    assert provider.post("/Groups", body).body["displayName"] == "SCHOOL-01"
    taken = provider.post("/Groups", {**body, "displayName": "Another"})
    assert (taken.status, taken.body["scimType"]) == (409, "uniqueness")


def test_members_who_are_nobody_refuse_the_whole_and_are_named(provider):
    ann, gone = provider.a_user()["id"], provider.a_user()["id"]
    assert provider.delete(f"/Users/{gone}").status == 204
    group = provider.a_group()["id"]
    elsewhere = "7ad5b8f6-50a0-4d66-9a40-0c1f3c8a2f11"
    for members in ([ann, gone], [gone], [ann, "of-elsewhere"], [elsewhere], ["4711"], ["usr_nobody"]):
        refused = provider.patch(
            f"/Groups/{group}", {"op": "add", "path": "members", "value": [{"value": each} for each in members]}
        )
        assert (refused.status, refused.body["scimType"]) == (400, "invalidValue")
        assert members[-1] in refused.body["detail"]
    assert provider.members(group) == []


def test_members_named_by_words_that_are_no_ids_change_nothing(provider):
    group = provider.a_group()["id"]
    foreign = {"op": "add", "path": "members", "value": [{"value": "of-elsewhere"}]}
    assert provider.patch(f"/Groups/{group}", foreign).status == 200
    assert provider.members(group) == []
    emptied = provider.patch(f"/Groups/{group}", {**foreign, "op": "replace"})
    assert emptied.status == 400


def test_a_post_of_a_group_whose_answer_was_lost_is_answered_with_the_same_group(provider):
    awake, asleep = provider.a_user()["id"], provider.a_user(active=False)["id"]
    members = [{"value": awake}, {"value": asleep}]
    body = {"schemas": [GROUP], "displayName": "Lost", "externalId": "lost-1", "members": members}
    first, again = provider.post("/Groups", body), provider.post("/Groups", body)
    assert (first.status, again.status) == (201, 201)
    assert first.body == again.body
    assert provider.post("/Groups", {**body, "displayName": "Found"}).status == 409
    other = provider.a_user()["id"]
    assert provider.post("/Groups", {**body, "members": [*members, {"value": other}]}).status == 409
    assert other not in provider.members(first.body["id"])
