"""Many at one time: the end is that of some order, nothing is lost, and what is sent twice is there once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
AT_ONCE = 4

pytestmark = pytest.mark.mostly("postgresql")


def at_once(asked):
    """Ask all of this at one time; gives the answers in order."""
    with ThreadPoolExecutor(len(asked)) as pool:
        return [each.result() for each in [pool.submit(*one) for one in asked]]


def test_members_come_and_go_and_are_renamed_at_one_time(provider):
    """Each takes one out and puts one in, and all fight over one more and over the name."""
    leaving, coming = ([provider.a_user()["id"] for _ in range(AT_ONCE)] for _ in range(2))
    disputed, stays = provider.a_user()["id"], provider.a_user()["id"]
    group = provider.a_group(*leaving, stays)["id"]

    def change(number):
        over = {"op": "add" if number % 2 else "remove", "path": "members", "value": [{"value": disputed}]}
        return provider.patch(
            f"/Groups/{group}",
            {"op": "Remove", "path": "members", "value": [{"$ref": None, "value": leaving[number]}]},
            {"op": "add", "value": {"members": [{"value": coming[number]}]}},
            {"op": "replace", "path": "displayName", "value": f"Name {number}"},
            over,
        )

    answers = at_once([(change, number) for number in range(AT_ONCE)])
    assert {each.status for each in answers} == {204}
    found = provider.get(f"/Groups/{group}").body
    assert {each["value"] for each in found["members"]} - {disputed} == {*coming, stays}
    assert found["displayName"] in {f"Name {number}" for number in range(AT_ONCE)}


def test_attributes_of_one_user_change_while_it_is_put_into_groups_and_out(provider):
    ann, groups = provider.a_user()["id"], [provider.a_group()["id"] for _ in range(AT_ONCE)]
    names = ["title", "nickName", "locale", "name.givenName"]
    asked = [
        (provider.patch, f"/Users/{ann}", {"op": "replace", "path": name, "value": f"new {name}"}) for name in names
    ]
    member = {"op": "add", "path": "members", "value": [{"value": ann}]}
    asked += [(provider.patch, f"/Groups/{group}", member) for group in groups]
    assert {each.status for each in at_once(asked)} == {200, 204}
    found = provider.get(f"/Users/{ann}").body
    assert [found[name] for name in names[:-1]] == [f"new {name}" for name in names[:-1]]
    assert found["name"] == {"givenName": "new name.givenName"}
    assert {each["value"] for each in found["groups"]} == set(groups)


@pytest.mark.parametrize("external_id", [{"externalId": "once"}, {}], ids=["with externalId", "without"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/Users", {"schemas": [USER], "userName": "once@example.org"}),
        ("/Groups", {"schemas": [GROUP], "displayName": "Once"}),
    ],
    ids=["users", "groups"],
)
def test_what_is_posted_twice_at_one_time_is_there_once(provider, path, body, external_id):
    """A retry is answered with what the first one made (S13); a user without externalId is told that it is there."""
    answers = at_once([(provider.post, path, {**body, **external_id})] * AT_ONCE)
    made = {each.body["id"] for each in answers if each.status == 201}
    assert {each.status for each in answers} <= {201, 409}
    assert len(made) == 1
    assert provider.get(path).body["totalResults"] == 1
