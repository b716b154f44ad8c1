"""The second door: an identity provider's day, through the gateway into the register that the files go into too."""

from __future__ import annotations

import pytest
from muster.directory.v1 import api_keys_pb2, groups_pb2, users_pb2

from tests.builders import a_csv, a_row
from tests.stack.customer import outcome_of
from tests.stack.provider import Provider

pytestmark = pytest.mark.mostly("postgresql")


@pytest.fixture
def provider(customer) -> Provider:
    return Provider(customer)


def users_of(customer) -> dict[str, users_pb2.User]:
    request = users_pb2.ListUsersRequest(tenant=customer.tenant, show_deleted=True, page_size=1000)
    return {user.email: user for user in customer.system.users.ListUsers(request).users}


def test_a_day_of_an_identity_provider(provider, customer):
    empty = provider.call("GET", "/Users?filter=userName%20eq%20%22nobody@example.org%22")
    assert (empty.status, empty.body["totalResults"]) == (200, 0)
    ann, ben = (provider.create_user(f"{name}@example.org", displayName=name.title()).body for name in ("ann", "ben"))
    crisis = provider.create_group("CRISIS", [ann["id"]]).body
    added = provider.patch(f"/Groups/{crisis['id']}", {"op": "Add", "path": "members", "value": [{"value": ben["id"]}]})
    assert added.status in {200, 204}
    assert {user.email: list(user.group_display_names) for user in users_of(customer).values()} == {
        "ann@example.org": ["CRISIS"],
        "ben@example.org": ["CRISIS"],
    }
    assert provider.patch(f"/Users/{ben['id']}", {"op": "Replace", "path": "active", "value": "False"}).status == 200
    assert users_of(customer)["ben@example.org"].state == users_pb2.USER_STATE_DORMANT
    assert customer.seats()[1] == 1
    assert provider.patch(f"/Users/{ben['id']}", {"op": "replace", "value": {"active": True}}).status == 200
    assert list(users_of(customer)["ben@example.org"].group_display_names) == ["CRISIS"]
    assert provider.call("DELETE", f"/Users/{ann['id']}").status == 204
    assert provider.call("GET", f"/Users/{ann['id']}").status == 404


def test_file_and_provider_keep_out_of_each_others_way(provider, customer, sftp_folder):
    ann = provider.create_user("person1@example.org").body
    provider.create_group("CRISIS", [ann["id"]])
    source = customer.source(sftp_folder)
    sftp_folder.put("users.csv", a_csv(a_row(1, Mail="person1@example.org"), a_row(2, Groups="CRISIS")))
    run = customer.run(source)
    assert outcome_of(run) == "applied"
    assert customer.rejected(run) == [(2, "owned_by_other_source")]
    assert customer.warnings(run) == [(3, "unknown_group:CRISIS")]
    theirs = users_of(customer)[a_row(2)["Mail"]]
    listed = groups_pb2.ListGroupsRequest(tenant=customer.tenant)
    (crisis,) = [
        each for each in customer.system.groups.ListGroups(listed).groups if each.group_external_id == "CRISIS"
    ]
    assert crisis.member_count == 1
    seen = provider.call("GET", f"/Users/{theirs.name.rpartition('/')[2]}").body
    assert (seen["externalId"], seen["userName"]) == (a_row(2)["UniqueID"], theirs.email)
    assert provider.create_user(theirs.email).status == 409


def test_a_revoked_key_is_out_at_once(provider, customer):
    assert provider.call("GET", "/Users?count=1").status == 200
    customer.system.api_keys.RevokeApiKey(api_keys_pb2.RevokeApiKeyRequest(name=provider.key_name))
    refused = provider.call("GET", "/Users?count=1")
    assert refused.status == 401
    assert refused.body["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
