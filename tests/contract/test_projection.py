"""What is asked for by `attributes` and `excludedAttributes`, whatever the method (RFC 7644 §3.9)."""

from __future__ import annotations

import pytest

DATABASES = ("sqlite",)
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


def shown(answer):
    """Names of what an answer shows, beside what it always does."""
    assert answer.status in {200, 201}, answer
    assert {"schemas", "id"} <= answer.body.keys()
    return sorted(answer.body.keys() - {"schemas", "id"})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("attributes=title", ["title"]),
        ("attributes=name.givenName,TITLE", ["name", "title"]),
        (f"attributes={USER}:title", ["title"]),
        (f"attributes={ENTERPRISE}:department", [ENTERPRISE]),
        ("excludedAttributes=title,meta,name,id,active", [ENTERPRISE, "userName"]),
        (f"excludedAttributes=title,meta,name,active,{ENTERPRISE}:department", ["userName"]),
    ],
)
def test_every_method_answers_with_what_is_asked_for(provider, query, expected):
    body = {
        "schemas": [USER, ENTERPRISE],
        "userName": "ann@example.org",
        "title": "Nurse",
        "name": {"givenName": "Ann", "familyName": "Ek"},
        ENTERPRISE: {"department": "Ward"},
    }
    made = provider.post(f"/Users?{query}", body)
    path = f"/Users/{made.body['id']}?{query}"
    patched = provider.patch(
        path, {"op": "replace", "path": "nickName", "value": "A"}, {"op": "remove", "path": "nickName"}
    )
    answers = [made, provider.get(path), provider.put(path, body), patched]
    assert [shown(each) for each in answers] == [expected] * 4
    assert made.headers["location"].endswith(f"/Users/{made.body['id']}")
    (found,) = provider.get(f"/Users?{query}").body["Resources"]
    assert sorted(found.keys() - {"schemas", "id"}) == expected


def test_a_new_group_is_answered_without_members_if_they_are_excluded(provider):
    members = [{"value": provider.a_user()["id"]}]
    body = {"schemas": [GROUP], "displayName": "Ward", "members": members}
    assert "members" not in provider.post("/Groups?excludedAttributes=members", body).body
    assert [each["value"] for each in provider.post("/Groups", body).body["members"]] == [members[0]["value"]]


def test_attributes_are_named_or_left_out_and_not_both(provider):
    answer = provider.get("/Users?attributes=title&excludedAttributes=name")
    assert (answer.status, answer.body["scimType"]) == (400, "invalidValue")
    assert answer.body["detail"] == "'attributes' and 'excludedAttributes' are mutually exclusive."


def test_more_names_than_are_read_are_refused(provider):
    many = ",".join(f"title{number}" for number in range(101))
    assert provider.get(f"/Users?attributes={many}").status == 400
    again = ",".join(["title"] * 5_000)
    assert provider.get(f"/Users?attributes={again}").status == 200
